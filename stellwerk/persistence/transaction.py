"""Run a unit of work on a connection: in a transaction, or each of its statements by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from stellwerk.persistence.migrate import HEAD, upgrade, version
from stellwerk.persistence.retry import passes

T = TypeVar("T")
Unit = Callable[[Connection], T]


def begin(connection: Connection) -> None:
    """Begin to write. SQLite has to be told now: a transaction that reads first may be refused its write."""
    if not connection.in_transaction():
        connection.begin()
    if connection.dialect.name == "sqlite" and not _raw(connection).in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def committed(connection: Connection, unit: Unit[T]) -> T:
    """Run a unit in a transaction."""
    try:
        begin(connection)
        result = unit(connection)
        connection.commit()
    except Exception as error:
        if passes(error):
            _discard(connection)
        raise
    return result


def autocommitted(connection: Connection, unit: Unit[T]) -> T:
    """Run a unit without a transaction: each statement by itself."""
    dialect = connection.dialect
    if dialect.name == "sqlite":  # it begins none for what only reads
        return unit(connection)
    raw: Any = connection.connection.dbapi_connection
    try:
        # Not SQLAlchemy's option of the same name: where the connection is dead, that raises outside of its
        # own error handling, and when it is set back, the connection never returns to the pool.
        dialect.set_isolation_level(raw, "AUTOCOMMIT")
        result = unit(connection)
        connection.rollback()  # for SQLAlchemy, a transaction is open
        dialect.reset_isolation_level(raw)
    except BaseException as error:
        _discard(connection)
        if isinstance(error, dialect.loaded_dbapi.Error):
            raise ConnectionResetError(f"{type(error).__name__}: {error}") from error
        raise
    return result


def _discard(connection: Connection) -> None:
    # A driver may not know yet that its connection is dead. SQLite's are no connections, and in memory, the
    # database would go with it.
    if connection.dialect.name != "sqlite" and not connection.invalidated:
        connection.invalidate()


def brought_up_to_date(connection: Connection) -> None:
    """Create or migrate the tables, if they are not of this version."""
    if version(connection) == HEAD:  # nothing to write, so that a database that is read-only can be read
        connection.rollback()
        return
    connection.rollback()
    begin(connection)
    upgrade(connection)


def _raw(connection: Connection) -> sqlite3.Connection:
    raw: Any = connection.connection.dbapi_connection
    # Through aiosqlite the wrapped connection knows; its name is SQLAlchemy's public attribute.
    found: sqlite3.Connection = getattr(raw, "driver_connection", raw)
    return found
