"""Intervals: exact ones of shares, and bootstrapped ones of means.

The latter respect clusters: questions about one page succeed or fail together.

Percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13) in which
whole clusters are drawn with replacement.
"""

import math
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from stellwerk.errors import InputError
from stellwerk.routers.bounds import lower_bound, upper_bound


@dataclass(frozen=True)
class Interval:
    """An estimate between its confidence bounds, in the unit of the values."""

    estimate: float
    low: float
    high: float


def share_interval(hits: int, count: int, confidence: float = 0.95) -> Interval:
    """A share of independent observations, two-sided and exact (Clopper and Pearson, Biometrika 26, 1934).

    Raises:
        InputError: The counts are no counts, or the confidence is not between 0 and 1.
    """
    one_sided = (1 + confidence) / 2
    return Interval(hits / count, lower_bound(hits, count, one_sided), upper_bound(hits, count, one_sided))


def mean_interval(
    values: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """The mean of `values`.

    Args:
        values: One value an observation.
        clusters: The cluster of each observation; None makes each one its own.
        seed: The same seed and data give the same interval.
        resamples: Number of bootstrap samples.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        InputError: The sequences differ in length, or there are fewer than two clusters.
    """
    ones = [1.0] * len(values)
    return _bootstrap_ratio(values, ones, clusters, seed, resamples, confidence)


def paired_interval(
    a: Sequence[float],
    b: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """The mean of `a` minus `b`, observation by observation.

    Args:
        a: One value an observation.
        b: The value to compare with, of the same observations in the same order.
        clusters: The cluster of each observation; None makes each one its own.
        seed: The same seed and data give the same interval.
        resamples: Number of bootstrap samples.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        InputError: The sequences differ in length, or there are fewer than two clusters.
    """
    _require_same_length(a, b)
    differences = [x - y for x, y in zip(a, b, strict=True)]
    return mean_interval(
        differences, clusters=clusters, seed=seed, resamples=resamples, confidence=confidence
    )


def ratio_interval(
    a: Sequence[float],
    b: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """The mean of `a` over the mean of `b`; a resample in which all of `b` is zero counts as infinite.

    Args:
        a: One value an observation.
        b: The value to compare with, of the same observations in the same order; none is negative.
        clusters: The cluster of each observation; None makes each one its own.
        seed: The same seed and data give the same interval.
        resamples: Number of bootstrap samples.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        InputError: The sequences differ in length, there are fewer than two clusters, a value of `b` is
            negative, or all are zero.
    """
    _require_same_length(a, b)
    if not any(b) or min(b) < 0:
        raise InputError("the denominator of a ratio needs values of zero and above, one of them above zero")
    return _bootstrap_ratio(a, b, clusters, seed, resamples, confidence)


def quantile(values: Sequence[float], q: float) -> float:
    """The `q`-quantile, 0 to 1, linear between neighbours (type 7 of Hyndman and Fan, 1996).

    Raises:
        InputError: There are no values, or `q` lies outside 0 to 1.
    """
    if not values:
        raise InputError("a quantile needs at least one value")
    if not 0 <= q <= 1:
        raise InputError(f"a quantile lies between 0 and 1, not at {q}")
    ordered = sorted(values)
    below = math.floor(q * (len(ordered) - 1))
    fraction = q * (len(ordered) - 1) - below
    # Apart from the sum below, since 0 * inf is not a number.
    if fraction == 0 or ordered[below] == ordered[below + 1]:
        return ordered[below]
    return ordered[below] + fraction * (ordered[below + 1] - ordered[below])


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.inf


def _require_same_length(a: Sequence[object], b: Sequence[object]) -> None:
    if len(a) != len(b):
        raise InputError(f"values of the same observations differ in length: {len(a)} and {len(b)}")


def _bootstrap_ratio(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[Hashable] | None,
    seed: int,
    resamples: int,
    confidence: float,
) -> Interval:
    if resamples < 1 or not 0 < confidence < 1:
        raise InputError(
            f"an interval needs resamples of 1 or more and a confidence between 0 and 1,"
            f" not {resamples} and {confidence}"
        )
    a_totals, b_totals = _totals(a, clusters), _totals(b, clusters)
    if len(a_totals) < 2:
        raise InputError(f"an interval needs at least two clusters, not {len(a_totals)}")
    draw = random.Random(seed)
    places = range(len(a_totals))
    estimates = []
    for _ in range(resamples):
        drawn = draw.choices(places, k=len(places))
        estimates.append(_ratio(sum(map(a_totals.__getitem__, drawn)), sum(map(b_totals.__getitem__, drawn))))
    tail = (1 - confidence) / 2
    return Interval(_ratio(sum(a), sum(b)), quantile(estimates, tail), quantile(estimates, 1 - tail))


def _totals(values: Sequence[float], clusters: Sequence[Hashable] | None) -> list[float]:
    if clusters is None:
        return list(values)
    _require_same_length(values, clusters)
    totals: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        totals[cluster] = totals.get(cluster, 0.0) + value
    return list(totals.values())
