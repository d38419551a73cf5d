"""The tables of the benchmark, from its rows alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.statistics import paired_interval

SEED = 18_72
Row = dict[str, Any]


def summarise(rows: Sequence[Row], *, against: str = "all") -> list[dict[str, Any]]:
    """Figures of each task, model and arm; also against one arm, on the rows that both have."""
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["model"], row["arm"]), {})[row["key"]] = row
    found = []
    for (task, model, arm), own in groups.items():
        count = len(own)
        figures: dict[str, Any] = {"task": task, "model": model, "arm": arm, "n": count}
        for measure in ("valid", "correct"):
            figures[measure] = exact_interval(sum(row[measure] for row in own.values()), count)
        for measure in ("calls", "input", "output", "seconds"):
            figures[measure] = sum(row[measure] for row in own.values()) / count
        figures["reasons"] = dict(Counter(row["reason"] for row in own.values() if row["reason"]))
        base = groups.get((task, model, against), {})
        common = [key for key in own if key in base]
        if arm != against and len(common) > 1:
            ours = [float(own[key]["correct"]) for key in common]
            theirs = [float(base[key]["correct"]) for key in common]
            change = paired_interval(ours, theirs, clusters=[key.split("/")[0] for key in common], seed=SEED)
            lost = sum(a < b for a, b in zip(ours, theirs, strict=True))
            won = sum(a > b for a, b in zip(ours, theirs, strict=True))
            figures["against"] = {
                "n": len(common),
                "difference": [change.estimate, change.low, change.high],
                "lost": lost,
                "won": won,
                "p": mcnemar(lost, won),
            }
        found.append(figures)
    return found


def markdown(summary: Sequence[dict[str, Any]], *, against: str = "all") -> str:
    """The summary as a table."""
    lines = [
        f"| task | model | rails | n | valid | correct | same rows as {against} | difference | lost/won | "
        "McNemar p | tokens in / out | s | rejections |",
        "|---" * 13 + "|",
    ]
    for arm in summary:
        reasons = ", ".join(f"{count} {reason}" for reason, count in arm["reasons"].items()) or "-"
        lines.append(
            f"| {arm['task']} | {arm['model']} | {arm['arm']} | {arm['n']} | {_shown(arm['valid'])} | "
            f"{_shown(arm['correct'])} | {_against(arm.get('against'))} | "
            f"{arm['input']:.0f} / {arm['output']:.0f} | {arm['seconds']:.2f} | {reasons} |"
        )
    return "\n".join(lines)


def _against(pair: dict[str, Any] | None) -> str:
    if pair is None:
        return "- | - | - | -"
    change, low, high = pair["difference"]
    shown = f"{change:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"{pair['n']} | {shown} | {pair['lost']}/{pair['won']} | {pair['p']:.2g}"


def exact_interval(hits: int, count: int) -> list[float]:
    """A share with its exact 95 % interval (Clopper and Pearson, 1934)."""
    return [hits / count, _bound(hits, count, upper=False), _bound(hits, count, upper=True)]


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p of McNemar's test (1947) for paired outcomes that differ."""
    count, fewer = lost + won, min(lost, won)
    ways = sum(math.comb(count, k) for k in range(fewer + 1))
    return min(1.0, 2.0 * ways / float(2**count))


def _bound(hits: int, count: int, *, upper: bool) -> float:
    if hits == (count if upper else 0):
        return 1.0 if upper else 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        # P(X <= hits) falls with the share; so does P(X < hits).
        under = sum(_mass(k, count, middle) for k in range(hits + (1 if upper else 0)))
        if under > (0.025 if upper else 0.975):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _mass(hits: int, count: int, share: float) -> float:
    return float(math.comb(count, hits) * share**hits * (1 - share) ** (count - hits))


def _shown(share: list[float]) -> str:
    return f"{share[0]:.3f} [{share[1]:.3f}, {share[2]:.3f}]"
