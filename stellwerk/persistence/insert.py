"""Inserts that meet a row already there, in each dialect's words."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, Table, bindparam
from sqlalchemy.dialects import mysql, postgresql, sqlite


@lru_cache(maxsize=256)
def insert_or_keep(dialect: str, table: Table) -> Insert:
    """Insert rows; one whose primary key is taken is left as it is."""
    return _or_keep(dialect, table, _insert(dialect, table))


@lru_cache(maxsize=256)
def insert_or_update(dialect: str, table: Table, columns: tuple[str, ...]) -> Insert:
    """Insert rows; where the primary key is taken, these columns are set anew."""
    return _or_update(dialect, table, columns, _insert(dialect, table))


@lru_cache(maxsize=256)
def insert_rows(dialect: str, table: Table, count: int, columns: tuple[str, ...] = ()) -> Insert:
    """One statement for several rows, whose parameters are named as in `numbered`.

    Where a primary key is taken, the columns are set anew; if none are named, the row is left as it is.
    """
    rows = [
        {column.name: bindparam(f"{column.name}_{index}", type_=column.type) for column in table.c}
        for index in range(count)
    ]
    statement = _insert(dialect, table).values(rows)
    return _or_update(dialect, table, columns, statement) if columns else _or_keep(dialect, table, statement)


def numbered(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The parameters of several rows."""
    return {f"{name}_{index}": value for index, row in enumerate(rows) for name, value in row.items()}


def _or_keep(dialect: str, table: Table, statement: Any) -> Insert:
    kept: Insert
    if dialect in ("mysql", "mariadb"):
        # Not INSERT IGNORE: that turns every error into a warning, one about a value cut short included.
        first = next(iter(table.primary_key))
        kept = statement.on_duplicate_key_update({first.name: table.c[first.name]})
    else:
        kept = statement.on_conflict_do_nothing(index_elements=list(table.primary_key))
    return kept


def _or_update(dialect: str, table: Table, columns: tuple[str, ...], statement: Any) -> Insert:
    updated: Insert
    if dialect in ("mysql", "mariadb"):
        updated = statement.on_duplicate_key_update({name: statement.inserted[name] for name in columns})
    else:
        updated = statement.on_conflict_do_update(
            index_elements=list(table.primary_key), set_={name: statement.excluded[name] for name in columns}
        )
    return updated


def _insert(dialect: str, table: Table) -> Any:
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(table)
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
