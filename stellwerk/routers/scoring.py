"""How good probabilities are: AUC, Brier score, and the calibration error without its bias."""

from __future__ import annotations

import numpy as np

from stellwerk.routers.logistic import Array

_BINS = 10


def auc(chances: Array, right: Array, weights: Array) -> float | None:
    """Probability that a right answer was given a higher chance than a wrong one; None without both.

    Args:
        chances: one a case.
        right: how right each is, from 0 to 1; a fraction counts as both, in parts.
        weights: one a case.
    """
    good, bad = weights * right, weights * (1 - right)
    if good.sum() <= 0 or bad.sum() <= 0:
        return None
    _, inverse = np.unique(chances, return_inverse=True)
    ups, downs = np.bincount(inverse, good), np.bincount(inverse, bad)
    below = np.cumsum(downs) - downs
    return float((ups * (below + downs / 2)).sum() / (good.sum() * bad.sum()))


def brier(chances: Array, right: Array, weights: Array) -> float | None:
    """Mean squared difference; None without a case."""
    return float(weights @ (chances - right) ** 2 / weights.sum()) if weights.sum() > 0 else None


def calibration_error(chances: Array, right: Array, weights: Array) -> float | None:
    """Calibration error over bins of equal size, root mean square, without its bias; None without cases.

    In a bin of n cases the mean is off by chance; what that adds to the square on average, variance / n, is
    subtracted (Kumar et al. 2019, arXiv 1909.10155). So it is about 0 for a perfectly calibrated model.
    """
    known = weights > 0
    if known.sum() < 2 * _BINS:
        return None
    chances, right, weights = chances[known], right[known], weights[known]
    total = 0.0
    for part in np.array_split(np.argsort(chances, kind="stable"), _BINS):
        weight = weights[part]
        mean = weight @ right[part] / weight.sum()
        off = weight @ chances[part] / weight.sum() - mean
        count = weight.sum() ** 2 / (weight @ weight)
        spread = weight @ (right[part] - mean) ** 2 / weight.sum() / max(count - 1, 1)
        total += weight.sum() * (off**2 - spread)
    return float(np.sqrt(max(total / weights.sum(), 0.0)))
