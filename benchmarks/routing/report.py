"""The tables of the benchmark, from its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from statistics import fmean
from typing import Any

from benchmarks.routing.newcomer import worse
from benchmarks.routing.summary import Figures, Row, figures_of, kind, mean_of, protocols_of
from benchmarks.statistics import Interval, mean_interval, share_interval

PUBLISHED = {
    "MMLU, 1,500 labels": ("RouteLLM's best, published", 0.603),
    "GSM8K, 5 folds": ("RouteLLM's best, published", 0.622),
}
_RESAMPLES = 2_000
_OF_FLOORS = (
    "rows, calibration, floor, proven, broken on all rows, below on the other half, coverage, right,"
    " cost by the largest's, without proof"
)
_SEED = 20_24


def markdown(rows: Sequence[Row]) -> str:
    """All tables that the rows have something for."""
    parts = [
        *_ranking(rows),
        *_verified(rows),
        *_spending(rows),
        *_floors(rows),
        *_users(rows),
    ]
    return "\n".join(parts)


def _ranking(rows: Sequence[Row]) -> list[str]:
    lines: list[str] = []
    for protocol in protocols_of(rows, "A"):
        methods = figures_of(rows, protocol)
        methods.pop("bounds", None)
        if not methods or not all("apgr" in figures[0] for figures in methods.values()):
            continue
        lines += [
            "",
            f"{protocol}:",
            "",
            *_head("router, whose, seeds, APGR, APGR at validation thresholds, calls for half the gap, ECE"),
        ]
        ordered = sorted(methods.items(), key=lambda item: -fmean(one["apgr"] for one in item[1]))
        for name, figures in ordered:
            cells = [_shown(mean_of(figures, itemgetter(key))) for key in ("apgr", "apgr_fixed", "cpt50")]
            lines.append(_row(name, kind(name), len(figures), *cells, _ece(figures)))
        if protocol in PUBLISHED:
            name, value = PUBLISHED[protocol]
            lines.append(_row(name, "given", "-", f"{value:.3f}", "-", "-", "-"))
    return lines


def _spending(rows: Sequence[Row]) -> list[str]:
    lines: list[str] = []
    for protocol in [*protocols_of(rows, "C"), *protocols_of(rows, "D")]:
        methods = figures_of(rows, protocol)
        limits = methods.pop("bounds", None)
        if not methods or not all("capgr" in figures[0] for figures in methods.values()):
            continue
        lines += [
            "",
            f"{protocol}:",
            "",
            *_head(
                "router, whose, seeds, cAPGR, Save@100, saved if set on validation, right less largest, ECE"
            ),
        ]
        if limits:
            for name, shown in (("oracle", "who knows all outcomes"), ("mix", "mix by lot")):
                one = limits[0][name]
                lines.append(
                    f"| {shown} | bound | - | {one['capgr']:.3f} | {one['saving']:.0%} | - | - | - |"
                )
        ordered = sorted(methods.items(), key=lambda item: -fmean(one["capgr"] for one in item[1]))
        for name, figures in ordered:
            cells = [
                _shown(mean_of(figures, itemgetter("capgr"))),
                _percent(mean_of(figures, itemgetter("saving"))),
                _percent(mean_of(figures, itemgetter("held_saving"))),
                _shown(mean_of(figures, itemgetter("held_right")), signed=True),
            ]
            lines.append(_row(name, kind(name), len(figures), *cells, _ece(figures)))
    return lines


def _verified(rows: Sequence[Row]) -> list[str]:
    found = [row for row in rows if row["track"] == "B" and row["method"] in ("rules", "stellwerk")]
    found = [row for row in found if not row["protocol"].startswith("500")]
    if not found:
        return []
    lines = [
        "",
        "GSM8K, Mixtral's answers checked, every call charged:",
        "",
        *_head("router, seeds, right, cost by always GPT-4's, calls of GPT-4"),
    ]
    by_name: dict[str, list[Figures]] = {}
    for row in found:
        for name, figures in row["figures"].items():
            by_name.setdefault(name, []).append(figures)
    for name, figures in by_name.items():
        cost, calls = (f"{fmean(f[key] for f in figures):.1%}" for key in ("cost", "calls"))
        seeds = len(figures) if name.startswith("stellwerk") else "-"
        lines.append(_row(name, seeds, _shown(rightness(figures)), cost, calls))
    return lines


def rightness(figures: Sequence[Figures]) -> Interval:
    """Of one router on the same questions, one list a seed; exact where there is one, else bootstrapped."""
    served = [fmean(values) for values in zip(*(f["rows"] for f in figures), strict=True)]
    if len(figures) == 1:
        return share_interval(round(sum(served)), len(served))
    return mean_interval(served, clusters=None, seed=_SEED, resamples=_RESAMPLES)


def _floors(rows: Sequence[Row]) -> list[str]:
    found = [row for row in rows if row["protocol"].startswith("re-splits")]
    if not found:
        return []
    lines = [
        "",
        "Floors at 95% confidence, calibration rows drawn anew 1,000 times:",
        "",
        *_head(_OF_FLOORS),
    ]
    for row in found:
        lines += _promised(row["protocol"].removeprefix("re-splits of "), row["figures"])
    return lines


def promises(figures: Figures, rows: str = "this machine") -> str:
    """A table of the floors of one set of rows."""
    return "\n".join([*_head(_OF_FLOORS), *_promised(rows, figures)])


def _promised(rows: str, figures: Figures) -> list[str]:
    lines = []
    for floor, one in figures.items():
        cells = [
            f"{one['proven']:.1%}",
            _share(one["violated"]),
            _share(one["below"]),
            f"{one['coverage']:.2f}",
            f"{one['right']:.3f}",
            f"{one['cost']:.1%}",
            f"{one['unproven']:.1%}",
        ]
        lines.append(_row(rows, one["rows"], floor, *cells))
    return lines


def _users(rows: Sequence[Row]) -> list[str]:
    found: dict[str, list[Figures]] = {}
    for row in rows:
        if row["protocol"].startswith("500 traces"):
            found.setdefault(row["protocol"].removeprefix("500 traces of "), []).append(row["figures"])
    if not found:
        return []
    lines = [
        "",
        "Trained on 500 traces of smallest first, beside it on the same rows:",
        "",
        *_head(
            "rows, seeds, right, smallest first, cost by smallest first's, difference at equal cost,"
            " seeds less right / dearer / worse at equal cost, promoted"
        ),
    ]
    for name, figures in found.items():
        ours, theirs = (f"{fmean(f['right'][place] for f in figures):.3f}" for place in (0, 1))
        found_cost = _shown(mean_of(figures, lambda f: f["cost"][0]), 2)
        equal = _shown(mean_of(figures, lambda f: f["equal_cost"][0]), signed=True)
        counts = [
            sum(one["right_difference"][2] < 0 for one in figures),
            sum(one["cost_difference"][1] > 0 for one in figures),
            sum(map(worse, figures)),
        ]
        promoted = sum(one["promoted"] for one in figures)
        lines.append(
            _row(name, len(figures), ours, theirs, found_cost, equal, " / ".join(map(str, counts)), promoted)
        )
    return lines


def _head(names: str) -> list[str]:
    columns = names.split(", ")
    return [_row(*columns), "|---" * len(columns) + "|"]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _ece(figures: Sequence[Figures]) -> str:
    known = [one["ece"] for one in figures if "ece" in one]
    if not known:
        return "-"
    return " / ".join(f"{fmean(values):.3f}" for values in zip(*known, strict=True))


def _shown(found: Interval, digits: int = 3, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    middle = f"{found.estimate:{sign}.{digits}f}"
    if found.low == found.high:
        return middle
    return f"{middle} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"


def _percent(found: Interval) -> str:
    if found.low == found.high:
        return f"{found.estimate:.0%}"
    return f"{found.estimate:.0%} [{found.low:.0%}, {found.high:.0%}]"


def _share(found: Any) -> str:
    share, low, high = found
    return f"{share:.1%} [{low:.1%}, {high:.1%}]"
