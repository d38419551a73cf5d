"""The checkpointers that are compared, on databases of their own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from sqlalchemy import create_engine, make_url, text

from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver

SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432/test"


class Subject:
    """A checkpointer, called the same way whether it is sync or async."""

    def __init__(
        self, name: str, saver: BaseCheckpointSaver[Any], size: Callable[[], int], loop: Any
    ) -> None:
        self.name, self.saver, self.size, self._loop = name, saver, size, loop

    def save(
        self, config: RunnableConfig, checkpoint: Checkpoint, new: ChannelVersions, step: int, writes: Any
    ) -> Any:
        """What a step of a graph saves: its tasks' writes, then its checkpoint."""
        metadata: Any = {"source": "loop", "step": step, "parents": {}, "run_id": "0"}
        if self._loop is None:
            if config["configurable"].get("checkpoint_id"):
                self.saver.put_writes(config, writes, str(uuid4()), "~task")
            return self.saver.put(config, checkpoint, metadata, new)
        return self._loop.run_until_complete(self._asave(config, checkpoint, metadata, new, writes))

    def get(self, config: RunnableConfig) -> Any:
        """One checkpoint."""
        if self._loop is None:
            return self.saver.get_tuple(config)
        return self._loop.run_until_complete(self.saver.aget_tuple(config))

    def newest(self, config: RunnableConfig, limit: int) -> Any:
        """The newest checkpoints."""
        if self._loop is None:
            return list(self.saver.list(config, limit=limit))
        return self._loop.run_until_complete(self._alist(config, limit))

    async def _asave(self, config: Any, checkpoint: Any, metadata: Any, new: Any, writes: Any) -> Any:
        if config["configurable"].get("checkpoint_id"):
            await self.saver.aput_writes(config, writes, str(uuid4()), "~task")
        return await self.saver.aput(config, checkpoint, metadata, new)

    async def _alist(self, config: Any, limit: int) -> Any:
        return [found async for found in self.saver.alist(config, limit=limit)]


@contextmanager
def pair(backend: str, mode: str, place: Path) -> Iterator[tuple[Subject, Subject]]:
    """Stellwerk's checkpointer and the peer's, each on an empty database of the same server or disk."""
    with ExitStack() as stack:
        loop = asyncio.new_event_loop() if mode == "async" else None
        if loop is not None:
            stack.callback(loop.close)

        def entered(manager: Any) -> Any:
            if loop is None or not hasattr(manager, "__aenter__"):
                return stack.enter_context(manager)
            stack.callback(lambda: loop.run_until_complete(manager.__aexit__(None, None, None)))
            return loop.run_until_complete(manager.__aenter__())

        def setup(saver: Any) -> None:
            done = saver.setup()
            if loop is not None:
                loop.run_until_complete(done)

        ours_class = AsyncSQLAlchemySaver if loop else SQLAlchemySaver
        if backend == "sqlite":
            ours_file, peer_file = place / f"ours-{uuid4().hex}.sqlite", place / f"peer-{uuid4().hex}.sqlite"
            ours = entered(ours_class.from_url(ours_file))
            peer_class: Any = AsyncSqliteSaver if loop else SqliteSaver
            peer = entered(peer_class.from_conn_string(str(peer_file)))
            sizes = (lambda: _file_size(ours_file)), (lambda: _file_size(peer_file))
        else:
            first, second = stack.enter_context(_database()), stack.enter_context(_database())
            ours = entered(ours_class.from_url(first))
            peer_class = AsyncPostgresSaver if loop else PostgresSaver
            plain = make_url(second).set(drivername="postgresql").render_as_string(hide_password=False)
            peer = entered(peer_class.from_conn_string(plain))
            sizes = (lambda: _database_size(first)), (lambda: _database_size(second))
        setup(ours)
        setup(peer)
        yield Subject("stellwerk", ours, sizes[0], loop), Subject("peer", peer, sizes[1], loop)


@contextmanager
def _database() -> Iterator[str]:
    server = make_url(os.environ.get("STELLWERK_TEST_POSTGRESQL") or SERVER)
    name = f"stellwerk_bench_{uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def _file_size(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def _database_size(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        size = connection.execute(
            text("SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables")
        ).scalar_one()
    engine.dispose()
    return int(size)
