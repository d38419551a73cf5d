"""Two tiers: whether a router sends the right episodes to the larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.corpus import Array, Corpus, Episodes, right
from benchmarks.routing.handed import Handed
from benchmarks.routing.method import Method, difficulty
from benchmarks.routing.splits import Split, Unit
from stellwerk.routers.metrics import apgr, cpt, ece

Figures = dict[str, Any]
_SHARES = tuple(tenth / 10 for tenth in range(1, 10))


def rank(corpus: Corpus, splits: Sequence[Split], unit: Unit, method: Method) -> Figures:
    """APGR of each fold's test rows, averaged; and what thresholds set on the validation rows reach on them.

    Returns:
        `apgr` and `cpt50` over deciles of the test scores, as published figures are; `points`, the share of
        calls to the larger tier and the mean rightness at thresholds between validation deciles;
        `apgr_fixed`, the area under those; `ece` per tier, of methods that state probabilities.
    """
    areas: list[float] = []
    halves: list[float] = []
    sent: list[NDArray[np.bool_]] = []
    predictions: list[Array] = []
    answers: list[Array] = []
    for split in splits:
        handed = Handed(split, unit)
        method.fit(handed.rows("train"), handed.rows("threshold"), corpus.tiers)
        thresholds = set_thresholds(method, handed.rows("threshold"))
        test = handed.rows("test")
        found, known = method.predict(test), right(test, corpus.tiers)
        score = difficulty(found)
        areas.append(apgr(score, known[:, 0], known[:, 1]))
        halves.append(cpt(score, known[:, 0], known[:, 1], 0.5))
        sent.append(score[:, None] > thresholds[None, :])
        predictions.append(found)
        answers.append(known)
    known, large = np.concatenate(answers), np.concatenate(sent)
    served = np.where(large, known[:, 1:], known[:, :1]).mean(axis=0)
    shares = large.mean(axis=0)
    figures: Figures = {
        "apgr": float(np.mean(areas)),
        "cpt50": float(np.mean(halves)),
        "apgr_fixed": _area(shares, served, known),
        "points": [[float(share), float(value)] for share, value in zip(shares, served, strict=True)],
    }
    stated = np.concatenate(predictions)
    if stated.ndim == 2:
        figures["ece"] = [ece(stated[:, tier], known[:, tier]) for tier in range(2)]
    return figures


def set_thresholds(method: Method, validation: Episodes) -> Array:
    """Scores above which the larger tier is called, from never to always, by deciles of the validation
    scores."""
    score = difficulty(method.predict(validation))
    inner = np.quantile(score, [1 - share for share in _SHARES])
    return np.concatenate([[np.inf], inner, [-np.inf]])


def _area(shares: Array, served: Array, known: Array) -> float:
    small, large = known.mean(axis=0)
    return float(np.trapezoid((served - small) / (large - small), shares))
