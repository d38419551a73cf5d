"""What migrations are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from stellwerk.persistence.schema.columns import TABLE_OPTIONS


def create_table(
    name: str,
    *columns: sa.Column[Any] | sa.Constraint,
    indexes: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> None:
    """Create a table and its indexes, each if it is not there.

    MySQL commits each statement that creates something by itself, so a migration may have been cut off
    between any two, and has to go on from there.
    """
    inspector = sa.inspect(op.get_bind())
    present: set[str | None] = set()
    if inspector.has_table(name):
        present = {index["name"] for index in inspector.get_indexes(name)}
    else:
        op.create_table(name, *columns, **TABLE_OPTIONS, **options)
    for index, indexed in (indexes or {}).items():
        if index not in present:
            op.create_index(index, name, indexed)


def add_columns(name: str, *columns: sa.Column[Any]) -> None:
    """Add columns to a table, each if it is not there; as `create_table`."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(name)}
    for column in columns:
        if column.name not in present:
            op.add_column(name, column)
