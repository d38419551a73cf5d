"""Create and migrate the tables."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.util.concurrency import await_, in_greenlet

from stellwerk.errors import DatabaseError

HEAD = "0009"
VERSION_TABLE = "stellwerk_version"
_LOCK = 7_352_948_113  # any number that no other program is likely to lock
_running = threading.Lock()


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Bring the tables to a revision, in the transaction that has begun on the connection, and commit.

    Processes that do so at once take turns.

    Raises:
        DatabaseError: if the database was made by a newer version of Stellwerk.
    """
    if version(connection) == revision:
        connection.rollback()
        return
    _lock(connection)
    try:
        found = version(connection)
        if found is not None and found > HEAD:
            raise DatabaseError(
                f"the database is of version {found}, and this Stellwerk knows {HEAD} at most; upgrade it"
            )
        if found != revision:
            _run(connection, revision)
        connection.commit()
    finally:
        _unlock(connection)


def version(connection: Connection) -> str | None:
    """The revision of the tables, or None where there are none."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found


def _run(connection: Connection, revision: str) -> None:
    from alembic import command  # a third of a second to import, for what most processes never need
    from alembic.config import Config

    mysql = connection.dialect.name in ("mysql", "mariadb")
    if mysql and not connection.dialect.has_table(connection, VERSION_TABLE):
        # As Alembic does, but with no name for the key: MySQL warns that it ignores that; asyncmy logs it.
        connection.execute(
            text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY) ENGINE InnoDB")
        )
    config = Config()
    config.set_main_option("script_location", "stellwerk:persistence/migrations")
    config.attributes["connection"] = connection
    with _turn():
        command.upgrade(config, revision)


@contextmanager
def _turn() -> Iterator[None]:
    """Alembic keeps the migration at hand in module globals, so a process runs one at a time."""
    if in_greenlet():  # of an async driver, whose event loop must not be blocked
        await_(asyncio.to_thread(_running.acquire))
    else:
        _running.acquire()
    try:
        yield
    finally:
        _running.release()


def _lock(connection: Connection) -> None:
    match connection.dialect.name:
        case "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        case "mysql" | "mariadb":
            # Named after the database: a lock is the whole server's.
            lock = "SELECT GET_LOCK(CONCAT('stellwerk.', DATABASE()), 60)"
            if connection.execute(text(lock)).scalar() != 1:
                raise DatabaseError(
                    "another process has migrated this database for over 60 s; look at it first"
                )
            # InnoDB shows a transaction what there was when it first looked, which was before the lock.
            connection.rollback()


def _unlock(connection: Connection) -> None:
    if connection.dialect.name in ("mysql", "mariadb"):
        connection.execute(text("SELECT RELEASE_LOCK(CONCAT('stellwerk.', DATABASE()))"))
        connection.commit()


def _after_fork() -> None:
    global _running  # whoever held it is not in this process
    _running = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
