"""langgraph-supervisor: a supervisor's model hands one step after the other to an agent."""

from __future__ import annotations

import asyncio
import warnings
from importlib.util import find_spec
from typing import Any

from langchain_core.messages import HumanMessage

from benchmarks.scheduling.plans import DrawnPlan, answered
from benchmarks.scheduling.systems.job import Answers, System, bare_client

is_installed = find_spec("langgraph_supervisor") is not None


def handoffs(url: str) -> System:
    """A supervisor and one agent, as their documentation sets them up.

    The simulated model of the supervisor knows the plan and takes no time, so that what is measured is the
    way of working and not how good or slow a supervisor is.
    """
    from langchain.agents import create_agent
    from langgraph_supervisor import create_supervisor

    agent = create_agent(bare_client(url), tools=[], name="worker", system_prompt="Do the last step named.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it rests on a part of LangGraph that has moved
        graph: Any = create_supervisor([agent], model=bare_client(url)).compile()

    def run(plan: DrawnPlan, runner: asyncio.Runner) -> Answers:
        task = HumanMessage("\n".join(step.instruction for step in plan.steps))
        state = runner.run(graph.ainvoke({"messages": [task]}, {"recursion_limit": 10_000}))
        return answered("\n".join(message.text for message in state["messages"]))

    return run
