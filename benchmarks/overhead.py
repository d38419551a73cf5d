"""What running a subtask costs by itself: chat models that answer at once, no checkpointer, a given plan.

    python -m benchmarks.overhead --subtasks 1000 5000 --json overhead.json

Stellwerk runs beside plain LangGraph, which does less: a graph of three nodes, and a graph of the same
shape as a subtask's (a router, and a worker of two nodes inside), each called as a `@task` from one node,
with nodes that do nothing. A model's own cost is measured apart. The arms take turns in one process, so a
slow spell of the machine meets all of them; compare them by their ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.func import task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from benchmarks.record import conclude
from stellwerk.budget import Budget
from stellwerk.graphs import create_orchestrator
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Request, Tier
from stellwerk.trace import TraceSink
from stellwerk.worker import Brief
from stellwerk.workers.create import create_worker

Arm = Callable[[int], Awaitable[object]]
Waits = Callable[[], Awaitable[object]]
Saver = BaseCheckpointSaver[Any] | None

OWN = "Stellwerk"
MODEL = "of that, the model's call"
SAME_SHAPE = "LangGraph, same shape"
THREE_NODES = "LangGraph, three nodes"


class Instant(BaseChatModel):
    """A chat model that gives one answer at once."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        usage = UsageMetadata(input_tokens=100, output_tokens=10, total_tokens=110)
        message = AIMessage('{"value": "48,210"}', usage_metadata=usage)
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


def stands_in_the_document(answer: Found, brief: Brief) -> str | None:
    """A check like those of the ready-made workers."""
    return None if answer.value in brief.source else "the value is not in the document"


DOCUMENT = {"name": "page", "text": "Revenue was 48,210 in 2024, and 45,900 in 2023.\n" * 20}


def tiers() -> Ladder:
    """A small and a large tier."""
    return Ladder(
        [
            Tier(name="small", model=Instant(), price=Price(input=1.0, output=2.0)),
            Tier(name="large", model=Instant(), price=Price(input=10.0, output=20.0)),
        ]
    )


def stellwerk() -> Arm:
    """A plan without dependencies: routing, one call, schema, a check, and the ledger."""
    return orchestrated()


def orchestrated(
    *,
    chain: bool = False,
    saver: Saver = None,
    budget: Budget | None = None,
    traces: TraceSink | None = None,
    **options: Any,
) -> Arm:
    """Stellwerk's orchestrator on a given plan, side by side or one subtask after the other.

    Args:
        chain: whether each subtask depends on the one before it.
        saver: what the graph is compiled with.
        budget: of each subtask.
        traces: gets every attempt.
        **options: for `ainvoke`.
    """
    worker = create_worker("find", output=Found, prompt="Copy the figure.", checks=[stands_in_the_document])
    orchestrator = create_orchestrator([worker], tiers(), synthesizer="join", budget=budget, traces=traces)
    graph = orchestrator.compile(checkpointer=saver)

    async def run(number: int) -> None:
        plan = [
            {
                "id": f"n{i}",
                "worker": "find",
                "instruction": f"What is figure {i}?",
                "depends_on": [f"n{i - 1}"] if chain and i else [],
            }
            for i in range(number)
        ]
        state = await graph.ainvoke(
            {"task": "Find all", "documents": [DOCUMENT], "plan": {"subtasks": plan}}, **options
        )
        assert state["failure"] is None
        assert state["ledger"]["accepted"] == {"small": number}

    return run


def model_calls() -> Arm:
    """The tier's calls alone, outside of any graph."""
    tier = tiers().smallest
    request = Request(messages=[SystemMessage("You copy figures."), HumanMessage("What is figure 1?")])

    async def run(number: int) -> None:
        for _ in range(number):
            await tier.acall(request)

    return run


class Peer(TypedDict, total=False):
    """State of the peers."""

    number: int
    draft: str
    value: str
    results: list[Any]


def _plain(*names: str, waits: Waits | None = None) -> StateGraph[Any, Any, Any, Any]:
    async def step(state: Peer) -> dict[str, Any]:
        if waits is not None:
            await waits()
        return {"value": "48,210"}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Peer)
    graph.add_sequence([(name, step) for name in names])
    graph.add_edge(START, names[0])
    return graph


def three_nodes() -> Arm:
    """A graph of three nodes in a row."""
    return _called_as_tasks(_plain("route", "generate", "verify"))


def same_shape(
    *, chain: bool = False, saver: Saver = None, waits: Waits | None = None, **options: Any
) -> Arm:
    """A router that picks a worker, which is a graph of two nodes; what it gives is accepted or not.

    Args:
        chain: whether each is called when the one before it is done.
        saver: what the outer graph is compiled with.
        waits: what the nodes of the worker wait for, in place of a model.
        **options: for `ainvoke`.
    """

    async def router(state: Peer) -> Command[str]:
        return Command(update={"draft": ""}, goto="worker")

    def accepted(state: Peer) -> str:
        return END if state.get("value") else "router"

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Peer)
    graph.add_node("router", router, destinations=("worker",))
    graph.add_node("worker", _plain("generate", "verify", waits=waits).compile())
    graph.add_edge(START, "router")
    graph.add_conditional_edges("worker", accepted, ["router", END])
    return _called_as_tasks(graph, chain, saver, options)


def _called_as_tasks(
    graph: StateGraph[Any, Any, Any, Any],
    chain: bool = False,
    saver: Saver = None,
    options: Mapping[str, Any] | None = None,
) -> Arm:
    inner = graph.compile()

    @task
    async def run_inner(number: int) -> Any:
        return await inner.ainvoke({"number": number})

    async def execute(state: Peer) -> dict[str, Any]:
        numbers = range(state["number"])
        if chain:
            return {"results": [await run_inner(number) for number in numbers]}
        return {"results": await asyncio.gather(*(run_inner(number) for number in numbers))}

    outer: StateGraph[Any, Any, Any, Any] = StateGraph(Peer)
    outer.add_node("execute", execute)
    outer.add_edge(START, "execute")
    compiled = outer.compile(checkpointer=saver).with_config(max_concurrency=4096)

    async def run(number: int) -> None:
        state = await compiled.ainvoke({"number": number}, **(options or {}))
        assert len(state["results"]) == number

    return run


ARMS: dict[str, Callable[[], Arm]] = {
    OWN: stellwerk,
    MODEL: model_calls,
    SAME_SHAPE: same_shape,
    THREE_NODES: three_nodes,
}


@dataclass(frozen=True)
class Timing:
    """Milliseconds a subtask in one run, by the clock and of the processor."""

    arm: str
    subtasks: int
    wall: float
    cpu: float


def measure(sizes: Sequence[int], runs: int) -> list[Timing]:
    """Let the arms take turns, and time each turn.

    Args:
        sizes: numbers of subtasks.
        runs: turns of each arm at each number, after one that is not counted.
    """
    arms = {name: make() for name, make in ARMS.items()}
    for name, arm in arms.items():
        turn(name, arm, min(sizes))
    return [turn(name, arm, size) for size in sizes for _ in range(runs) for name, arm in arms.items()]


def turn(name: str, arm: Arm, size: int) -> Timing:
    """Run an arm once, and time it."""
    return asyncio.run(_turn(name, arm, size))


async def _turn(name: str, arm: Arm, size: int) -> Timing:
    gc.collect()  # what an earlier turn left is not this one's to clear away
    wall, cpu = time.perf_counter(), time.process_time()
    await arm(size)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Timing(arm=name, subtasks=size, wall=1000 * wall / size, cpu=1000 * cpu / size)


def markdown(timings: Sequence[Timing]) -> str:
    """A table: median and minimum of each arm, and the ratio of the medians to plain LangGraph's."""
    lines = [
        f"| ms a subtask, median (minimum) | subtasks | wall | CPU | CPU beside {SAME_SHAPE} "
        f"| beside {THREE_NODES} |",
        "|---|---|---|---|---|---|",
    ]
    for size in dict.fromkeys(timing.subtasks for timing in timings):
        for arm in ARMS:
            ratios = (
                f"{_middle(timings, arm, size) / _middle(timings, peer, size):.2f}"
                for peer in (SAME_SHAPE, THREE_NODES)
            )
            wall, cpu = (
                f"{median(values):.2f} ({min(values):.2f})"
                for values in (
                    [timing.wall for timing in _of(timings, arm, size)],
                    [timing.cpu for timing in _of(timings, arm, size)],
                )
            )
            lines.append(f"| {arm} | {size:,} | {wall} | {cpu} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def _of(timings: Sequence[Timing], arm: str, size: int) -> list[Timing]:
    return [timing for timing in timings if (timing.arm, timing.subtasks) == (arm, size)]


def _middle(timings: Sequence[Timing], arm: str, size: int) -> float:
    return median(timing.cpu for timing in _of(timings, arm, size))


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--subtasks", type=int, nargs="+", default=[1000, 5000], metavar="N")
    parser.add_argument("--runs", type=int, default=5, help="turns of each arm (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every timing here")
    arguments = parser.parse_args()
    if min(arguments.subtasks) < 1 or arguments.runs < 1:
        parser.error("--subtasks and --runs take numbers from 1 on")
    timings = measure(arguments.subtasks, arguments.runs)
    where = f"Python {platform.python_version()}, " + ", ".join(
        f"{package} {version(package)}" for package in ("langgraph", "langchain-core", "pydantic")
    )
    conclude(markdown(timings), where, timings, arguments.json)


if __name__ == "__main__":
    main()
