"""Ridge regression for training: many targets at once, each with weights of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from stellwerk.routers.logistic import Array
from stellwerk.routers.terms import Floats

Parts = NDArray[np.int64]

_NEAR_ENOUGH = 1e-4  # of the squared length of what is left over; predictions differ by less than 0.01
_FAINT = 1e-6  # of the strongest direction, squared: what is weaker is rounding
_JITTER = 1e-2  # contexts may be the same, and then so are rows of the nearness


def linear(rows: Any, targets: Array, weights: Array, penalties: Array, *, steps: int = 40) -> Floats:
    """Coefficients by conjugate gradients, side by side for all columns.

    Args:
        rows: sparse, in CSR form.
        targets: one row a case, one column a regression; about zero on average.
        weights: of the same shape.
        penalties: one a column.
        steps: at most.
    """
    across = rows.T.tocsr()
    live = _varying(targets, weights)
    all_coefficients = np.zeros((rows.shape[1], targets.shape[1]), np.float32)
    weights = weights[:, live].astype(np.float32)
    penalties = penalties[live].astype(np.float32)
    rest = across @ (weights * targets[:, live].astype(np.float32))
    coefficients = np.zeros_like(rest)
    direction = rest.copy()
    size = (rest * rest).sum(axis=0)
    goal = _NEAR_ENOUGH * np.maximum(size, 1e-12)
    for _ in range(steps):
        if not (size > goal).any():
            break
        moved = across @ (weights * (rows @ direction)) + penalties * direction
        length = size / np.maximum((direction * moved).sum(axis=0), 1e-20)
        coefficients += length * direction
        rest -= length * moved
        after = (rest * rest).sum(axis=0)
        direction = rest + (after / np.maximum(size, 1e-20)) * direction
        size = after
    all_coefficients[:, live] = coefficients
    return all_coefficients


def space(rows: Any, size: int, draw: np.random.Generator) -> Floats:
    """The directions in which rows differ most, one column each: the right singular vectors.

    Randomised, with two power iterations (Halko, Martinsson and Tropp 2011, arXiv 0909.4061).

    Args:
        rows: sparse, in CSR form.
        size: number of directions.
        draw: where to begin.
    """
    across = rows.T.tocsr()
    width = min(size + 10, *rows.shape)
    found, _ = np.linalg.qr(rows @ draw.standard_normal((rows.shape[1], width)).astype(np.float32))
    for _ in range(2):
        found, _ = np.linalg.qr(rows @ (across @ found))
    seen = across @ found
    strengths, turn = np.linalg.eigh((seen.T @ seen).astype(np.float64))
    kept = np.argsort(-strengths, kind="stable")[:size]
    kept = kept[strengths[kept] > _FAINT * strengths[kept[0]]]
    directions: Floats = seen @ (turn[:, kept] / np.sqrt(strengths[kept])).astype(np.float32)
    return directions


def nearness(places: Floats, landmarks: Floats, sharpness: float) -> Floats:
    """exp(-sharpness × squared distance), one row a place, one column a landmark."""
    away = (places**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1) - 2 * places @ landmarks.T
    near: Floats = np.exp(-sharpness * np.maximum(away, 0))
    return near


def kernel(
    near: Floats, between: Floats, targets: Array, weights: Array, parts: Parts, penalties: Sequence[float]
) -> tuple[Floats, Array]:
    """Coefficients of the landmarks, and what those fitted without a case's own part say of each case.

    Subset of regressors (Williams and Seeger 2001): a function of the nearness to landmarks, as smooth as the
    nearness between those. Of the penalties on the roughness the one is taken that predicts best without the
    own part.

    Args:
        near: to the landmarks, one row a case.
        between: the same of the landmarks themselves.
        targets: one row a case, one column a regression; about zero on average.
        weights: of the same shape.
        parts: of each case, from 0.
        penalties: to choose from, one for each column.
    """
    size, columns = between.shape[0], targets.shape[1]
    coefficients = np.zeros((size, columns), np.float32)
    without = np.zeros(targets.shape)
    best = np.full(columns, np.inf)
    members = [parts == part for part in range(parts.max() + 1)]
    same: dict[bytes, list[int]] = {}
    for column in _varying(targets, weights).tolist():
        same.setdefault(weights[:, column].tobytes(), []).append(column)
    for group in same.values():
        weight, aims = weights[:, group[0]], targets[:, group]
        sums = [_sums(near[here], weight[here], aims[here]) for here in members]
        gram = np.sum([one[0] for one in sums], axis=0)
        side = np.sum([one[1] for one in sums], axis=0)
        for penalty in penalties:
            smooth = penalty * between.astype(np.float64)
            guess = np.zeros_like(aims)
            for here, (own, own_side) in zip(members, sums, strict=True):
                guess[here] = near[here] @ _solved(gram - own + smooth, side - own_side)
            loss = weight @ (guess - aims) ** 2
            better = np.flatnonzero(loss < best[group])
            if better.size:
                chosen = np.asarray(group)[better]
                best[chosen], without[:, chosen] = loss[better], guess[:, better]
                coefficients[:, chosen] = _solved(gram + smooth, side[:, better])
    return coefficients, without


def _varying(targets: Array, weights: Array) -> NDArray[np.int64]:
    """Columns in which there is anything to learn."""
    return np.flatnonzero((weights * targets**2).sum(axis=0) > 1e-9)


def _sums(near: Floats, weight: Array, aims: Array) -> tuple[Array, Array]:
    scaled = near * np.sqrt(weight)[:, None].astype(np.float32)
    side = near.T @ (weight[:, None] * aims).astype(np.float32)
    return (scaled.T @ scaled).astype(np.float64), side.astype(np.float64)


def _solved(gram: Array, side: Array) -> Array:
    """Solves a system that is positive definite up to rounding: a little is added to the diagonal."""
    added = _JITTER
    while True:
        try:
            factor = cho_factor(gram + added * np.eye(len(gram)), overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            if added > _JITTER * 1e9:
                raise
            added *= 10
        else:
            found: Array = cho_solve(factor, side)
            return found
