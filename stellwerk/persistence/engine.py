"""Engines as the drivers here want them."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from stellwerk.persistence.executor import HotText
from stellwerk.persistence.urls import is_memory

_BUSY = 10.0  # seconds that SQLite waits for another process's write


def sync_engine(url: URL, pool_size: int) -> Engine:
    """An engine of its own pool."""
    engine = create_engine(url, **_options(url, pool_size))
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def async_engine(url: URL, pool_size: int) -> AsyncEngine:
    """An engine of its own pool, for another database than SQLite."""
    return create_async_engine(url, **_options(url, pool_size, asynchronous=True))


def stop_preparing(engine: Engine) -> None:
    """From now on, send PostgreSQL every statement in full; for connections still to be made."""

    def unprepared(connection: Any, _: object) -> None:
        driver = getattr(connection, "driver_connection", connection)
        if hasattr(driver, "prepare_threshold"):
            driver.prepare_threshold = None

    event.listen(engine, "connect", unprepared)


def _options(url: URL, pool_size: int, *, asynchronous: bool = False) -> dict[str, Any]:
    if is_memory(url):
        arguments = {"check_same_thread": False}
        return {"poolclass": StaticPool, "connect_args": arguments, "hide_parameters": True}
    options: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": 0,
        # Nothing to reset: every transaction is ended here, and a rollback costs MySQL a round trip.
        "pool_reset_on_return": None,
        "hide_parameters": True,  # they are somebody's state, and must not show in a traceback
    }
    match url.get_backend_name():
        case "sqlite":
            options["connect_args"] = {"check_same_thread": False, "timeout": _BUSY}
        case "postgresql" if "psycopg" in url.drivername:
            options["connect_args"] = {
                "prepare_threshold": 1,
                "connect_timeout": 10,
                "cursor_factory": _cursor_class(asynchronous),
            }
        case "mysql" | "mariadb":
            options["connect_args"] = {"connect_timeout": 10, "charset": "utf8mb4"}
    return options


def _cursor_class(asynchronous: bool) -> type[Any]:
    """Cursors of psycopg for which `HotText` gets bytes as they are, and not as two digits each."""
    import psycopg

    if asynchronous:

        class AsyncCursor(psycopg.AsyncCursor[Any]):
            async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
                if isinstance(query, HotText):
                    options["binary"] = True
                return await super().execute(query, params, **options)

        return AsyncCursor

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            if isinstance(query, HotText):
                options["binary"] = True
            return super().execute(query, params, **options)

    return Cursor


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Readers go on while one writes, and a commit is one write to disk instead of two.
    connection.execute("PRAGMA journal_mode=WAL")
