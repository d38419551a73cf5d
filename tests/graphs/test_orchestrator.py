import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from stellwerk.budget import Budget
from stellwerk.errors import ConfigurationError
from stellwerk.graphs import create_orchestrator
from stellwerk.routers import Fixed
from stellwerk.tiers import Ladder, Price, Tier
from stellwerk.worker import Brief, Worker
from tests.fakes import (
    WAIT,
    Crash,
    Reply,
    Said,
    Scripted,
    Signals,
    always,
    broken,
    job,
    ladder,
    made,
    make,
    mark_of,
    not_asked,
    paced,
    plan,
    run,
    subtask,
    values,
    worker,
)

THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}


def orchestrator(*models: Scripted | Reply, workers: Sequence[Worker] = (), **options: Any) -> Any:
    """A compiled orchestrator that joins its results without a model."""
    compiling = {name: options.pop(name) for name in ("checkpointer", "interrupt_after") if name in options}
    options.setdefault("synthesizer", "join")
    return create_orchestrator(workers or [worker()], ladder(*models), **options).compile(**compiling)


def given(**needs: str) -> dict[str, Any]:
    return {"task": "Do it", "plan": plan(**needs)}


def planner(messages: Sequence[BaseMessage]) -> str:
    """Plans one subtask for the mark in the task."""
    return json.dumps([subtask(mark_of(messages))])


# Ways to run it


def test_a_plan_is_run_and_its_results_merged(sync: bool) -> None:
    output = run(orchestrator(make), given(a="", b="", c="a b"), sync=sync)
    assert values(output) == {"a": made("a"), "b": made("b"), "c": made("c", "a", "b")}
    assert output["failure"] is None
    assert output["answer"].splitlines()[:2] == [job("a"), "made:a of nothing"]
    assert output["messages"][-1].text == output["answer"]
    assert {result["status"] for result in output["results"].values()} == {"accepted"}


def test_messages_are_as_good_as_a_task(sync: bool) -> None:
    output = run(orchestrator(make, planner), {"messages": [HumanMessage(job("a"))]}, sync=sync)
    assert values(output) == {"a": made("a")}
    assert [message.type for message in output["messages"]] == ["human", "ai"]


def test_a_batch_keeps_its_tasks_apart(sync: bool) -> None:
    graph = orchestrator(make, planner)
    tasks = [{"task": job(name)} for name in "abcde"]
    outputs = graph.batch(tasks) if sync else asyncio.run(graph.abatch(tasks))
    assert [values(output) for output in outputs] == [{name: made(name)} for name in "abcde"]


async def collect(graph: Any, *arguments: Any, **options: Any) -> list[Any]:
    return [event async for event in graph.astream(*arguments, **options)]


def stream(graph: Any, *arguments: Any, sync: bool, **options: Any) -> list[Any]:
    if sync:
        return list(graph.stream(*arguments, **options))
    return asyncio.run(collect(graph, *arguments, **options))


def test_a_stream_shows_each_step(sync: bool) -> None:
    events = stream(orchestrator(make), given(a=""), sync=sync, stream_mode="updates")
    steps = [name for event in events for name in event if name != "run_subtask"]
    assert steps == ["supervisor", "execute", "supervisor", "synthesize"]
    assert events[-1]["synthesize"]["answer"]


def test_a_stream_shows_the_inside_of_each_subtask(sync: bool) -> None:
    workers = [worker("look"), worker("make")]
    needs = {"subtasks": [subtask("a", worker="look"), subtask("b", "a", worker="make")]}
    graph = orchestrator(make, workers=workers)
    events = stream(graph, {"task": "Do it", "plan": needs}, sync=sync, stream_mode="updates", subgraphs=True)
    seen = [
        (tuple(part.partition(":")[0] for part in namespace), step)
        for namespace, update in events
        for step in update
    ]
    for name in ("look", "make"):
        inside = ("execute", "run_subtask", name)
        assert [step for namespace, step in seen if namespace == inside] == ["generate", "verify"]
    assert ((), "synthesize") in seen
    whole = {part for namespace, _ in events for part in namespace if part.startswith("run_subtask:")}
    assert len(whole) == 2


def test_a_stream_of_values_ends_with_the_output(sync: bool) -> None:
    *_, last = stream(orchestrator(make), given(a=""), sync=sync, stream_mode="values")
    assert values(last) == {"a": made("a")}


# Order and concurrency


def test_no_subtask_waits_for_what_it_does_not_need(sync: bool) -> None:
    """With waves, c would wait for b, and b for c."""
    model = paced(Signals(), {"b": ["c began"]})
    assert values(run(orchestrator(model), given(a="", c="a", b=""), sync=sync)) == {
        "a": made("a"),
        "b": made("b"),
        "c": made("c", "a"),
    }


def test_a_wide_plan_runs_wholly_at_once(sync: bool) -> None:
    """Forty calls that wait for one another; LangGraph's own pool has cores + 4 threads."""
    names = [f"n{number}" for number in range(40)]
    model = paced(Signals(), {name: [f"{other} began" for other in names] for name in names})
    output = run(orchestrator(model), given(**dict.fromkeys(names, "")), sync=sync)
    assert output["failure"] is None


def in_time(action: Any) -> Any:
    """The result of an action that might never come back."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(action()), daemon=True)
    thread.start()
    thread.join(WAIT)
    assert results, f"it takes more than {WAIT:.0f} s"
    return results[0]


@pytest.mark.parametrize("limit", [None, 1, 3])
@pytest.mark.parametrize("shape", ["fan", "chain"])
def test_sixty_waiting_subtasks_do_not_block_one_another(limit: int | None, shape: str, sync: bool) -> None:
    names = [f"n{number:02}" for number in range(60)]
    if shape == "fan":
        needs = {"a": "", **dict.fromkeys(names, "a")}
    else:  # written back to front, so that all wait for the last one written
        needs = {name: names[index + 1] for index, name in enumerate(names[:-1])} | {names[-1]: ""}
    config = {} if limit is None else {"max_concurrency": limit}
    output = in_time(lambda: run(orchestrator(make), given(**needs), config, sync=sync))
    assert values(output) == {name: made(name, *dependencies.split()) for name, dependencies in needs.items()}


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("options", [{"subgraphs": True}, {"stream_mode": "messages"}], ids=str)
def test_a_stream_takes_no_place_of_the_subtasks(limit: int, options: dict[str, Any], sync: bool) -> None:
    graph, config = orchestrator(make), {"max_concurrency": limit}

    async def aheard() -> int:
        return len([chunk async for chunk in graph.astream(given(a="", b=""), config, **options)])

    def heard() -> int:
        return len(list(graph.stream(given(a="", b=""), config, **options)))

    assert in_time(heard if sync else lambda: asyncio.run(aheard()))


# Failure


def hopeless(*marks: str) -> Reply:
    """Does every subtask but these."""
    return lambda messages: "no" if mark_of(messages) in marks else make(messages)


def test_a_failed_subtask_stops_nobody_but_those_who_need_it(sync: bool) -> None:
    graph = orchestrator(hopeless("a"), hopeless("a"))
    output = run(graph, given(a="", b="a", c="b", d="", e="d"), sync=sync)
    assert {name: result["status"] for name, result in output["results"].items()} == {
        "a": "failed",
        "b": "skipped",
        "c": "skipped",
        "d": "accepted",
        "e": "accepted",
    }
    assert output["results"]["e"]["value"] == made("e", "d")
    assert output["failure"]["message"] == "2 of 5 subtasks done; missing: a, b, c"
    assert output["failure"]["missing"]["a"].startswith("not_json: the answer is not JSON")
    assert output["failure"]["missing"]["b"] == "dependency: needs a, which gave no result"
    assert output["failure"]["missing"]["c"] == "dependency: needs b, which gave no result"
    assert "made:e of d" in output["answer"]
    assert "(no result: not_json" in output["answer"]


def test_a_subtask_that_fails_while_others_work_does_not_cancel_them(sync: bool) -> None:
    signals = Signals()

    def reply(messages: Sequence[BaseMessage]) -> str:
        if mark_of(messages) != "a":
            return make(messages)
        signals.send("a failed")
        return "no"

    model = paced(signals, {"b": ["a failed"]}, reply)
    output = run(orchestrator(model), given(a="", b=""), sync=sync)
    assert [result["status"] for result in output["results"].values()] == ["failed", "accepted"]


def test_a_check_that_raises_is_a_rejection(sync: bool) -> None:
    def careless(result: Said, brief: Brief) -> str | None:
        return str(brief.documents[len(result.text) if "[[a]]" in brief.instruction else 0]["name"][:0])

    graph = orchestrator(make, make, workers=[worker(checks=[careless])])
    output = run(graph, given(a="", b="") | {"documents": ["x"]}, sync=sync)
    assert output["results"]["a"]["status"] == "failed"
    assert "IndexError" in output["failure"]["missing"]["a"]
    assert output["results"]["b"]["value"] == made("b")


def test_code_that_raises_outside_of_an_attempt_fails_its_subtask_only(sync: bool) -> None:
    def narrow(schema: dict[str, Any], brief: Brief) -> dict[str, Any]:
        return schema if "[[b]]" in brief.instruction else schema["nothing"]

    graph = orchestrator(make, workers=[replace(worker(), narrow=narrow)])
    output = run(graph, given(a="", b="", c="a"), sync=sync)
    assert [result["status"] for result in output["results"].values()] == ["failed", "accepted", "skipped"]
    assert output["failure"]["missing"]["a"] == "worker: KeyError: 'nothing'"


def test_every_tier_being_down_is_a_failure_that_says_so(sync: bool) -> None:
    output = run(orchestrator(broken, broken), given(a=""), sync=sync)
    assert "tier: tier 'large' gave no answer: ConnectionError" in output["failure"]["missing"]["a"]
    assert output["ledger"]["rejected"] == {"tier": 2}


# Escalation


def test_only_what_fails_moves_up(sync: bool) -> None:
    small, large = Scripted(reply=hopeless("b")), Scripted(reply=make)
    output = run(orchestrator(small, large), given(a="", b="", c="b"), sync=sync)
    assert values(output) == {"a": made("a"), "b": made("b"), "c": made("c", "b")}
    assert (small.jobs, large.jobs) == ({"a": 1, "b": 2, "c": 1}, {"b": 1})  # b: tried, repaired, moved up
    first, second = output["results"]["b"]["attempts"]
    assert (first["tier"], first["verdict"]["accepted"], first["verdict"]["reason"]) == (
        "small",
        False,
        "not_json",
    )
    assert [call["step"] for call in first["calls"]] == ["generate", "repair"]
    assert (second["tier"], second["verdict"]) == ("large", {"accepted": True})
    assert second["decision"]["why"] == "small was rejected (not_json); large is the next tier"
    assert second["decision"]["router"] == "smallest-first"
    assert len(output["results"]["a"]["attempts"]) == 1


def test_a_document_too_large_for_the_small_tier_is_read_by_a_larger_one(sync: bool) -> None:
    small = Tier(name="small", model=Scripted(reply=not_asked), context_window=100)
    tiers = Ladder([small, Tier(name="large", model=Scripted(reply=make))])
    graph = create_orchestrator([worker()], tiers, synthesizer="join").compile()
    output = run(graph, given(a="") | {"documents": ["x" * 10_000]}, sync=sync)
    assert [attempt["tier"] for attempt in output["results"]["a"]["attempts"]] == ["small", "large"]
    assert output["ledger"]["rejected"] == {"context": 1}


def test_a_budget_ends_the_climb(sync: bool) -> None:
    output = run(orchestrator(always("no"), not_asked, budget=Budget(attempts=1)), given(a=""), sync=sync)
    assert [attempt["tier"] for attempt in output["results"]["a"]["attempts"]] == ["small"]
    assert output["results"]["a"]["reason"] == "not_json"


def test_the_router_is_the_callers_choice(sync: bool) -> None:
    output = run(orchestrator(not_asked, make, router=Fixed("large")), given(a=""), sync=sync)
    assert output["ledger"]["accepted"] == {"large": 1}


# The ledger


def test_a_stream_tells_of_a_subtask_while_others_go_on(sync: bool) -> None:
    signals = Signals()
    graph = orchestrator(paced(signals, {"b": ["a told"]}), not_asked)

    def hear(place: tuple[str, ...], update: dict[str, Any]) -> list[tuple[str, str]]:
        if place or (result := update.get("run_subtask")) is None:
            return []
        signals.send(f"{result['id']} told")
        return [(result["id"], result["status"])]

    def heard() -> list[tuple[str, str]]:
        stream = graph.stream(given(a="", b=""), subgraphs=True)
        return [told for place, update in stream for told in hear(place, update)]

    async def aheard() -> list[tuple[str, str]]:
        stream = graph.astream(given(a="", b=""), subgraphs=True)
        return [told async for place, update in stream for told in hear(place, update)]

    assert (heard() if sync else asyncio.run(aheard())) == [("a", "accepted"), ("b", "accepted")]


def test_the_ledger_counts_what_was_called(sync: bool) -> None:
    small, large = Scripted(reply=hopeless("b")), Scripted(reply=make)
    ledger = run(orchestrator(small, large), given(a="", b=""), sync=sync)["ledger"]
    assert ledger["total"]["calls"] == small.calls + large.calls == 4
    assert {name: line["calls"] for name, line in ledger["by_tier"].items()} == {"small": 3, "large": 1}
    assert (ledger["attempts"], ledger["accepted"]) == (3, {"small": 1, "large": 1})
    assert ledger["rejected_by_worker"] == {"make": {"not_json": 1}}
    assert 0 < ledger["total"]["usd"] < ledger["all_large"]["usd"] * 2
    assert 0 < ledger["wall_seconds"] < WAIT
    json.dumps(ledger, allow_nan=False)


class Silent(FakeListChatModel):
    """Says nothing of what a call took."""


def test_a_model_that_does_not_say_what_it_took_is_not_free(sync: bool) -> None:
    reply = json.dumps({"text": "made:a of nothing"})
    silent = Tier(name="silent", model=Silent(responses=[reply]), price=Price(input=1.0, output=2.0))
    graph = create_orchestrator([worker()], Ladder([silent]), synthesizer="join").compile()
    output = run(graph, given(a=""), sync=sync)
    (call,) = output["results"]["a"]["attempts"][0]["calls"]
    assert call["estimated"]
    assert call["usage"]["input"] > 10  # the prompt has more words than that
    assert len(reply) / 5 < call["usage"]["output"] < len(reply)
    assert output["ledger"]["total"]["usd"] > 0


def test_planning_and_merging_are_counted(sync: bool) -> None:
    def large(messages: Sequence[BaseMessage]) -> str:
        return "merged" if "made:" in messages[-1].text else json.dumps(plan(a="", b=""))

    output = run(orchestrator(make, large, synthesizer="model"), {"task": "Do it"}, sync=sync)
    assert output["answer"] == "merged"
    ledger = output["ledger"]
    assert {name: line["calls"] for name, line in ledger["by_worker"].items()} == {
        "supervisor": 1,
        "make": 2,
        "synthesize": 1,
    }
    assert ledger["planning_seconds"] > 0


# Threads


def test_a_second_task_on_a_thread_has_its_own_plan_and_results(sync: bool) -> None:
    model = Scripted(reply=planner)
    graph = orchestrator(make, model, checkpointer=InMemorySaver())
    first = run(graph, {"task": job("a"), "documents": ["one"]}, THREAD, sync=sync)
    second = run(graph, {"task": job("b")}, THREAD, sync=sync)
    assert (values(first), values(second)) == ({"a": made("a")}, {"b": made("b")})
    assert second["ledger"]["by_worker"]["supervisor"]["calls"] == 1
    assert model.calls == 2


def test_documents_stay_with_the_thread(sync: bool) -> None:
    small = Scripted(reply=make)
    graph = orchestrator(small, planner, checkpointer=InMemorySaver())
    for task, documents in (("a", {"documents": ["Revenue was 5."]}), ("b", {})):
        run(graph, {"task": job(task), **documents}, THREAD, sync=sync)
    assert ["Revenue was 5." in prompt for prompt in small.prompts] == [True, True]


def test_the_same_task_again_is_run_again(sync: bool) -> None:
    small = Scripted(reply=make)
    graph = orchestrator(small, planner, checkpointer=InMemorySaver())
    for _ in range(2):
        run(graph, {"task": job("a")}, THREAD, sync=sync)
    assert small.jobs == {"a": 2}


@pytest.mark.parametrize("first", ["task", "messages"])
@pytest.mark.parametrize("second", ["task", "messages"])
@pytest.mark.parametrize("where", ["planning", "execute", "after execute", "synthesize"])
def test_a_task_after_one_that_broke_off_starts_afresh(
    where: str, first: str, second: str, sync: bool
) -> None:
    def die(messages: Sequence[BaseMessage]) -> str:
        raise Crash

    def die_in_merging(*_: object) -> str:
        raise Crash

    saver = InMemorySaver()
    broken_off = orchestrator(
        die if where == "execute" else make,
        die if where == "planning" else planner,
        synthesizer=die_in_merging if where == "synthesize" else "join",
        checkpointer=saver,
        interrupt_after=["execute"] if where == "after execute" else None,
    )
    old: dict[str, Any] = (
        {"task": job("old")} if first == "task" else {"messages": [HumanMessage(job("old"))]}
    )
    if where != "planning":
        old["plan"] = plan(old="")
    if where == "after execute":
        run(broken_off, old, THREAD, sync=sync)
    else:
        with pytest.raises(Crash):
            run(broken_off, old, THREAD, sync=sync)
    small, large = Scripted(reply=make), Scripted(reply=planner)
    graph = orchestrator(small, large, checkpointer=saver)
    new = {"task": job("new")} if second == "task" else {"messages": [HumanMessage(job("new"))]}
    output = run(graph, new, THREAD, sync=sync)
    assert values(output) == {"new": made("new")}
    assert (large.calls, small.jobs) == (1, {"new": 1})
    assert "[[old]]" not in output["answer"]


# Interrupts


def asks(result: Said, brief: Brief) -> str | None:
    """Asks a person about subtasks whose mark begins with `ask`."""
    if "[[ask" not in brief.instruction:
        return None
    return None if interrupt({"about": brief.instruction}) == "yes" else "a person said no"


def asks_first(answer: Said, brief: Brief) -> Said:
    problem = asks(answer, brief)
    if problem:
        raise ValueError(problem)
    return answer


@pytest.fixture(params=["check", "finish"])
def asking(request: pytest.FixtureRequest) -> Worker:
    return worker(checks=[asks]) if request.param == "check" else worker(finish=asks_first)


NEEDS = {"ask1": "", "b": "", "ask2": "", "after1": "ask1", "after2": "ask2", "end": "after1 after2"}
DONE = {name: made(name, *needs.split()) for name, needs in NEEDS.items()}


def pending(graph: Any) -> dict[str, str]:
    """Identity of each interrupt in the state, by what it is about."""
    state = graph.get_state(THREAD)
    return {item.value["about"]: item.id for item in state.interrupts}


def test_two_subtasks_that_ask_at_once_are_both_shown_and_answered_together(
    asking: Worker, sync: bool
) -> None:
    model = Scripted(reply=make)
    graph = orchestrator(model, workers=[asking], checkpointer=InMemorySaver())
    output = run(graph, given(**NEEDS), THREAD, sync=sync)
    assert {item.value["about"] for item in output["__interrupt__"]} == {job("ask1"), job("ask2")}
    assert pending(graph).keys() == {job("ask1"), job("ask2")}
    assert model.jobs == {"ask1": 1, "ask2": 1, "b": 1}  # the sibling went on, those who need them wait
    answers = dict.fromkeys(pending(graph).values(), "yes")
    output = run(graph, Command(resume=answers), THREAD, sync=sync)
    assert values(output) == DONE
    assert set(model.jobs.values()) == {1}


@pytest.mark.parametrize("order", [("ask1", "ask2"), ("ask2", "ask1")])
def test_either_of_two_questions_may_be_answered_first(
    order: tuple[str, str], asking: Worker, sync: bool
) -> None:
    model = Scripted(reply=make)
    graph = orchestrator(model, workers=[asking], checkpointer=InMemorySaver())
    run(graph, given(**NEEDS), THREAD, sync=sync)
    first, second = order
    output = run(graph, Command(resume={pending(graph)[job(first)]: "yes"}), THREAD, sync=sync)
    assert [item.value["about"] for item in output["__interrupt__"]] == [job(second)]
    assert pending(graph).keys() == {job(second)}
    assert model.jobs == {"ask1": 1, "ask2": 1, "b": 1, f"after{first[-1]}": 1}
    output = run(graph, Command(resume={pending(graph)[job(second)]: "yes"}), THREAD, sync=sync)
    assert values(output) == DONE
    assert set(model.jobs.values()) == {1}


def test_a_single_question_needs_no_identity(asking: Worker, sync: bool) -> None:
    graph = orchestrator(make, workers=[asking], checkpointer=InMemorySaver())
    run(graph, given(ask1="", b="ask1"), THREAD, sync=sync)
    output = run(graph, Command(resume="yes"), THREAD, sync=sync)
    assert values(output) == {"ask1": made("ask1"), "b": made("b", "ask1")}


def test_a_person_who_says_no_rejects_the_answer(sync: bool) -> None:
    graph = orchestrator(make, workers=[worker(checks=[asks], repairs=0)], checkpointer=InMemorySaver())
    run(graph, given(ask1="", b=""), THREAD, sync=sync)
    output = run(graph, Command(resume="no"), THREAD, sync=sync)
    assert output["failure"]["missing"] == {"ask1": "check: asks: a person said no"}
    assert output["results"]["b"]["value"] == made("b")


def test_a_new_task_may_be_given_instead_of_an_answer(sync: bool) -> None:
    graph = orchestrator(make, workers=[worker(checks=[asks])], checkpointer=InMemorySaver())
    run(graph, given(ask1="", b=""), THREAD, sync=sync)
    output = run(graph, given(c=""), THREAD, sync=sync)
    assert values(output) == {"c": made("c")}
    assert not pending(graph)


# Construction


@pytest.mark.parametrize(
    ("workers", "options", "message"),
    [
        ([], {}, "the orchestrator has no worker"),
        ([worker("a"), worker("a")], {}, "workers share a name: a, a"),
        ([worker("router")], {}, "a worker cannot be named 'router'"),
        ([worker("a")], {"fallback": "b"}, "fallback 'b' is no worker; workers: a"),
        ([worker("a")], {"synthesizer": "modle"}, "the synthesizer 'modle'"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    workers: list[Worker], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_orchestrator(workers, ladder(make), **options)
