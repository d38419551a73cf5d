"""The store in a LangGraph program, and shared by processes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, PutOp
from typing_extensions import TypedDict

from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore
from tests.persistence.processes import process


class State(TypedDict, total=False):
    user: str
    fact: str
    found: list[str]


def remember(state: State, *, store: BaseStore) -> State:
    store.put(("facts", state["user"]), state["fact"], {"fact": state["fact"]})
    return {}


def recall(state: State, runtime: Runtime[None]) -> State:
    assert runtime.store is not None
    return {"found": sorted(item.value["fact"] for item in runtime.store.search(("facts", state["user"])))}


async def aremember(state: State, *, store: BaseStore) -> State:
    await store.aput(("facts", state["user"]), state["fact"], {"fact": state["fact"]})
    return {}


async def arecall(state: State, runtime: Runtime[None]) -> State:
    assert runtime.store is not None
    found = await runtime.store.asearch(("facts", state["user"]))
    return {"found": sorted(item.value["fact"] for item in found)}


def graph(store: BaseStore, first: Any, second: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("remember", first)
    builder.add_node("recall", second)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", "recall")
    builder.add_edge("recall", END)
    return builder.compile(store=store)


def test_one_node_reads_what_another_wrote(url: str) -> None:
    with SQLAlchemyStore.from_url(url) as store:
        compiled = graph(store, remember, recall)
        assert compiled.invoke({"user": "ada", "fact": "likes trains"})["found"] == ["likes trains"]
        assert compiled.invoke({"user": "bob", "fact": "likes ships"})["found"] == ["likes ships"]
        assert compiled.invoke({"user": "ada", "fact": "is late"})["found"] == ["is late", "likes trains"]


@pytest.mark.parametrize("nodes", [(aremember, arecall), (remember, recall)])
@pytest.mark.parametrize("kind", [AsyncSQLAlchemyStore, SQLAlchemyStore])
async def test_the_same_in_async_code(url: str, nodes: Any, kind: Any) -> None:
    if kind is SQLAlchemyStore:
        with SQLAlchemyStore.from_url(url) as sync:
            found = await graph(sync, *nodes).ainvoke({"user": "ada", "fact": "likes trains"})
    else:
        async with AsyncSQLAlchemyStore.from_url(url) as store:
            found = await graph(store, *nodes).ainvoke({"user": "ada", "fact": "likes trains"})
    assert found["found"] == ["likes trains"]


def write(url: str, name: str) -> None:
    with SQLAlchemyStore.from_url(url) as store:
        for number in range(100):
            store.put(("of", name), str(number), {"n": number})
            store.put(("shared",), str(number % 5), {"by": name})
            store.search(("shared",))


def test_processes_share_a_database(shared_url: str) -> None:
    with process(write, shared_url, "one") as one, process(write, shared_url, "two") as two:
        assert [writer.ends() for writer in (one, two)] == [("", 0), ("", 0)]
    with SQLAlchemyStore.from_url(shared_url) as store:
        for name in ("one", "two"):
            assert len(store.search(("of", name), limit=1000)) == 100
        assert {item.key for item in store.search(("shared",))} == set("01234")


def test_threads_that_write_the_same_items(shared_url: str) -> None:
    def embed(texts: Any) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    with SQLAlchemyStore.from_url(
        shared_url, index={"dims": 2, "embed": embed, "fields": ["t", "u"]}
    ) as store:

        def write(writer: int) -> None:
            for turn in range(10):
                keys = [str((writer + turn + step) % 6) for step in range(4)]
                value = {"t": "x" * writer, "u": "y" * turn}
                store.batch([PutOp(("a",), key, value if turn % 4 else None) for key in keys])
                store.search((), query="x", limit=3)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        store.batch([PutOp(("a",), str(n), {"t": "x", "u": "y"}) for n in range(6)])
        assert len(store.search((), query="x")) == 6
        assert all(item.score is not None for item in store.search((), query="x"))
