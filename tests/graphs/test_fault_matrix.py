"""What becomes of a run when a part of it fails: every fault in every part, with its outcome written down.

Each run has three subtasks, `a` and `b` by themselves and `c` after `a`. The fault is in what `a` meets, or
in the first that is stored or read back after `a` was begun. Whatever it is, `b` ends, what is done reaches
the caller or can be resumed, and nothing hangs.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.effects import effect
from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.outcome import Attempt
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from stellwerk.plan import Plan, Subtask
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from stellwerk.trace import AttemptTrace, RunTrace
from stellwerk.worker import Brief, Worker
from tests.fakes import Crash, Messages, Said, Scripted, job, make, mark_of, plan, run, text_of, wants, worker

FAULTS = ("exception", "timeout", "hang", "invalid", "wrong type", "cancelled", "killed")
PLACES = ("planner", "router", "model", "check", "tool", "synthesizer", "database")
STORAGE = ("get_tuple", "put", "put_writes")  # the checkpointer's methods; "database" is that of traces
HANG = 0.8  # seconds that a part hangs; limits in these runs are far below
LIMIT = 0.2

# How `a` ends; `up` is on the large tier, `fallback` in a plan of one subtask, `joined` without a merge.
OK, UP, FAILED, FALLBACK, JOINED, RESUMED = "accepted", "up", "failed", "fallback", "joined", "resumed"
RAISED = "raised, and resumed"  # no failure of `a`: what could not be stored can be done again
# A part that runs the caller's own Python code cannot be broken off: it takes as long as it takes.
WAITED = "accepted, later"
OUTCOMES: dict[str, dict[str, str]] = {
    "planner": {
        "exception": FALLBACK,
        "timeout": FALLBACK,
        "hang": OK,  # it is asked again
        "invalid": FALLBACK,
        "wrong type": FALLBACK,
        "cancelled": RESUMED,
        "killed": RESUMED,
    },
    "router": {
        "exception": OK,
        "timeout": OK,
        "hang": WAITED,
        "invalid": OK,
        "wrong type": OK,
        "cancelled": RESUMED,
        "killed": RESUMED,
    },
    "model": {
        "exception": UP,
        "timeout": UP,
        "hang": UP,
        "invalid": UP,
        "wrong type": UP,
        "cancelled": RESUMED,
        "killed": RESUMED,
    },
    "check": {
        "exception": FAILED,
        "timeout": FAILED,
        "hang": WAITED,
        "invalid": FAILED,
        "wrong type": FAILED,
        "cancelled": RESUMED,
        "killed": RESUMED,
    },
    "tool": {
        "exception": OK,
        "timeout": OK,
        "hang": OK,
        "invalid": OK,
        "wrong type": OK,
        "cancelled": RESUMED,
        "killed": RESUMED,
    },
    "synthesizer": {
        "exception": JOINED,
        "timeout": JOINED,
        "hang": WAITED,
        "invalid": JOINED,
        "wrong type": JOINED,
        "cancelled": RESUMED,
        "killed": RESUMED,
    },
    "database": {
        "exception": OK,
        "timeout": OK,
        "hang": WAITED,
        "invalid": OK,
        "wrong type": OK,
        "cancelled": RESUMED,
        "killed": RESUMED,
    },
}
AT_STORAGE = {
    "exception": RAISED,
    "timeout": RAISED,
    "hang": WAITED,
    "cancelled": RESUMED,
    "killed": RESUMED,
}


class Cancelled(Crash):
    """The caller breaks the run off."""


class Fault:
    """Happens once, in one place."""

    def __init__(self, place: str, kind: str) -> None:
        self.place, self.kind = place, kind
        self.happened = threading.Event()
        self.begun = threading.Event()  # `a` was

    def at_storage(self, method: str) -> None:
        """The checkpointer is called."""
        if self.begun.is_set():
            self.at(method, lambda: None)

    async def aat_storage(self, method: str) -> None:
        """As `at_storage`; what hangs leaves the event loop to others."""
        if self.begun.is_set() and (method, self.kind) == (self.place, "hang") and not self.happened.is_set():
            self.happened.set()
            await asyncio.sleep(HANG)
        else:
            self.at_storage(method)

    def at(self, place: str, good: Callable[[], Any], invalid: Any = "no JSON", wrong: Any = None) -> Any:
        """What that place gives: what is good, or what the fault makes of it."""
        if place != self.place or (self.happened.is_set() and self.kind in ("cancelled", "killed")):
            return good()
        first = not self.happened.is_set()
        self.happened.set()
        match self.kind:
            case "exception":
                raise RuntimeError("a defect")
            case "timeout":
                raise TimeoutError("too late")
            case "hang" if first:
                time.sleep(HANG)
            case "cancelled":
                raise Cancelled
            case "killed":
                import os

                os._exit(9)
            case "invalid":
                return invalid
            case "wrong type":
                return wrong
        return good()


def faulty(saver: type[Any], fault: Fault) -> type[Any]:
    """A checkpointer in which a fault may happen."""

    class Faulty(saver):  # type: ignore[misc]  # one of two classes, by the parameter
        def get_tuple(self, *given: Any, **options: Any) -> Any:
            fault.at_storage("get_tuple")
            return super().get_tuple(*given, **options)

        def put(self, *given: Any, **options: Any) -> Any:
            fault.at_storage("put")
            return super().put(*given, **options)

        def put_writes(self, *given: Any, **options: Any) -> None:
            fault.at_storage("put_writes")
            super().put_writes(*given, **options)

        async def aget_tuple(self, *given: Any, **options: Any) -> Any:
            await fault.aat_storage("get_tuple")
            return await super().aget_tuple(*given, **options)

        async def aput(self, *given: Any, **options: Any) -> Any:
            await fault.aat_storage("put")
            return await super().aput(*given, **options)

        async def aput_writes(self, *given: Any, **options: Any) -> None:
            await fault.aat_storage("put_writes")
            await super().aput_writes(*given, **options)

    return Faulty


class Sink:
    """Where traces go."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def attempt(self, trace: AttemptTrace) -> None:
        """Of an attempt."""
        self._fault.at("database", lambda: None)

    def run(self, trace: RunTrace) -> None:
        """Of a run."""


class Routing:
    """Smallest first, in which a fault may happen."""

    name = "routing"

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def decide(
        self, subtask: Subtask, worker: Worker, ladder: Ladder, budget: Budget, history: Sequence[Attempt]
    ) -> Any:
        """The smallest tier that was not tried."""
        place = len(history)

        def good() -> Decision:
            tier = ladder.names[place] if place < len(ladder) else None
            return Decision(tier=tier, router="routing", version="1", why="in order")

        if subtask.id != "a":
            return good()
        unknown = Decision(tier="nobody", router="routing", version="1", why="a defect")
        return self._fault.at("router", good, unknown, "small")


def orchestrator(fault: Fault) -> Any:
    """Three subtasks, and a fault somewhere."""

    def small(messages: Messages) -> Any:
        def good() -> Any:
            return make(messages)

        if mark_of(messages) == "a":
            fault.begun.set()
        return fault.at("model", good, "no JSON", "[1]") if mark_of(messages) == "a" else good()

    def planning(messages: Messages) -> Any:
        if "numbered" in text_of(messages):
            return fault.at("planner", lambda: json.dumps(plan(a="", b="", c="a")), "no plan", "[1]")
        return make(messages)

    def check(answer: Said, brief: Brief) -> Any:
        def good() -> None:
            return None

        return fault.at("check", good, "not so", 17) if brief.instruction == job("a") else good()

    @effect("read")  # of a write that was cancelled or timed out nobody knows what came: a person is asked
    def tool() -> Any:
        """Look it up."""
        return fault.at("tool", lambda: "found", "", object())

    def tooled(messages: Messages) -> Any:
        if fault.place == "tool" and mark_of(messages) == "a" and "found" not in text_of(messages):
            asked = sum(message.type == "tool" for message in messages)
            return wants(("tool", {})) if not asked else make(messages)
        return small(messages)

    def merge(task: str, plan: Plan, results: Any) -> Any:
        return fault.at("synthesizer", lambda: "merged", "", 17)

    tools = [tool] if fault.place == "tool" else []
    price = Price(input=1.0, output=1.0)
    tiers = [
        Tier(name="small", model=Scripted(reply=tooled), price=price, timeout=LIMIT),
        Tier(name="large", model=Scripted(reply=make), price=price, timeout=LIMIT),
    ]
    planner = Tier(name="planner", model=Scripted(reply=planning), price=price, timeout=LIMIT)
    return create_orchestrator(
        [worker(checks=[check], tools=tools, tool_timeout=LIMIT, repairs=0)],
        Ladder(tiers),
        router=Routing(fault),
        planner=planner,
        synthesizer=merge,
        traces=Sink(fault),
    )


def given(fault: Fault) -> dict[str, Any]:
    """The input: without a plan where the planner is to fail."""
    return {"task": "t", **({} if fault.place == "planner" else {"plan": plan(a="", b="", c="a")})}


def outcome(found: dict[str, Any]) -> str:
    """What became of a run, in a word."""
    results = found["results"]
    if set(results) == {"task"}:
        assert results["task"]["status"] == "accepted"
        return FALLBACK
    assert results["b"]["status"] == "accepted"  # a sibling always ends
    if results["a"]["status"] != "accepted":
        assert found["failure"]["subtasks"]["a"]["worker"] == "make"
        assert results["c"]["status"] == "skipped"
        return FAILED
    assert results["c"]["status"] == "accepted"
    if "merged" not in found["answer"]:
        return JOINED
    return UP if len(results["a"]["attempts"]) > 1 else OK


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind != "killed"])
@pytest.mark.parametrize("place", PLACES)
def test_every_fault_in_every_part_has_its_outcome(place: str, kind: str, sync: bool) -> None:
    fault, config = Fault(place, kind), {"configurable": {"thread_id": "1"}}
    graph = orchestrator(fault).compile(checkpointer=InMemorySaver())
    expected, began = OUTCOMES[place][kind], time.monotonic()
    if expected == RESUMED:
        with pytest.raises((Cancelled, asyncio.CancelledError)):
            run(graph, given(fault), config, sync=sync, durability="sync")
        assert outcome(run(graph, None, config, sync=sync)) == OK
    else:
        found = run(graph, given(fault), config, sync=sync)
        assert outcome(found) == (OK if expected == WAITED else expected)
    assert fault.happened.is_set()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("kind", "durability"),
    [("hang", "sync"), *product(("exception", "timeout", "cancelled"), ("sync", "async"))],
)
@pytest.mark.parametrize("method", STORAGE)
def test_what_cannot_be_stored_ends_the_run_and_fails_no_subtask(
    method: str, kind: str, durability: str, sync: bool
) -> None:
    fault, config = Fault(method, kind), {"configurable": {"thread_id": "1"}}
    saver = faulty(InMemorySaver, fault)()
    expected, began = AT_STORAGE[kind], time.monotonic()
    graph = orchestrator(fault).compile(checkpointer=saver)
    if expected == WAITED:
        assert outcome(run(graph, given(fault), config, sync=sync, durability=durability)) == OK
    else:
        errors = (RuntimeError, TimeoutError) if expected == RAISED else (Cancelled, asyncio.CancelledError)
        with pytest.raises(errors):
            run(graph, given(fault), config, sync=sync, durability=durability)
        fault.kind = "none"  # it passes
        assert outcome(run(graph, None, config, sync=sync)) == OK
    assert fault.happened.is_set()
    assert time.monotonic() - began < 20


@pytest.mark.slow
@pytest.mark.parametrize("place", [*PLACES, *STORAGE])
def test_a_process_that_is_killed_there_is_resumed(place: str, tmp_path: Path) -> None:
    """Started the async way, and resumed the sync way."""
    file = str(tmp_path / "runs.sqlite")
    code = f"from tests.graphs.test_fault_matrix import killed; killed({place!r}, {file!r})"
    dead = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True)
    assert dead.returncode == 9, dead.stderr.decode()
    config: Any = {"configurable": {"thread_id": "1"}}
    with SQLAlchemySaver.from_url(f"sqlite:///{file}") as saver:
        graph = orchestrator(Fault(place, "none")).compile(checkpointer=saver)
        assert outcome(graph.invoke(None, config)) == OK


def killed(place: str, file: str) -> None:
    """Runs in a process of its own, which dies in that place."""
    asyncio.run(_killed(Fault(place, "killed"), file))


async def _killed(fault: Fault, file: str) -> None:
    config: Any = {"configurable": {"thread_id": "1"}}
    async with faulty(AsyncSQLAlchemySaver, fault).from_url(f"sqlite:///{file}") as saver:
        await saver.setup()
        graph = orchestrator(fault).compile(checkpointer=saver)
        await graph.ainvoke(given(fault), config, durability="sync")
