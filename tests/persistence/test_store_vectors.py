"""Search by meaning: the same results on every database, and as LangGraph's own store in memory."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from langgraph.store.base import IndexConfig, PutOp, SearchItem
from langgraph.store.memory import InMemoryStore
from sqlalchemy import func, select

from stellwerk.errors import ConfigurationError, DatabaseError, InputError
from stellwerk.persistence import vectors
from stellwerk.persistence.database import Database
from stellwerk.persistence.schema.items import vectors as stored
from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore
from stellwerk.persistence.vectors import StoreIndexConfig
from tests.persistence.conftest import BACKENDS, database

LETTERS = "abcdefgh"


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in LETTERS] for text in texts]


async def aembed(texts: Sequence[str]) -> list[list[float]]:
    return embed(texts)


INDEX: IndexConfig = {"dims": len(LETTERS), "embed": embed, "fields": ["text", "more[*]"]}


def documents(number: int) -> list[PutOp]:
    random = Random(7)
    made = []
    for n in range(number):
        text = "".join(random.choices(LETTERS, k=6))
        more = ["".join(random.choices(LETTERS, k=6)) for _ in range(n % 3)]
        value: dict[str, Any] = {"text": text, "more": more, "n": n}
        made.append(PutOp(("docs", str(n % 4)), str(n), value, index=False if n % 10 == 9 else None))
    return made


def shown(found: Sequence[SearchItem]) -> list[tuple[str, float | None]]:
    return [(item.key, None if item.score is None else round(item.score, 6)) for item in found]


def test_results_are_the_same_everywhere_and_those_of_the_store_in_memory(tmp_path: Path) -> None:
    ops = documents(60)
    queries = ["abc", "hhhgga", "bdf", "a"]
    seen: dict[str, Any] = {}
    for backend in BACKENDS:
        moment = datetime(2026, 1, 1, tzinfo=UTC)

        def clock(moment: datetime = moment) -> datetime:
            return moment

        with (
            database(backend, tmp_path) as url,
            SQLAlchemyStore(Database.from_url(url), index=INDEX, clock=clock) as store,
        ):
            store.batch(ops)
            seen[backend] = [
                [
                    shown(store.search(("docs",), query=query, limit=100)),
                    shown(store.search(("docs", "2"), query=query, limit=4, offset=3)),
                    shown(store.search((), query=query, filter={"n": {"$gte": 30}}, limit=100)),
                ]
                for query in queries
            ]
    assert all(results == seen["memory"] for results in seen.values())
    reference = InMemoryStore(index=INDEX)
    reference.batch(ops)
    for query, (everything, page, filtered) in zip(queries, seen["memory"], strict=True):
        found = shown(reference.search(("docs",), query=query, limit=100))
        assert sorted(everything, key=str) == sorted(found, key=str)
        assert [score for _, score in everything] == [score for _, score in found]
        scores = [score for _, score in shown(reference.search(("docs", "2"), query=query, limit=100))]
        assert [score for _, score in page] == scores[3:7]
        found = shown(reference.search((), query=query, filter={"n": {"$gte": 30}}, limit=100))
        assert sorted(filtered, key=str) == sorted(found, key=str)


def test_pages_of_a_search_hold_each_item_once(url: str) -> None:
    with SQLAlchemyStore.from_url(url, index=INDEX) as store:
        store.batch(documents(30))
        pages = [store.search((), query="abc", limit=7, offset=start) for start in range(0, 35, 7)]
        keys = [item.key for page in pages for item in page]
        assert sorted(keys) == sorted(str(n) for n in range(30))
        assert [item.score for page in pages for item in page][-3:] == [None] * 3
        assert store.search((), query="abc", limit=0) == []


@pytest.mark.parametrize("distance", ["cosine", "inner_product", "l2"])
def test_numpy_changes_nothing_but_speed(distance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config: StoreIndexConfig = {"dims": 8, "embed": embed, "fields": ["text"], "distance_type": distance}
    with SQLAlchemyStore.from_url("sqlite://", index=config) as store:
        store.batch(documents(40))
        store.put(("docs",), "zero", {"text": ""})
        fast = [shown(store.search((), query=query, limit=50)) for query in ("abc", "")]
        monkeypatch.setattr(vectors, "_numpy", lambda: None)
        assert [shown(store.search((), query=query, limit=50)) for query in ("abc", "")] == fast
    first = fast[0][0][1]
    assert first is not None
    assert first > 0 if distance != "l2" else first <= 0


def test_a_query_that_means_nothing_scores_nothing() -> None:
    with SQLAlchemyStore.from_url("sqlite://", index=INDEX) as store:
        store.put(("a",), "k", {"text": "abc"})
        assert [item.score for item in store.search((), query="xyz")] == [0.0]


def test_an_item_is_found_by_its_present_value_only(url: str) -> None:
    with SQLAlchemyStore.from_url(url, index=INDEX) as store:
        store.put(("a",), "k", {"text": "aaa", "more": ["bbb", "ccc"]})
        store.put(("a",), "k", {"text": "ddd"})
        assert [item.score for item in store.search((), query="b")] == [0.0]
        assert [item.score for item in store.search((), query="d")] == [1.0]
        store.put(("a",), "k", {"text": "aaa"}, index=False)
        assert [item.score for item in store.search((), query="d")] == [None]
        store.put(("a",), "k", {"text": "aaa", "other": "hhh"}, index=["other"])
        assert [item.score for item in store.search((), query="h")] == [1.0]
        with SQLAlchemyStore(store.database) as plain:  # which has no index, and so embeds nothing
            plain.put(("a",), "k", {"text": "ddd"})
            assert store.search((), query="h")[0].score is None
            assert plain.search((), query="h")[0].score is None
            count = select(func.count()).select_from(stored)
            assert store.database.read(lambda c: c.scalar(count)) == 0


def test_which_texts_are_embedded() -> None:
    seen: list[str] = []

    def spy(texts: Sequence[str]) -> list[list[float]]:
        seen.extend(texts)
        return [[1.0] for _ in texts]

    with SQLAlchemyStore.from_url("sqlite://", index={"dims": 1, "embed": spy}) as store:
        store.put(("a",), "1", {"b": 1, "a": ["é"]})
        store.put(("a",), "2", {"b": {"c": "deep"}, "d": [{"e": "x"}, {"e": "y"}]}, index=["b.c", "d[*].e"])
        store.batch([PutOp(("a",), str(n), {"t": "same"}, index=["t"]) for n in range(3)])
        store.put(("a",), "3", {"t": "not this"}, index=False)
        store.put(("a",), "4", {"whole": 1}, index=["$"])
    assert seen == ['{"a": ["é"], "b": 1}', "deep", "x", "y", "same", '{"whole": 1}']


def test_nothing_is_stored_if_embedding_fails(url: str) -> None:
    def fail(texts: Sequence[str]) -> list[list[float]]:
        raise RuntimeError("no such model")

    with SQLAlchemyStore.from_url(url, index={"dims": 1, "embed": fail}) as store:
        with pytest.raises(RuntimeError, match="no such model"):
            store.put(("a",), "k", {"t": 1})
        assert store.get(("a",), "k") is None


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ([[1.0, 2.0]], "an embedding has 2 dimensions, and dims of index is 3"),
        ([[1.0, 2.0, math.nan]], "no number of 32 bits"),
        ([[1.0, 2.0, 1e300]], "no number of 32 bits"),
        ([["a", "b", "c"]], "no number of 32 bits"),
        ([], "gave 0 vectors for 1 texts"),
    ],
)
def test_an_embedding_that_cannot_be_used(embedding: Any, message: str) -> None:
    with SQLAlchemyStore.from_url("sqlite://", index={"dims": 3, "embed": lambda _: embedding}) as store:
        with pytest.raises(ConfigurationError, match=message):
            store.put(("a",), "k", {"t": 1})
        assert store.search(()) == []


def test_an_index_of_other_dimensions_than_what_is_stored(url: str) -> None:
    with SQLAlchemyStore.from_url(url, index=INDEX) as store:
        store.put(("a",), "k", {"text": "abc"})
        with (
            SQLAlchemyStore(
                store.database, index={"dims": 2, "embed": lambda texts: [[1.0, 0.0] for _ in texts]}
            ) as other,
            pytest.raises(DatabaseError, match="has 8 dimensions, and the index 2"),
        ):
            other.search((), query="abc")


@pytest.mark.parametrize("paths", [True, "text", [1], 5])
def test_paths_that_cannot_be_used(paths: Any) -> None:
    with (
        SQLAlchemyStore.from_url("sqlite://", index=INDEX) as store,
        pytest.raises(InputError, match=r"index of 'k' in \('a',\) is"),
    ):
        store.put(("a",), "k", {"text": "abc"}, index=paths)


async def test_async_functions_embed(url: str) -> None:
    config: IndexConfig = {"dims": 8, "embed": aembed, "fields": ["text"]}
    async with AsyncSQLAlchemyStore.from_url(url, index=config) as store:
        await store.aput(("a",), "1", {"text": "aaa"})
        await store.aput(("a",), "2", {"text": "bbb"})
        assert shown(await store.asearch((), query="b")) == [("2", 1.0), ("1", 0.0)]
    with SQLAlchemyStore.from_url("sqlite://", index=config) as sync:
        await sync.aput(("a",), "1", {"text": "aaa"})
        assert shown(await sync.asearch((), query="a")) == [("1", 1.0)]


def test_vectors_keep_living_items_apart_from_expired_ones(url: str) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with SQLAlchemyStore(Database.from_url(url), index=INDEX, clock=lambda: now[0]) as store:
        store.put(("a",), "short", {"text": "abc"}, ttl=1)
        store.put(("a",), "long", {"text": "abd"}, ttl=10)
        now[0] += timedelta(minutes=2)
        assert [item.key for item in store.search((), query="abc")] == ["long"]
        now[0] += timedelta(minutes=9)  # which it lives through, as it was read
        assert [item.key for item in store.search((), query="abc")] == ["long"]
