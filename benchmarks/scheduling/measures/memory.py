"""Memory: what a subtask takes while it waits, for its inputs or for a model.

    python -m benchmarks.scheduling.measures.memory --waits model --subtasks 250 --arm ainvoke

measures one case in a process of its own, and prints KiB a subtask: resident memory while all of a plan's
subtasks wait, less what it was before the run. Plain LangGraph is a graph of a subtask's shape, called as a
`@task` (`benchmarks.overhead`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from benchmarks.overhead import DOCUMENT, SAME_SHAPE, Found, Instant, same_shape, stands_in_the_document
from benchmarks.scheduling.turns import Due, Values
from stellwerk import Ladder, Tier, create_orchestrator
from stellwerk.workers.create import create_worker

NAME = "memory"
AINVOKE, INVOKE = "ainvoke", "invoke"
ARMS = (AINVOKE, INVOKE, SAME_SHAPE)
Waits = Literal["inputs", "model"]

_WARM = 3  # subtasks
_STILL = 0.3  # seconds without a change
_LONGEST = 120.0  # seconds until all have to wait


class Held(Instant):
    """A chat model that answers once it is let go."""

    _asked: int = PrivateAttr(default=0)
    _go: threading.Event = PrivateAttr(default_factory=threading.Event)
    _ago: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._asked += 1
        self._go.wait()
        return self._answer()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await self.answered()
        return self._answer()

    async def answered(self) -> None:
        """Be asked, and wait."""
        self._asked += 1
        await self._ago.wait()

    def _answer(self) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage('{"value": "48,210"}'))])

    @property
    def asked(self) -> int:
        """How often it was."""
        return self._asked

    def hold(self) -> None:
        """Answer nobody from now on."""
        self._asked, self._go, self._ago = 0, threading.Event(), asyncio.Event()

    def let_go(self) -> None:
        """Answer everybody; in an event loop, call it there."""
        self._go.set()
        self._ago.set()


def plan(waits: Waits, size: int) -> dict[str, Any]:
    """Subtasks that are all asked for at once, or that all need the first."""
    subtasks = [
        {
            "id": f"n{number}",
            "worker": "find",
            "instruction": f"What is figure {number}?",
            "depends_on": ["n0"] if waits == "inputs" and number else [],
        }
        for number in range(size)
    ]
    return {"task": "Find all", "documents": [DOCUMENT], "plan": {"subtasks": subtasks}}


def measure(waits: Waits, size: int, arm: str) -> float:
    """KiB a subtask while all wait, in this process.

    Raises:
        RuntimeError: if they never do, or do not end well.
    """
    model = Held()
    expected = 1 if waits == "inputs" else size
    if arm == INVOKE:
        run = partial(_in_threads, _orchestrator(model), model)
    elif arm == AINVOKE:
        graph = _orchestrator(model)
        run = partial(_in_loop, lambda given: _right(graph.ainvoke(given), given), model)
    else:
        peer = same_shape(waits=model.answered)
        run = partial(_in_loop, lambda given: peer(len(given["plan"]["subtasks"])), model)
    model.let_go()
    run(plan(waits, _WARM), 0)
    model.hold()
    gc.collect()
    before = _resident()
    return (run(plan(waits, size), expected) - before) / size


def _orchestrator(model: Held) -> Any:
    worker = create_worker("find", output=Found, prompt="Copy the figure.", checks=[stands_in_the_document])
    ladder = Ladder([Tier(name="small", model=model)])
    return create_orchestrator([worker], ladder, synthesizer="join").compile()


def _in_loop(
    start: Callable[[dict[str, Any]], Awaitable[object]], model: Held, given: dict[str, Any], expected: int
) -> float:
    async def run() -> float:
        running = asyncio.ensure_future(start(given))
        end, before = time.monotonic() + _LONGEST, -1
        while model.asked < expected or len(asyncio.all_tasks()) != before:
            before = len(asyncio.all_tasks())
            _check_time(end)
            await asyncio.wait({running}, timeout=_STILL)
        resident = _resident()
        model.let_go()
        await running
        return resident

    return asyncio.run(run())


def _in_threads(graph: Any, model: Held, given: dict[str, Any], expected: int) -> float:
    states: list[Any] = []
    running = threading.Thread(target=lambda: states.append(graph.invoke(given)), daemon=True)
    running.start()
    end, before = time.monotonic() + _LONGEST, -1
    while model.asked < expected or threading.active_count() != before:
        before = threading.active_count()
        _check_time(end)
        running.join(_STILL)
    resident = _resident()
    model.let_go()
    running.join()
    _check(states[0], given)
    return resident


def _check_time(end: float) -> None:
    if time.monotonic() > end:
        raise RuntimeError(f"not all subtasks wait after {_LONGEST:.0f} s")


async def _right(running: Awaitable[dict[str, Any]], given: dict[str, Any]) -> None:
    _check(await running, given)


def _check(state: dict[str, Any], given: dict[str, Any]) -> None:
    if state["failure"] is not None or len(state["results"]) != len(given["plan"]["subtasks"]):
        raise RuntimeError(f"not all subtasks were done: {state['failure']}")


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def due(size: int, in_flight: int, runs: int) -> list[Due]:
    """Both kinds of waiting, by each arm; `in_flight` subtasks wait for the model."""

    def go(waits: Waits, number: int, arm: str) -> Values:
        command = [sys.executable, "-m", "benchmarks.scheduling.measures.memory"]
        command += ["--waits", waits, "--subtasks", str(number), "--arm", arm]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-1000:]}")
        return {"kib": float(json.loads(done.stdout))}

    cases: tuple[tuple[Waits, int], ...] = (("inputs", size), ("model", in_flight))
    return [
        Due(NAME, f"{number} wait for {waits}", arm, run, 5.0, partial(go, waits, number, arm))
        for run in range(runs)
        for waits, number in cases
        for arm in ARMS
        if arm != SAME_SHAPE or waits == "model"
    ]


def main() -> None:
    """Measure one case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling.measures.memory")
    parser.add_argument("--waits", choices=["inputs", "model"], required=True)
    parser.add_argument("--subtasks", type=int, required=True, metavar="N")
    parser.add_argument("--arm", choices=ARMS, required=True)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.waits, arguments.subtasks, arguments.arm)))


if __name__ == "__main__":
    main()
