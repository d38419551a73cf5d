"""Waves in plain LangGraph: each superstep sends all steps that are ready, and ends with the last of them."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from benchmarks.scheduling.plans import DrawnPlan, Step
from benchmarks.scheduling.systems.job import Answers, System, ask, bare_client


class State(TypedDict):
    """The plan, and the answers so far."""

    steps: list[Step]
    answers: Annotated[Answers, operator.or_]


class Sent(TypedDict):
    """One step, and the answers so far."""

    step: Step
    answers: Answers


def waves(url: str) -> System:
    """A node that does a step, sent to for all that is ready; a superstep is the barrier between waves."""
    client = bare_client(url)

    async def work(state: Sent) -> dict[str, Any]:
        step = state["step"]
        return {"answers": {step.id: await ask(client, step, state["answers"])}}

    def wave(state: State) -> dict[str, Any]:
        return {}

    def ready(state: State) -> list[Send] | str:
        done = state["answers"]
        steps = [step for step in state["steps"] if step.id not in done and done.keys() >= set(step.needs)]
        return [Send("work", Sent(step=step, answers=done)) for step in steps] or END

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    # An edge from `work` itself would be followed once for each step of a wave.
    graph.add_node("wave", wave)
    sent_to: Any = work  # a node that is sent something else than the state fits no type of LangGraph's
    graph.add_node("work", sent_to, input_schema=Sent)
    graph.add_edge(START, "wave")
    graph.add_conditional_edges("wave", ready, ["work", END])
    graph.add_edge("work", "wave")
    compiled = graph.compile()

    def run(plan: DrawnPlan, runner: asyncio.Runner) -> Answers:
        given = State(steps=list(plan.steps), answers={})
        state = runner.run(compiled.ainvoke(given, {"recursion_limit": 10_000}))
        answers: Answers = state["answers"]
        return answers

    return run
