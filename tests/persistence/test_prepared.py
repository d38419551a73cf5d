"""PostgreSQL behind a pooler that hands each transaction to another session."""

from pathlib import Path
from typing import Any

from sqlalchemy import text

from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
from tests.persistence.conftest import database

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
# In a block, so that the driver does not notice.
FORGET = "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"
CHECKPOINT: Any = {
    "v": 4,
    "id": "1",
    "ts": "",
    "channel_values": {"a": 1},
    "channel_versions": {"a": "1"},
    "versions_seen": {},
    "updated_channels": None,
}


def test_statements_that_went_astray_are_sent_in_full(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url, SQLAlchemySaver.from_url(url) as saver:
        saver.put(CONFIG, CHECKPOINT, {}, {"a": "1"})
        for _ in range(4):
            saver.get_tuple(CONFIG)
        saver.database.read(lambda connection: connection.execute(text(FORGET)))
        for _ in range(4):
            found = saver.get_tuple(CONFIG)
            assert found is not None
            assert found.checkpoint["channel_values"] == {"a": 1}
        prepared = "SELECT count(*) FROM pg_prepared_statements"
        assert saver.database.read(lambda connection: connection.execute(text(prepared)).scalar()) == 0


async def test_statements_that_went_astray_are_sent_in_full_async(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url:
        async with AsyncSQLAlchemySaver.from_url(url) as saver:
            await saver.aput(CONFIG, CHECKPOINT, {}, {"a": "1"})
            for _ in range(4):
                await saver.aget_tuple(CONFIG)
            await saver.database.read(lambda connection: connection.execute(text(FORGET)))
            for _ in range(4):
                found = await saver.aget_tuple(CONFIG)
                assert found is not None
                assert found.checkpoint["channel_values"] == {"a": 1}
