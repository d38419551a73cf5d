"""What happens around the calls of tools: limits, repeats, side by side or in order, what is counted."""

import asyncio
import json
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from stellwerk.errors import ConfigurationError
from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.worker import Worker
from tests.fakes import WAIT, Crash, Scripted, Signals, always, in_turn, ladder, plan, run, wants, worker

GOOD = '{"text": "fine"}'
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def using(*tools: Any, **options: Any) -> Worker:
    return worker(tools=tools, **options)


def attempt(worker: Worker, model: Scripted, *, sync: bool) -> dict[str, Any]:
    output: dict[str, Any] = run(
        create_worker_graph(worker, ladder(model)).compile(), {"instruction": "go"}, sync=sync
    )
    json.dumps(output, allow_nan=False, ensure_ascii=False).encode()
    return output


def uses(output: dict[str, Any]) -> list[dict[str, Any]]:
    return [use for call in output["calls"] for use in call.get("tools", ())]


def said(model: Scripted, number: int = -1) -> list[str]:
    return [message.text for message in model._calls[number][0] if isinstance(message, ToolMessage)]


class Log:
    """Tools that say when they begin and when they end."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._signals = Signals()

    def meet(self, name: str, other: str) -> str:
        """Wait for the other call to begin as well."""
        self._signals.send(name)
        self._signals.wait(other)
        return f"{name} met {other}"

    def note(self, name: str) -> str:
        """Note."""
        self.lines += [f"{name} begins", f"{name} ends"]
        return name


# Side by side, or in order


def test_calls_that_the_server_parsed_are_made_at_once(sync: bool) -> None:
    model = Scripted(
        reply=in_turn(
            wants(("meet", {"name": "a", "other": "b"}), ("meet", {"name": "b", "other": "a"})), GOOD
        )
    )
    attempt(using(Log().meet), model, sync=sync)
    assert said(model) == ["a met b", "b met a"]


def test_async_tools_are_called_at_once_too() -> None:
    begun = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def meet(name: str, other: str) -> str:
        """Wait for the other call to begin as well."""
        begun[name].set()
        await asyncio.wait_for(begun[other].wait(), WAIT)
        return f"{name} met {other}"

    model = Scripted(
        reply=in_turn(
            wants(("meet", {"name": "a", "other": "b"}), ("meet", {"name": "b", "other": "a"})), GOOD
        )
    )
    attempt(using(StructuredTool.from_function(coroutine=meet)), model, sync=False)
    assert said(model) == ["a met b", "b met a"]


WRITTEN = "\n".join(json.dumps({"name": "note", "arguments": {"name": name}}) for name in "abc")
PARSED = wants(*(("note", {"name": name}) for name in "abc"))


@pytest.mark.parametrize(
    ("asking", "options"),
    [(WRITTEN, {}), (PARSED, {"parallel_tools": False}), (PARSED, {"serial": ["note"]})],
    ids=["written as text", "not parallel", "side effects"],
)
def test_calls_are_made_one_after_the_other(
    asking: str | AIMessage, options: dict[str, Any], sync: bool
) -> None:
    log = Log()
    model = Scripted(reply=in_turn(asking, GOOD))
    output = attempt(using(log.note, **options), model, sync=sync)
    assert log.lines == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    assert [use["output"] for use in uses(output)] == ["a", "b", "c"]
    assert said(model) == ["a", "b", "c"]


def test_written_calls_are_made_at_once_where_that_is_asked_for(sync: bool) -> None:
    calls = [{"name": "meet", "arguments": {"name": name, "other": other}} for name, other in ("ab", "ba")]
    model = Scripted(reply=in_turn("\n".join(map(json.dumps, calls)), GOOD))
    attempt(using(Log().meet, parallel_tools=True), model, sync=sync)
    assert said(model) == ["a met b", "b met a"]


def test_one_call_with_side_effects_puts_the_whole_reply_in_order(sync: bool) -> None:
    log = Log()

    def charge(name: str) -> str:
        """Charge."""
        return log.note(name)

    asking = wants(("note", {"name": "a"}), ("charge", {"name": "b"}), ("note", {"name": "c"}))
    attempt(using(log.note, charge, serial=["charge"]), Scripted(reply=in_turn(asking, GOOD)), sync=sync)
    assert [line[0] for line in log.lines] == list("aabbcc")


def test_calls_in_order_keep_those_between_that_are_refused(sync: bool) -> None:
    asking = wants(("note", {"name": "a"}), ("nothing", {}), ("note", {"name": "c"}))
    output = attempt(
        using(Log().note, parallel_tools=False), Scripted(reply=in_turn(asking, GOOD)), sync=sync
    )
    assert [use["failed"] for use in uses(output)] == [False, True, False]
    assert [use["output"] for use in uses(output)][::2] == ["a", "c"]


def test_a_name_that_is_no_tool_cannot_be_serial() -> None:
    with pytest.raises(ConfigurationError, match=r"serial names 'charge'; give a list .*: add"):
        using(add, serial=["charge"])
    with pytest.raises(ConfigurationError, match="serial names 'add'; give a list"):
        using(add, serial="add")


# The time that a call may take


def test_a_call_that_hangs_is_given_up_and_the_model_told(sync: bool) -> None:
    free, ended = threading.Event(), threading.Event()

    def hang() -> str:
        """Hang."""
        free.wait(WAIT)
        ended.set()
        return "too late"

    model = Scripted(reply=in_turn(wants(("hang", {})), GOOD))
    output = attempt(using(hang, tool_timeout=0.2), model, sync=sync)
    assert not ended.is_set()  # neither the run nor the end of its event loop waited for the call
    free.set()
    assert output["verdict"] == {"accepted": True}
    (use,) = uses(output)
    assert (use["failed"], use["problem"]) == (True, "timeout")
    assert said(model) == [
        "hang did not end within 0.2 seconds and was given up, though what it does may still happen; "
        "ask for less, or go on without it"
    ]


def test_an_async_call_that_hangs_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def hang() -> str:
        """Hang."""
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "too late"

    model = Scripted(reply=in_turn(wants(("hang", {})), GOOD))
    output = attempt(using(StructuredTool.from_function(coroutine=hang), tool_timeout=0.2), model, sync=False)
    assert cancelled == [True]
    assert [use["problem"] for use in uses(output)] == ["timeout"]


def test_a_call_that_hangs_does_not_take_the_other_with_it(sync: bool) -> None:
    free = threading.Event()

    def hang() -> str:
        """Hang."""
        free.wait(WAIT)
        return "too late"

    model = Scripted(reply=in_turn(wants(("hang", {}), ("add", {"a": 1, "b": 1})), GOOD))
    output = attempt(using(hang, add, tool_timeout=2), model, sync=sync)
    free.set()
    assert [use["failed"] for use in uses(output)] == [True, False]


def test_a_timeout_of_the_tool_s_own_is_an_error_like_others(sync: bool) -> None:
    def ask() -> str:
        """Ask."""
        raise TimeoutError("the server is slow")

    output = attempt(using(ask), Scripted(reply=in_turn(wants(("ask", {})), GOOD)), sync=sync)
    (use,) = uses(output)
    assert use["problem"] == "error"
    assert "ask failed (TimeoutError: the server is slow)" in use["output"]


def test_a_tool_that_is_not_written_yet_is_told_of_like_any_error(sync: bool) -> None:
    def later() -> str:
        """Do it later."""
        raise NotImplementedError("not yet")

    (use,) = uses(attempt(using(later), Scripted(reply=in_turn(wants(("later", {})), GOOD)), sync=sync))
    assert "later failed (NotImplementedError: not yet)" in use["output"]


def test_without_a_limit_a_tool_may_take_its_time(sync: bool) -> None:
    output = attempt(
        using(add, tool_timeout=None),
        Scripted(reply=in_turn(wants(("add", {"a": 1, "b": 1})), GOOD)),
        sync=sync,
    )
    assert [use["output"] for use in uses(output)] == ["2"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_limit_of_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=r"tool_timeout is .*; give seconds above 0, or None"):
        using(add, tool_timeout=seconds)


# Calls that come again


def asks(*rounds: AIMessage | str, answer: str = GOOD) -> Scripted:
    """A model that asks for tools round after round, and answers when it is offered none."""
    left = list(rounds)

    def reply(messages: Any) -> str | AIMessage:
        offered = "tools" in model.options[-1]
        return left.pop(0) if offered and left else answer

    model = Scripted(reply=reply)
    return model


def test_a_call_that_comes_again_is_told_once_then_the_answer_is_asked_for(sync: bool) -> None:
    again = wants(("add", {"a": 1, "b": 1}))
    model = asks(again, again, again, again)
    output = attempt(using(add), model, sync=sync)
    assert output["value"] == {"text": "fine"}
    assert ["tools" in options for options in model.options] == [True, True, True, False]
    assert said(model) == [
        "2",
        "add was called with these arguments before, and its output stands above; use that",
    ]
    assert [call.get("stopped") for call in output["calls"]] == [None, None, "repeated", None]
    assert [use.get("problem") for use in uses(output)] == [None, "repeated"]


def test_beside_a_new_call_an_old_one_is_told_and_the_new_one_made(sync: bool) -> None:
    first, both = ("add", {"a": 1, "b": 1}), wants(("add", {"a": 1, "b": 1}), ("add", {"a": 2, "b": 2}))
    model = asks(wants(first), wants(first), both)
    output = attempt(using(add), model, sync=sync)
    assert [use.get("problem", use["output"]) for use in uses(output)] == ["2", "repeated", "repeated", "4"]


def test_what_failed_may_be_tried_once_more(sync: bool) -> None:
    tries: list[int] = []

    def flaky() -> str:
        """Fail at first."""
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("try again")
        return "there"

    model = asks(wants(("flaky", {})), wants(("flaky", {})))
    assert [use["failed"] for use in uses(attempt(using(flaky), model, sync=sync))] == [True, False]


def test_what_fails_twice_is_not_tried_a_third_time(sync: bool) -> None:
    def broken() -> str:
        """Fail."""
        raise ConnectionError("no")

    model = asks(*[wants(("broken", {}))] * 3)
    problems = [use["problem"] for use in uses(attempt(using(broken), model, sync=sync))]
    assert problems == ["error", "error", "repeated"]


def test_what_side_effects_may_have_changed_is_read_again(sync: bool) -> None:
    balance = [10]

    def read() -> int:
        """Read the balance."""
        return balance[0]

    def charge(amount: int) -> str:
        """Charge."""
        balance[0] -= amount
        return "charged"

    model = asks(
        wants(("read", {})),
        wants(("charge", {"amount": 3})),
        wants(("read", {})),
        wants(("charge", {"amount": 3})),
    )
    output = attempt(using(read, charge, serial=["charge"]), model, sync=sync)
    assert [use.get("problem", use["output"]) for use in uses(output)] == ["10", "charged", "7", "repeated"]
    assert balance == [7]


def test_side_effects_that_may_still_come_are_not_asked_for_again(sync: bool) -> None:
    free = threading.Event()
    calls: list[int] = []

    def charge() -> str:
        """Charge."""
        calls.append(1)
        free.wait(WAIT)
        return "charged"

    model = asks(wants(("charge", {})), wants(("charge", {})))
    output = attempt(using(charge, serial=["charge"], tool_timeout=0.2), model, sync=sync)
    free.set()
    assert [use["problem"] for use in uses(output)] == ["timeout", "repeated"]
    assert calls == [1]


# What is counted


def test_the_ledger_counts_calls_by_what_was_wrong(sync: bool) -> None:
    def flaky() -> str:
        """Fail."""
        raise ConnectionError("no")

    model = asks(
        wants(("add", {"a": 1, "b": 1}), ("add", {"a": "x"}), ("subtract", {}), ("flaky", {})),
        wants(("add", {"a": 2, "b": 1})),
    )
    graph = create_orchestrator(
        [using(add, flaky, max_tool_rounds=2)], ladder(model), synthesizer="join"
    ).compile()
    ledger = run(graph, {"task": "Do it", "plan": plan(a="")}, sync=sync)["ledger"]
    assert ledger["tools"] == {"arguments": 1, "error": 1, "ok": 2, "stopped_steps": 1, "unknown_tool": 1}


def test_a_run_without_tools_counts_none() -> None:
    graph = create_orchestrator([worker()], ladder(always(GOOD)), synthesizer="join").compile()
    assert "tools" not in graph.invoke({"task": "Do it", "plan": plan(a="")})["ledger"]


# What is kept of a thread


def test_what_a_broken_run_left_is_no_part_of_the_next(sync: bool) -> None:
    """The first run on a thread dies after a tool; the second gets another job and begins anew."""
    saver = InMemorySaver()

    def go(model: Scripted, instruction: str) -> Any:
        graph = create_worker_graph(using(add), ladder(model)).compile(checkpointer=saver)
        return run(graph, {"instruction": instruction}, THREAD, sync=sync)

    def die(messages: Any) -> None:
        if first.calls == 2:
            raise Crash

    async def adie(messages: Any) -> None:
        die(messages)

    first = Scripted(reply=always("unused"), before=die, abefore=adie)
    first.reply = in_turn(wants(("add", {"a": 40, "b": 2})))
    with pytest.raises(Crash):
        go(first, "the old job")
    second = Scripted(reply=in_turn(wants(("add", {"a": 1, "b": 1})), GOOD))
    output = go(second, "the new job")
    assert said(second, 0) == []
    assert [use["output"] for use in uses(output)] == ["2"]
    assert not any("the old job" in prompt for prompt in second.prompts)


def test_the_state_is_json_at_every_step(sync: bool) -> None:
    saver = InMemorySaver()
    bad = AIMessage(
        "thinking \ud800",
        tool_calls=wants(("add", {"a": float("nan"), "b": 1}), ("add\ud800", {})).tool_calls,
    )
    model = asks(bad, wants(("add", {"a": 1, "b": 1})))
    graph = create_worker_graph(using(add), ladder(model)).compile(checkpointer=saver)
    run(graph, {"instruction": "go"}, THREAD, sync=sync)
    seen = 0
    for state in graph.get_state_history(THREAD):
        json.dumps(state.values, allow_nan=False, ensure_ascii=False).encode()
        seen += 1
    assert seen == 7


def test_an_answer_of_a_person_that_does_not_fit_is_no_fault_of_the_model(sync: bool) -> None:
    class Answer(BaseModel):
        yes: bool

    def approve() -> str:
        """Approve."""
        answer = interrupt("May I?", response_schema=Answer)
        return f"approved: {answer.yes}"

    model = Scripted(reply=in_turn(wants(("approve", {})), GOOD))
    graph = create_worker_graph(using(approve), ladder(model)).compile(checkpointer=InMemorySaver())
    run(graph, {"instruction": "go"}, THREAD, sync=sync)
    with pytest.raises(ValueError, match="yes"):
        run(graph, Command(resume={"maybe": 1}), THREAD, sync=sync)
    run(graph, Command(resume={"yes": True}), THREAD, sync=sync)
    assert said(model) == ["approved: True"]
    assert model.calls == 2


def test_what_a_model_said_beside_its_calls_is_shown_to_it_again(sync: bool) -> None:
    thoughtful = wants(("add", {"a": 1, "b": 1}))
    thoughtful.content = "I add first."
    model = Scripted(reply=in_turn(thoughtful, "So it is two.", GOOD))
    attempt(using(add), model, sync=sync)
    assert "I add first." in model.prompts[1]
    assert [message.type for message in model._calls[2][0]] == [
        "system",
        "human",
        "ai",
        "tool",
        "ai",
        "human",
    ]
