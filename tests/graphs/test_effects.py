"""A tool that writes does so once, whatever becomes of the run that asked for it."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool as make_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from stellwerk.effects import Claim, Effect, InMemoryEffectJournal, Intent, effect
from stellwerk.errors import ConfigurationError, DatabaseError, OutcomeUnknownError
from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.persistence.effects import SQLAlchemyEffectJournal
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.fakes import WAIT, Crash, Scripted, in_turn, ladder, plan, run, wants, worker
from tests.persistence.processes import process

GOOD = '{"text": "fine"}'
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}
START = {"task": "Do it", "plan": plan(a="")}
TEA = ("order", {"what": "tea"})


class Shop:
    """A tool that writes: each order is a line in a file."""

    def __init__(self, folder: Path) -> None:
        self.lines = folder / "lines"
        self.then: Callable[[], object] = str

    def order(self, what: str, pieces: int = 1) -> str:
        """Order something."""
        with self.lines.open("a") as file:
            file.write(f"{what}\n")
        self.then()
        return f"ordered {pieces} {what}"

    @property
    def ordered(self) -> list[str]:
        return self.lines.read_text().split() if self.lines.exists() else []


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def go(
    shop: Shop, *models: Any, sync: bool, given: Any = START, config: Any = None, **options: Any
) -> dict[str, Any]:
    effects, saver = options.pop("journal", None), options.pop("saver", None)
    options.setdefault("tools", [shop.order])
    graph = create_orchestrator(
        [worker(**options)], ladder(*models), synthesizer="join", effects=effects
    ).compile(checkpointer=saver)
    output: dict[str, Any] = run(graph, given, config, sync=sync)
    return output


def uses(output: dict[str, Any]) -> list[dict[str, Any]]:
    attempts = output["results"]["a"]["attempts"]
    return [use for attempt in attempts for call in attempt["calls"] for use in call.get("tools", ())]


def model(*replies: Any) -> Scripted:
    return Scripted(reply=in_turn(*replies))


def test_a_repair_and_a_larger_model_repeat_no_write(shop: Shop, sync: bool) -> None:
    small = model(wants(TEA), '{"text": ""}', '{"text": ""}', '{"text": ""}')
    # In another order, and with its default spelt out, it is the same write.
    large = model(wants(("order", {"pieces": 1, "what": "tea"})), GOOD)
    output = go(shop, small, large, sync=sync)
    assert shop.ordered == ["tea"]
    assert [(use["output"], use.get("replayed")) for use in uses(output)] == [
        ("ordered 1 tea", None),
        ("ordered 1 tea", True),
    ]
    told = [message.text for message in large._calls[-1][0] if isinstance(message, ToolMessage)]
    assert told == ["ordered 1 tea"]
    assert output["ledger"]["tools"] == {"ok": 1, "replayed": 1}


def test_a_read_is_made_anew_and_other_arguments_are_another_write(shop: Shop, sync: bool) -> None:
    failing = ['{"text": ""}'] * 3
    small, large = model(wants(TEA), *failing), model(wants(TEA), GOOD)
    go(shop, small, large, sync=sync, effects={"order": "read"})
    assert shop.ordered == ["tea", "tea"]
    milk = ("order", {"what": "milk"})
    go(shop, model(wants(TEA), *failing), model(wants(milk), GOOD), sync=sync)
    assert shop.ordered[2:] == ["tea", "milk"]


def test_the_same_write_twice_in_one_reply_is_made_once(shop: Shop, sync: bool) -> None:
    output = go(shop, model(wants(TEA, TEA), GOOD), sync=sync)
    assert shop.ordered == ["tea"]
    assert sorted(use.get("replayed", False) for use in uses(output)) == [False, True]


def test_a_run_that_goes_on_from_an_earlier_step_repeats_no_write_and_another_run_does(
    shop: Shop, sync: bool
) -> None:
    journal, saver = InMemoryEffectJournal(), InMemorySaver()
    options: dict[str, Any] = {"journal": journal, "saver": saver, "config": THREAD}
    go(shop, model(wants(TEA), GOOD), sync=sync, **options)
    graph = create_orchestrator(
        [worker(tools=[shop.order])], ladder(model(wants(TEA), GOOD)), synthesizer="join", effects=journal
    ).compile(checkpointer=saver)
    before = next(state for state in graph.get_state_history(THREAD) if state.next == ("execute",))
    assert uses(run(graph, None, before.config, sync=sync))[0]["replayed"]
    assert shop.ordered == ["tea"]
    go(shop, model(wants(TEA), GOOD), sync=sync, **options)
    assert shop.ordered == ["tea", "tea"]


def test_a_key_of_its_own_counts_in_every_run(shop: Shop, sync: bool) -> None:
    journal = InMemoryEffectJournal()
    keyed = effect("write", idempotency_key=lambda args: str(args["what"]).lower())(make_tool(shop.order))
    for what in ("tea", "TEA"):
        output = go(
            shop, model(wants(("order", {"what": what})), GOOD), sync=sync, journal=journal, tools=[keyed]
        )
    assert shop.ordered == ["tea"]
    assert uses(output)[0]["output"] == "ordered 1 tea"


def test_a_write_that_says_that_it_failed_is_made_again(shop: Shop, sync: bool) -> None:
    def fail() -> None:
        shop.then = str
        raise ConnectionError("no")

    shop.then = fail
    output = go(shop, model(wants(TEA), *['{"text": ""}'] * 3), model(wants(TEA), GOOD), sync=sync)
    assert [use["failed"] for use in uses(output)] == [True, False]
    assert shop.ordered == ["tea", "tea"]


def unsure() -> None:
    raise OutcomeUnknownError("the connection broke off")


def test_without_a_person_to_ask_what_is_not_known_is_not_made_again(shop: Shop, sync: bool) -> None:
    shop.then = unsure
    output = go(shop, model(wants(TEA), *['{"text": ""}'] * 3), model(wants(TEA), GOOD), sync=sync)
    assert [use["problem"] for use in uses(output)] == ["error", "unknown_outcome"]
    assert shop.ordered == ["tea"]


@pytest.mark.parametrize("found", ["ordered before", None])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_tool_that_can_tell_settles_what_timed_out(
    found: str | None, is_async: bool, shop: Shop, sync: bool
) -> None:
    free, asked = threading.Event(), list[dict[str, Any]]()

    def look(args: Any) -> Any:
        asked.append(args)
        free.set()
        shop.then = str

        async def later() -> str | None:
            return found

        return later() if is_async else found

    shop.then = lambda: free.wait(WAIT)
    output = go(
        shop,
        model(wants(TEA), GOOD),
        sync=sync,
        effects={"order": Effect("write", reconcile=look)},
        tool_timeout=0.2,
    )
    assert asked == [{"what": "tea", "pieces": 1}]
    (use,) = uses(output)
    assert (use["output"], use.get("by")) == ((found, "reconcile") if found else ("ordered 1 tea", None))
    # The call that was given up went on, and one beside it would have been a second.
    assert shop.ordered == ["tea"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_write_that_is_still_under_way_is_not_made_beside_itself(
    fails: bool, shop: Shop, sync: bool
) -> None:
    """Whoever looks too early finds nothing; the larger model is given what came of it in the end."""

    def slow() -> None:
        time.sleep(0.5)
        if fails and len(shop.ordered) == 1:
            raise ValueError("sold out")

    shop.then = slow
    journal = InMemoryEffectJournal()
    output = go(
        shop,
        model(wants(TEA), GOOD),
        sync=sync,
        journal=journal,
        effects={"order": Effect("write", reconcile=lambda args: None)},
        tool_timeout=0.3,
    )
    (use,) = uses(output)
    assert shop.ordered == ["tea"] * (2 if fails else 1)
    assert use["output"] == "ordered 1 tea" or use["problem"] in ("timeout", "unknown_outcome")


def test_a_journal_that_fails_ends_the_run_to_be_resumed(shop: Shop, sync: bool) -> None:
    down = [True]

    class Failing(InMemoryEffectJournal):
        def begin(self, intent: Intent, *, again: str | None = None) -> Claim:
            if down:
                raise DatabaseError("the database is down")
            return super().begin(intent, again=again)

    saver, journal = InMemorySaver(), Failing()
    small = model(wants(TEA), GOOD)
    with pytest.raises(DatabaseError, match=r"order was not called, as .* the database is down"):
        go(shop, small, sync=sync, saver=saver, journal=journal, config=THREAD)
    down.clear()
    output = go(shop, small, sync=sync, given=None, saver=saver, journal=journal, config=THREAD)
    assert shop.ordered == ["tea"]
    assert output["results"]["a"]["status"] == "accepted"
    assert small.calls == 2


# What a person is asked


def question(output: dict[str, Any]) -> dict[str, Any]:
    (asked,) = output["__interrupt__"]
    value: dict[str, Any] = asked.value
    assert asked.response_schema == value["response_schema"]
    return value


@pytest.mark.parametrize(
    ("answer", "made", "told"),
    [
        ({"type": "respond", "value": "ordered by phone"}, 1, "ordered by phone"),
        ({"decisions": [{"type": "approve"}]}, 2, "ordered 1 tea"),
        ({"type": "reject", "message": "forget it"}, 1, "it is not known whether order was done"),
    ],
)
@pytest.mark.parametrize("alone", [True, False], ids=["worker alone", "in a plan"])
def test_a_person_is_asked_what_nobody_knows(
    answer: Any, made: int, told: str, alone: bool, shop: Shop, sync: bool
) -> None:
    saver, journal = InMemorySaver(), InMemoryEffectJournal()
    shop.then = unsure
    small = model(wants(TEA), *([GOOD] if alone else ['{"text": ""}'] * 3))

    def ask(given: Any, *models: Any) -> dict[str, Any]:
        if not alone:
            return go(shop, *models, sync=sync, given=given, config=THREAD, saver=saver, journal=journal)
        graph = create_worker_graph(worker(tools=[shop.order]), ladder(*models), effects=journal)
        output: dict[str, Any] = run(graph.compile(checkpointer=saver), given, THREAD, sync=sync)
        return output

    asked = question(ask({"instruction": "go"} if alone else START, small, model()))
    assert asked["kind"] == "unknown_outcome"
    assert (asked["tool"], asked["args"]) == ("order", {"what": "tea", "pieces": 1})
    assert asked["allowed"] == ["respond", "approve", "reject"]
    assert "If order only reads, declare it" in asked["question"]
    again = question(ask(Command(resume="perhaps"), small, model()))
    assert "the type is 'perhaps'; allowed are respond, approve, reject" in again["error"]
    # Whether it was done: an approval would do it again.
    for said in ("yes", True):
        again = question(ask(Command(resume=said), small, model()))
        assert "yes may mean several things here; allowed are respond, approve, reject" in again["error"]
    shop.then = str
    # The larger model asks for the same, and neither it nor the person is asked again.
    output = ask(Command(resume=answer), small, model(wants(TEA), GOOD))
    assert "__interrupt__" not in output
    assert shop.ordered == ["tea"] * made
    had = [use for call in output["calls"] for use in call.get("tools", ())] if alone else uses(output)
    assert [use["output"].startswith(told) for use in had] == [True] * (1 if alone else 2)


def test_a_tool_that_asks_for_itself_is_not_told_what_was_answered_about_another_call(
    shop: Shop, sync: bool
) -> None:
    """The answer to whether it was done is none to the tool's own question, which it asks when it is made."""
    said, saver, journal = list[str](), InMemorySaver(), InMemoryEffectJournal()

    def order(what: str) -> str:
        """Order something."""
        said.append(interrupt(f"May I order {what}?"))
        shop.then()
        return "ordered"

    options: dict[str, Any] = {
        "sync": sync,
        "config": THREAD,
        "saver": saver,
        "journal": journal,
        "tools": [order],
    }
    shop.then = unsure
    small = model(wants(TEA), GOOD)
    assert go(shop, small, **options)["__interrupt__"][0].value == "May I order tea?"
    assert question(go(shop, small, given=Command(resume="yes"), **options))["kind"] == "unknown_outcome"
    shop.then = str
    asked = go(shop, small, given=Command(resume="approve"), **options)
    assert asked["__interrupt__"][0].value == "May I order tea?"
    output = go(shop, small, given=Command(resume="yes again"), **options)
    assert uses(output)[0]["output"] == "ordered"
    assert said == ["yes", "yes again"]


# A process that dies


def work(
    folder: Path, replies: Scripted, given: Any, *, sync: bool, shop: Shop, dies: str = "", **options: Any
) -> dict[str, Any]:
    """Run or resume on a file; `dies` before it is stored that a tool was called, or when it is asked."""
    url = f"sqlite:///{folder / 'run.sqlite'}"

    def see(pending: Sequence[tuple[str, Any]]) -> None:
        if dies == "outcome" and any(channel == "uses" and value for channel, value in pending):
            os._exit(9)

    class Watched(SQLAlchemySaver):
        def put_writes(self, config: RunnableConfig, pending: Any, task_id: str, path: str = "") -> None:
            see(pending)
            super().put_writes(config, pending, task_id, path)

    class AsyncWatched(AsyncSQLAlchemySaver):
        async def aput_writes(
            self, config: RunnableConfig, pending: Any, task_id: str, path: str = ""
        ) -> None:
            see(pending)
            await super().aput_writes(config, pending, task_id, path)

    if dies == "intent":
        shop.then = lambda: os._exit(9)
    with SQLAlchemyEffectJournal.from_url(url, ttl=1.0) as journal:
        graph = create_orchestrator(
            [worker(tools=[shop.order], **options)], ladder(replies), synthesizer="join", effects=journal
        )
        if sync:
            with Watched.from_url(url) as saver:
                return dict(graph.compile(checkpointer=saver).invoke(given, THREAD, durability="sync"))

        async def run_() -> dict[str, Any]:
            async with AsyncWatched.from_url(url) as asaver:
                compiled = graph.compile(checkpointer=asaver)
                return dict(await compiled.ainvoke(given, THREAD, durability="sync"))

        return asyncio.run(run_())


def child(folder: str, sync: bool, dies: str) -> None:
    path = Path(folder)
    work(path, Scripted(reply=in_turn(wants(TEA))), START, sync=sync, shop=Shop(path), dies=dies)


@pytest.fixture(params=["intent", "outcome"])
def killed(request: pytest.FixtureRequest, sync: bool, tmp_path: Path) -> str:
    """A run whose process died after the intent, or after the outcome, and before the checkpoint."""
    with process(child, str(tmp_path), sync, request.param) as other:
        said, ended = other.ends()
        assert ended == 9, said
    return str(request.param)


def test_a_write_of_a_process_that_died_is_counted_once_or_asked_about(
    killed: str, shop: Shop, sync: bool, tmp_path: Path
) -> None:
    again = model(GOOD)
    output = work(tmp_path, again, None, sync=sync, shop=shop)
    if killed == "intent":
        assert question(output)["kind"] == "unknown_outcome"
        output = work(
            tmp_path, again, Command(resume={"type": "respond", "value": "it came"}), sync=sync, shop=shop
        )
    (use,) = uses(output)
    assert use["output"] == ("it came" if killed == "intent" else "ordered 1 tea")
    assert (use.get("by"), use.get("replayed")) == (("person", None) if killed == "intent" else (None, True))
    assert shop.ordered == ["tea"]
    assert again.calls == 1


def test_what_was_cancelled_in_the_middle_is_not_known(shop: Shop, sync: bool) -> None:
    journal = InMemoryEffectJournal()

    def die() -> None:
        raise Crash

    shop.then = die
    options: dict[str, Any] = {"sync": sync, "config": THREAD, "saver": InMemorySaver(), "journal": journal}
    with pytest.raises(Crash):
        go(shop, model(wants(TEA)), **options)
    assert question(go(shop, model(GOOD), given=None, **options))["tool"] == "order"


# Declarations


def test_what_a_tool_declares_is_found_and_the_worker_has_the_last_word(shop: Shop) -> None:
    @effect("read")
    def look(what: str) -> str:
        """Look."""
        return what

    made = worker(tools=[look, effect("write")(make_tool(shop.order))])
    assert made.effects == {"look": "read", "order": "write"}
    assert made.serial == {"order"}
    assert worker(tools=[look], effects={"look": "write"}).serial == {"look"}
    assert worker(tools=[shop.order], serial=["order"]).effects == {"order": "write"}
    undeclared = worker(tools=[shop.order])
    assert undeclared.serial == set()
    assert undeclared.effect_of("order").writes


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: effect("maybe"), "the effect of a tool is 'maybe'; give 'read' or 'write'"),  # type: ignore[arg-type]
        (lambda: effect("read", reconcile=str), "a tool that reads has no idempotency key"),
        (lambda: effect("write")(len), r"len.* takes no declaration; give create_worker effects="),
        (lambda: worker(effects={"pay": "write"}), r"effects names 'pay'; give a list .*: it has none"),
        (
            lambda: worker(tools=[Shop(Path()).order], effects={"order": "wrote"}),
            "tool 'order': the effect of a tool is 'wrote'",
        ),
        (
            lambda: worker(tools=[Shop(Path()).order], effects={"order": "read"}, serial=["order"]),
            "serial says that 'order' has side effects, and effects says 'read'",
        ),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        declare()


def test_a_key_that_is_none_is_an_error_before_anything_is_done(shop: Shop, sync: bool) -> None:
    def none(args: Any) -> Any:
        return None

    def broken(args: Any) -> str:
        raise KeyError("invoice")

    output = go(
        shop,
        model(wants(TEA), GOOD),
        sync=sync,
        effects={"order": Effect("write", idempotency_key=broken)},
    )
    assert uses(output)[0]["problem"] == "arguments"
    output = go(
        shop, model(wants(TEA), GOOD), sync=sync, effects={"order": Effect("write", idempotency_key=none)}
    )
    assert "its idempotency_key gave None" in output["results"]["a"]["detail"]
    assert shop.ordered == []


def test_messages_of_the_model_are_not_what_a_write_is_known_by(shop: Shop, sync: bool) -> None:
    """A larger model gives its calls other ids."""

    def named(messages: Sequence[BaseMessage]) -> Any:
        asking = wants(TEA)
        asking.tool_calls[0]["id"] = "another"
        return GOOD if any(isinstance(message, ToolMessage) for message in messages) else asking

    output = go(shop, model(wants(TEA), *['{"text": ""}'] * 3), named, sync=sync)
    assert [use["id"] for use in uses(output)] == ["id-0", "another"]
    assert shop.ordered == ["tea"]
