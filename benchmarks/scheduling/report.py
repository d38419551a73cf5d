"""Tables: each plan by each system, and the goals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.overhead import SAME_SHAPE
from benchmarks.scheduling.measures import crowd, makespan, memory, own_time
from benchmarks.scheduling.measures.makespan import FLOOR, HANDOFFS, LEVELS, OURS, OURS_SYNC, WAVES
from benchmarks.scheduling.turns import Turn
from benchmarks.statistics import quantile

OWN_TIME_GOALS = {"1000 subtasks": 3.0, "5000 subtasks": 4.5}  # ms
MEMORY_GOAL = 60.0  # KiB
LAYERED = "layered"


@dataclass(frozen=True)
class Goal:
    """What was wanted and what came of it; `met` is None where there is no goal."""

    measure: str
    wanted: str
    reached: str
    met: bool | None


def markdown(turns: Sequence[Turn]) -> str:
    """All tables for which there are turns."""
    tables = [_plans(turns), _costs(turns), _crowds(turns), _goals(goals(turns))]
    return "\n\n".join("\n".join(table) for table in tables if len(table) > 2)


def over(turns: Iterable[Turn], upper: str, lower: str, shape: str = "") -> list[float]:
    """For each plan of that shape, the wall time by one system over that by another, medians of the runs.

    For `critical_path` as the lower one, over the critical path.
    """
    walls: dict[tuple[str, str], list[float]] = {}
    for turn in turns:
        if turn.measure == makespan.NAME and turn.case.startswith(shape):
            walls.setdefault((turn.case, turn.arm), []).append(turn.values["wall"])
            walls[turn.case, "critical_path"] = [turn.values["critical_path"]]
    cases = dict.fromkeys(case for case, _ in walls)
    pairs = [(walls.get((case, upper)), walls.get((case, lower))) for case in cases]
    return [median(above) / median(below) for above, below in pairs if above and below]


def goals(turns: Sequence[Turn]) -> list[Goal]:
    """Every goal of which something was measured."""
    rows: list[Goal] = []

    def ratio(
        measure: str, wanted: str, values: Sequence[float], met: Callable[[Sequence[float]], bool | None]
    ) -> None:
        if values:
            rows.append(Goal(measure, wanted, f"{_spread(values)}, {len(values)} plans", met(values)))

    ratio(
        f"wall time over the critical path, {OURS}",
        "at most 1.05 at the median, 1.15 at worst",
        over(turns, OURS, "critical_path"),
        lambda values: median(values) <= 1.05 and max(values) <= 1.15,
    )
    ratio(f"the same, {FLOOR}", "-", over(turns, FLOOR, "critical_path"), lambda values: None)
    ratio(
        f"{WAVES} over {OURS}, layered plans",
        "at least 1.4 at the median",
        over(turns, WAVES, OURS, LAYERED),
        lambda values: median(values) >= 1.4,
    )
    for peer in (WAVES, LEVELS, HANDOFFS):
        ratio(
            f"{peer} over {OURS}, all plans",
            "-" if peer == WAVES else "never below 1",
            over(turns, peer, OURS),
            lambda values, peer=peer: None if peer == WAVES else min(values) >= 1,  # type: ignore[misc]  # a default is not in the type
        )
    ratio(
        f"{OURS_SYNC} over {OURS}",
        "at most 1.1 at the median",
        over(turns, OURS_SYNC, OURS),
        lambda values: median(values) <= 1.1,
    )
    for case, arm, values in _grouped(turns, own_time.NAME, "cpu"):
        if arm == own_time.ALL_ON:
            most = OWN_TIME_GOALS.get(case)
            wanted = f"at most {most} ms" if most else "-"
            met = median(values) <= most if most else None
            rows.append(Goal(f"own time, {case}", wanted, f"{median(values):.2f} ms", met))
    for case, arm, values in _grouped(turns, memory.NAME, "kib"):
        wanted, met = "-", None
        if arm == memory.AINVOKE:
            wanted, met = f"at most {MEMORY_GOAL:.0f} KiB a subtask", median(values) <= MEMORY_GOAL
        rows.append(Goal(f"memory, {case}, {arm}", wanted, f"{median(values):.1f} KiB", met))
    for case, _, values in _crowd_ratios(turns):
        rows.append(
            Goal(
                f"slowest of {case}, over the median",
                "at most 2",
                f"{max(values):.2f}",
                max(values) <= 2,
            )
        )
    return rows


def _goals(rows: Sequence[Goal]) -> list[str]:
    words = {None: "", True: "yes", False: "**no**"}
    return [
        "| goal | wanted | median (least to most) | reached |",
        "|---|---|---|---|",
        *(f"| {row.measure} | {row.wanted} | {row.reached} | {words[row.met]} |" for row in rows),
    ]


def _plans(turns: Sequence[Turn]) -> list[str]:
    own = [turn for turn in turns if turn.measure == makespan.NAME]
    arms = [arm for arm in makespan.SYSTEMS if any(turn.arm == arm for turn in own)]
    lines = [
        f"| wall time over the critical path | critical path, s | by levels at best | {' | '.join(arms)} |",
        f"|---|---|---|{'---|' * len(arms)}",
    ]
    for case in dict.fromkeys(turn.case for turn in own):
        mine = [turn for turn in own if turn.case == case]
        cells = [_median_ratio([turn for turn in mine if turn.arm == arm]) for arm in arms]
        path, levels = mine[0].values["critical_path"], mine[0].values["in_levels"]
        lines.append(f"| {case} | {path:.2f} | {levels / path:.3f} | {' | '.join(cells)} |")
    return lines


def _median_ratio(turns: Sequence[Turn]) -> str:
    if not turns:
        return "-"
    return f"{median(turn.values['wall'] / turn.values['critical_path'] for turn in turns):.3f}"


def _costs(turns: Sequence[Turn]) -> list[str]:
    lines = [
        "| ms of CPU a subtask | subtasks | median (least to most) | beside plain LangGraph |",
        "|---|---|---|---|",
    ]
    groups = {(case, arm): values for case, arm, values in _grouped(turns, own_time.NAME, "cpu")}
    for (case, arm), values in groups.items():
        peer = groups.get((case, SAME_SHAPE))
        beside = f"x {median(values) / median(peer):.2f}" if peer else "-"
        lines.append(f"| {arm} | {case.split()[0]} | {_spread(values)} | {beside} |")
    return lines


def _crowds(turns: Sequence[Turn]) -> list[str]:
    lines = ["| seconds a run | critical path | least | median | most |", "|---|---|---|---|---|"]
    for turn in turns:
        if turn.measure == crowd.NAME:
            cells = (f"{turn.values[key]:.2f}" for key in ("critical_path", "least", "median", "most"))
            lines.append(f"| {turn.case} | {' | '.join(cells)} |")
    return lines


def _crowd_ratios(turns: Sequence[Turn]) -> list[tuple[str, str, list[float]]]:
    ratios: dict[tuple[str, str], list[float]] = {}
    for turn in turns:
        if turn.measure == crowd.NAME:
            ratio = turn.values["most"] / turn.values["median"]
            ratios.setdefault((turn.case, turn.arm), []).append(ratio)
    return [(case, arm, values) for (case, arm), values in ratios.items()]


def _grouped(turns: Sequence[Turn], measure: str, key: str) -> list[tuple[str, str, list[float]]]:
    values: dict[tuple[str, str], list[float]] = {}
    for turn in turns:
        if turn.measure == measure:
            values.setdefault((turn.case, turn.arm), []).append(turn.values[key])
    return [(case, arm, each) for (case, arm), each in values.items()]


def _spread(values: Sequence[float]) -> str:
    return f"{quantile(values, 0.5):.3f} ({min(values):.3f} to {max(values):.3f})"
