"""Who is forgotten is nowhere any more, and everybody else is where they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from stellwerk.errors import DatabaseError, InputError
from stellwerk.persistence import forget_units
from stellwerk.persistence.cluster_units import Cluster
from stellwerk.persistence.conversions import ConversionStore
from stellwerk.persistence.dataset_units import DatasetExample
from stellwerk.persistence.forgetting import Forgetting
from stellwerk.persistence.runs import RunStore
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.store import SQLAlchemyStore
from stellwerk.persistence.traces import TraceStore
from stellwerk.trace import Origin
from tests.persistence.conftest import Pool
from tests.persistence.traces import attempt, run

KEY = b"a key of at least sixteen bytes"
CLEAN = dict.fromkeys(("traces", "runs", "feedback", "examples", "members", "threads", "items", "cached"), 0)


class State(TypedDict):
    said: str


@dataclass
class Place:
    """A database that holds something of ada and of bob, in threads of their own and in one of both."""

    traces: TraceStore
    saver: SQLAlchemySaver
    items: SQLAlchemyStore
    conversions: ConversionStore

    @property
    def forgetting(self) -> Forgetting:
        return Forgetting(self.saver.database, self.traces.keys)

    def threads(self) -> list[str]:
        return sorted({found.config["configurable"]["thread_id"] for found in self.saver.list(None)})

    def left(self) -> list[tuple[str, str]]:
        """Who is there still, in which thread."""
        return sorted(
            (who, thread)
            for who in ("ada", "bob")
            for thread in ("a1", "a2", "b1", "both")
            if any(found["answer"] == who for found in self.traces.attempts(thread_id=thread))
        )


@contextmanager
def filled(url: str) -> Iterator[Place]:
    with TraceStore.from_url(url, origin_keys=[KEY]) as traces, SQLAlchemySaver.from_url(url) as saver:
        place = Place(traces, saver, SQLAlchemyStore(saver.database), ConversionStore(saver.database))
        fill(place)
        yield place


@pytest.fixture
def everywhere(shared_url: str) -> Iterator[Place]:
    """On each kind of database."""
    with filled(shared_url) as place:
        yield place


@pytest.fixture
def place(tmp_path: Path, pool: Pool) -> Iterator[Place]:
    with pool.lent("sqlite", tmp_path) as url, filled(url) as place:
        yield place


def fill(place: Place) -> None:
    graph: Any = StateGraph(State).add_node("say", lambda state: {"said": state["said"]})
    graph = graph.add_edge(START, "say").compile(checkpointer=place.saver)
    told = [("ada", "a1"), ("ada", "a2"), ("bob", "b1"), ("ada", "both"), ("bob", "both")]
    for number, (who, thread) in enumerate(told):
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        with RunStore(place.saver.database).running(thread, task=f"{who} asks") as hold:
            graph.invoke({"said": who}, hold.config if thread == "a1" else config)
        place.traces.attempt(
            attempt(number, thread_id=thread, answer=who, origin=Origin(user=who, private=number % 2 == 0))
        )
        place.traces.run(run(f"run-{number}", thread_id=thread, task=who, origin=Origin(user=who)))
    place.traces.flush()
    for number, found in enumerate(list(place.traces.attempts(newest_first=False))):
        place.traces.add_feedback(found["trace_id"], score=1.0)
        place.traces.add_feedback(f"run-{number}", score=0.5)
        dataset = f"of-{found['answer']}"
        place.conversions.add_dataset(dataset, {})
        place.conversions.add_examples(
            dataset,
            [
                DatasetExample(
                    trace_id=found["trace_id"],
                    call_site="agent",
                    split="train",
                    content={"said": found["answer"]},
                    # The last one's was lost; the trace leads to it.
                    origin="" if number == 1 else found["origin"] or "",
                    created_at=found["created_at"],
                )
            ],
        )
        place.conversions.save_clustering("v1", b"x", {}, [Cluster(id="c", call_site="agent", name="c")])
        place.conversions.add_members("v1", {found["trace_id"]: "c"})
    for who in ("ada", "bob"):
        digest = "ab" * 32
        place.conversions.add_adapter(
            f"c@{who}", base="b", path="p", sha256=digest, dataset=f"of-{who}", card={}
        )
        place.items.put(("memories", who), "tea", {"likes": "tea"})
        place.items.put(("profiles",), who, {"name": who})
    place.items.put(("profiles",), "ada2", {"name": "somebody else"})
    place.items.put(("stellwerk-results", "extract"), "k", {"text": "ada"})
    place.items.put(("stellwerk", "plans", "x"), "k", {"lines": ["ask ada"]})


def test_a_person_is_forgotten_and_nobody_else(everywhere: Place) -> None:
    place = everywhere
    found = place.forgetting.find("ada")
    expected = {"traces": 3, "runs": 3, "feedback": 6, "examples": 3, "members": 3, "threads": 2, "items": 2}
    assert found.counts == {**expected, "cached": 2}
    assert (found.adapters, found.shared, found.held) == (["c@ada"], ["both"], [])
    assert place.left() == [("ada", "a1"), ("ada", "a2"), ("ada", "both"), ("bob", "b1"), ("bob", "both")]

    steps: list[int] = []
    done = place.forgetting.forget("ada", tell=lambda done: steps.append(done.counts["traces"]))
    assert done.counts == found.counts
    assert (done.adapters, done.shared, done.held) == (["c@ada"], ["both"], [])
    assert steps
    assert place.left() == [("bob", "b1"), ("bob", "both")]
    assert place.threads() == ["b1", "both"]
    assert sorted(one.task for one in RunStore(place.saver.database).list()) == [
        "ada asks",
        "bob asks",
        "bob asks",
    ]
    assert [one["task"] for one in place.traces.runs()] == ["bob", "bob"]
    assert len(list(place.traces.feedback())) == 4
    assert {
        one.content["said"] for name in ("of-ada", "of-bob") for one in place.conversions.examples(name)
    } == {"bob"}
    assert place.conversions.sizes("v1") == {"c": 2}
    assert place.items.get(("memories", "ada"), "tea") is None
    assert place.items.get(("memories", "bob"), "tea") is not None
    assert [item.key for item in place.items.search(("profiles",))] == ["ada2", "bob"]
    assert place.items.search(("stellwerk-results",)) == place.items.search(("stellwerk",)) == []
    assert [one.name for one in place.conversions.adapters() if one.forgot_at is not None] == ["c@ada"]

    again = place.forgetting.forget("ada")
    assert (again.counts, again.shared, again.adapters) == (CLEAN, ["both"], ["c@ada"])
    whole = place.forgetting.forget("ada", ["both"])
    assert (whole.counts["threads"], whole.shared) == (1, [])
    assert (place.threads(), place.left()) == (["b1"], [("bob", "b1")])


def test_a_thread_is_forgotten_also_what_an_older_version_knew_of_it(place: Place) -> None:
    place.saver.database.write(lambda c: c.exec_driver_sql("UPDATE stellwerk_attempts SET origin = NULL"))
    done = place.forgetting.forget(threads=["a2", "b1"])
    assert done.counts["threads"] == 2
    assert place.threads() == ["a1", "both"]
    assert {thread for _, thread in place.left()} == {"a1", "both"}


def test_a_thread_that_is_being_run_is_left_and_told_of(place: Place) -> None:
    with RunStore(place.saver.database).running("a1", task="still"):
        assert place.forgetting.forget("ada").held == ["a1"]
    assert place.threads() == ["a1", "b1", "both"]
    done = place.forgetting.forget("ada")
    assert (done.held, place.threads()) == ([], ["b1", "both"])


def test_what_was_broken_off_goes_on_and_names_every_adapter(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise DatabaseError("the server is gone")

    with monkeypatch.context() as patched:
        patched.setattr(forget_units, "delete_thread", fails)
        with pytest.raises(DatabaseError):
            place.forgetting.forget("ada")
    assert [(one.step, one.state) for one in place.conversions.conversions()] == [("forget", "failed")]
    assert place.threads() == ["a1", "a2", "b1", "both"]
    done = place.forgetting.forget("ada")
    assert (done.counts["traces"], done.counts["threads"], done.adapters) == (3, 2, ["c@ada"])
    (step,) = place.conversions.conversions()
    assert (step.state, step.report) == ("done", {"adapters": ["c@ada"]})
    assert "ada" not in str(step.parameters)


def test_many_rows_are_deleted_in_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget_units, "PAGE", 2)
    assert place.forgetting.forget("ada").counts["traces"] == 3
    assert place.left() == [("bob", "b1"), ("bob", "both")]
    assert place.threads() == ["b1", "both"]


async def test_it_is_there_for_async_code(place: Place) -> None:
    assert (await place.forgetting.afind("ada")).counts["traces"] == 3
    assert (await place.forgetting.aforget("ada")).counts["traces"] == 3


def test_nobody_is_forgotten_by_mistake(place: Place) -> None:
    with pytest.raises(InputError, match="nobody is named"):
        place.forgetting.forget("")
    with TraceStore.from_url("sqlite://") as keyless:
        forgetting = Forgetting(keyless.database, keyless.keys)
        with pytest.raises(InputError, match="without a key of origins no trace leads to a person"):
            forgetting.find("ada")
        assert forgetting.find("ada", ["t"]).counts == CLEAN
    assert place.forgetting.forget("nobody").counts == {**CLEAN, "cached": 2}
    assert len(place.left()) == 5
