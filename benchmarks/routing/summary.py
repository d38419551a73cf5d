"""Figures over seeds, from the rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student

from benchmarks.routing.peers import PEERS
from benchmarks.statistics import Interval

Row = dict[str, Any]
Figures = dict[str, Any]


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of one figure a seed, with Student's 95% interval; without width for a single seed.

    It covers the draw of the split and of the training, not that of the questions, which are the same.
    """
    mean = fmean(values)
    if len(values) < 2:
        return Interval(mean, mean, mean)
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def figures_of(rows: Iterable[Row], protocol: str, method: str | None = None) -> dict[str, list[Figures]]:
    """Per router, its figures on one protocol, one a seed, in the order of the rows."""
    found: dict[str, list[Figures]] = {}
    for row in rows:
        if row["protocol"] == protocol and method in (None, row["method"]):
            found.setdefault(row["method"], []).append(row["figures"])
    return found


def kind(method: str) -> str:
    """Whose a router is: `ours`, a `peer`'s, or `plain`."""
    if method.startswith("stellwerk"):
        return "ours"
    return "peer" if method in PEERS else "plain"


def mean_of(figures: Sequence[Figures], pick: Callable[[Figures], float]) -> Interval:
    """One figure over the seeds."""
    return over_seeds([pick(one) for one in figures])


def protocols_of(rows: Iterable[Row], track: str) -> list[str]:
    """Those of a track, in the order of the rows."""
    return list(dict.fromkeys(row["protocol"] for row in rows if row["track"] == track))
