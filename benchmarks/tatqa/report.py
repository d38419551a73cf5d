"""The tables of the benchmark, from its rows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.statistics import Interval, mean_interval, paired_interval, quantile, ratio_interval
from benchmarks.tatqa.arms import ARMS, LARGE, SMALL

SEED = 20_19
TYPES = ("span", "multi-span", "arithmetic", "count")
Run = dict[str, Any]
Row = dict[str, Any]


def summarise(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures of each arm, and of each pair that a goal compares, on the pages that both arms have."""
    arms = {arm: [run for run in runs if run["arm"] == arm] for arm in ARMS}
    found: dict[str, Any] = {arm: _arm(own) for arm, own in arms.items() if own}
    pairs = {}
    for better, base in (
        ("ladder", "large"),
        ("ladder", "small"),
        ("planned", "ladder"),
        ("planned", "large"),
    ):
        if arms[better] and arms[base]:
            pairs[f"{better} against {base}"] = _pair(arms[better], arms[base])
    return {"arms": found, "pairs": pairs}


def markdown(summary: dict[str, Any]) -> str:
    """The summary as tables."""
    arms = summary["arms"]
    lines = [
        "| arm | pages | questions | EM | F1 | EM without scale | F1 without scale |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, arm in arms.items():
        lines.append(
            f"| {name} | {arm['pages']} | {arm['questions']} | {_interval(arm['em'])} | "
            f"{_interval(arm['f1'])} | "
            f"{_interval(arm['em_without_scale'])} | {_interval(arm['f1_without_scale'])} |"
        )
    lines += ["", "| arm | " + " | ".join(f"{kind} EM (without scale)" for kind in TYPES) + " |"]
    lines.append("|---" * (len(TYPES) + 1) + "|")
    for name, arm in arms.items():
        cells = []
        for kind in TYPES:
            part = arm["by_type"].get(kind)
            cells.append(f"{part['em']:.2f} ({part['em_without_scale']:.2f}), n={part['n']}" if part else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| arm | model-s a question | p50 | p95 | calls | tokens in | cached | out | USD per 1,000 "
        "| planning s a page |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, arm in arms.items():
        lines.append(
            f"| {name} | {arm['seconds']:.2f} | {arm['p50']:.2f} | {arm['p95']:.2f} | {arm['calls']:.2f} | "
            f"{arm['input']:.0f} | {arm['cached']:.0f} | {arm['output']:.1f} | {1000 * arm['usd']:.3f} | "
            f"{arm['planning_seconds']:.1f} |"
        )
    lines += [
        "",
        "| arm | accepted on 0.5B | accepted on 1.5B | not accepted | rejections |",
        "|---|---|---|---|---|",
    ]
    for name, arm in arms.items():
        if "accepted" in arm:
            rejected = ", ".join(f"{count} {reason}" for reason, count in arm["rejected"].items()) or "-"
            taken = arm["accepted"]
            lines.append(
                f"| {name} | {taken.get(SMALL, 0)} | {taken.get(LARGE, 0)} | {arm['failed']} | {rejected} |"
            )
    lines += [
        "",
        "| pair | pages | EM difference | EM ratio | ratio without scale | model-seconds ratio | USD ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, pair in summary["pairs"].items():
        lines.append(
            f"| {name} | {pair['pages']} | {_interval(pair['em_difference'], signed=True)} | "
            f"{_interval(pair['em_ratio'])} | {_interval(pair['em_ratio_without_scale'])} | "
            f"{_interval(pair['seconds_ratio'])} | {_interval(pair['usd_ratio'])} |"
        )
    return "\n".join(lines)


def _arm(runs: Sequence[Run]) -> dict[str, Any]:
    rows = [row for run in runs for row in run["rows"]]
    pages = [row["page"] for row in rows]
    count = len(rows)
    figures: dict[str, Any] = {"pages": len(runs), "questions": count}
    for measure in ("em", "f1", "em_without_scale", "f1_without_scale"):
        figures[measure] = _plain(mean_interval([row[measure] for row in rows], clusters=pages, seed=SEED))
    for measure in ("seconds", "calls", "input", "cached", "output", "usd"):
        figures[measure] = sum(row[measure] for row in rows) / count
    figures["p50"] = quantile([row["seconds"] for row in rows], 0.5)
    figures["p95"] = quantile([row["seconds"] for row in rows], 0.95)
    figures["planning_seconds"] = sum(run["planning_seconds"] for run in runs) / len(runs)
    figures["planning_usd"] = sum(run["planning_usd"] for run in runs)
    figures["by_type"] = {
        kind: {
            "n": len(part),
            "em": sum(row["em"] for row in part) / len(part),
            "em_without_scale": sum(row["em_without_scale"] for row in part) / len(part),
            "seconds": sum(row["seconds"] for row in part) / len(part),
        }
        for kind in TYPES
        if (part := [row for row in rows if row["answer_type"] == kind])
    }
    if any(row["worker"] for row in rows):
        figures["accepted"] = dict(Counter(row["tier"] for row in rows if row["tier"]))
        figures["failed"] = sum(not row["tier"] for row in rows)
        figures["attempts"] = sum(len(row["attempts"]) for row in rows)
        figures["rejected"] = dict(
            Counter(
                attempt.get("reason", "rejected")
                for row in rows
                for attempt in row["attempts"]
                if not attempt.get("accepted")
            )
        )
    return figures


def _pair(better: Sequence[Run], base: Sequence[Run]) -> dict[str, Any]:
    common = sorted({run["page"] for run in better} & {run["page"] for run in base})
    ours, theirs = (_by_question(runs, common) for runs in (better, base))
    assert [row["uid"] for row in ours] == [row["uid"] for row in theirs]
    pages = [row["page"] for row in ours]

    def ratio(measure: str) -> dict[str, float]:
        return _plain(
            ratio_interval(
                [r[measure] for r in ours], [r[measure] for r in theirs], clusters=pages, seed=SEED
            )
        )

    difference = paired_interval(
        [r["em"] for r in ours], [r["em"] for r in theirs], clusters=pages, seed=SEED
    )
    return {
        "pages": len(common),
        "em_difference": _plain(difference),
        "em_ratio": ratio("em"),
        "em_ratio_without_scale": ratio("em_without_scale"),
        "seconds_ratio": ratio("seconds"),
        "usd_ratio": ratio("usd"),
    }


def _by_question(runs: Sequence[Run], pages: Sequence[int]) -> list[Row]:
    by_page = {run["page"]: run for run in runs}
    return [row for page in pages for row in by_page[page]["rows"]]


def _plain(interval: Interval) -> dict[str, float]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _interval(figures: dict[str, float], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{figures['estimate']:{sign}.2f} [{figures['low']:{sign}.2f}, {figures['high']:{sign}.2f}]"
