"""A call of a tool gets the time that is left to its run, subtask and attempt, and no more."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from stellwerk.budget import Budget, RunBudget
from stellwerk.effects import Effect, InMemoryEffectJournal, Intent, effect, effect_key
from stellwerk.error_policy import ErrorPolicy
from stellwerk.graphs import create_orchestrator
from tests.fakes import WAIT, Messages, Scripted, in_turn, ladder, make, mark_of, plan, run, wants, worker

GOOD = '{"text": "fine"}'
THREAD: Any = {"configurable": {"thread_id": "1"}}
SOON = 0.4  # seconds; all other limits are far above
HANG = ("hang", {"what": "tea"})


class Slow:
    """Tools that hang until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.begun: list[str] = []

    def hang(self, what: str) -> str:
        """Take longer than anybody waits."""
        self.begun.append(what)
        self.over.wait(WAIT)
        return what

    async def ahang(self, what: str) -> str:
        """Take longer than anybody waits."""
        self.begun.append(what)
        await asyncio.sleep(WAIT)
        return what


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.over.set()


def go(*models: Any, sync: bool, saver: Any = None, given: Any = None, **options: Any) -> dict[str, Any]:
    """Run two subtasks, of which `a` calls tools; the run ends long before a tool that hangs."""
    names = ("budget", "run_budget", "effects")
    about = {name: options.pop(name) for name in names if name in options}
    options["effects"] = options.pop("declared", {"hang": "read"})
    graph = create_orchestrator(
        [worker(**options)], ladder(*(Scripted(reply=each) for each in models)), synthesizer="join", **about
    ).compile(checkpointer=saver)
    began = time.monotonic()
    start = given or {"task": "t", "plan": plan(a="", b="")}
    output: dict[str, Any] = run(graph, start, THREAD if saver else None, sync=sync)
    assert time.monotonic() - began < WAIT / 2
    assert "__interrupt__" in output or output["results"]["b"]["status"] == "accepted"
    return output


def asking(*replies: Any) -> Callable[[Messages], Any]:
    """A model that gives these replies to `a`, and does `b`."""
    reply = in_turn(*replies)
    return lambda messages: reply(messages) if mark_of(messages) == "a" else make(messages)


def uses(output: dict[str, Any]) -> list[dict[str, Any]]:
    attempts = output["results"]["a"]["attempts"]
    return [use for attempt in attempts for call in attempt["calls"] for use in call.get("tools", ())]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_run_that_is_over_ends_its_tools(is_async: bool, slow: Slow) -> None:
    """An async tool, which a sync graph does not run, and a sync one in an async graph."""
    check_that_a_run_ends_its_tools(slow.ahang if is_async else slow.hang, sync=False)


def test_a_sync_run_that_is_over_ends_its_tools(slow: Slow) -> None:
    check_that_a_run_ends_its_tools(slow.hang, sync=True)


def check_that_a_run_ends_its_tools(tool: Any, *, sync: bool) -> None:
    output = go(
        asking(wants((tool.__name__, {"what": "tea"}))),
        sync=sync,
        tools=[tool],
        declared={tool.__name__: "read"},
        run_budget=RunBudget(seconds=SOON),
    )
    (use,) = uses(output)
    assert use["problem"] == "budget"
    assert use["output"].startswith(f"{tool.__name__} was cut off after 0.")
    assert "as the run's time is over" in use["output"]
    assert output["results"]["a"]["reason"] in ("budget", "timeout")
    assert output["ledger"]["tools"] == {"budget": 1}
    assert output["ledger"]["budget"]["limits"] == {"seconds": SOON}


def test_a_subtask_whose_time_is_over_ends_its_tools_and_begins_none(slow: Slow, sync: bool) -> None:
    output = go(
        asking(wants(HANG, ("hang", {"what": "milk"}))),
        sync=sync,
        tools=[slow.hang],
        parallel_tools=False,
        budget=Budget(seconds=SOON),
    )
    first, second = uses(output)
    assert (first["problem"], second["problem"]) == ("budget", "budget")
    assert "as the subtask's time is over" in first["output"]
    assert second["output"] == "hang was not called, as the subtask's time is over; go on without it"
    assert slow.begun == ["tea"]
    assert output["results"]["a"]["reason"] == "timeout"  # what tools took is gone for models too


def test_an_attempt_whose_time_is_over_ends_its_tools_and_the_next_one_goes_on(
    slow: Slow, sync: bool
) -> None:
    output = go(
        asking(wants(HANG)),
        asking(GOOD),
        sync=sync,
        tools=[slow.hang],
        errors=ErrorPolicy(run_timeout=SOON),
    )
    (use,) = uses(output)
    assert (use["problem"], "as the attempt's run_timeout is over" in use["output"]) == ("timeout", True)
    assert [attempt["tier"] for attempt in output["results"]["a"]["attempts"]] == ["small", "large"]


def test_a_tool_with_a_tighter_limit_of_its_own_says_that(slow: Slow, sync: bool) -> None:
    output = go(
        asking(wants(HANG), GOOD),
        sync=sync,
        tools=[slow.hang],
        tool_timeout=0.1,
        run_budget=RunBudget(seconds=WAIT),
        budget=Budget(seconds=WAIT),
    )
    (use,) = uses(output)
    assert (use["problem"], "did not end within 0.1 seconds" in use["output"]) == ("timeout", True)
    assert output["results"]["a"]["status"] == "accepted"


def test_of_a_write_that_was_cut_off_nobody_knows_what_came(slow: Slow, sync: bool) -> None:
    """The run ends with what it has; whoever wants the same write next looks first."""
    journal, looked = InMemoryEffectJournal(), list[Any]()

    def look(args: Any) -> str:
        looked.append(args)
        return "it was done"

    declared = {"hang": Effect("write", idempotency_key=lambda args: str(args["what"]), reconcile=look)}
    options: dict[str, Any] = {
        "sync": sync,
        "saver": InMemorySaver(),
        "tools": [slow.hang],
        "effects": journal,
        "declared": declared,
    }
    output = go(asking(wants(HANG)), run_budget=RunBudget(seconds=SOON), **options)
    assert [use["problem"] for use in uses(output)] == ["budget"]
    assert (output["results"]["a"]["status"], looked) == ("failed", [])
    later = go(asking(wants(HANG), GOOD), **options)
    assert [(use["output"], use["by"]) for use in uses(later)] == [("it was done", "reconcile")]
    assert (slow.begun, looked) == (["tea"], [{"what": "tea"}])


@pytest.mark.parametrize("limit", ["run", "subtask"])
def test_another_that_makes_the_same_write_is_not_waited_for_longer(
    limit: str, slow: Slow, sync: bool
) -> None:
    journal = InMemoryEffectJournal()
    journal.begin(
        Intent(
            key=effect_key("own", "hang", "tea"), thread_id="", subtask="", tool="hang", args={"what": "tea"}
        )
    )
    tight: dict[str, Any] = (
        {"run_budget": RunBudget(seconds=SOON)} if limit == "run" else {"budget": Budget(seconds=SOON)}
    )
    output = go(
        asking(wants(HANG), GOOD),
        sync=sync,
        tools=[slow.hang],
        effects=journal,
        declared={"hang": Effect("write", idempotency_key=lambda args: str(args["what"]))},
        **tight,
    )
    (use,) = uses(output)
    assert use["problem"] == "budget"
    assert f"not called, as the {limit}'s time is over while another makes the same write" in use["output"]
    assert slow.begun == []


def test_a_reconcile_that_hangs_is_given_up_and_a_person_is_asked(slow: Slow, sync: bool) -> None:
    declared = {"hang": Effect("write", reconcile=lambda args: slow.over.wait(WAIT))}
    output = go(
        asking(wants(HANG)),
        sync=sync,
        saver=InMemorySaver(),
        tools=[slow.hang],
        tool_timeout=0.1,
        declared=declared,
    )
    (asked,) = output["__interrupt__"]
    assert asked.value["kind"] == "unknown_outcome"
    assert "Its reconcile function failed" in asked.value["question"]


def test_what_a_tool_calls_in_turn_has_the_same_deadline(slow: Slow, sync: bool) -> None:
    """A tool that runs an orchestrator of its own."""
    inner: list[Any] = []

    @effect("read")
    def ask() -> str:
        """Ask another."""
        output = go(asking(wants(HANG), GOOD), sync=True, tools=[slow.hang])
        inner.extend(uses(output))
        return "done"

    go(asking(wants(("ask", {}))), sync=sync, tools=[ask], declared={}, run_budget=RunBudget(seconds=SOON))
    ended = time.monotonic() + WAIT / 2
    while not inner and time.monotonic() < ended:
        time.sleep(0.01)
    assert [use["problem"] for use in inner] == ["budget"]
