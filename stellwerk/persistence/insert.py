"""Inserts that meet a row already there, in each dialect's words."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, Table, text
from sqlalchemy.dialects import mysql, postgresql, sqlite

from stellwerk.errors import DatabaseError

_LARGE = 500_000  # bytes; below, no server of today's is set so low that it matters
_ESCAPED = b"\0\n\r\\'\"\x1a"  # bytes that the drivers of MySQL send as two


def check_size(connection: Connection, values: Iterable[bytes]) -> None:
    """See that a MySQL or MariaDB server takes these values: it drops the connection at one too large.

    Raises:
        DatabaseError: if one is too large; to send it again and again would not help.
    """
    if connection.dialect.name not in ("mysql", "mariadb"):
        return
    sizes = [len(v) + sum(v.count(byte) for byte in _ESCAPED) for v in values if len(v) > _LARGE]
    if sizes:
        limit: int = connection.execute(text("SELECT @@max_allowed_packet")).scalar_one()
        if max(sizes) + 10_000 > limit:
            raise DatabaseError(
                f"a value of {max(sizes):,} bytes is more than the database server takes at once "
                f"(max_allowed_packet is {limit:,}); raise that, or keep less in one channel"
            )


@lru_cache(maxsize=256)
def insert_or_keep(dialect: str, table: Table) -> Insert:
    """Insert rows; one whose primary key is taken is left as it is."""
    if dialect in ("mysql", "mariadb"):
        # Not INSERT IGNORE: that turns every error into a warning, one about a value cut short included.
        first = next(iter(table.primary_key))
        return mysql.insert(table).on_duplicate_key_update({first.name: table.c[first.name]})
    kept: Insert = _insert(dialect, table).on_conflict_do_nothing(index_elements=list(table.primary_key))
    return kept


@lru_cache(maxsize=256)
def insert_or_update(dialect: str, table: Table, columns: tuple[str, ...]) -> Insert:
    """Insert rows; where the primary key is taken, these columns are set anew."""
    if dialect in ("mysql", "mariadb"):
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update({name: statement.inserted[name] for name in columns})
    insert = _insert(dialect, table)
    set_ = {name: insert.excluded[name] for name in columns}
    updated: Insert = insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=set_)
    return updated


def _insert(dialect: str, table: Table) -> Any:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
