"""What is closed says so, and hangs nowhere."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine

from stellwerk.errors import DatabaseError
from stellwerk.persistence.runs import AsyncRunStore, RunStore
from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore
from stellwerk.persistence.traces import TraceStore
from tests.persistence.savers import at, checkpoint
from tests.persistence.traces import attempt

CLOSED = "the database .* is closed; "


def test_every_sync_method_says_so(url: str) -> None:
    saver, store, runs = (kind.from_url(url) for kind in (SQLAlchemySaver, SQLAlchemyStore, RunStore))
    assert isinstance(saver, SQLAlchemySaver)
    assert isinstance(store, SQLAlchemyStore)
    assert isinstance(runs, RunStore)
    made = checkpoint(value=1)
    calls: list[Callable[[], Any]] = [
        saver.setup,
        lambda: saver.put(at("t"), made, {}, made["channel_versions"]),
        lambda: saver.put_writes(at("t", checkpoint_id="1"), [("a", 1)], "task"),
        lambda: saver.get_tuple(at("t")),
        lambda: list(saver.list(at("t"))),
        lambda: saver.delete_thread("t"),
        lambda: store.put(("a",), "b", {"c": 1}),
        lambda: store.get(("a",), "b"),
        lambda: runs.claim("t", task="x"),
        lambda: runs.list(),
    ]
    saver.put(at("t"), made, {}, made["channel_versions"])
    store.put(("a",), "b", {"c": 1})
    for _ in range(2):
        saver.close()
        store.close()
        runs.close()
    for call in calls:
        with pytest.raises(DatabaseError, match=CLOSED):
            call()


def test_what_another_thread_still_has_is_closed_when_it_is_done(server_url: str) -> None:
    store, reading, goes_on = RunStore.from_url(server_url), threading.Event(), threading.Event()
    taken = list[Any]()

    def read(connection: Connection) -> None:
        taken.append(connection.connection.dbapi_connection)
        reading.set()
        goes_on.wait(30)

    thread = threading.Thread(target=store.database.read, args=(read,))
    thread.start()
    assert reading.wait(30)
    store.close()
    goes_on.set()
    thread.join()
    (raw,) = taken
    assert raw.closed if hasattr(raw, "closed") else not raw.open


async def test_every_async_method_says_so(url: str) -> None:
    saver = AsyncSQLAlchemySaver.from_url(url)
    store = AsyncSQLAlchemyStore.from_url(url)
    runs = AsyncRunStore.from_url(url)
    made = checkpoint(value=1)
    await saver.aput(at("t"), made, {}, made["channel_versions"])
    await store.aput(("a",), "b", {"c": 1})
    for _ in range(2):
        await saver.close()
        await store.close()
        await runs.close()
    calls: list[Callable[[], Any]] = [
        saver.setup,
        lambda: saver.aput(at("t"), made, {}, made["channel_versions"]),
        lambda: saver.aput_writes(at("t", checkpoint_id="1"), [("a", 1)], "task"),
        lambda: saver.aget_tuple(at("t")),
        lambda: saver.adelete_thread("t"),
        lambda: store.aput(("a",), "b", {"c": 1}),
        lambda: store.aget(("a",), "b"),
        lambda: runs.claim("t", task="x"),
        lambda: runs.list(),
    ]
    for call in calls * 2:
        with pytest.raises(DatabaseError, match=CLOSED):
            await asyncio.wait_for(call(), 30)


async def test_writes_that_wait_fail_and_do_not_hang(tmp_path: Path) -> None:
    saver = AsyncSQLAlchemySaver.from_url(tmp_path / "runs.sqlite")
    await saver.setup()
    writes = [
        asyncio.ensure_future(
            saver.aput_writes(at("t", checkpoint_id="1"), [("a", number)], f"task {number}")
        )
        for number in range(200)
    ]
    await asyncio.sleep(0)
    await saver.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 30)
    assert all(outcome is None or isinstance(outcome, DatabaseError) for outcome in outcomes)


def test_an_engine_of_the_callers_stays_open(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    saver = SQLAlchemySaver.from_engine(engine)
    saver.setup()
    saver.close()
    with pytest.raises(DatabaseError, match=CLOSED):
        saver.get_tuple(at("t"))
    again = SQLAlchemySaver.from_engine(engine)
    assert again.get_tuple(at("t")) is None
    engine.dispose()


def test_a_closed_trace_store_drops_and_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = TraceStore.from_url(tmp_path / "traces.sqlite")
    store.attempt(attempt(1))
    assert store.close()
    store.attempt(attempt(2))
    assert store.dropped == 1
    assert [record.getMessage() for record in caplog.records] == [
        "stellwerk-traces: rows are being dropped, as it is closed"
    ]
    with pytest.raises(DatabaseError, match=CLOSED):
        list(store.attempts())
    assert store.close()
    with TraceStore.from_url(tmp_path / "traces.sqlite") as again:
        assert len(list(again.attempts())) == 1
