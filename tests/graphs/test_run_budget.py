"""A run with a budget: no call that could exceed it, and what is done reaches the caller."""

import asyncio
import json
import time
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from stellwerk.budget import Budget, RunBudget
from stellwerk.errors import InputError
from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.tiers.ladder import Ladder
from stellwerk.tiers.tier import Price, Tier
from tests.fakes import (
    Crash,
    Messages,
    Scripted,
    always,
    in_turn,
    make,
    mark_of,
    not_asked,
    plan,
    run,
    text_of,
    wants,
    worker,
)

GOOD = always(json.dumps({"text": "done"}))


def tier(model: Any = GOOD, name: str = "small", **fields: Any) -> Tier:
    chat = model if isinstance(model, Scripted) else Scripted(reply=model)
    return Tier(**{"name": name, "model": chat, "price": Price(input=1.0, output=1.0), **fields})


def outcome(
    *tiers: Tier, sync: bool, given: dict[str, Any] | None = None, config: Any = None, **options: Any
) -> dict[str, Any]:
    graph = create_orchestrator([worker()], Ladder(list(tiers)), **{"synthesizer": "join", **options})
    given = {"task": "t", **({"plan": plan(a="", b="a", c="")} if given is None else given)}
    found: dict[str, Any] = run(graph.compile(), given, config, sync=sync)
    return found


def test_a_run_makes_no_more_calls_than_it_may_and_keeps_what_it_has(sync: bool) -> None:
    found = outcome(tier(), sync=sync, run_budget=RunBudget(calls=2))
    status = {name: result["status"] for name, result in found["results"].items()}
    assert sorted(status.values()) == ["accepted", "accepted", "failed"]
    (missing,) = (result for result in found["results"].values() if result["status"] == "failed")
    assert missing["reason"] == "budget"
    assert "the run may take 2 calls, took 2" in missing["detail"]
    assert found["ledger"]["total"]["calls"] == 2
    assert found["ledger"]["budget"] == {"limits": {"calls": 2}, "ended": "calls"}
    assert found["failure"]["message"].endswith("the run's budget of calls ended")
    assert "done" in found["answer"]


def test_an_input_sets_a_budget_of_its_own(sync: bool) -> None:
    given = {"plan": plan(a="", b=""), "budget": {"calls": 1}}
    found = outcome(tier(), sync=sync, given=given, run_budget=RunBudget(usd=1.0))
    assert found["ledger"]["budget"] == {"limits": {"usd": 1.0, "calls": 1}, "ended": "calls"}
    assert found["ledger"]["total"]["calls"] == 1
    with pytest.raises(InputError, match="'dollars'"):
        outcome(tier(), sync=sync, given={**given, "budget": {"dollars": 1}})


def test_money_is_kept_to_also_where_everything_runs_at_once(sync: bool) -> None:
    """Each call may write 512 tokens and writes 3: all that fits one after the other is made."""
    budget = RunBudget(usd=750e-6)
    found = outcome(tier(), sync=sync, given={"plan": plan(**dict.fromkeys("abcdef", ""))}, run_budget=budget)
    assert found["failure"] is None
    assert 0 < found["ledger"]["total"]["usd"] <= 750e-6
    found = outcome(tier(), sync=sync, run_budget=RunBudget(usd=400e-6))
    assert (found["ledger"]["total"]["calls"], found["ledger"]["budget"]["ended"]) == (0, "usd")


def test_a_run_whose_budget_has_ended_does_not_climb(sync: bool) -> None:
    small, large = tier(always("no JSON")), tier(not_asked, "large", price=Price(input=9.0, output=9.0))
    given = {"plan": plan(a="")}
    found = outcome(small, large, sync=sync, given=given, run_budget=RunBudget(calls=1))
    assert [attempt["tier"] for attempt in found["results"]["a"]["attempts"]] == ["small"]


def test_where_no_plan_can_be_paid_for_none_is_asked_for(sync: bool) -> None:
    found = outcome(
        tier(),
        tier(not_asked, "large", price=Price(input=100.0, output=100.0)),
        sync=sync,
        given={},
        run_budget=RunBudget(usd=0.01),
    )
    assert found["results"]["task"]["status"] == "accepted"  # the fallback takes the whole task
    assert found["ledger"]["budget"]["ended"] == "usd"


def test_results_are_joined_where_merging_cannot_be_paid_for(sync: bool) -> None:
    found = outcome(
        tier(),
        sync=sync,
        given={"plan": plan(a="", b="")},
        synthesizer="model",
        run_budget=RunBudget(calls=2),
    )
    assert found["failure"] is None
    assert found["answer"].count("done") == 2
    assert found["ledger"]["budget"]["ended"] == "calls"


async def test_when_the_time_is_over_what_runs_is_ended_and_what_is_done_is_kept() -> None:
    async def hang(messages: Messages) -> None:
        if mark_of(messages) == "b":
            await asyncio.wait_for(asyncio.Event().wait(), 30)

    graph = create_orchestrator(
        [worker()],
        Ladder([tier(Scripted(reply=make, abefore=hang))]),
        synthesizer="join",
        run_budget=RunBudget(seconds=0.5),
    ).compile()
    began = time.monotonic()
    found = await graph.ainvoke({"task": "t", "plan": plan(a="", b="", c="b")})
    assert time.monotonic() - began < 20
    assert {name: one["status"] for name, one in found["results"].items()} == {
        "a": "accepted",
        "b": "failed",
        "c": "skipped",
    }
    assert found["results"]["b"]["reason"] == "timeout"


def test_a_resumed_run_knows_what_was_spent(sync: bool) -> None:
    """`a` is done before the crash; of three calls two are left, of which `b` loses one."""
    state = {"crash": True}

    def reply(messages: Messages) -> str:
        if "b" in mark_of(messages) and state["crash"]:
            raise Crash
        return make(messages)

    graph = create_orchestrator(
        [worker()], Ladder([tier(reply)]), synthesizer="join", run_budget=RunBudget(calls=2)
    ).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    with pytest.raises(Crash):
        run(graph, {"task": "t", "plan": plan(a="", b="a", c="b")}, config, sync=sync, durability="sync")
    state["crash"] = False
    found = run(graph, None, config, sync=sync)
    assert [one["status"] for one in found["results"].values()] == ["accepted", "accepted", "failed"]
    assert found["results"]["c"]["reason"] == "budget"


def test_what_subtasks_spent_before_they_waited_for_people_is_counted(sync: bool) -> None:
    """Of three calls two are made when both wait; of the two that `a` then wants, one is left."""

    def order(what: str) -> str:
        """Order something."""
        return f"ordered {what}"

    asked: list[str] = []

    def reply(messages: Messages) -> Any:
        asked.append(mark := mark_of(messages))
        return '{"text": ""}' if asked.count(mark) > 1 else wants(("order", {"what": mark}))

    graph = create_orchestrator(
        [worker(tools=[order])],
        Ladder([tier(reply), tier(reply, "large")]),
        synthesizer="join",
        approve=["order"],
        run_budget=RunBudget(calls=3),
    ).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    found = run(graph, {"task": "t", "plan": plan(a="", b="")}, config, sync=sync)
    ids = {question.value["subtask"]: question.id for question in found["__interrupt__"]}
    for name in "ab":
        found = run(graph, Command(resume={ids[name]: "approve"}), config, sync=sync)
        assert sorted(asked) == ["a", "a", "b"]
    assert found["ledger"]["total"]["calls"] == 3
    assert found["ledger"]["budget"]["ended"] == "calls"


@pytest.mark.parametrize(("calls", "made"), [(4, 4), (6, 6), (9, 6)])
def test_what_an_attempt_and_those_before_it_spent_is_counted_once(calls: int, made: int, sync: bool) -> None:
    """The first attempt makes two calls, and the second one until it waits, and two more; the third one."""

    def order(what: str) -> str:
        """Order something."""
        return f"ordered {what}"

    bad, good = '{"text": ""}', '{"text": "done"}'
    model = Scripted(reply=in_turn(bad, bad, wants(("order", {"what": "tea"})), bad, bad, good))
    graph = create_orchestrator(
        [worker(tools=[order], repairs=0)],
        Ladder([tier(model), tier(model, "large"), tier(model, "largest")]),
        synthesizer="join",
        approve=["order"],
        run_budget=RunBudget(calls=calls),
    ).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    run(graph, {"task": "t", "plan": plan(a="")}, config, sync=sync)
    assert model.calls == 3
    found = run(graph, Command(resume="approve"), config, sync=sync)
    assert found["ledger"]["total"]["calls"] == model.calls == made


@pytest.mark.parametrize(
    ("budget", "made"), [(Budget(calls=1), 1), (Budget(tokens=560), 1), (Budget(calls=2), 2)]
)
def test_a_subtask_makes_no_call_that_its_budget_does_not_allow(
    budget: Budget, made: int, sync: bool
) -> None:
    asked: list[str] = []

    def bad(messages: Messages) -> str:
        asked.append(text_of(messages))
        return "no JSON, but a text of some length"

    found = outcome(tier(bad), sync=sync, given={"plan": plan(a="")}, budget=budget)
    assert len(asked) == made
    assert found["results"]["a"]["reason"] == "not_json"
    assert "budget" not in found["ledger"]


def test_what_was_wrong_with_an_answer_stays_the_reason(sync: bool) -> None:
    found = outcome(
        tier(in_turn("no JSON")), sync=sync, given={"plan": plan(a="")}, run_budget=RunBudget(calls=1)
    )
    assert found["results"]["a"]["reason"] == "not_json"
    assert found["ledger"]["budget"]["ended"] == "calls"
