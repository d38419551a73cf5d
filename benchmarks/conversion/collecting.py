"""What recording adds to a model call, with a model that answers at once.

    python -m benchmarks.conversion.collecting --calls 1000 --runs 7 --json collecting.json

Each program runs with and without a `TraceRecorder` on a `TraceStore` (a SQLite file), in turns, so that a
slow spell of the machine meets both. `graph` is a LangGraph graph of one node, which calls the model once;
`agent` is LangChain's `create_agent`, which calls it twice and a tool in between. Prompts have 3,000
characters of instructions, and eight tools are offered. What is added until the program has its answers is
what a user waits; until all is written, what the processor has to do in all.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph

from benchmarks.record import conclude
from stellwerk import TraceRecorder, TraceStore

SYSTEM = "You answer questions about orders. Be brief, exact and polite.\n" * 48
GOAL = 1.0  # ms for each call


class Instant(BaseChatModel):
    """A chat model that asks for a tool where it may and has not yet, and answers at once."""

    model_name: str = "gpt-4.1"

    @property
    def _llm_type(self) -> str:
        return "instant"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        usage = UsageMetadata(input_tokens=700, output_tokens=20, total_tokens=720)
        message = AIMessage("The order left on Monday and arrives on Thursday.", usage_metadata=usage)
        if kwargs.get("tools") and not isinstance(messages[-1], ToolMessage):
            call = ToolCall(name="look_up_0", args={"order": "A-17"}, id=f"call_{len(messages)}")
            message = AIMessage("", tool_calls=[call], usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, **kwargs)


def look_up(order: str) -> str:
    """Look up where an order is, when it left the warehouse, and when it is to arrive."""
    return f"{order}: left on Monday"


async def alook_up(order: str) -> str:
    """As `look_up`."""
    return look_up(order)


TOOLS: list[BaseTool] = [
    StructuredTool.from_function(look_up, coroutine=alook_up, name=f"look_up_{number}") for number in range(8)
]


@dataclass(frozen=True)
class Program:
    """A graph, and how many calls of the model an invocation has."""

    graph: Any
    calls: int


@dataclass(frozen=True)
class Timing:
    """What a program took for each call of its model.

    Args:
        program: its name.
        mode: `sync` or `async`.
        recorded: whether there was a recorder.
        answered: milliseconds for each call until the answers were there, of each run.
        written: milliseconds for each call until all traces were written, of each run.
    """

    program: str
    mode: str
    recorded: bool
    answered: Sequence[float]
    written: Sequence[float]


def programs() -> dict[str, Program]:
    """The programs that are timed."""
    chat = Instant()

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [chat.invoke([SystemMessage(SYSTEM), *state["messages"]])]}

    async def aanswer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke([SystemMessage(SYSTEM), *state["messages"]])]}

    builder = StateGraph(MessagesState).add_node("answer", RunnableLambda(answer, aanswer))
    return {
        "graph": Program(builder.add_edge(START, "answer").compile(), 1),
        "agent": Program(create_agent(chat, TOOLS, system_prompt=SYSTEM), 2),
    }


def measure(*, calls: int, runs: int) -> list[Timing]:
    """Time each program, sync and async, with and without a recorder."""
    timings = []
    for name, program in programs().items():
        for mode in ("sync", "async"):
            answered: dict[bool, list[float]] = {False: [], True: []}
            written: dict[bool, list[float]] = {False: [], True: []}
            for number in range(runs + 1):
                for recorded in (False, True):
                    taken = _run(program, calls, mode, recorded)
                    if number:  # the first one warms up
                        answered[recorded].append(taken[0])
                        written[recorded].append(taken[1])
            timings += [Timing(name, mode, each, answered[each], written[each]) for each in (False, True)]
    return timings


def _run(program: Program, calls: int, mode: str, recorded: bool) -> tuple[float, float]:
    times = calls // program.calls
    with _recorder(recorded) as (config, finish):
        gc.collect()
        began = time.perf_counter()
        if mode == "sync":
            for number in range(times):
                _check(program.graph.invoke(_asked(number), config))
        else:
            asyncio.run(_asynchronous(program.graph.ainvoke, times, config))
        answered = time.perf_counter() - began
        finish(times * program.calls)
        written = time.perf_counter() - began
    return answered * 1000 / calls, written * 1000 / calls


async def _asynchronous(
    ainvoke: Callable[..., Awaitable[Any]], times: int, config: RunnableConfig | None
) -> None:
    for number in range(times):
        _check(await ainvoke(_asked(number), config))


@contextmanager
def _recorder(recorded: bool) -> Iterator[tuple[RunnableConfig | None, Callable[[int], None]]]:
    if not recorded:
        yield None, lambda calls: None
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        TraceStore.from_url(Path(folder) / "traces.sqlite") as traces,
    ):
        traces.setup()
        recorder = TraceRecorder(traces)

        def finish(calls: int) -> None:
            assert traces.flush(60)
            assert recorder.counts == {"recorded": calls}
            assert traces.dropped == 0

        yield {"callbacks": [recorder]}, finish


def _asked(number: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"Where is my order A-{number}?")]}


def _check(state: Any) -> None:
    assert state["messages"][-1].text.startswith("The order left")


def markdown(timings: Sequence[Timing]) -> str:
    """The table: medians, and what is added."""
    lines = [
        "| program | | without, ms a call | added until answered | added until written |",
        "|---|---|---|---|---|",
    ]
    for without in (timing for timing in timings if not timing.recorded):
        with_ = next(
            each
            for each in timings
            if each.recorded and (each.program, each.mode) == (without.program, without.mode)
        )
        base = median(without.answered)
        lines.append(
            f"| {without.program} | {without.mode} | {base:.2f} | {median(with_.answered) - base:.2f} "
            f"| {median(with_.written) - median(without.written):.2f} |"
        )
    return "\n".join(lines)


def versions() -> str:
    """What was measured on."""
    names = ("langchain", "langchain-core", "langgraph")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1_000, help="of the model in a run")
    parser.add_argument("--runs", type=int, default=7, help="so many, of which the median counts")
    parser.add_argument("--json", type=Path, help="file for every timing")
    given = parser.parse_args()
    timings = measure(calls=given.calls, runs=given.runs)
    conclude(markdown(timings), versions(), timings, given.json)


if __name__ == "__main__":
    main()
