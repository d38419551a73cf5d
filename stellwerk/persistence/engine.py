"""Engines as the drivers here want them."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

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
    return create_async_engine(url, **_options(url, pool_size))


def _options(url: URL, pool_size: int) -> dict[str, Any]:
    if is_memory(url):
        return {
            "poolclass": StaticPool,
            "connect_args": {"check_same_thread": False},
            "hide_parameters": True,
        }
    # Nothing to reset: every transaction is ended here, and a rollback costs MySQL a round trip.
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_reset_on_return": None}
    options["hide_parameters"] = True  # they are the state, and errors are logged
    match url.get_backend_name():
        case "sqlite":
            options["connect_args"] = {"check_same_thread": False, "timeout": _BUSY}
        case "postgresql" if "psycopg" in url.drivername:
            # No prepared statements: PgBouncer would hand them to another session.
            options["connect_args"] = {"prepare_threshold": None, "connect_timeout": 10}
        case "mysql" | "mariadb":
            options["connect_args"] = {"connect_timeout": 10, "charset": "utf8mb4"}
    return options


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Readers go on while one writes, and a commit is one write to disk instead of two.
    connection.execute("PRAGMA journal_mode=WAL")
