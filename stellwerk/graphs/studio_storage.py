"""Where LangGraph's server keeps threads, items and traces, as `langgraph.json` names it: the runs' database.

The server enters a factory once for each of its event loops, and leaves it when it ends. What reads files or
opens a database does so in a thread, as the loop must not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import URL

from stellwerk.persistence.database import Database
from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from stellwerk.persistence.sqlite_file import make_sqlite_file
from stellwerk.persistence.store import AsyncSQLAlchemyStore
from stellwerk.persistence.traces import TraceStore
from stellwerk.persistence.urls import parse_url
from stellwerk.settings import Settings


@asynccontextmanager
async def checkpointer() -> AsyncIterator[AsyncSQLAlchemySaver]:
    """Threads, so that they outlive the server, and `stellwerk runs` and `resume` find them.

    Raises:
        ConfigurationError: if the settings or their database cannot be used.
        MissingExtraError: if the database's driver is not installed.
    """
    made = await asyncio.to_thread(lambda: AsyncSQLAlchemySaver.from_url(_place()))
    async with made as saver:
        yield saver


@asynccontextmanager
async def store() -> AsyncIterator[AsyncSQLAlchemyStore]:
    """Items of the long-term memory; raises as `checkpointer` does."""
    made = await asyncio.to_thread(lambda: AsyncSQLAlchemyStore.from_url(_place()))
    async with made as items:
        yield items


def traces() -> TraceStore:
    """Traces, written by a thread of their own; the database is opened when there is the first one.

    Raises:
        ConfigurationError: if the key of origins cannot be read.
    """
    told = Settings.load().conversion.of_traces()
    return TraceStore(lambda: Database.from_url(_place(), pool_size=4), **told)


def _place() -> URL:
    url = parse_url(Settings.load().place)
    make_sqlite_file(url)
    return url
