"""Runs of a graph that LangGraph's server runs: they stand in the list of runs, and hold their threads."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.graphs.recorded import RecordedGraph, recorded
from stellwerk.graphs.worker import create_worker_graph
from stellwerk.persistence.runs import AsyncRunStore
from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from tests.fakes import always, ladder, make, plan, worker

GIVEN = {"task": "Do it", "plan": plan(a="")}
THREAD: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[AsyncSQLAlchemySaver]:
    async with AsyncSQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as made:
        yield made


def office(saver: Any, **options: Any) -> RecordedGraph:
    graph = create_orchestrator([worker()], ladder(make), synthesizer="join", **options)
    return recorded(graph.compile(checkpointer=saver))


async def test_a_question_is_answered_in_another_run(saver: AsyncSQLAlchemySaver) -> None:
    graph, runs = office(saver, approve=["make"]), AsyncRunStore(saver.database)
    (asked,) = (await graph.ainvoke(GIVEN, THREAD))["__interrupt__"]
    (waiting,) = await runs.list(thread_id="t")
    assert (waiting.task, waiting.status, waiting.error) == ("Do it", "interrupted", None)
    output = await graph.ainvoke(Command(resume={asked.id: {"type": "approve"}}), THREAD)
    assert output["failure"] is None
    done, _ = await runs.list(thread_id="t")
    assert (done.task, done.status, (done.totals or {})["calls"]) == ("Do it", "done", 1)


async def test_a_thread_that_another_process_runs_is_left_to_it_and_said_in_words_that_a_server_shows(
    saver: AsyncSQLAlchemySaver,
) -> None:
    graph, runs = office(saver), AsyncRunStore(saver.database)
    async with runs.running("t", task="something else"):
        with pytest.raises(RuntimeError, match="LeaseError: thread 't'"):
            await graph.ainvoke(GIVEN, THREAD)
    assert (await graph.ainvoke(GIVEN, THREAD))["failure"] is None


async def test_a_consumer_that_leaves_ends_the_run_and_frees_the_thread(saver: AsyncSQLAlchemySaver) -> None:
    graph, runs = office(saver), AsyncRunStore(saver.database)
    stream: Any = graph.astream(GIVEN, THREAD, stream_mode="updates")
    assert "supervisor" in await anext(stream)
    await stream.aclose()
    (left,) = await runs.list(thread_id="t")
    assert left.status in ("interrupted", "done")  # the rest may be done by then
    assert (await graph.ainvoke(GIVEN, THREAD))["failure"] is None


async def test_what_a_worker_did_alone_is_listed_with_why_it_failed(saver: AsyncSQLAlchemySaver) -> None:
    graph = create_worker_graph(worker(repairs=0), ladder(always("no JSON")))
    await recorded(graph.compile(checkpointer=saver)).ainvoke({"instruction": "Try it"}, THREAD)
    (failed,) = await AsyncRunStore(saver.database).list(thread_id="t")
    assert (failed.task, failed.status) == ("Try it", "failed")
    assert (failed.error or "").startswith("not_json: ")


async def test_with_another_checkpointer_it_runs_as_any_graph() -> None:
    assert (await office(InMemorySaver()).ainvoke(GIVEN, THREAD))["failure"] is None
    assert (await office(None).ainvoke(GIVEN))["failure"] is None
