"""Trains what a context alone says: the text models, each judged on what it was not fitted on, and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from stellwerk.routers import ridge
from stellwerk.routers.features import Encoded, Features, most_common_names, scaled
from stellwerk.routers.forest import Forest
from stellwerk.routers.forest_training import learn_forest
from stellwerk.routers.logistic import Array, fit, logit, softened
from stellwerk.routers.options import TrainingOptions
from stellwerk.routers.prior import Prior
from stellwerk.routers.ridge import Parts
from stellwerk.routers.targets import Targets
from stellwerk.routers.terms import Floats, Terms
from stellwerk.routing_context import RoutingContext

_LINEAR = (2.0, 8.0, 32.0, 128.0)
_KERNEL = (1.0, 4.0, 12.0, 36.0)
SHARPNESS = 2.0
_SAMPLE = 8_000  # contexts that the vocabulary and the space of texts are made of
_NEAR = 6_000  # cases that the nearness to landmarks is fitted on
_CHOOSING = 4_000  # cases that the penalty of the linear models is chosen on
_LARGE = 8_000  # cases above which one part is predicted from the others, not each
_SHORTEST = 1e-9
_PULL = 4.0  # log odds by a unit of probability, at one half


@dataclass(frozen=True, kw_only=True)
class Base:
    """The parts of a model that know the context only.

    Args:
        linear: see `RouterModel`, as are the next four.
        landmarks: of the nearness.
        kernel: its coefficients.
        forest: trees over what is dense.
        stack: how the three are joined.
        costs: of tokens, seconds and USD.
        predicted: places of the training episodes that were predicted by models not fitted on them.
        priors: what those said, one each.
    """

    linear: Floats
    landmarks: Floats
    kernel: Floats
    forest: Forest
    stack: Array
    costs: Array
    predicted: list[int]
    priors: list[Prior]


def learn_features(
    contexts: Sequence[RoutingContext],
    vectors: Sequence[Sequence[float]] | None,
    options: TrainingOptions,
    seed: int,
) -> tuple[Features, list[Encoded]]:
    """Vocabulary, names and the space of texts; and all contexts as numbers.

    Args:
        contexts: of the training episodes.
        vectors: embeddings of their instructions, if there are any.
        options: of the training.
        seed: of what is drawn.
    """
    draw = np.random.default_rng([seed, 1])
    some = np.sort(draw.permutation(len(contexts))[:_SAMPLE])
    sample = [contexts[index] for index in some.tolist()]
    terms = Terms.of((context["instruction"] for context in sample), most=options.terms)
    names = most_common_names(contexts)
    mean, scale = scaled(sample)
    width = len(terms) + len(names)
    features = Features(
        terms=terms,
        names=names,
        mean=mean,
        scale=scale,
        basis=np.zeros((width, 0), np.float32),
        embedding=len(vectors[0]) if vectors else 0,
    )
    encoded = [
        features.encode(context, vectors[index] if vectors else None)
        for index, context in enumerate(contexts)
    ]
    size = min(options.common, width, len(some)) if width else 0
    rows = sparse(encoded, features.width)[:, :width]
    basis = ridge.space(rows[some], size, draw) if size and rows.nnz else np.zeros((width, 1), np.float32)
    # As the file has it, so that a model that was read decides as the one that was written.
    features = replace(features, basis=basis.astype(np.float16).astype(np.float32))
    common = rows @ features.basis
    common /= np.maximum(np.sqrt((common**2).sum(axis=1)), _SHORTEST)[:, None]
    return features, [
        replace(one, dense=np.concatenate([place, one.dense]))
        for one, place in zip(encoded, common, strict=True)
    ]


def sparse(encoded: Sequence[Encoded], width: int) -> Any:
    """Encoded contexts as a matrix, one row each."""
    ends = np.cumsum([0, *(len(one.indices) for one in encoded)])
    indices = np.concatenate([one.indices for one in encoded])
    weights = np.concatenate([one.weights for one in encoded])
    return csr_matrix((weights, indices, ends), shape=(len(encoded), width))


def learn_base(
    encoded: Sequence[Encoded],
    width: int,
    aims: Targets,
    parts: Parts,
    options: TrainingOptions,
    seed: int,
) -> Base:
    """The text models and how they are joined."""
    rows = sparse(encoded, width)
    dense = np.stack([one.dense for one in encoded])
    tiers = aims.right.shape[1]
    chances = np.hstack([aims.right, aims.accept])
    weights = np.hstack([aims.right_weight, aims.accept_weight])
    logs = np.hstack(list(aims.logs))
    logs_weight = np.hstack(list(aims.logs_weight))
    middle = (weights * chances).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-9)
    centre = (logs_weight * logs).sum(axis=0) / np.maximum(logs_weight.sum(axis=0), 1e-9)
    values = np.hstack([chances - middle, logs - centre])
    every = np.hstack([weights, logs_weight])
    used = options.folds if len(dense) <= _LARGE else 1
    draw = np.random.default_rng([seed, 2])
    coefficients, linear = _linear(rows, values, every, 2 * tiers, parts, used, draw)
    landmarks, kernel, near = _near(dense, values[:, : 2 * tiers], weights, parts, options, draw)
    forest, grown = _forest(dense, values[:, : 2 * tiers], weights, parts, options, seed)
    predicted = parts < used
    stack = np.zeros((2 * tiers, 4))
    logits = np.zeros_like(chances)
    for head in range(2 * tiers):
        columns = np.column_stack(
            [np.ones(len(rows.indptr) - 1), linear[:, head], near[:, head], grown[:, head]]
        )
        each = _PULL / 3
        total = weights[:, head].sum()
        usual = (middle[head] * total + 1) / (total + 2)
        start = np.asarray([float(logit(np.asarray(usual))), each, each, each])
        weight = weights[predicted, head]
        soft = softened(chances[predicted, head], weight)
        stack[head] = fit(columns[predicted], soft, weight, start=start, ridge=np.full(4, 0.5))
        logits[:, head] = columns @ stack[head]
    costs = np.zeros((3, tiers, 2))
    expected = np.zeros((3, len(dense), tiers))
    for kind in range(3):
        for tier in range(tiers):
            column = kind * tiers + tier
            known = predicted & (logs_weight[:, column] > 0)
            guess = linear[:, 2 * tiers + column] + centre[column]
            factor = 0.0
            if known.any():
                # Cut off, as one answer of thousands of tokens must not raise the mean of all.
                factor = float(np.mean(np.exp(np.clip(logs[known, column] - guess[known], -3, 3))))
            costs[kind, tier] = centre[column], factor
            expected[kind, :, tier] = np.exp(np.clip(guess, -40, 25)) * factor
    priors = [
        Prior(
            right=tuple(map(min, row[:tiers], row[tiers:])),
            accept=tuple(row[tiers:]),
            tokens=tuple(expected[0, index].tolist()),
            seconds=tuple(expected[1, index].tolist()),
            usd=tuple(expected[2, index].tolist()),
        )
        for index, row in enumerate(logits.tolist())
    ]
    return Base(
        linear=coefficients,
        landmarks=landmarks,
        kernel=kernel,
        forest=forest,
        stack=stack,
        costs=costs,
        predicted=np.flatnonzero(predicted).tolist(),
        priors=[priors[index] for index in np.flatnonzero(predicted)],
    )


def _linear(
    rows: Any, values: Array, weights: Array, heads: int, parts: Parts, used: int, draw: np.random.Generator
) -> tuple[Floats, Array]:
    """Per column the coefficients with the best penalty, and what was predicted without a case's own part.

    The penalty of the first `heads` columns is chosen; that of the others, the costs, matters less.
    """
    some = np.sort(draw.permutation(len(values))[:_CHOOSING])
    best, chosen = np.full(heads, np.inf), np.full(values.shape[1], _LINEAR[0])
    for penalty in _LINEAR:
        penalties = np.full(heads, penalty)
        aims, weight = values[some, :heads], weights[some, :heads]
        guess = _without(rows[some], aims, weight, penalties, parts[some], int(parts.max()) + 1)
        loss = (weight * (guess - aims) ** 2).sum(axis=0)
        better = np.flatnonzero(loss < best)
        best[better], chosen[better] = loss[better], penalty
    without = _without(rows, values, weights, chosen, parts, used)
    return ridge.linear(rows, values, weights, chosen), without


def _without(rows: Any, values: Array, weights: Array, penalties: Array, parts: Parts, used: int) -> Array:
    """What was predicted without a case's own part, of the parts below `used`."""
    blocks = [weights * (parts != part)[:, None] for part in range(used)]
    found = ridge.linear(rows, np.tile(values, used), np.hstack(blocks), np.tile(penalties, used))
    guess = np.zeros_like(values)
    columns = values.shape[1]
    for part in range(used):
        here = parts == part
        guess[here] = rows[here] @ found[:, part * columns : (part + 1) * columns]
    return guess


def _near(
    dense: Floats,
    values: Array,
    weights: Array,
    parts: Parts,
    options: TrainingOptions,
    draw: np.random.Generator,
) -> tuple[Floats, Floats, Array]:
    """Landmarks, their coefficients, and what was predicted without a case's own part.

    Cases beyond a bound are no part of the fit, so that the model itself may speak of them.
    """
    count = min(options.landmarks, len(dense))
    if not count:
        return dense[:0], np.zeros((0, values.shape[1]), np.float32), np.zeros_like(values)
    landmarks = dense[np.sort(draw.permutation(len(dense))[:count])]
    some = np.sort(draw.permutation(len(dense))[:_NEAR])
    between = ridge.nearness(landmarks, landmarks, SHARPNESS)
    near = ridge.nearness(dense[some], landmarks, SHARPNESS)
    found, without = ridge.kernel(near, between, values[some], weights[some], parts[some], _KERNEL)
    everything = np.empty_like(values)
    for start in range(0, len(dense), 4_096):
        rows = slice(start, start + 4_096)
        everything[rows] = ridge.nearness(dense[rows], landmarks, SHARPNESS) @ found
    everything[some] = without
    return landmarks, found, everything


def _forest(
    dense: Floats, values: Array, weights: Array, parts: Parts, options: TrainingOptions, seed: int
) -> tuple[Forest, Array]:
    """The trees, and what was predicted without a case's own part; as `_near`."""
    some = np.sort(np.random.default_rng([seed, 6]).permutation(len(dense))[:_NEAR])
    forest, without = learn_forest(
        dense[some], values[some], weights[some], parts[some], trees=options.trees, seed=seed
    )
    everything = np.empty_like(values)
    for start in range(0, len(dense), 1_024):
        rows = slice(start, start + 1_024)
        everything[rows] = forest.predict(dense[rows])
    everything[some] = without
    return forest, everything
