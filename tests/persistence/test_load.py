"""Many runs at once, and pruning, copying and rollback while they go on."""

import asyncio
import operator
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, StateGraph
from typing_extensions import TypedDict

from stellwerk.errors import DatabaseError, InputError
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.persistence.conftest import database
from tests.persistence.kills import left_over
from tests.persistence.savers import at, listed, opened

RUNS, STEPS = 50, 2


def concat(state: list[str], updates: Any) -> list[str]:
    return [*(state or []), *(item for update in updates for item in update)]


class Log(TypedDict):
    plain: Annotated[list[str], operator.add]
    delta: Annotated[list[str], DeltaChannel(concat, snapshot_frequency=4)]
    left: int


def logging(checkpointer: Any) -> Any:
    """A graph that writes two logs, of which one is stored as differences, in two nodes at once."""
    graph = StateGraph(Log)

    def work(name: str) -> Any:
        def node(state: Log) -> dict[str, Any]:
            line = f"{name} {state['left']} " + "x" * 70
            return {"plain": [line], "delta": [line]}

        return node

    graph.add_node("begin", lambda state: {"left": state["left"] - 1})
    graph.add_node("a", work("a"))
    graph.add_node("b", work("b"))
    graph.add_node("end", lambda state: {})
    graph.set_entry_point("begin")
    for name in ("a", "b"):
        graph.add_edge("begin", name)
    graph.add_edge(["a", "b"], "end")
    graph.add_conditional_edges("end", lambda state: "begin" if state["left"] else END)
    return graph.compile(checkpointer=checkpointer)


def start(steps: int = STEPS) -> Any:
    return {"plain": [], "delta": [], "left": steps}


def right(steps: int = STEPS) -> list[str]:
    return [f"{name} {left} " + "x" * 70 for left in reversed(range(steps)) for name in "ab"]


async def test_fifty_runs_share_a_pool_of_ten(server_url: str) -> None:
    async with AsyncSQLAlchemySaver.from_url(server_url) as saver:
        graph = logging(saver)
        outputs = await asyncio.gather(*[graph.ainvoke(start(), at(f"{run}")) for run in range(RUNS)])
        assert all(output["plain"] == output["delta"] == right() for output in outputs)
        for run in range(RUNS):
            found = await listed(saver, at(f"{run}"))
            assert len(found) == 3 * STEPS + 2
            assert (await graph.aget_state(at(f"{run}"))).values["delta"] == right()


def test_fifty_threads_share_a_pool_of_ten(server_url: str) -> None:
    with SQLAlchemySaver.from_url(server_url) as saver:
        graph = logging(saver)
        with ThreadPoolExecutor(RUNS) as threads:
            outputs = list(threads.map(lambda run: graph.invoke(start(), at(f"{run}")), range(RUNS)))
        assert all(output["plain"] == output["delta"] == right() for output in outputs)
        assert all(len(list(saver.list(at(f"{run}")))) == 3 * STEPS + 2 for run in range(RUNS))


def test_pruning_and_copying_disturb_no_run(shared_url: str) -> None:
    """While six runs go on, one thread prunes them, one copies them, and one reads their states."""
    done = threading.Event()
    copies: list[str] = []
    runs = [f"{run}" for run in range(6)]

    with SQLAlchemySaver.from_url(shared_url) as saver:
        graph = logging(saver)

        def prune() -> None:
            while not done.is_set():
                saver.prune(runs)

        def copy() -> None:
            while not done.is_set():
                target = f"copy {len(copies)}"
                saver.copy_thread(random.choice(runs), target)
                copies.append(target)

        def read() -> None:
            while not done.is_set():
                try:
                    values = graph.get_state(at(random.choice(runs))).values
                except DatabaseError as error:
                    assert "read the thread again" in str(error)  # noqa: PT017
                    continue
                assert values.get("plain", []) == values.get("delta", [])

        with ThreadPoolExecutor(9) as threads:
            others = [threads.submit(work) for work in (prune, copy, read)]
            outputs = [threads.submit(graph.invoke, start(8), at(run), durability="sync") for run in runs]
            for output in outputs:
                assert output.exception() is None
            done.set()
            for other in others:
                other.result()
        for output in outputs:
            assert output.result()["plain"] == output.result()["delta"] == right(8)
        saver.prune(runs)
        for thread in runs:
            assert graph.get_state(at(thread)).values["delta"] == right(8)
            assert left_over(saver.database, thread) == {"blobs": 0, "writes": 0}
        assert copies
        for thread in copies:  # each is whole, and can be gone on with
            values = graph.get_state(at(thread)).values
            if values:
                assert values["plain"] == values["delta"]
        resumed = [thread for thread in copies if graph.get_state(at(thread)).next][-3:]
        for thread in resumed:
            output = graph.invoke(None, at(thread))
            assert output["plain"] == output["delta"] == right(8)


# DeltaChannels beside LangGraph's own checkpointer

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("invoke"), st.integers(1, 3)),
        st.tuples(st.just("update"), st.integers(0, 9)),
        st.tuples(st.just("fork"), st.integers(0, 30)),
    ),
    min_size=1,
    max_size=6,
)


async def states(graph: Any, thread: str) -> list[Any]:
    found = [state async for state in graph.aget_state_history(at(thread))]
    return [(state.values, state.next, state.metadata["step"], state.metadata["source"]) for state in found]


async def play(graph: Any, actions: list[tuple[str, int]]) -> None:
    """The same actions make the same history with every checkpointer."""
    for action, number in actions:
        if action == "invoke":
            # Sync: else LangGraph may change a barrier while the checkpoint before it waits to be saved.
            await graph.ainvoke({"left": number, "plain": [], "delta": []}, at("1"), durability="sync")
        elif action == "update":
            line = f"update {number}"
            await graph.aupdate_state(at("1"), {"plain": [line], "delta": [line]}, as_node="a")
        else:
            history = [state async for state in graph.aget_state_history(at("1"))]
            if history:
                chosen = history[number % len(history)].config
                await graph.aupdate_state(chosen, {"plain": ["fork"], "delta": ["fork"]}, as_node="b")


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgresql", "mariadb"])
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_delta_channels_have_the_history_that_langgraph_gives_them(
    backend: str, sync: bool, tmp_path: Path
) -> None:
    if sync and backend != "sqlite":
        pytest.skip("once is enough")
    with database(backend, tmp_path) as url:

        @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
        @given(actions=ACTIONS)
        def same(actions: list[tuple[str, int]]) -> None:
            asyncio.run(compare(url, sync, actions))

        same()


async def compare(url: str, sync: bool, actions: list[tuple[str, int]]) -> None:
    wanted = logging(InMemorySaver())
    await play(wanted, actions)
    async with opened(url, sync) as saver:
        await saver.adelete_thread("1")
        graph = logging(saver)
        await play(graph, actions)
        assert await states(graph, "1") == await states(wanted, "1")
        before = await graph.aget_state(at("1"))
        await saver.aprune(["1"])
        after = await graph.aget_state(at("1"))
        assert (after.values, after.next) == (before.values, before.next)
        assert after.values.get("plain") == after.values.get("delta")


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_a_run_is_rolled_back(shared_url: str, sync: bool) -> None:
    """Undone run by run, the newest first, the thread is each time as it was before."""
    async with opened(shared_url, sync) as saver:
        graph = logging(saver)
        before = []
        for run in ("first", "second", "third"):
            before.append(await states(graph, "1"))
            config = {**at("1"), "metadata": {"run_id": run}}
            await graph.ainvoke(start(2), config, durability="sync")
        await saver.acopy_thread("1", "2")
        copied = await states(graph, "2")
        for run in ("third", "second", "first"):
            await saver.adelete_for_runs([run])
            assert await states(graph, "1") == before.pop()
        assert await states(graph, "2") == copied
        await graph.ainvoke(start(2), at("1"))
        assert (await graph.aget_state(at("1"))).values["delta"] == right(2)


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "sqlite"])
def test_of_two_copies_to_one_target_one_is_refused(backend: str, tmp_path: Path) -> None:
    with database(backend, tmp_path) as url, SQLAlchemySaver.from_url(url) as saver:
        for thread in ("a", "b"):
            for number in range(20):
                made = empty_checkpoint()
                made["id"] = f"{thread}{number:03}"
                saver.put({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}, made, {}, {})
        for target in map(str, range(8)):
            start = threading.Barrier(2)

            def copy(source: str, target: str = target, start: threading.Barrier = start) -> str:
                start.wait()
                try:
                    saver.copy_thread(source, target)
                except InputError:
                    return ""
                return source

            with ThreadPoolExecutor(2) as pool:
                won = [source for source in pool.map(copy, ("a", "b")) if source]
            copied = [c.checkpoint["id"][0] for c in saver.list({"configurable": {"thread_id": target}})]
            assert len(won) == 1
            assert copied == won * 20
