"""The client alone, without any framework: level by level as crews do, and each step when it can run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from langchain_core.language_models import BaseChatModel

from benchmarks.scheduling.plans import DrawnPlan, Step
from benchmarks.scheduling.systems.job import Answers, System, ask, bare_client


def levels(url: str) -> System:
    """`asyncio.gather` for each level of the plan."""
    return _system(url, _by_level)


def at_once(url: str) -> System:
    """Each step as soon as its inputs are there: what is left is the cost of the client."""
    return _system(url, _as_soon_as_possible)


def _system(url: str, arun: Callable[[BaseChatModel, DrawnPlan], Awaitable[Answers]]) -> System:
    client = bare_client(url)

    def run(plan: DrawnPlan, runner: asyncio.Runner) -> Answers:
        async def go() -> Answers:
            return await arun(client, plan)

        return runner.run(go())

    return run


async def _by_level(client: BaseChatModel, plan: DrawnPlan) -> Answers:
    answers: Answers = {}
    for level in plan.levels:
        given = await asyncio.gather(*(ask(client, step, answers) for step in level))
        answers |= zip((step.id for step in level), given, strict=True)
    return answers


async def _as_soon_as_possible(client: BaseChatModel, plan: DrawnPlan) -> Answers:
    tasks: dict[str, asyncio.Task[str]] = {}

    async def do(step: Step) -> str:
        answers = {name: await tasks[name] for name in step.needs}
        return await ask(client, step, answers)

    for step in plan.steps:
        tasks[step.id] = asyncio.create_task(do(step))
    return {name: await task for name, task in tasks.items()}
