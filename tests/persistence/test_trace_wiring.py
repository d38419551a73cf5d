"""Every attempt of a run is in the trace store exactly once, with what it was asked and why."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

from stellwerk.document import Document
from stellwerk.graphs import create_orchestrator, create_worker_graph
from stellwerk.graphs.worker import WorkerGraph
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from stellwerk.plan import Subtask
from stellwerk.routing_context import routing_context
from stellwerk.trace import AttemptTrace, RunTrace, StoredAttempt
from stellwerk.worker import Brief
from tests.fakes import (
    Scripted,
    always,
    broken,
    in_turn,
    job,
    ladder,
    made,
    make,
    mark_of,
    not_asked,
    plan,
    run,
    values,
    wants,
    worker,
)
from tests.persistence.conftest import SERVERS, database
from tests.persistence.processes import process

THREAD: RunnableConfig = {"configurable": {"thread_id": "thread"}}


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore.from_url(tmp_path / "traces.sqlite")


def by_subtask(store: TraceStore, **only: Any) -> dict[tuple[str, int], StoredAttempt]:
    found = list(store.attempts(**only))
    named = {(attempt["subtask"], attempt["number"]): attempt for attempt in found}
    assert len(named) == len(found)
    return named


def test_attempts_are_traced_with_all_that_belongs_to_them(store: TraceStore, sync: bool) -> None:
    def small(messages: Sequence[BaseMessage]) -> str:
        return "no" if mark_of(messages) == "b" else make(messages)

    graph = create_orchestrator([worker()], ladder(small, make), synthesizer="join", traces=store).compile()
    given = {"task": "Do it", "plan": plan(a="", b="a"), "documents": ["Revenue was 5."]}
    output = run(graph, given, THREAD, sync=sync)
    found = by_subtask(store)
    assert set(found) == {("a", 1), ("b", 1), ("b", 2)}
    first, rejected, second = found["a", 1], found["b", 1], found["b", 2]
    assert (first["accepted"], rejected["accepted"], second["accepted"]) == (True, False, True)
    assert (rejected["reason"], rejected["tier"], second["tier"]) == ("not_json", "small", "large")
    assert rejected["answer"] == "no"
    assert [call["step"] for call in rejected["calls"]] == ["generate", "repair"]
    assert rejected["prompt"] is not None
    assert [message["role"] for message in rejected["prompt"]] == ["system", "user", "assistant", "user"]
    assert "Revenue was 5." in rejected["prompt"][1]["content"]
    assert second["prompt"] is not None
    assert "made:a of nothing" in second["prompt"][1]["content"]
    assert (second["value"], json.loads(second["answer"] or "")) == (made("b", "a"), made("b", "a"))
    attempts = [attempt for result in output["results"].values() for attempt in result["attempts"]]
    assert [found[key]["decision"] for key in sorted(found)] == [one["decision"] for one in attempts]
    assert sum(one["usd"] or 0 for one in found.values()) == pytest.approx(output["ledger"]["total"]["usd"])
    (told,) = store.runs()
    assert (told["outcome"], told["task"], told["thread_id"]) == ("ok", "Do it", "thread")
    assert told["ledger"] == output["ledger"]
    assert {one["run_id"] for one in found.values()} == {told["run_id"]}
    assert store.dropped == 0


def test_attempts_have_the_context_that_the_router_saw(store: TraceStore, sync: bool) -> None:
    def small(messages: Sequence[BaseMessage]) -> str:
        return "no" if mark_of(messages) == "b" else make(messages)

    able = worker()
    graph = create_orchestrator([able], ladder(small, make), synthesizer="join", traces=store).compile()
    given = {"task": "Do it", "plan": plan(a="", b="a"), "documents": ["Revenue was 5."]}
    run(graph, given, THREAD, sync=sync)
    found = by_subtask(store)
    context = found["b", 1]["context"]
    assert context is not None
    assert (context["instruction"], context["worker"], context["inputs"]) == (job("b"), "make", 1)
    assert context["source"] == len("Revenue was 5.\n\n" + json.dumps(made("a")))
    assert (context["position"], context["size"]) == (1, 2)
    assert found["b", 2]["context"] == context
    assert found["b", 1]["episode"] == found["b", 2]["episode"] != found["a", 1]["episode"]


def test_what_tools_gave_is_no_part_of_the_context(store: TraceStore, sync: bool) -> None:
    @tool
    def look(place: str) -> str:
        """Look somewhere."""
        return "x" * 100

    alone = worker(tools=[look])
    small = in_turn(wants(("look", {"place": "page 2"})), '{"text": "five"}')
    graph = create_worker_graph(alone, ladder(small, not_asked), traces=store).compile()
    run(graph, {"instruction": "Count", "documents": ["12345"]}, sync=sync)
    (found,) = store.attempts()
    subtask = Subtask(id="a", worker=alone.name, instruction="Count")
    brief = Brief(instruction="Count", documents=[Document(name="1", text="12345")])
    assert found["context"] == routing_context(subtask, alone, brief)


def test_a_failed_run_says_what_is_missing(store: TraceStore, sync: bool) -> None:
    graph = create_orchestrator([worker()], ladder(broken, broken), synthesizer="join", traces=store)
    run(graph.compile(), {"task": "Do it", "plan": plan(a="", b="a")}, THREAD, sync=sync)
    found = by_subtask(store)
    assert set(found) == {("a", 1), ("a", 2)}
    assert {attempt["reason"] for attempt in found.values()} == {"tier"}
    assert found["a", 1]["answer"] is None
    assert found["a", 1]["prompt"] is not None
    (told,) = store.runs()
    assert (told["outcome"], told["detail"]) == ("failed", "0 of 2 subtasks done; missing: a, b")


def test_a_run_that_is_not_merged_is_failed(store: TraceStore, sync: bool) -> None:
    def breaks(*_: object) -> str:
        raise ZeroDivisionError("no merge")

    graph = create_orchestrator([worker()], ladder(make, make), synthesizer=breaks, traces=store).compile()
    run(graph, {"task": "Do it", "plan": plan(a="")}, THREAD, sync=sync)
    (told,) = store.runs()
    assert told["outcome"] == "failed"
    assert told["detail"] == "the results are joined, as the synthesizer failed (ZeroDivisionError: no merge)"


def test_attempts_of_a_plan_that_was_replaced_are_told_once(
    store: TraceStore, sync: bool, tmp_path: Path
) -> None:
    """Also by a process that has told of none of them, and tells of all at the end."""
    silent = TraceStore.from_url(tmp_path / "silent.sqlite")
    small = Scripted(reply=lambda messages: "no" if mark_of(messages) == "b" else make(messages))
    large = in_turn(*["no"] * 2, json.dumps(plan(d="a")))  # tries b, and plans

    def compiled(saver: SQLAlchemySaver, traces: TraceStore, **options: Any) -> Any:
        tiers = ladder(small, Scripted(reply=large))
        graph = create_orchestrator([worker()], tiers, synthesizer="join", replans=1, traces=traces)
        return graph.compile(checkpointer=saver, **options)

    given = {"task": "Do it", "plan": plan(a="", b="", c="b")}
    with SQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        run(compiled(saver, silent, interrupt_before=["synthesize"]), given, THREAD, sync=sync)
        run(compiled(saver, store), None, THREAD, sync=sync)
    again, first = by_subtask(store), by_subtask(silent)
    assert set(again) == set(first) == {("a", 1), ("b", 1), ("b", 2), ("d", 1)}
    for key, attempt in again.items():
        assert attempt["trace_id"] == first[key]["trace_id"]
        assert attempt["context"] == first[key]["context"]


def test_the_caller_may_name_the_run(store: TraceStore, sync: bool) -> None:
    graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join", traces=store).compile()
    given = {"task": "Do it", "plan": plan(a="")}
    run(graph, given, {"run_id": "6a4b1c1e-0000-4000-8000-000000000001"}, sync=sync)
    run(graph, given, {"metadata": {"run_id": "mine"}}, sync=sync)
    assert {told["run_id"] for told in store.runs()} == {"6a4b1c1e-0000-4000-8000-000000000001", "mine"}
    store.add_feedback("mine", score=1)


def test_two_runs_on_one_thread_are_two(store: TraceStore, sync: bool, tmp_path: Path) -> None:
    with SQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join", traces=store)
        compiled = graph.compile(checkpointer=saver)
        for _ in range(2):
            run(compiled, {"task": "Do it", "plan": plan(a="")}, THREAD, sync=sync)
    assert len({told["run_id"] for told in store.runs()}) == 2
    assert sum(1 for _ in store.attempts()) == 2


def test_tools_are_in_the_prompt_and_in_the_trace(store: TraceStore, sync: bool) -> None:
    @tool
    def look(place: str) -> str:
        """Look somewhere."""
        return f"5 in {place}"

    small = in_turn(wants(("look", {"place": "page 2"})), '{"text": "five"}')
    graph = create_orchestrator(
        [worker(tools=[look])], ladder(small, not_asked), synthesizer="join", traces=store
    ).compile()
    run(graph, {"task": "Do it", "plan": plan(a="")}, THREAD, sync=sync)
    (found,) = store.attempts()
    assert [(use["name"], use["args"], use["output"]) for use in found["tools"]] == [
        ("look", {"place": "page 2"}, "5 in page 2")
    ]
    assert found["prompt"] is not None
    assert [message["role"] for message in found["prompt"]] == ["system", "user", "assistant", "tool"]
    assert found["prompt"][2]["tool_calls"][0]["function"] == {
        "name": "look",
        "arguments": '{"place": "page 2"}',
    }


def test_checks_say_which_held(store: TraceStore, sync: bool) -> None:
    def is_short(answer: Any, _: object) -> str | None:
        return None

    def is_five(answer: Any, _: object) -> str | None:
        return None if answer.text == "five" else "it is not five"

    def is_last(answer: Any, _: object) -> str | None:
        return None

    checked = worker(checks=[is_short, is_five, is_last], repairs=0)
    tiers = ladder(always('{"text": "six"}'), always('{"text": "five"}'))
    graph = create_orchestrator([checked], tiers, synthesizer="join", traces=store).compile()
    run(graph, {"task": "Do it", "plan": plan(a="")}, THREAD, sync=sync)
    found = by_subtask(store)
    assert found["a", 1]["checks"] == {"is_short": True, "is_five": False}
    assert found["a", 2]["checks"] == {"is_short": True, "is_five": True, "is_last": True}


def test_a_worker_that_runs_alone(store: TraceStore, sync: bool) -> None:
    graph: WorkerGraph = create_worker_graph(worker(), ladder(make, make), traces=store)
    run(graph.compile(), {"instruction": job("x"), "documents": ["Revenue was 5."]}, sync=sync)
    (found,) = store.attempts()
    assert (found["worker"], found["accepted"], found["decision"]) == ("make", True, None)
    assert found["prompt"] is not None
    assert "Revenue was 5." in found["prompt"][1]["content"]
    assert found["value"] == made("x")


class Live:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def attempt(self, trace: AttemptTrace, /) -> None:
        self.told.append(trace.subtask)

    def run(self, trace: RunTrace, /) -> None:
        self.told.append(trace.outcome)


def test_attempts_are_told_as_they_end(sync: bool) -> None:
    sink = Live()
    seen: dict[str, list[str]] = {}

    def reply(messages: Sequence[BaseMessage]) -> str:
        seen[mark_of(messages)] = list(sink.told)
        return make(messages)

    graph = create_orchestrator([worker()], ladder(reply, not_asked), synthesizer="join", traces=sink)
    run(graph.compile(), {"task": "Do it", "plan": plan(a="", b="a", c="b")}, sync=sync)
    assert seen == {"a": ["running"], "b": ["running", "a"], "c": ["running", "a", "b"]}
    assert sink.told == ["running", "a", "b", "c", "ok"]


class Broken:
    """A sink that cannot."""

    def attempt(self, trace: AttemptTrace, /) -> None:
        raise OSError("no space left")

    def run(self, trace: RunTrace, /) -> None:
        raise MemoryError


def test_a_sink_that_fails_fails_no_run(sync: bool, caplog: pytest.LogCaptureFixture) -> None:
    graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join", traces=Broken())
    output = run(graph.compile(), {"task": "Do it", "plan": plan(a="")}, sync=sync)
    assert values(output) == {"a": made("a")}
    assert "a trace could not be made" in caplog.text


def test_state_without_traces_is_what_it_was(sync: bool, tmp_path: Path) -> None:
    with SQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join")
        compiled = graph.compile(checkpointer=saver)
        run(compiled, {"task": "Do it", "plan": plan(a="")}, THREAD, sync=sync)
        assert "run_place" not in compiled.get_state(THREAD).values


def test_no_prompt_is_checkpointed(store: TraceStore, sync: bool, tmp_path: Path) -> None:
    """A document is stored with the run and in the traces, and not once more for each attempt."""
    path, document = tmp_path / "runs.sqlite", "A rare word: zyzzyva. " * 3
    with SQLAlchemySaver.from_url(path) as saver:
        graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join", traces=store)
        given = {"task": "Do it", "plan": plan(a="", b="", c=""), "documents": [document]}
        run(graph.compile(checkpointer=saver), given, THREAD, sync=sync, durability="sync")
    without = tmp_path / "without.sqlite"
    with SQLAlchemySaver.from_url(without) as saver:
        graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join")
        run(graph.compile(checkpointer=saver), given, THREAD, sync=sync, durability="sync")
    count = {place: place.read_bytes().count(b"zyzzyva") for place in (path, without)}
    for place in count:  # what is committed may still be in the log
        if (log := place.with_name(place.name + "-wal")).exists():
            count[place] += log.read_bytes().count(b"zyzzyva")
    assert count[path] == count[without]


# Killed and resumed

NEEDS = {"a": "", "b": "a", "c": "a", "d": "b c"}


def child(url: str, victim: str, moment: str) -> None:
    """Run until a subtask's model is asked, or the run is merged, and be killed there."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def small(messages: Sequence[BaseMessage]) -> str:
        if mark_of(messages) == "c":
            return "no"
        if mark_of(messages) == victim:
            if moment == "written":
                traces.flush()
            die()
        return make(messages)

    def merge(*_: object) -> str:
        die()
        return ""

    traces = TraceStore.from_url(url)
    tiers = ladder(Scripted(reply=small), Scripted(reply=make))
    with SQLAlchemySaver.from_url(url) as saver:
        graph = create_orchestrator([worker()], tiers, synthesizer=merge, traces=traces)
        given = {"task": "Do it", "plan": plan(**NEEDS), "documents": ["Revenue was 5."]}
        graph.compile(checkpointer=saver).invoke(given, THREAD, durability="sync")


@pytest.mark.parametrize(
    ("backend", "victim", "moment"),
    [
        *(("sqlite", victim, moment) for victim in ("b", "d", "merge") for moment in ("written", "queued")),
        *((server, "d", moment) for server in SERVERS for moment in ("written", "queued")),
    ],
)
def test_a_killed_run_that_is_resumed_has_each_attempt_once(
    backend: str, victim: str, moment: str, tmp_path: Path
) -> None:
    """Also attempts whose traces were queued when the process was killed."""
    with database(backend, tmp_path) as url:
        with process(child, url, victim, moment) as killed:
            assert killed.ends() == ("", -signal.SIGKILL)
        small = Scripted(reply=lambda messages: "no" if mark_of(messages) == "c" else make(messages))
        with SQLAlchemySaver.from_url(url) as saver, TraceStore.from_url(url) as store:
            graph = create_orchestrator(
                [worker()], ladder(small, Scripted(reply=make)), synthesizer="join", traces=store
            )
            output = graph.compile(checkpointer=saver).invoke(None, THREAD, durability="sync")
            assert values(output)["d"] == made("d", "b", "c")
            found = by_subtask(store)
            assert set(found) == {("a", 1), ("b", 1), ("c", 1), ("c", 2), ("d", 1)}
            assert [found[key]["accepted"] for key in sorted(found)] == [True, True, False, True, True]
            assert all("Revenue was 5." in str(attempt["prompt"]) for attempt in found.values())
            contexts = [found[one, 1]["context"] for one in NEEDS]
            assert [context and context["position"] for context in contexts] == [0, 1, 2, 3]
            assert found["c", 1]["context"] == found["c", 2]["context"]
            assert found["c", 1]["episode"] == found["c", 2]["episode"] != found["d", 1]["episode"]
            if victim == "d" and moment == "written":
                assert found["a", 1]["answer"] == json.dumps(made("a"))
            (told,) = store.runs()
            assert told["outcome"] == "ok"
            assert {attempt["run_id"] for attempt in found.values()} == {told["run_id"]}
            assert store.dropped == 0


def test_a_run_that_waits_for_a_person_is_interrupted_until_it_goes_on(
    store: TraceStore, sync: bool, tmp_path: Path
) -> None:
    from langgraph.types import Command, interrupt

    def asks(answer: Any, _: object) -> str | None:
        return None if interrupt("may I?") == "yes" else "refused"

    with SQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        graph = create_orchestrator(
            [worker(checks=[asks])], ladder(make, make), synthesizer="join", traces=store
        ).compile(checkpointer=saver)
        run(graph, {"task": "Do it", "plan": plan(a="")}, THREAD, sync=sync)
        assert [told["outcome"] for told in store.runs()] == ["interrupted"]
        assert list(store.attempts()) == []
        run(graph, Command(resume="yes"), THREAD, sync=sync)
        assert [told["outcome"] for told in store.runs()] == ["ok"]
        (found,) = store.attempts()
        assert found["accepted"]
        assert found["answer"] == json.dumps(made("a"))
