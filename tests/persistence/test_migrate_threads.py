"""Databases that are migrated at once in one process do not meet in Alembic's globals."""

import asyncio
import threading
from pathlib import Path

from stellwerk.persistence.database import AsyncDatabase, Database
from stellwerk.persistence.migrate import HEAD, version
from tests.persistence.conftest import database


def test_threads_migrate_databases_side_by_side(tmp_path: Path) -> None:
    databases = [Database.from_url(tmp_path / f"{number}.sqlite") for number in range(8)]
    start = threading.Barrier(len(databases))
    failed: list[BaseException] = []

    def setup(database: Database) -> None:
        start.wait()
        try:
            database.setup()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=setup, args=(one,)) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for one in databases:
        assert one.read(version) == HEAD
        one.close()


async def test_one_event_loop_migrates_databases_side_by_side(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as first, database("mariadb", tmp_path) as second:
        databases = [AsyncDatabase.from_url(first), AsyncDatabase.from_url(second)]
        async with asyncio.timeout(60):
            await asyncio.gather(*(one.setup() for one in databases))
        for one in databases:
            assert await one.read(version) == HEAD
            await one.close()
