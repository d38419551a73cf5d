"""Makespan: how long a plan takes from its first step to its last, by each system."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.scheduling.plans import DrawnPlan, check, draw
from benchmarks.scheduling.systems.bare import at_once, levels
from benchmarks.scheduling.systems.handoffs import handoffs, is_installed
from benchmarks.scheduling.systems.job import System
from benchmarks.scheduling.systems.ours import ours, ours_sync
from benchmarks.scheduling.systems.waves import waves
from benchmarks.scheduling.turns import Due, Values

NAME = "makespan"
OURS = "Stellwerk, ainvoke"
OURS_SYNC = "Stellwerk, invoke"
WAVES = "LangGraph, waves of Send"
LEVELS = "bare client, level by level"
HANDOFFS = "langgraph-supervisor"
FLOOR = "bare client, each step when it can run"

SYSTEMS: dict[str, Callable[[str], System]] = {
    OURS: ours,
    WAVES: waves,
    LEVELS: levels,
    OURS_SYNC: ours_sync,
    FLOOR: at_once,
    HANDOFFS: handoffs,
}

FULL = (
    ("chain", 5, 1),
    ("chain", 10, 1),
    ("fan-out", 20, 1),
    ("fan-out", 100, 1),
    ("fan-out", 200, 1),
    ("diamond", 20, 1),
    ("diamond", 30, 1),
    ("layered", 20, 1),
    ("layered", 20, 2),
    ("layered", 50, 1),
    ("layered", 50, 2),
    ("layered", 100, 1),
    ("layered", 200, 1),
)
QUICK = (("chain", 5, 1), ("fan-out", 20, 1), ("layered", 20, 1))
_LONGEST_SUM = 15.0  # seconds; a plan with more is not given to whoever takes one step after the other


def due(plans: Sequence[DrawnPlan], url: str, runs: int, runner: asyncio.Runner) -> list[Due]:
    """Every system on every plan, by turns; each run begins with another one."""
    names = [name for name in SYSTEMS if name != HANDOFFS or is_installed]
    systems: dict[str, System] = {}

    def go(name: str, plan: DrawnPlan) -> Values:
        if (system := systems.get(name)) is None:
            system = systems[name] = SYSTEMS[name](url)
            warm = draw("fan-out", 5, 0).stretched(0.01)  # what a first call imports and opens is nobody's
            check(warm, system(warm, runner))
        return timed(system, plan, runner)

    turns = []
    for run in range(runs):
        for plan in plans:
            for name in names[run % len(names) :] + names[: run % len(names)]:
                expected = {HANDOFFS: plan.work, WAVES: plan.in_levels, LEVELS: plan.in_levels}.get(
                    name, plan.critical_path
                )
                if name != HANDOFFS or expected <= _LONGEST_SUM:
                    turns.append(Due(NAME, plan.name, name, run, expected, partial(go, name, plan)))
    return turns


def timed(system: System, plan: DrawnPlan, runner: asyncio.Runner) -> Values:
    """Run a plan, see that the answers are right, and give the times in seconds.

    Raises:
        RuntimeError: if an answer is wrong or missing.
    """
    gc.collect()  # what an earlier turn left is not this one's to clear away
    wall, cpu = time.perf_counter(), time.process_time()
    answers = system(plan, runner)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    check(plan, answers)
    return {
        "wall": wall,
        "cpu": cpu,
        "critical_path": plan.critical_path,
        "in_levels": plan.in_levels,
        "steps": len(plan.steps),
    }
