"""Writes under a lease: refused once another holds the thread, or might."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Literal

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from sqlalchemy import text
from typing_extensions import TypedDict

from stellwerk.errors import InputError, LeaseError
from stellwerk.persistence.database import Database
from stellwerk.persistence.executor import Executor
from stellwerk.persistence.fenced import fenced
from stellwerk.persistence.lease import LEASE_KEY
from stellwerk.persistence.runs import AsyncRunStore, RunStore
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.persistence.leases import expire, rows, take_over

Durability = Literal["sync", "async", "exit"]
DURABILITIES: tuple[Durability, ...] = ("sync", "async", "exit")


class State(TypedDict, total=False):
    path: str


def graph(
    saver: BaseCheckpointSaver[str], inside: Callable[[], object]
) -> CompiledStateGraph[State, None, State, State]:
    """first → nested {second → third} → last; `inside` is called in the nested graph's second node."""

    def node(name: str, before: Callable[[], object] = lambda: None) -> Any:
        def step(state: State) -> State:
            before()
            return {"path": state["path"] + name + "." * 100}

        return step

    nested = StateGraph(State).add_node("second", node("2")).add_node("third", node("3", inside))
    nested.add_edge(START, "second").add_edge("second", "third").add_edge("third", END)
    outer = StateGraph(State).add_node("first", node("1")).add_node("nested", nested.compile())
    outer.add_node("last", node("4")).add_edge(START, "first").add_edge("first", "nested")
    outer.add_edge("nested", "last").add_edge("last", END)
    return outer.compile(checkpointer=saver)


PATH = "".join(name + "." * 100 for name in "1234")


def saved(config: RunnableConfig, saver: SQLAlchemySaver) -> RunnableConfig:
    """An empty checkpoint, so that writes have one to stand on."""
    config = {**config, "configurable": {"checkpoint_ns": "", **config["configurable"]}}
    put = saver.put(config, empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
    return {**config, "configurable": {**config["configurable"], **put["configurable"]}}


@pytest.mark.parametrize("durability", DURABILITIES)
class TestGraphs:
    def test_a_run_under_a_lease_ends_as_without(self, url: str, durability: Durability) -> None:
        with SQLAlchemySaver.from_url(url) as saver:
            with RunStore(saver.database).running("t", task="x") as hold:
                values = graph(saver, lambda: None).invoke({"path": ""}, hold.config, durability=durability)
            assert values == {"path": PATH}
            found = list(saver.list({"configurable": {"thread_id": "t"}}))
            assert found
            assert all(LEASE_KEY not in str((entry.metadata, entry.checkpoint)) for entry in found)
            assert {entry.metadata.get("run_id") for entry in found} == {hold.run_id}
            saver.delete_for_runs([hold.run_id])
            assert list(saver.list({"configurable": {"thread_id": "t"}})) == []

    async def test_an_async_run_under_a_lease_ends_as_without(self, url: str, durability: Durability) -> None:
        async with AsyncSQLAlchemySaver.from_url(url) as saver:
            async with AsyncRunStore(saver.database).running("t", task="x") as hold:
                made = graph(saver, lambda: None)
                values = await made.ainvoke({"path": ""}, hold.config, durability=durability)
            assert values == {"path": PATH}
            found = [entry async for entry in saver.alist({"configurable": {"thread_id": "t"}})]
            assert {entry.metadata.get("run_id") for entry in found} == {hold.run_id}
            assert all(LEASE_KEY not in str((entry.metadata, entry.checkpoint)) for entry in found)

    def test_after_a_take_over_a_run_writes_nothing(self, url: str, durability: Durability) -> None:
        counts: list[int] = []

        with SQLAlchemySaver.from_url(url) as saver:

            def robbed() -> None:
                take_over(saver.database, "t")
                counts.append(rows(saver.database, "t"))

            lease = RunStore(saver.database).claim("t", task="x")
            with pytest.raises(LeaseError, match="thread 't' was taken over by"):
                graph(saver, robbed).invoke({"path": ""}, lease.config, durability=durability)
            assert counts == [rows(saver.database, "t")]

    async def test_after_a_take_over_an_async_run_writes_nothing(
        self, shared_url: str, durability: Durability
    ) -> None:
        counts: list[int] = []
        with Database.from_url(shared_url) as other:

            def robbed() -> None:
                take_over(other, "t")
                counts.append(rows(other, "t"))

            async with AsyncSQLAlchemySaver.from_url(shared_url) as saver:
                lease = await AsyncRunStore(saver.database).claim("t", task="x")
                with pytest.raises(LeaseError, match="thread 't' was taken over by"):
                    await graph(saver, robbed).ainvoke({"path": ""}, lease.config, durability=durability)
            assert counts == [rows(other, "t")]


async def test_many_runs_and_their_heartbeats_share_a_pool(shared_url: str) -> None:
    async with AsyncSQLAlchemySaver.from_url(shared_url) as saver:
        store = AsyncRunStore(saver.database)
        await store.setup()

        async def run(thread: str) -> None:
            async with store.running(thread, task="x", interval=0.02) as hold:
                made = graph(saver, lambda: None)
                assert await made.ainvoke({"path": ""}, hold.config, durability="sync") == {"path": PATH}
                config: RunnableConfig = {
                    "configurable": {**hold.config["configurable"], "checkpoint_id": "x"}
                }
                await asyncio.gather(
                    *(saver.aput_writes(config, [("a", index)], f"task-{index}") for index in range(10))
                )

        await asyncio.gather(*(run(f"t-{number}") for number in range(15)))
        assert [run.status for run in await store.list()] == ["done"] * 15


class TestWrites:
    def test_each_kind_of_write_is_refused_when_the_lease_has_ended(self, url: str) -> None:
        with SQLAlchemySaver.from_url(url) as saver:
            lease = RunStore(saver.database).claim("t", task="x")
            config = saved(lease.config, saver)
            saver.put_writes(config, [("a", 1)], "task")
            before = rows(saver.database, "t")
            expire(saver.database, "t")
            for write in (
                lambda: saver.put_writes(config, [("b", 2)], "other"),
                lambda: saver.put_writes(config, [("__error__", "x")], "other"),
                lambda: saved(lease.config, saver),
            ):
                with pytest.raises(LeaseError, match="without being renewed"):
                    write()
            assert rows(saver.database, "t") == before
            saver.put_writes(saved({"configurable": {"thread_id": "t"}}, saver), [("b", 2)], "other")
            assert rows(saver.database, "t") == before + 2  # without a lease nothing is asked

    def test_what_a_run_writes_on_another_thread_needs_its_lease_as_well(self, url: str) -> None:
        with SQLAlchemySaver.from_url(url) as saver:
            lease = RunStore(saver.database).claim("t", task="x")
            configurable: dict[str, Any] = {**lease.config["configurable"], "thread_id": "other"}
            saved({"configurable": configurable}, saver)
            take_over(saver.database, "t")
            with pytest.raises(LeaseError):
                saved({"configurable": configurable}, saver)

    @pytest.mark.parametrize("wrong", [1, "x", {}, {"thread_id": "t", "token": "1"}, {"token": 1}])
    def test_what_is_no_lease_is_refused(self, wrong: object) -> None:
        with SQLAlchemySaver.from_url("sqlite://") as saver, pytest.raises(InputError, match="is no lease"):
            saved({"configurable": {"thread_id": "t", LEASE_KEY: wrong}}, saver)

    def test_a_config_of_another_thread_takes_no_lease(self) -> None:
        with RunStore.from_url("sqlite://") as store:
            lease = store.claim("t", task="x")
            assert lease.bind({"tags": ["a"], "configurable": {"x": 1}})["configurable"]["x"] == 1
            with pytest.raises(InputError, match="is of thread 't', and the config names 'u'"):
                lease.bind({"configurable": {"thread_id": "u"}})

    def test_a_take_over_waits_for_a_write_that_has_begun(self, shared_url: str) -> None:
        """The lease ends in the middle of a write: the next holder starts after it and sees what it wrote."""
        begun, done = threading.Event(), threading.Event()
        seen: list[bool] = []

        def robber() -> None:
            with RunStore.from_url(shared_url) as store:
                begun.wait()
                while True:
                    try:
                        store.claim("t", task="y")
                    except LeaseError:  # not ended yet
                        continue
                    seen.append(done.is_set())
                    return

        with Database.from_url(shared_url) as database:
            lease = RunStore(database).claim("t", task="x", ttl=0.5)
            thread = threading.Thread(target=robber)
            thread.start()

            class Write:
                def __call__(self, executor: Executor) -> None:
                    begun.set()
                    thread.join(1.5)  # long enough for the robber to get in, if it could
                    done.set()

                def one_statement(self, dialect: str) -> bool:
                    return True

            database.fast_write(fenced(lease.config, Write()))
            thread.join()
        assert seen == [True]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_postgresql_ends_a_write_under_a_lease_that_stands_still(url: str) -> None:
    """A process that is stopped there keeps the thread from all others, without an end otherwise."""
    limits: list[object] = []

    class Write:
        def __call__(self, executor: Executor) -> None:
            setting = text("SELECT current_setting('idle_in_transaction_session_timeout')")
            limits.extend(row[0] for row in executor.fetch(setting, {}))

        def one_statement(self, dialect: str) -> bool:
            return True

    with Database.from_url(url) as database:
        with RunStore(database).running("t", task="x") as hold:
            database.fast_write(fenced(hold.config, Write()))
        database.fast_write(Write())
    assert limits == ["30s", "0"]
