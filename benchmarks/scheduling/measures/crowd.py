"""A crowd: many runs of one plan in one process. Does each get its share?"""

from __future__ import annotations

import asyncio
import gc
import time
from functools import partial
from statistics import median

from benchmarks.scheduling.plans import DrawnPlan, check, draw
from benchmarks.scheduling.systems.ours import answers_of, given, orchestrator
from benchmarks.scheduling.turns import Due, Values

NAME = "crowd"
ARM = "Stellwerk, ainvoke"


def due(runs_at_once: int, url: str, turns: int, runner: asyncio.Runner) -> list[Due]:
    """So many runs of ten subtasks, on a tier without a limit, and on one with half as many places."""
    plan = draw("layered", 10, 1)
    places = max(1, runs_at_once // 2)

    def go(limit: int | None) -> Values:
        return runner.run(_crowd(plan, runs_at_once, url, limit))

    work = max(plan.critical_path, 0.01 * runs_at_once * len(plan.steps))
    cases = (
        (f"{runs_at_once} runs, no limit", None, work),
        (f"{runs_at_once} runs, {places} places", places, runs_at_once * plan.work / places),
    )
    return [
        Due(NAME, case, ARM, turn, expected, partial(go, limit))
        for turn in range(turns)
        for case, limit, expected in cases
    ]


async def _crowd(plan: DrawnPlan, count: int, url: str, limit: int | None) -> Values:
    graph = orchestrator(url, limit)

    async def one(plan: DrawnPlan) -> float:
        begun = time.perf_counter()
        state = await graph.ainvoke(given(plan))
        seconds = time.perf_counter() - begun
        check(plan, answers_of(state))
        return seconds

    await one(plan.stretched(0.001))
    gc.collect()
    seconds = await asyncio.gather(*(one(plan) for _ in range(count)))
    return {
        "median": median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "critical_path": plan.critical_path,
    }
