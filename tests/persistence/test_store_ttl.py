"""How items expire, by a clock that the test sets."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from langgraph.store.base import GetOp, IndexConfig, PutOp, SearchOp, TTLConfig
from sqlalchemy import func, select

from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.schema.items import items, vectors
from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[SQLAlchemyStore]:
    with SQLAlchemyStore(Database.from_url(url), clock=clock) as made:
        yield made


def rows(store: SQLAlchemyStore) -> tuple[int, int]:
    return store.database.read(
        lambda c: (
            c.scalar(select(func.count()).select_from(items)) or 0,
            c.scalar(select(func.count()).select_from(vectors)) or 0,
        )
    )


def test_what_has_expired_is_gone_before_any_sweep(store: SQLAlchemyStore, clock: Clock) -> None:
    store.put(("a",), "short", {"n": 1}, ttl=1)
    store.put(("b",), "long", {"n": 1}, ttl=10)
    store.put(("c",), "ever", {"n": 1})
    clock.pass_by(1)
    assert store.get(("a",), "short") is None
    assert {item.key for item in store.search((), refresh_ttl=False)} == {"long", "ever"}
    assert {item.key for item in store.search((), filter={"n": 1}, refresh_ttl=False)} == {"long", "ever"}
    assert store.list_namespaces() == [("b",), ("c",)]
    assert rows(store)[0] == 3
    assert store.sweep_ttl() == 1
    assert store.sweep_ttl() == 0
    assert rows(store)[0] == 2


def test_a_fraction_of_a_minute_counts(store: SQLAlchemyStore, clock: Clock) -> None:
    store.put(("a",), "k", {}, ttl=0.5)
    clock.pass_by(0.499)
    assert store.get(("a",), "k", refresh_ttl=False) is not None
    clock.pass_by(0.001)
    assert store.get(("a",), "k", refresh_ttl=False) is None


def test_reading_lets_an_item_live_on(store: SQLAlchemyStore, clock: Clock) -> None:
    for key in ("got", "searched", "filtered", "left"):
        store.put((key,), key, {"k": key}, ttl=10)
    for _ in range(3):
        clock.pass_by(6)
        store.get(("got",), "got")
        store.search(("searched",))
        store.search((), filter={"k": "filtered"})
        store.get(("left",), "left", refresh_ttl=False)
    assert {item.key for item in store.search(())} == {"got", "searched", "filtered"}


def test_only_what_a_search_gives_back_lives_on(store: SQLAlchemyStore, clock: Clock) -> None:
    store.put(("a",), "1", {}, ttl=10)
    clock.pass_by(1)
    store.put(("a",), "2", {}, ttl=10)
    clock.pass_by(5)
    assert [item.key for item in store.search(("a",), limit=1)] == ["2"]
    clock.pass_by(6)
    assert [item.key for item in store.search(("a",))] == ["2"]


def test_a_batch_that_writes_refreshes_what_it_reads(store: SQLAlchemyStore, clock: Clock) -> None:
    for key in ("got", "searched", "replaced"):
        store.put((key,), key, {}, ttl=10)
    clock.pass_by(6)
    store.batch(
        [
            GetOp(("got",), "got"),
            SearchOp(("searched",)),
            GetOp(("replaced",), "replaced"),
            PutOp(("replaced",), "replaced", {}, ttl=1),
        ]
    )
    clock.pass_by(6)
    assert {item.key for item in store.search(())} == {"got", "searched"}


def test_settings(url: str, clock: Clock) -> None:
    ttl: TTLConfig = {"default_ttl": 10, "refresh_on_read": False}
    with SQLAlchemyStore(Database.from_url(url), ttl=ttl, clock=clock) as store:
        store.put(("a",), "default", {})
        store.put(("a",), "own", {}, ttl=20)
        store.put(("a",), "never", {}, ttl=None)
        clock.pass_by(9)
        store.get(("a",), "default")
        store.get(("a",), "own", refresh_ttl=True)
        clock.pass_by(1)
        assert {item.key for item in store.search(("a",))} == {"own", "never"}
        clock.pass_by(18)
        assert {item.key for item in store.search(("a",))} == {"own", "never"}
        clock.pass_by(1)
        assert {item.key for item in store.search(("a",))} == {"never"}


def test_put_again_begins_anew(store: SQLAlchemyStore, clock: Clock) -> None:
    store.put(("a",), "k", {}, ttl=10)
    clock.pass_by(9)
    store.put(("a",), "k", {}, ttl=10)
    clock.pass_by(9)
    store.put(("a",), "k", {})
    clock.pass_by(1000)
    found = store.get(("a",), "k")
    assert found is not None
    assert found.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.updated_at == datetime(2026, 1, 1, 0, 18, tzinfo=UTC)


def test_an_item_that_had_expired_is_created_anew(store: SQLAlchemyStore, clock: Clock) -> None:
    store.put(("a",), "k", {"old": 1}, ttl=1)
    clock.pass_by(5)
    store.put(("a",), "k", {"new": 1}, ttl=1)
    found = store.get(("a",), "k")
    assert found is not None
    assert found.created_at == found.updated_at == clock.now


def test_a_sweep_deletes_vectors_too_and_takes_any_number(url: str, clock: Clock) -> None:
    def embed(texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    index: IndexConfig = {"dims": 2, "embed": embed, "fields": ["t", "u"]}
    with SQLAlchemyStore(Database.from_url(url), index=index, clock=clock) as store:
        store.batch(
            [PutOp(("a",), str(n), {"t": "x" * n, "u": "y"}, ttl=1 + n // 1100) for n in range(1, 1201)]
        )
        assert rows(store) == (1200, 2400)
        clock.pass_by(1)
        assert store.sweep_ttl() == 1099
        assert rows(store) == (101, 202)
        store.delete(("a",), "1100")
        assert rows(store) == (100, 200)


def test_the_sweeper_sweeps_until_it_is_stopped(
    url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = threading.Semaphore(0)
    with SQLAlchemyStore(Database.from_url(url), clock=clock) as store:
        sweep = store.sweep_ttl

        def counted() -> int:
            deleted = sweep()
            swept.release()
            return deleted

        monkeypatch.setattr(store, "sweep_ttl", counted)
        store.put(("a",), "k", {}, ttl=1)
        clock.pass_by(2)
        future = store.start_ttl_sweeper(sweep_interval_minutes=0.0001)
        assert store.start_ttl_sweeper() is future
        assert swept.acquire(timeout=30)
        assert swept.acquire(timeout=30)
        assert rows(store)[0] == 0
        assert store.stop_ttl_sweeper(timeout=30)
        assert future.done()
        again = store.start_ttl_sweeper()
        assert again is not future
        assert again.cancel()
        assert store.stop_ttl_sweeper(timeout=30)
        assert store.stop_ttl_sweeper()


def test_a_sweep_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = threading.Semaphore(0)

    def fail() -> int:
        tried.release()
        raise RuntimeError("the disk is full")

    with SQLAlchemyStore.from_url("sqlite://") as store:
        monkeypatch.setattr(store, "sweep_ttl", fail)
        with caplog.at_level(logging.WARNING):
            store.start_ttl_sweeper(0.0001)
            assert tried.acquire(timeout=30)
            assert tried.acquire(timeout=30)
            store.stop_ttl_sweeper()
    assert "the disk is full" in caplog.text


async def test_the_async_sweeper(url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = asyncio.Event()
    async with AsyncSQLAlchemyStore(AsyncDatabase.from_url(url), clock=clock) as store:
        sweep = store.sweep_ttl

        async def counted() -> int:
            deleted = await sweep()
            swept.set()
            return deleted

        await store.aput(("a",), "k", {}, ttl=1)
        await store.aput(("a",), "read", {}, ttl=3)
        clock.pass_by(2)
        assert await store.aget(("a",), "read") is not None
        assert await store.sweep_ttl() == 1
        await store.aput(("a",), "k", {}, ttl=1)
        clock.pass_by(2)
        monkeypatch.setattr(store, "sweep_ttl", counted)
        task = await store.start_ttl_sweeper(sweep_interval_minutes=0.0001)
        assert await store.start_ttl_sweeper() is task
        await asyncio.wait_for(swept.wait(), 30)
        assert await store.stop_ttl_sweeper(timeout=30)
        assert task.done()
        assert await store.stop_ttl_sweeper()
        assert await sweep() == 0
        assert await store.aget(("a",), "read") is not None
