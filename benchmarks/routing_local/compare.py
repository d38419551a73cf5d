"""Figures of policies, and of each against the large tier alone, with intervals that respect groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.routing_local.replay import Case, Result
from benchmarks.statistics import Interval, mean_interval, paired_interval, ratio_interval

SEED = 20_26
MARGIN = 0.05  # that a policy may be worse than the large tier alone, for the lower bound
SHARE = 0.5  # of its money


def figures(
    results: Mapping[str, Sequence[Result]], cases: Sequence[Case], base: str, *, resamples: int = 2_000
) -> dict[str, Any]:
    """Each policy's figures on all cases, on those of each track, and of each worker of several.

    Args:
        results: by policy, in the order of the cases.
        cases: what was replayed.
        base: the policy that the others are compared with.
        resamples: of the intervals, which are bootstrap ones over groups.
    """
    parts = {"all": list(range(len(cases)))}
    tracks: dict[str, list[int]] = {}
    workers: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        tracks.setdefault(case.track, []).append(place)
        workers.setdefault(case.episode.context["worker"], []).append(place)
    several = {name: places for name, places in workers.items() if places not in tracks.values()}
    for name, places in (tracks | several).items():
        if len({cases[place].group for place in places}) > 1:  # or there is no interval
            parts[name] = places
    return {
        part: {
            name: _figures(
                [one[place] for place in places],
                [results[base][place] for place in places],
                [cases[place].group for place in places],
                resamples,
            )
            for name, one in results.items()
        }
        for part, places in parts.items()
    }


def _figures(
    own: Sequence[Result], base: Sequence[Result], groups: Sequence[str], resamples: int
) -> dict[str, Any]:
    def over(measure: str) -> list[float]:
        pair = [[getattr(one, measure) for one in side] for side in (own, base)]
        return _shown(ratio_interval(*pair, clusters=groups, seed=SEED, resamples=resamples))

    right, reference = [one.right for one in own], [one.right for one in base]
    difference = paired_interval(right, reference, clusters=groups, seed=SEED, resamples=resamples)
    usd, served = over("usd"), joined([(1 / len(own), one) for one in own]).served
    return {
        "n": len(own),
        "right": _shown(mean_interval(right, clusters=groups, seed=SEED, resamples=resamples)),
        "difference": _shown(difference),
        "usd": sum(one.usd for one in own) / len(own),
        "usd_ratio": usd,
        "seconds": sum(one.seconds for one in own) / len(own),
        "seconds_ratio": over("seconds"),
        "answered": sum(served.values()),
        "served": served,
        "reached": difference.low >= -MARGIN and usd[0] <= SHARE,
    }


def mixed(parts: Mapping[str, Sequence[Result]], usd: float) -> list[Result]:
    """Lots between policies, as good as any that know nothing of the subtask can be at that cost.

    The expectation of each case, on the upper hull of the policies by mean cost and mean rightness.

    Args:
        parts: the policies.
        usd: mean cost of a case; outside of theirs, the nearest of them is taken.
    """

    def mean(name: str) -> tuple[float, float]:
        own = parts[name]
        return sum(one.usd for one in own) / len(own), sum(one.right for one in own) / len(own)

    points = {name: mean(name) for name in parts}
    best, best_right, share = min(points, key=lambda name: points[name][0]), -1.0, 0.0
    pair = (best, best)
    for low in points:
        for high in points:
            (a, left), (b, other) = points[low], points[high]
            if not a <= usd <= b:
                continue
            q = (usd - a) / (b - a) if b > a else 0.0
            if (value := (1 - q) * left + q * other) > best_right:
                pair, best_right, share = (low, high), value, q
    if best_right < 0 and usd > max(cost for cost, _ in points.values()):
        dearest = max(points, key=lambda name: points[name][0])
        pair = (dearest, dearest)
    return [
        joined([(1 - share, low), (share, high)])
        for low, high in zip(parts[pair[0]], parts[pair[1]], strict=True)
    ]


def averaged(runs: Sequence[Sequence[Result]]) -> list[Result]:
    """The mean of some runs, case by case."""
    return [joined([(1 / len(runs), one) for one in same]) for same in zip(*runs, strict=True)]


def joined(parts: Sequence[tuple[float, Result]]) -> Result:
    """Some results, each with its share."""
    served: dict[str, float] = {}
    for share, one in parts:
        for tier, count in one.served.items():
            served[tier] = served.get(tier, 0.0) + share * count
    return Result(
        right=sum(share * one.right for share, one in parts),
        usd=sum(share * one.usd for share, one in parts),
        seconds=sum(share * one.seconds for share, one in parts),
        served=served,
    )


def markdown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A table for each part."""
    lines = []
    for part, policies in found.items():
        count = next(iter(policies.values()))["n"]
        lines += [
            f"{part}, {count} subtasks",
            "",
            "| policy | right | against all-large | USD per 1,000 | of all-large's money "
            "| model-s | of all-large's seconds | answered |",
            "|---" * 8 + "|",
        ]
        for name, row in policies.items():
            lines.append(
                f"| {name} | {_interval(row['right'])} | {_interval(row['difference'], sign='+')} | "
                f"{1000 * row['usd']:.4f} | {_interval(row['usd_ratio'])} | {row['seconds']:.2f} | "
                f"{_interval(row['seconds_ratio'])} | {row['answered']:.2f} |"
            )
        lines.append("")
    return "\n".join(lines)


def _shown(interval: Interval) -> list[float]:
    return [interval.estimate, interval.low, interval.high]


def _interval(shown: Sequence[float], sign: str = "") -> str:
    middle, low, high = (f"{value:{sign}.2f}" for value in shown)
    return f"{middle} [{low}, {high}]"
