"""Writes that share a commit: all are there, in their order, and none the worse for another's error."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from stellwerk.errors import DatabaseError
from stellwerk.persistence.database import Database
from stellwerk.persistence.executor import Executor, FastWrite
from stellwerk.persistence.group_commit import GroupCommit
from stellwerk.persistence.saver import AsyncSQLAlchemySaver


def config(thread: str, checkpoint: str | None = None) -> Any:
    named = {} if checkpoint is None else {"checkpoint_id": checkpoint}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **named}}


class Broken:
    def __call__(self, executor: Executor) -> None:
        raise DatabaseError("this one cannot be written")

    def one_statement(self, dialect: str) -> bool:
        return False


async def test_what_waits_together_is_all_written(tmp_path: Path) -> None:
    async with AsyncSQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        await asyncio.gather(
            *(
                saver.aput_writes(config(f"thread {number % 7}", "1"), [("a", number)], f"task {number:03}")
                for number in range(300)
            )
        )
        for thread in range(7):
            checkpoint: Any = {"id": "1", "channel_values": {}, "channel_versions": {}}
            await saver.aput(config(f"thread {thread}"), checkpoint, {}, {})
            found = await saver.aget_tuple(config(f"thread {thread}", "1"))
            assert found is not None
            assert [write[2] for write in found.pending_writes or ()] == list(range(thread, 300, 7))


async def test_an_error_reaches_only_the_one_that_caused_it(tmp_path: Path) -> None:
    async with AsyncSQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        await saver.setup()
        outcomes = await asyncio.gather(
            *(
                saver.database.fast_write(Broken())
                if number % 5 == 2
                else saver.aput_writes(config("t", "1"), [("a", number)], f"task {number:03}")
                for number in range(20)
            ),
            return_exceptions=True,
        )
        assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [2, 7, 12, 17]
        assert {str(outcome) for outcome in outcomes if outcome} == {"this one cannot be written"}
        checkpoint: Any = {"id": "1", "channel_values": {}, "channel_versions": {}}
        await saver.aput(config("t"), checkpoint, {}, {})
        found = await saver.aget_tuple(config("t"))
        assert found is not None
        assert len(found.pending_writes or ()) == 16


async def test_a_locked_file_is_waited_for_once_for_all(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0, "check_same_thread": False})
    database = Database(engine, owned=True, patience=0)
    database.setup()
    tried = 0

    def write(unit: FastWrite) -> None:
        nonlocal tried
        tried += 1
        database.fast_write(unit)

    with ThreadPoolExecutor(1) as threads, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        group = GroupCommit(write, threads)
        held = threading.Event()
        threads.submit(held.wait)  # until all of them wait together
        writes = [asyncio.ensure_future(group.write(Broken())) for _ in range(5)]
        await asyncio.sleep(0)
        held.set()
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
    database.close()
    assert all("database is locked" in str(outcome) for outcome in outcomes)
    assert tried == 1


async def test_one_that_no_longer_waits_is_written_all_the_same(tmp_path: Path) -> None:
    async with AsyncSQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        await saver.setup()
        writes = [
            asyncio.ensure_future(saver.aput_writes(config("t", "1"), [("a", number)], f"task {number}"))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        writes[1].cancel()
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(outcomes[1], asyncio.CancelledError)
        checkpoint: Any = {"id": "1", "channel_values": {}, "channel_versions": {}}
        await saver.aput(config("t"), checkpoint, {}, {})
        found = await saver.aget_tuple(config("t"))
        assert found is not None
        assert len(found.pending_writes or ()) == 3


def test_several_loops_may_share_one(tmp_path: Path) -> None:
    saver = AsyncSQLAlchemySaver.from_url(tmp_path / "runs.sqlite")
    for number in range(3):
        asyncio.run(saver.aput_writes(config("t", "1"), [("a", number)], f"task {number}"))
    checkpoint: Any = {"id": "1", "channel_values": {}, "channel_versions": {}}
    asyncio.run(saver.aput(config("t"), checkpoint, {}, {}))
    found = asyncio.run(saver.aget_tuple(config("t")))
    assert found is not None
    assert len(found.pending_writes or ()) == 3
    asyncio.run(saver.close())


async def test_sync_methods_say_what_to_do_instead(tmp_path: Path) -> None:
    async with AsyncSQLAlchemySaver.from_url(tmp_path / "runs.sqlite") as saver:
        with pytest.raises(Exception, match="await the method of the same name with an 'a' in front"):
            saver.get_tuple(config("t"))
        assert await asyncio.to_thread(saver.get_tuple, config("t")) is None
