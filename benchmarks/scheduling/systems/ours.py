"""Stellwerk: the orchestrator with a given plan, on a tier behind the simulated server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langgraph.graph.state import CompiledStateGraph

from benchmarks.scheduling.plans import DrawnPlan
from benchmarks.scheduling.systems.job import MODEL, STEP, Answers, System
from stellwerk import Ladder, Price, create_orchestrator, openai_tier


def orchestrator(url: str, max_concurrency: int | None = None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph; its tier lets any number of calls in, as the other systems do, or so many."""
    tier = openai_tier(
        "small",
        model=MODEL,
        base_url=url,
        price=Price(input=0.1, output=0.4),
        max_concurrency=max_concurrency,
        timeout=600,
    )
    return create_orchestrator([STEP], Ladder([tier]), synthesizer="join").compile()


def given(plan: DrawnPlan) -> dict[str, Any]:
    """The input for a plan."""
    return {"task": "Do all steps.", "plan": plan.as_input()}


def answers_of(state: Mapping[str, Any]) -> Answers:
    """The answers of a run that came to its end."""
    return {name: result["value"]["answer"] for name, result in state["results"].items() if result["value"]}


def ours(url: str) -> System:
    """By `ainvoke`."""
    graph = orchestrator(url)

    def run(plan: DrawnPlan, runner: asyncio.Runner) -> Answers:
        return answers_of(runner.run(graph.ainvoke(given(plan))))

    return run


def ours_sync(url: str) -> System:
    """By `invoke`."""
    graph = orchestrator(url)

    def run(plan: DrawnPlan, runner: asyncio.Runner) -> Answers:
        return answers_of(graph.invoke(given(plan)))

    return run
