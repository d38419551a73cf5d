"""Accepted answers that are found again: for the same subtask alone, checked again, and free."""

import time
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from stellwerk.errors import ConfigurationError
from stellwerk.graphs.orchestrator import create_orchestrator
from stellwerk.nodes.results_cache import ResultsCache
from stellwerk.persistence.store import SQLAlchemyStore
from stellwerk.trace import AttemptTrace
from stellwerk.worker import Brief
from tests.fakes import Messages, Said, broken, ladder, make, run, subtask, wants, worker


class Model:
    """Counts how often it is asked."""

    def __init__(self, reply: Any = make) -> None:
        self.asked = 0
        self._reply = reply

    def __call__(self, messages: Messages) -> Any:
        """The script's answer."""
        self.asked += 1
        return self._reply(messages)


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.attempts: list[AttemptTrace] = []

    def attempt(self, trace: AttemptTrace) -> None:
        """Of an attempt."""
        self.attempts.append(trace)

    def run(self, trace: object) -> None:
        """Of a run."""


def result(
    store: BaseStore,
    model: Model,
    *,
    sync: bool,
    text: str = "a page",
    ttl: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    graph = create_orchestrator(
        [worker(**options)],
        ladder(model, model),
        synthesizer="join",
        cache=ResultsCache(store=store, ttl=ttl),
    )
    given = {
        "task": "t",
        "plan": {"subtasks": [subtask("a"), subtask("b", "a")]},
        "documents": [{"name": "d", "text": text}],
    }
    found: dict[str, Any] = run(graph.compile(), given, sync=sync)
    return found


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    if request.param == "memory":
        yield InMemoryStore()
    else:
        with SQLAlchemyStore.from_url(f"sqlite:///{tmp_path}/store.sqlite") as made:
            made.setup()
            yield made


def test_an_answer_is_found_again_and_is_free(store: BaseStore, sync: bool) -> None:
    model = Model()
    first = result(store, model, sync=sync)
    assert "cached" not in first["ledger"]
    again = result(store, model, sync=sync)
    assert model.asked == 2
    assert {name: one["value"] for name, one in again["results"].items()} == {
        name: one["value"] for name, one in first["results"].items()
    }
    assert again["ledger"]["cached"] == 2
    assert again["ledger"]["total"]["calls"] == again["ledger"]["total"]["usd"] == 0
    assert again["ledger"]["accepted"] == {"small": 2}


@pytest.mark.parametrize(
    "change", [{"text": "another page"}, {"max_tokens": 100}, {"name": "make", "description": "same"}]
)
def test_only_the_same_subtask_is_served(change: dict[str, Any], sync: bool) -> None:
    store, model = InMemoryStore(), Model()
    result(store, model, sync=sync)
    same = "description" in change
    change = {} if same else change
    assert result(store, model, sync=sync, **change)["ledger"].get("cached", 0) == (2 if same else 0)


def test_what_was_rejected_is_not_kept(sync: bool) -> None:
    store, model = InMemoryStore(), Model(broken)
    for _ in range(2):
        assert "cached" not in result(store, model, sync=sync)["ledger"]


def test_an_answer_is_checked_again(sync: bool) -> None:
    strict = False

    def check(answer: Said, brief: Brief) -> str | None:
        return "no longer good enough" if strict else None

    store, model = InMemoryStore(), Model()
    result(store, model, sync=sync, checks=[check])
    strict = True
    again = result(store, model, sync=sync, checks=[check])
    assert again["results"]["a"]["status"] == "failed"
    assert model.asked > 2


def test_an_answer_grows_old(sync: bool) -> None:
    store, model = InMemoryStore(), Model()
    result(store, model, sync=sync, ttl=0.05)
    time.sleep(0.06)
    assert "cached" not in result(store, model, sync=sync, ttl=0.05)["ledger"]


def test_a_store_that_fails_costs_calls_and_not_the_run(sync: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(InMemoryStore):
        def batch(self, ops: Any) -> Any:
            raise OSError("no disk")

        async def abatch(self, ops: Any) -> Any:
            raise OSError("no disk")

    model = Model()
    assert result(Broken(), model, sync=sync)["failure"] is None
    assert model.asked == 2
    assert "the results cache failed" in caplog.text


def test_workers_with_tools_are_asked_each_time(sync: bool) -> None:
    def look() -> str:
        """Look at the clock."""
        return str(time.time())

    store = InMemoryStore()
    for _ in range(2):
        replies = iter([wants(("look", {})), '{"text": "now"}', '{"text": "now"}'] * 2)
        model = Model(lambda _, replies=replies: next(replies))
        assert "cached" not in result(store, model, sync=sync, tools=[look])["ledger"]
        assert model.asked


def test_no_trace_is_left_of_what_taught_nothing(sync: bool) -> None:
    sink, store = Sink(), InMemoryStore()
    for _ in range(2):
        graph = create_orchestrator(
            [worker()], ladder(make, make), synthesizer="join", cache=ResultsCache(store=store), traces=sink
        )
        run(graph.compile(), {"task": "t", "plan": {"subtasks": [subtask("a")]}}, sync=sync)
    assert len(sink.attempts) == 1


def test_a_time_to_live_is_above_zero() -> None:
    with pytest.raises(ConfigurationError, match="ttl is 0"):
        ResultsCache(store=InMemoryStore(), ttl=0)
