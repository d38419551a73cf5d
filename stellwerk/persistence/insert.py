"""Inserts that meet a row already there, in each dialect's words."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite


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
