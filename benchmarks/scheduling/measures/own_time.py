"""Own time: what a subtask costs by itself, with all that is optional, beside plain LangGraph.

The arms are those of `benchmarks.overhead`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.overhead import (
    MODEL,
    OWN,
    SAME_SHAPE,
    Arm,
    model_calls,
    orchestrated,
    same_shape,
    stellwerk,
    turn,
)
from benchmarks.scheduling.turns import Due, Values
from stellwerk.budget import Budget
from stellwerk.persistence.traces import TraceStore

NAME = "own-time"
ALL_ON = "Stellwerk, with traces and a budget"
PLAIN = OWN

_EXPECTED = {ALL_ON: 0.006, PLAIN: 0.005, SAME_SHAPE: 0.005, MODEL: 0.0003}  # seconds a subtask


def due(sizes: Sequence[int], runs: int, folder: Path) -> list[Due]:
    """Each arm at each number of subtasks, by turns, after a short one that is not counted."""
    makes: dict[str, Callable[[], Arm]] = {
        ALL_ON: partial(all_on, folder / "traces.sqlite"),
        PLAIN: stellwerk,
        SAME_SHAPE: same_shape,
        MODEL: model_calls,
    }
    arms: dict[str, Arm] = {}

    def go(name: str, size: int) -> Values:
        if (arm := arms.get(name)) is None:
            arm = arms[name] = makes[name]()
            turn(name, arm, 100)
        timing = turn(name, arm, size)
        return {"wall": timing.wall, "cpu": timing.cpu}

    return [
        Due(NAME, f"{size} subtasks", name, run, size * _EXPECTED[name], partial(go, name, size))
        for size in sizes
        for run in range(runs)
        for name in makes
    ]


def all_on(file: Path) -> Arm:
    """Each subtask has a budget of each kind, and its attempts are written to SQLite within the time."""
    traces = TraceStore.from_url(file)
    traces.setup()
    plan = orchestrated(traces=traces, budget=Budget(attempts=2, seconds=600, usd=1.0))

    async def run(number: int) -> None:
        await plan(number)
        if not await traces.aflush() or traces.dropped:
            raise RuntimeError(f"{traces.dropped} traces were dropped, or not written in time")

    return run
