"""Inserts that meet a row already there, in each dialect's words."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, Table, bindparam, case
from sqlalchemy.dialects import mysql, postgresql, sqlite


@lru_cache(maxsize=256)
def insert_or_keep(dialect: str, table: Table) -> Insert:
    """Insert rows; one whose primary key is taken is left as it is."""
    return _or_keep(dialect, table, _insert(dialect, table))


@lru_cache(maxsize=256)
def insert_or_update(
    dialect: str, table: Table, columns: tuple[str, ...], not_older: str | None = None
) -> Insert:
    """Insert rows; where the primary key is taken, these columns are set anew.

    With `not_older`, the name of one of the columns, a row stays whose value there is the greater one.
    """
    return _or_update(dialect, table, columns, _insert(dialect, table), not_older)


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


def _or_update(
    dialect: str, table: Table, columns: tuple[str, ...], statement: Any, not_older: str | None = None
) -> Insert:
    updated: Insert
    if dialect in ("mysql", "mariadb"):
        told = statement.inserted
        values = [(name, told[name]) for name in columns]
        if not_older is not None:
            newer = told[not_older] >= table.c[not_older]
            # What is compared comes last: assignments are made in order, and see those before them.
            values = [
                (name, case((newer, told[name]), else_=table.c[name]))
                for name in sorted(columns, key=lambda name: name == not_older)
            ]
        updated = statement.on_duplicate_key_update(values)
    else:
        told = statement.excluded
        updated = statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: told[name] for name in columns},
            where=None if not_older is None else told[not_older] >= table.c[not_older],
        )
    return updated


def _insert(dialect: str, table: Table) -> Any:
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(table)
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
