"""What a round of a tool loop costs by itself, with a model and a tool that answer at once.

    python -m benchmarks.tool_loop --rounds 10 --runs 7 --json tool_loop.json

A round is one call of the model that asks for one tool, and the call of the tool. Stellwerk's worker runs
beside LangGraph's `create_react_agent` (version 2, which sends each call to its tool node by itself, as
Stellwerk does) and, where the package `langchain` is installed, its `create_agent`. Neither has Stellwerk's
records, limits and checks. The arms take turns in one process, so a slow spell of the machine meets all of
them; compare them by their ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from benchmarks.record import conclude
from stellwerk.graphs import create_worker_graph
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from stellwerk.workers.create import create_worker

OWN = "Stellwerk"
AGENTS = {
    "LangGraph's create_react_agent": ("langgraph.prebuilt", "create_react_agent"),
    "LangChain's create_agent": ("langchain.agents", "create_agent"),
}


class Asking(BaseChatModel):
    """A chat model that asks for a tool so many times, and then answers; all at once."""

    rounds: int

    @property
    def _llm_type(self) -> str:
        return "asking"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        usage = UsageMetadata(input_tokens=100, output_tokens=10, total_tokens=110)
        message = AIMessage('{"value": "48,210"}', usage_metadata=usage)
        if done < self.rounds:
            call = ToolCall(name="add", args={"a": done, "b": 1}, id=f"call_{done}")
            message = AIMessage("", tool_calls=[call], usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages)


class Found(BaseModel):
    """What the worker gives back."""

    value: str


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def aadd(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOL = StructuredTool.from_function(add, coroutine=aadd, name="add")


@dataclass(frozen=True)
class Arm:
    """One way to run the loop: once, sync or async."""

    invoke: Callable[[], Any]
    ainvoke: Callable[[], Awaitable[Any]]


def stellwerk(rounds: int, stored: bool) -> Arm:
    """A worker with one tool, on its own."""
    tiers = Ladder([Tier(name="small", model=Asking(rounds=rounds), price=Price(input=1.0, output=2.0))])
    worker = create_worker("find", output=Found, prompt="Find it.", tools=[TOOL], max_tool_rounds=rounds + 1)
    graph = create_worker_graph(worker, tiers).compile(checkpointer=InMemorySaver() if stored else None)
    given = {"instruction": "Find it."}

    def check(state: Any) -> None:
        assert state["value"] == {"value": "48,210"}
        assert sum(len(call.get("tools", ())) for call in state["calls"]) == rounds

    def invoke() -> None:
        check(graph.invoke(given, _thread()))

    async def ainvoke() -> None:
        check(await graph.ainvoke(given, _thread()))

    return Arm(invoke, ainvoke)


def agent(make: Callable[..., Any], rounds: int, stored: bool) -> Arm:
    """An agent of LangGraph or LangChain with one tool."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # create_react_agent is deprecated in favour of create_agent
        graph = make(Asking(rounds=rounds), [TOOL], checkpointer=InMemorySaver() if stored else None)
    given = {"messages": [("user", "Find it.")]}

    def check(state: Any) -> None:
        assert sum(isinstance(message, ToolMessage) for message in state["messages"]) == rounds

    def invoke() -> None:
        check(graph.invoke(given, _thread()))

    async def ainvoke() -> None:
        check(await graph.ainvoke(given, _thread()))

    return Arm(invoke, ainvoke)


_threads = iter(range(10**9))


def _thread() -> Any:
    return {"configurable": {"thread_id": str(next(_threads))}}


def arms(rounds: int, stored: bool) -> dict[str, Arm]:
    """The arms that there are."""
    found = {OWN: stellwerk(rounds, stored)}
    for name, (module, function) in AGENTS.items():
        try:
            make = getattr(import_module(module), function)
        except ImportError:
            continue
        found[name] = agent(make, rounds, stored)
    return found


@dataclass(frozen=True)
class Timing:
    """Milliseconds of the processor for a round, in one run of some loops."""

    arm: str
    sync: bool
    stored: bool
    cpu: float


def measure(rounds: int, loops: int, runs: int) -> list[Timing]:
    """Let the arms take turns, and time each turn.

    Args:
        rounds: of the tool in one loop.
        loops: in a turn.
        runs: turns of each arm, after one that is not counted.
    """
    timings = []
    for stored in (False, True):
        there = arms(rounds, stored)
        for sync in (True, False):
            for run in range(runs + 1):
                for name, arm in there.items():
                    cpu = _turn(arm, sync, loops) / (loops * rounds)
                    if run:
                        timings.append(Timing(arm=name, sync=sync, stored=stored, cpu=1000 * cpu))
    return timings


def _turn(arm: Arm, sync: bool, loops: int) -> float:
    async def go() -> float:
        started = time.process_time()
        for _ in range(loops):
            await arm.ainvoke()
        return time.process_time() - started

    gc.collect()  # what an earlier turn left is not this one's to clear away
    if not sync:
        return asyncio.run(go())
    started = time.process_time()
    for _ in range(loops):
        arm.invoke()
    return time.process_time() - started


def markdown(timings: Sequence[Timing]) -> str:
    """A table: median (minimum to maximum) of each arm, and the ratio of Stellwerk's median to it."""
    lines = [
        "| ms of CPU a round | checkpointer | arm | median (least to most) | Stellwerk beside it |",
        "|---|---|---|---|---|",
    ]
    for stored in (False, True):
        for sync in (True, False):
            cell = [timing for timing in timings if (timing.sync, timing.stored) == (sync, stored)]
            own = _middle(cell, OWN)
            for name in dict.fromkeys(timing.arm for timing in cell):
                each = [timing.cpu for timing in cell if timing.arm == name]
                ratio = "" if name == OWN else f"× {own / _middle(cell, name):.2f}"
                lines.append(
                    f"| {'sync' if sync else 'async'} | {'in memory' if stored else 'none'} | {name} "
                    f"| {median(each):.2f} ({min(each):.2f} to {max(each):.2f}) | {ratio} |"
                )
    return "\n".join(lines)


def _middle(timings: Sequence[Timing], arm: str) -> float:
    return median(timing.cpu for timing in timings if timing.arm == arm)


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tool_loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=10, help="of the tool in a loop (default: 10)")
    parser.add_argument("--loops", type=int, default=10, help="loops in a turn (default: 10)")
    parser.add_argument("--runs", type=int, default=7, help="turns of each arm (default: 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every timing here")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.loops, arguments.runs) < 1:
        parser.error("--rounds, --loops and --runs take numbers from 1 on")
    timings = measure(arguments.rounds, arguments.loops, arguments.runs)
    where = f"Python {platform.python_version()}, {arguments.rounds} rounds"
    for package in ("langgraph", "langgraph-prebuilt", "langchain", "langchain-core"):
        try:
            where += f", {package} {version(package)}"
        except PackageNotFoundError:
            continue
    conclude(markdown(timings), where, timings, arguments.json)


if __name__ == "__main__":
    main()
