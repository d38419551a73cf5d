"""Logistic regression for few columns: with fractional targets, weights, and a start that it is drawn to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EDGE = 1e-4  # no probability is taken to be nearer to 0 or 1


def sigmoid(logits: Array) -> Array:
    """Probabilities of log odds."""
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def logit(probabilities: Array) -> Array:
    """Log odds of probabilities, kept off 0 and 1."""
    kept = np.clip(probabilities, EDGE, 1 - EDGE)
    return np.log(kept / (1 - kept))


def softened(targets: Array, weights: Array) -> Array:
    """Targets off 0 and 1 by what so many cases leave open, as Platt (1999) has it.

    Where all of a hundred answers are right, the next is believed to be with 101 in 102, not for certain.
    """
    right, wrong = float(weights @ targets), float(weights @ (1 - targets))
    return targets * (right + 1) / (right + 2) + (1 - targets) / (wrong + 2)


def fit(
    rows: Array,
    targets: Array,
    weights: Array,
    *,
    start: Array,
    ridge: Array,
    offset: Array | None = None,
    steps: int = 25,
) -> Array:
    """Coefficients by Newton's method; without rows they are `start`.

    Args:
        rows: one a case, one column a coefficient.
        targets: from 0 to 1, one a case.
        weights: one a case.
        start: coefficients that the penalty draws to.
        ridge: how strongly, one a coefficient.
        offset: log odds that are known, one a case.
        steps: at most.
    """
    coefficients = start.astype(np.float64).copy()
    known = np.zeros(len(rows)) if offset is None else offset

    def loss(candidate: Array) -> float:
        logits = rows @ candidate + known
        off = candidate - start
        return float(weights @ (np.logaddexp(0, logits) - targets * logits) + 0.5 * ridge @ (off * off))

    best = loss(coefficients)
    for _ in range(steps):
        chances = sigmoid(rows @ coefficients + known)
        slope = rows.T @ (weights * (chances - targets)) + ridge * (coefficients - start)
        curve = (rows.T * (weights * chances * (1 - chances))) @ rows + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while (now := loss(coefficients - size * step)) > best + 1e-12 and size > 1e-4:
            size /= 2
        if size <= 1e-4 or best - now < 1e-9 * (1 + abs(best)):
            break
        coefficients, best = coefficients - size * step, now
    return coefficients
