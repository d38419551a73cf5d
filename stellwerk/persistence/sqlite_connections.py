"""Connections to SQLite that stay open between calls: a pool's bookkeeping takes longer than a read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

from sqlalchemy import Engine
from sqlalchemy.pool import StaticPool

from stellwerk.persistence.executor import SQLiteExecutor, Wordings

T = TypeVar("T")


class SQLiteConnections:
    """Idle connections of an engine; several threads may take one each."""

    def __init__(self, engine: Engine, wordings: Wordings) -> None:
        self._engine = engine
        self._wordings = wordings
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []

    def read(self, unit: Callable[[SQLiteExecutor], T]) -> T:
        """Run a unit, each of its statements by itself."""
        connection = self._take()
        try:
            return unit(SQLiteExecutor(connection, self._wordings))
        finally:
            self._idle.append(connection)

    def write(self, unit: Callable[[SQLiteExecutor], T]) -> T:
        """Run a unit in a transaction."""
        connection = self._take()
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = unit(SQLiteExecutor(connection, self._wordings))
            connection.commit()
        except BaseException:
            with suppress(sqlite3.Error):
                connection.rollback()
            raise
        finally:
            self._idle.append(connection)
        return result

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            self._idle.pop().close()

    def after_fork(self) -> None:
        """Leave alone what the parent opened: SQLite forbids to carry a connection over a fork."""
        self._inherited += self._idle
        self._idle = []

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _open(self) -> sqlite3.Connection:
        pooled = self._engine.raw_connection()
        connection = cast(sqlite3.Connection, pooled.driver_connection)
        if not isinstance(self._engine.pool, StaticPool):
            pooled.detach()  # or it would keep one of the pool's places
        return connection
