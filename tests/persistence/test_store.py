"""The store on every database, through both classes."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from sqlalchemy import create_engine, func, select
from sqlalchemy.ext.asyncio import create_async_engine

from stellwerk.errors import ConfigurationError, DatabaseError, InputError
from stellwerk.persistence.schema.items import items
from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore
from tests.persistence.conftest import database

STRANGE = [
    "A",
    "a",
    "x",
    "x ",
    " x",
    "é",
    "e",
    "e\u0301",
    "ß",
    "ss",
    "🚂",
    "\0",
    "a\0",
    "",
    "a.b",
    "%",
    "_",
    "*",
    "/",
    "\ud800",
    "'; DROP TABLE stellwerk_items; --",
    "k" * 5000,
    "k" * 4999 + "K",
]
LABELS = ["A", "a", "x", "x ", "é", "e", "🚂", "%", "_", "*", "a/b", "'; --"]


@pytest.fixture
def store(url: str) -> Iterator[SQLAlchemyStore]:
    with SQLAlchemyStore.from_url(url) as made:
        yield made


def names(found: list[Any]) -> list[str]:
    return [item.key for item in found]


def test_keeps_what_it_is_given(store: SQLAlchemyStore) -> None:
    value = {"text": "Zug\0🚂 \ud800", "n": 1, "big": 10**30, "f": 0.1, "none": None, "deep": [{"a": [True]}]}
    store.put(("trains", "ice"), "1", value)
    found = store.get(("trains", "ice"), "1")
    assert found is not None
    assert (found.value, found.key, found.namespace) == (value, "1", ("trains", "ice"))
    assert type(found) is Item
    assert found.created_at == found.updated_at
    assert found.created_at.utcoffset() == timedelta(0)
    assert store.get(("trains",), "1") is None
    assert store.get(("trains", "ice"), "2") is None


def test_put_again_replaces_the_value_and_keeps_the_creation(store: SQLAlchemyStore) -> None:
    store.put(("a",), "k", {"old": 1})
    first = store.get(("a",), "k")
    store.put(("a",), "k", {"new": 2})
    second = store.get(("a",), "k")
    assert first is not None
    assert second is not None
    assert second.value == {"new": 2}
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


def test_delete(store: SQLAlchemyStore) -> None:
    store.put(("a",), "k", {"n": 1})
    store.put(("b",), "k", {"n": 2})
    store.delete(("a",), "k")
    store.delete(("a",), "never there")
    assert store.get(("a",), "k") is None
    assert names(store.search(())) == ["k"]
    assert store.list_namespaces() == [("b",)]


def test_names_that_databases_confuse_stay_apart(store: SQLAlchemyStore) -> None:
    for number, key in enumerate(STRANGE):
        store.put(("keys",), key, {"n": number})
    for number, label in enumerate(LABELS):
        store.put((label,), "k", {"n": number})
        store.put((label, label), "k", {"n": number})
    for number, key in enumerate(STRANGE):
        found = store.get(("keys",), key)
        assert found is not None
        assert (found.key, found.value) == (key, {"n": number})
    assert sorted(names(store.search(("keys",), limit=100))) == sorted(STRANGE)
    for number, label in enumerate(LABELS):
        below = store.search((label,))
        assert {item.namespace for item in below} == {(label,), (label, label)}
        assert [item.value for item in below] == [{"n": number}] * 2
    listed = store.list_namespaces()
    assert listed == sorted({("keys",), *((label,) for label in LABELS), *((name, name) for name in LABELS)})


def test_long_and_deep_namespaces(store: SQLAlchemyStore) -> None:
    deep = tuple(f"level {number} of many: {'x' * 200}" for number in range(20))
    other = (*deep[:-1], deep[-1] + "y")
    for length in (1, 2, 5, 19, 20):
        store.put(deep[:length], "k", {"n": length})
    store.put(other, "k", {"n": 21})
    assert [item.value["n"] for item in store.search(deep)] == [20]
    assert {item.value["n"] for item in store.search(deep[:5])} == {5, 19, 20, 21}
    assert store.list_namespaces(prefix=deep[:19]) == [deep[:19], deep, other]
    assert store.list_namespaces(suffix=other[-1:]) == [other]
    found = store.get(deep, "k")
    assert found is not None
    assert found.namespace == deep


@pytest.mark.parametrize("length", range(250, 260))
def test_a_prefix_ends_anywhere_around_the_width_of_the_index(length: int, tmp_path: Path) -> None:
    head = ("n" * length,)
    inside = [head, (*head, "a"), (*head, "a", "b"), (*head, "\U0010ffff")]
    outside = [("n" * length + "n",), ("n" * length + "!",), ("n" * length + "/",), ("n" * (length - 1),)]
    for backend in ("memory", "postgresql", "mariadb") if length in (254, 255) else ("memory",):
        with database(backend, tmp_path) as url, SQLAlchemyStore.from_url(url) as store:
            store.batch([PutOp(namespace, "k", {}) for namespace in inside + outside])
            assert {item.namespace for item in store.search(head)} == set(inside)
            assert store.list_namespaces(prefix=head) == sorted(inside)


def test_search_gives_the_last_written_first(store: SQLAlchemyStore) -> None:
    for key in ("a", "b", "c", "d"):
        store.put(("s", key), key, {"odd": key in "ac"})
    store.put(("s", "b"), "b", {"odd": False})
    assert names(store.search(("s",))) == ["b", "d", "c", "a"]
    assert names(store.search(("s",), limit=2, offset=1)) == ["d", "c"]
    assert names(store.search(("s",), filter={"odd": True})) == ["c", "a"]
    assert names(store.search(("s",), filter={"odd": False}, limit=1, offset=1)) == ["d"]
    assert store.search(("s",), limit=0) == []
    assert store.search(("s",), filter={"odd": True}, limit=0) == []
    assert store.search(("s",), offset=9) == []
    assert [item.score for item in store.search(("s", "a"))] == [None]


def test_a_filter_goes_through_more_items_than_one_statement_reads(store: SQLAlchemyStore) -> None:
    store.batch([PutOp(("many", str(n % 7)), str(n), {"n": n}) for n in range(1300)])
    found = store.search(("many",), filter={"n": {"$gte": 1, "$lt": 1299}}, limit=2000)
    assert sorted(item.value["n"] for item in found) == list(range(1, 1299))
    pages = [
        store.search(("many",), filter={"n": {"$lt": 1000}}, limit=300, offset=start)
        for start in range(0, 1200, 300)
    ]
    assert sorted(int(key) for page in pages for key in names(page)) == list(range(1000))
    gets = store.batch([GetOp(("many", str(n % 7)), str(n)) for n in range(1300)])
    assert [found.value["n"] for found in gets if isinstance(found, Item)] == list(range(1300))
    store.batch([PutOp(("many", str(n % 7)), str(n), None) for n in range(1300)])
    assert store.search(()) == []


def test_sql_in_keys_and_filters_does_nothing(store: SQLAlchemyStore) -> None:
    store.put(("a",), "k", {"x": 1})
    for text in ("x' OR '1'='1", "x') OR 1=1; --", 'x"; DROP TABLE stellwerk_items; --', "[0].$.x", "x`"):
        assert store.search(("a",), filter={text: 1}) == []
        assert store.search(("a",), filter={"x": text}) == []
        assert store.search(("a",), filter={"x": {"$gt": text}}) == []
        assert store.search((text.replace(".", ""),)) == []
        assert store.get(("a",), text) is None
        with pytest.raises(InputError, match="unknown operator"):
            store.search(("a",), filter={"x": {f"$eq{text}": 1}})
        for bound in ("limit", "offset"):
            with pytest.raises(InputError, match=f"{bound} is '1; --'"):
                store.search(("a",), **{bound: "1; --"})  # type: ignore[arg-type]
    assert names(store.search(("a",))) == ["k"]


def test_list_namespaces(store: SQLAlchemyStore) -> None:
    spaces = [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f"), ("a", "c", "f")]
    store.batch([PutOp(space, key, {}) for space in spaces for key in ("1", "2")])
    assert store.list_namespaces() == sorted(spaces)
    assert store.list_namespaces(prefix=("a", "b"), max_depth=3) == [
        ("a", "b", "c"),
        ("a", "b", "d"),
        ("a", "b", "f"),
    ]
    assert store.list_namespaces(prefix=("a", "*", "f")) == [("a", "b", "f"), ("a", "c", "f")]
    assert store.list_namespaces(suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    assert store.list_namespaces(suffix=("d", "*")) == [("a", "b", "d", "e"), ("a", "b", "d", "i")]
    assert store.list_namespaces(prefix=("a",), suffix=("c", "f")) == [("a", "c", "f")]
    assert store.list_namespaces(prefix=("b",)) == []
    assert store.list_namespaces(limit=2, offset=1) == sorted(spaces)[1:3]
    assert store.list_namespaces(max_depth=1) == [("a",)]


def test_reads_of_a_batch_see_what_was_there_before(store: SQLAlchemyStore) -> None:
    store.put(("a",), "k", {"n": 0})
    results = store.batch(
        [
            PutOp(("a",), "k", {"n": 1}),
            GetOp(("a",), "k"),
            PutOp(("a",), "new", {"n": 2}),
            GetOp(("a",), "new"),
            SearchOp(("a",)),
            ListNamespacesOp((MatchCondition("prefix", ("a",)),)),
            PutOp(("a",), "k", {"n": 3}),
            PutOp(("b",), "gone", {"n": 4}),
            PutOp(("b",), "gone", None),
        ]
    )
    assert isinstance(results[1], Item)
    assert results[1].value == {"n": 0}
    assert isinstance(results[4], list)
    assert [results[index] for index in (0, 2, 3, 6, 7, 8)] == [None] * 6
    assert names(results[4]) == ["k"]
    assert results[5] == [("a",)]
    assert {item.key: item.value["n"] for item in store.search(())} == {"k": 3, "new": 2}
    assert store.batch([]) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"when": datetime(2026, 1, 1)}, r"holds a datetime at \$\.when"),
        ({"a": [1, {"b": {1}}]}, r"holds a set at \$\.a\[1\]\.b"),
        ({"a": {1: 2}}, r"the key 1 of type int at \$\.a"),
        ({"a": float("inf")}, r"holds inf at \$\.a"),
        ({"a": b"x"}, r"holds a bytes at \$\.a"),
        (["a"], "is a list; store a dict"),
    ],
)
def test_what_is_not_json_is_refused_and_nothing_stored(value: Any, message: str) -> None:
    with SQLAlchemyStore.from_url("sqlite://") as store:
        with pytest.raises(InputError, match=message) as caught:
            store.batch([PutOp(("a",), "good", {}), PutOp(("space",), "bad", value)])
        assert "'bad' in ('space',)" in str(caught.value)
        assert store.search(()) == []


def test_a_value_that_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["me"] = value
    with SQLAlchemyStore.from_url("sqlite://") as store, pytest.raises(InputError, match="contains itself"):
        store.put(("a",), "k", value)


def test_a_row_is_data_and_never_code(url: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    crafted = json.dumps(
        {"lc": 2, "type": "constructor", "id": ["pathlib", "Path"], "args": [str(target)], "method": "touch"}
    )
    with SQLAlchemyStore.from_url(url) as store:
        store.put(("a",), "k", {})
        engine = create_engine(url) if url != "sqlite://" else store.database._engine
        with engine.begin() as connection:
            connection.execute(items.update().values(value=crafted))
        found = store.get(("a",), "k")
        assert found is not None
        assert found.value == json.loads(crafted)
        assert not target.exists()
        engine.dispose()


@pytest.mark.parametrize(
    ("op", "error", "message"),
    [
        (GetOp(("a.b",), "k"), InvalidNamespaceError, "a.b"),
        (GetOp(("",), "k"), InvalidNamespaceError, "empty"),
        (PutOp(("a\0",), "k", {}), InvalidNamespaceError, "NUL"),
        (PutOp((1,), "k", {}), InvalidNamespaceError, "must be strings"),  # type: ignore[arg-type]
        (SearchOp(("a.b",)), InvalidNamespaceError, "a.b"),
        (
            ListNamespacesOp((MatchCondition("prefix", ("a.b",)),)),
            InvalidNamespaceError,
            "a.b",
        ),
        (GetOp("abc", "k"), InputError, "namespace is 'abc'"),  # type: ignore[arg-type]
        (SearchOp("abc"), InputError, "namespace is 'abc'"),  # type: ignore[arg-type]
        (GetOp(("a",), 1), InputError, "key 1 is a int"),  # type: ignore[arg-type]
        (SearchOp((), limit=-1), InputError, "limit is -1"),
        (SearchOp((), limit=True), InputError, "limit is True"),
        (SearchOp((), offset=-1), InputError, "offset is -1"),
        (SearchOp((), offset=1.5), InputError, "offset is 1.5"),  # type: ignore[arg-type]
        (ListNamespacesOp(limit=-1), InputError, "limit is -1"),
        (ListNamespacesOp(max_depth=-1), InputError, "max_depth is -1"),
        (ListNamespacesOp((MatchCondition("infix", ("a",)),)), InputError, "'infix'"),  # type: ignore[arg-type]
        (PutOp(("a",), "k", {}, ttl=0), InputError, "ttl is 0"),
        (PutOp(("a",), "k", {}, ttl=float("nan")), InputError, "ttl is nan"),
        (PutOp(("a",), "k", {}, ttl=1e12), InputError, "9999"),
        ("put", InputError, "a batch holds a str"),
    ],
)
def test_an_operation_that_cannot_be_carried_out(op: Any, error: type[Exception], message: str) -> None:
    with SQLAlchemyStore.from_url("sqlite://") as store:
        with pytest.raises(error, match=message):
            store.batch([PutOp(("a",), "other", {}), op])
        assert store.search(()) == []


def test_root_langgraph_and_an_empty_namespace_are_reserved() -> None:
    with SQLAlchemyStore.from_url("sqlite://") as store:
        for namespace in ((), ("langgraph", "x")):
            with pytest.raises(InvalidNamespaceError):
                store.put(namespace, "k", {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ttl": {"default_tll": 5}}, "unknown key 'default_tll'"),
        ({"ttl": {"default_ttl": -1}}, "default_ttl of ttl: the ttl is -1"),
        ({"ttl": {"sweep_interval_minutes": 0}}, "sweep_interval_minutes of ttl is 0"),
        ({"index": {}}, "dims of index is None"),
        ({"index": {"dims": 2}}, "no embed"),
        ({"index": {"dims": 2, "embed": len, "field": ["x"]}}, "unknown key 'field'"),
        ({"index": {"dims": 2, "embed": len, "distance_type": "manhattan"}}, "distance_type of index"),
    ],
)
def test_a_setting_that_cannot_be_used(settings: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SQLAlchemyStore.from_url("sqlite://", **settings)


def test_what_one_store_writes_another_reads(shared_url: str) -> None:
    with SQLAlchemyStore.from_url(shared_url) as one, SQLAlchemyStore.from_url(shared_url) as other:
        one.put(("a",), "k", {"n": 1})
        found = other.get(("a",), "k")
        assert found is not None
        other.delete(("a",), "k")
        assert one.get(("a",), "k") is None


def test_an_engine_of_the_callers_stays_open(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'mine.sqlite'}")
    with SQLAlchemyStore.from_engine(engine) as store:
        store.setup()
        store.put(("a",), "k", {})
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(items)) == 1
    engine.dispose()


def test_a_database_that_cannot_be_reached(tmp_path: Path) -> None:
    with SQLAlchemyStore.from_url(tmp_path / "no" / "such" / "folder.sqlite") as store:
        store.database._patience = 0
        with pytest.raises(DatabaseError, match=r"folder\.sqlite"):
            store.get(("a",), "k")


async def test_async(url: str) -> None:
    async with AsyncSQLAlchemyStore.from_url(url) as store:
        await store.aput(("a", "b"), "k", {"n": 1})
        await store.aput(("a",), "l", {"n": 2}, ttl=5)
        found = await store.aget(("a", "b"), "k")
        assert found is not None
        assert found.value == {"n": 1}
        assert await store.aget(("a",), "l") is not None
        assert names(await store.asearch(("a",))) == ["l", "k"]
        assert names(await store.asearch(("a",), filter={"n": {"$lt": 2}})) == ["k"]
        assert await store.alist_namespaces(max_depth=1) == [("a",)]
        await store.adelete(("a",), "l")
        assert await store.aget(("a",), "l") is None
        await asyncio.gather(*(store.aput(("many",), str(n), {"n": n}) for n in range(50)))
        assert len(await store.asearch(("many",), limit=100)) == 50
        assert await store.sweep_ttl() == 0


async def test_the_sync_methods_of_the_async_store_work_in_other_threads(url: str) -> None:
    async with AsyncSQLAlchemyStore.from_url(url) as store:
        await asyncio.to_thread(store.put, ("a",), "k", {"n": 1})
        found = await asyncio.to_thread(store.get, ("a",), "k")
        assert found is not None
        assert names(await asyncio.to_thread(store.search, ("a",))) == ["k"]
        assert await asyncio.to_thread(store.list_namespaces) == [("a",)]
        with pytest.raises(InputError, match="await the method of the same name"):
            store.get(("a",), "k")
    alone = AsyncSQLAlchemyStore.from_url(url)
    with pytest.raises(InputError, match="use SQLAlchemyStore in sync code"):
        alone.get(("a",), "k")
    await alone.close()


async def test_the_async_methods_of_the_sync_store_work(url: str) -> None:
    with SQLAlchemyStore.from_url(url) as store:
        await store.aput(("a",), "k", {"n": 1})
        found = await store.aget(("a",), "k")
        assert found is not None
        assert names(await store.asearch(("a",))) == ["k"]


async def test_an_async_engine_of_the_callers_stays_open(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url:
        engine = create_async_engine(url)
        async with AsyncSQLAlchemyStore.from_engine(engine) as store:
            await store.setup()
            await store.aput(("a",), "k", {})
        async with engine.connect() as connection:
            assert await connection.scalar(select(func.count()).select_from(items)) == 1
        await engine.dispose()


async def test_asyncpg(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url:
        async with AsyncSQLAlchemyStore.from_url(url.replace("+psycopg", "+asyncpg")) as store:
            await store.aput(("a",), "k", {"n": 1}, ttl=1)
            await store.aput(("a",), "k", {"n": 2}, ttl=1)
            found = await store.aget(("a",), "k")
            assert found is not None
            assert found.value == {"n": 2}
            assert names(await store.asearch(("a",), filter={"n": 2})) == ["k"]
