"""Figures of merit of routers, from what is right and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stellwerk.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """A router at one setting: what it costs, in any one unit, and how often it is right, from 0 to 1."""

    cost: float
    quality: float


def pgr(quality: float, small: float, large: float) -> float:
    """Performance gap recovered: 0.0 at the small tier's quality, and 1.0 at the large tier's.

    Raises:
        InputError: both tiers are equally good, so there is no gap.
    """
    if large == small:
        raise InputError(f"both tiers are right in {small:.3g}: there is no gap to recover")
    return (quality - small) / (large - small)


def call_curve(scores: ArrayLike, small_right: ArrayLike, large_right: ArrayLike) -> tuple[Floats, Floats]:
    """Share of calls to the large tier, and quality, where the highest scores go there.

    As RouteLLM measures (Ong et al. 2024, arXiv 2406.18665): thresholds are the 11 deciles of the scores.
    The small tier alone is added, where a lowest or highest score that many share leaves it out.

    Args:
        scores: per query, how much it is thought to need the large tier.
        small_right: per query, how right the small tier is, from 0 to 1.
        large_right: likewise for the large tier.

    Returns:
        Both in the order of the share, which is from 0.0 to 1.0.

    Raises:
        InputError: there are no queries, or the sequences differ in length.
    """
    score, small, large = _same_length(scores, small_right, large_right)
    shares, qualities = [0.0], [float(small.mean())]
    for threshold in np.unique(np.quantile(score, np.linspace(0, 1, 11)))[::-1]:
        there = score >= threshold
        shares.append(float(there.mean()))
        qualities.append(float(np.where(there, large, small).mean()))
    return np.array(shares), np.array(qualities)


def apgr(scores: ArrayLike, small_right: ArrayLike, large_right: ArrayLike) -> float:
    """Average performance gap recovered over all shares of calls; see `call_curve`.

    By the trapezoid rule. A random router has .5 on average; one that knows more than the large tier's
    average may exceed 1.

    Raises:
        InputError: as `call_curve` and `pgr`.
    """
    shares, qualities = call_curve(scores, small_right, large_right)
    return pgr(float(np.trapezoid(qualities, shares)), float(qualities[0]), float(qualities[-1]))


def cpt(scores: ArrayLike, small_right: ArrayLike, large_right: ArrayLike, target: float) -> float:
    """Call-performance threshold: the least share of large calls that recovers so much of the gap.

    Linear between the deciles.

    Args:
        scores: see `call_curve`.
        small_right: see there.
        large_right: see there.
        target: share of the gap, as .5 or .8; up to 1.0, which the large tier alone reaches.

    Raises:
        InputError: the target is above 1, or as `call_curve` and `pgr`.
    """
    if target > 1:
        raise InputError(f"a share of the gap is at most 1, which the large tier reaches, not {target}")
    shares, qualities = call_curve(scores, small_right, large_right)
    gained = np.array([pgr(float(q), float(qualities[0]), float(qualities[-1])) for q in qualities])
    first = int(np.argmax(gained >= target))
    if first == 0:
        return 0.0
    part = (target - gained[first - 1]) / (gained[first] - gained[first - 1])
    return float(shares[first - 1] + part * (shares[first] - shares[first - 1]))


def hull(points: Sequence[Point]) -> list[Point]:
    """The upper non-decreasing hull: what mixing the points by lot gives at each cost, at best.

    Raises:
        InputError: there are no points.
    """
    if not points:
        raise InputError("a hull needs at least one operating point")
    upper: list[Point] = []
    for point in sorted(set(points), key=lambda point: (point.cost, -point.quality)):
        if upper and point.quality <= upper[-1].quality:
            continue
        while len(upper) > 1 and _below(upper[-2], upper[-1], point):
            upper.pop()
        upper.append(point)
    return upper


def capgr(points: Sequence[Point], small: Point, large: Point) -> float:
    """Cost-based average gap recovered, for any number of tiers: PGR averaged over the cost.

    The cost goes from the small tier's (0) to the large tier's (1), on the hull of all points and these two.

    Raises:
        InputError: the large tier costs no more than the small one, or is as good.
    """
    if large.cost <= small.cost:
        raise InputError(
            f"the large tier costs {large.cost:.4g}, no more than the small one, {small.cost:.4g}"
        )
    upper = hull([*points, small, large])
    costs, qualities = np.array([p.cost for p in upper]), np.array([p.quality for p in upper])
    inside = costs[(costs > small.cost) & (costs < large.cost)]
    grid = np.concatenate(([small.cost], inside, [large.cost]))
    area = np.trapezoid(np.interp(grid, costs, qualities), grid) / (large.cost - small.cost)
    return pgr(float(area), small.quality, large.quality)


def save_at(points: Sequence[Point], small: Point, large: Point, share: float = 1.0) -> float:
    """Save@share: how much of the large tier's cost is saved at that share of its quality, on the hull.

    Returns:
        At most 1.0; below 0.0 where it takes more than the large tier's cost.

    Raises:
        InputError: no point reaches that quality, or the large tier is free.
    """
    if not large.cost > 0:
        raise InputError("the large tier costs nothing, so nothing can be saved")
    upper, target = hull([*points, small, large]), share * large.quality
    if upper[-1].quality < target:
        best = upper[-1].quality
        raise InputError(f"no operating point reaches a quality of {target:.4g}; the best is at {best:.4g}")
    cost = float(np.interp(target, [p.quality for p in upper], [p.cost for p in upper]))
    return 1.0 - cost / large.cost


def brier(believed: ArrayLike, right: ArrayLike) -> float:
    """Brier score: the mean squared distance of what was believed from what came true; 0.0 is best.

    Raises:
        InputError: there are no values, or the sequences differ in length.
    """
    p, y = _same_length(believed, right)
    return float(((p - y) ** 2).mean())


def ece(believed: ArrayLike, right: ArrayLike, *, bins: int = 10, debiased: bool = True) -> float:
    """Expected calibration error over bins with equally many values; 0.0 is best.

    The plain one grows as values get fewer: a perfectly calibrated model shows about .06 at 300. Debiased
    after Kumar, Liang and Ma 2019 (arXiv 1909.10155), in closed form: the noise of a bin's mean, taken as
    normal, is added once more, and what that adds is taken off. That takes off some 40 % of the bias where a
    model is perfectly calibrated, and nearly all where it is far off, so it still errs to the high side.

    Args:
        believed: probabilities.
        right: what came true, from 0 to 1.
        bins: at most so many.
        debiased: whether to correct for few values.

    Raises:
        InputError: there are no values, or the sequences differ in length.
    """
    p, y = _same_length(believed, right)
    order = np.argsort(p, kind="stable")
    plain = added = 0.0
    for part in np.array_split(order, min(bins, len(p))):
        share, rate = len(part) / len(p), float(y[part].mean())
        gap = abs(float(p[part].mean()) - rate)
        plain += share * gap
        added += share * (_folded(gap, sqrt(rate * (1 - rate) / len(part))) - gap)
    return max(0.0, plain - added) if debiased else plain


def _folded(mean: float, deviation: float) -> float:
    """The mean of the absolute value of a normal variable."""
    if deviation <= 0:
        return abs(mean)
    ratio = mean / deviation
    return deviation * sqrt(2 / pi) * exp(-(ratio**2) / 2) + mean * erf(ratio / sqrt(2))


def _below(left: Point, middle: Point, right: Point) -> bool:
    """Whether the middle point is on or below the line between its neighbours."""
    rise = (right.quality - left.quality) * (middle.cost - left.cost)
    return (middle.quality - left.quality) * (right.cost - left.cost) <= rise


def _same_length(*sequences: ArrayLike) -> list[Floats]:
    arrays = [np.asarray(sequence, dtype=np.float64) for sequence in sequences]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise InputError(f"values of the same queries are as many, at least one; not {lengths}")
    return arrays
