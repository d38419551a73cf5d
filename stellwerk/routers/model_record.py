"""A router's model as arrays and JSON, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from stellwerk.routers.episode import Episode, Label, Outcome
from stellwerk.routers.features import Features
from stellwerk.routers.forest import Forest
from stellwerk.routers.model import RouterModel
from stellwerk.routers.neighbours import Neighbour, Neighbours
from stellwerk.routers.prior import Prior
from stellwerk.routers.sealed import array_of, list_of, strings, text_array
from stellwerk.routers.signals import answer_columns, next_columns
from stellwerk.routers.structure import NAMES
from stellwerk.routers.terms import Terms

_NODES = ("feature", "threshold", "left", "right")
_PRIOR = ("right", "accept", "tokens", "seconds", "usd")

Arrays = dict[str, np.ndarray[Any, Any]]


def record_of(model: RouterModel) -> dict[str, Any]:
    """All that is not an array."""
    return {
        "tiers": list(model.tiers),
        "structure": list(NAMES),
        "names": list(model.features.names),
        "embedding": model.features.embedding,
        "sharpness": model.sharpness,
        "depth": model.forest.depth,
        "card": model.card,
    }


def arrays_of(model: RouterModel) -> Arrays:
    """The arrays, and long texts as bytes of UTF-8."""
    features = model.features
    return {
        "words": text_array(list(features.terms.words)),
        "pieces": text_array(list(features.terms.pieces)),
        "idf": features.terms.idf,
        "mean": features.mean,
        "scale": features.scale,
        "basis": features.basis.astype(np.float16),
        "linear": model.linear,
        "landmarks": model.landmarks,
        "kernel": model.kernel,
        "stack": model.stack,
        **{f"forest_{name}": getattr(model.forest, name) for name in (*_NODES, "roots", "value")},
        "costs": model.costs,
        "answer": model.answer,
        "next_right": model.next_right,
        "next_accept": model.next_accept,
        "neighbours": model.neighbours.places,
        "neighbours_known": text_array([asdict(known) for known in model.neighbours.known]),
        "calibration": text_array([asdict(episode) for episode in model.calibration]),
        "held": _figures(model.held, len(model.tiers)),
    }


def model_of(
    record: Mapping[str, Any], arrays: Mapping[str, Any], embeddings: Embeddings | None
) -> RouterModel:
    """The model of a record and its arrays.

    Raises:
        KeyError: something is missing.
        ValueError: an array has the wrong shape or type, or a value that is no number.
        TypeError: something else has the wrong type.
        ConfigurationError: the model needs embeddings.
    """
    if record["structure"] != list(NAMES):
        raise ValueError("it counts other structural features than this release")
    tiers, names = strings(record["tiers"]), strings(record["names"])
    if not tiers or len(set(tiers)) < len(tiers):
        raise ValueError("it has no tier, or one twice")
    sharpness = float(record["sharpness"])
    if not 0 <= sharpness < math.inf:
        raise ValueError(f"its sharpness is {sharpness}")
    words, pieces = strings(list_of(arrays["words"])), strings(list_of(arrays["pieces"]))
    common = arrays["basis"].shape[-1]
    count, terms = len(tiers), len(words) + len(pieces)
    embedding = int(record["embedding"])

    def array(name: str, kind: type[np.generic], *shape: int) -> np.ndarray[Any, Any]:
        return array_of(arrays, name, kind, *shape)

    single, double = np.float32, np.float64
    features = Features(
        terms=Terms(words, pieces, array("idf", single, terms)),
        names=names,
        mean=array("mean", single, len(NAMES)),
        scale=array("scale", single, len(NAMES)),
        basis=array("basis", np.float16, terms + len(names), common).astype(single),
        embedding=embedding,
    )
    if not (features.scale > 0).all():
        raise ValueError("array 'scale' has a value that is not above 0")
    nodes, trees = len(arrays["forest_feature"]), len(arrays["forest_roots"])
    forest = Forest(
        roots=array("forest_roots", np.int32, trees),
        feature=array("forest_feature", np.int32, nodes),
        threshold=array("forest_threshold", single, nodes),
        left=array("forest_left", np.int32, nodes),
        right=array("forest_right", np.int32, nodes),
        value=array("forest_value", single, nodes, 2 * count),
        depth=int(record["depth"]),
    )
    if not trees or not forest.fits(features.depth):
        raise ValueError("its trees point to what is not there")
    landmarks, known = len(arrays["landmarks"]), list_of(arrays["neighbours_known"])
    episodes = list_of(arrays["calibration"])
    return RouterModel(
        tiers=tiers,
        features=features,
        linear=array("linear", single, features.width, 5 * count),
        landmarks=array("landmarks", single, landmarks, features.depth),
        kernel=array("kernel", single, landmarks, 2 * count),
        sharpness=sharpness,
        forest=forest,
        stack=array("stack", double, 2 * count, 4),
        costs=array("costs", double, 3, count, 2),
        answer=array("answer", double, count, len(answer_columns(tiers))),
        next_right=array("next_right", double, count, len(next_columns(tiers))),
        next_accept=array("next_accept", double, count, len(next_columns(tiers))),
        neighbours=Neighbours(
            places=array("neighbours", single, len(known), features.depth),
            known=tuple(Neighbour(**{**one, "trace_ids": tuple(one["trace_ids"])}) for one in known),
        ),
        calibration=tuple(map(_episode, episodes)),
        held=tuple(
            Prior(**dict(zip(_PRIOR, map(tuple, figures), strict=True)))
            for figures in array("held", double, len(episodes), len(_PRIOR), count).tolist()
        ),
        card=dict(record["card"]),
        embeddings=embeddings,
    )


def _episode(record: dict[str, Any]) -> Episode:
    outcomes = [
        Outcome(**{**one, "label": None if one["label"] is None else Label(**one["label"])})
        for one in record.pop("outcomes")
    ]
    return Episode(**record, outcomes=tuple(outcomes))


def _figures(priors: Sequence[Prior], tiers: int) -> np.ndarray[Any, Any]:
    rows = [[getattr(prior, name) for name in _PRIOR] for prior in priors]
    return np.asarray(rows, np.float64).reshape(len(rows), len(_PRIOR), tiers)
