"""Tables of the learned routers: what each is, its file in parts, and what became of it.

A file stands in rows of its own, as MariaDB refuses a statement of 16 MB.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, String, Table

from stellwerk.persistence.schema.columns import (
    TABLE_OPTIONS,
    UTF8,
    Moment,
    bytes_type,
    key_type,
    metadata,
)

routers = Table(
    "stellwerk_routers",
    metadata,
    Column("version", key_type(), nullable=False),
    Column("sha256", key_type(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("card", UTF8(), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Moment(), nullable=False),
    PrimaryKeyConstraint("version"),
    **TABLE_OPTIONS,
)

parts = Table(
    "stellwerk_router_parts",
    metadata,
    Column("version", key_type(), nullable=False),
    Column("part", Integer, nullable=False),
    Column("data", bytes_type(), nullable=False),
    PrimaryKeyConstraint("version", "part"),
    **TABLE_OPTIONS,
)

moves = Table(
    "stellwerk_router_moves",
    metadata,
    Column("move", BigInteger, nullable=False, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("version", key_type()),
    Column("replaced", key_type()),
    Column("who", UTF8(), nullable=False),
    Column("why", UTF8(), nullable=False),
    Column("evidence", UTF8()),
    Column("moved_at", Moment(), nullable=False),
    PrimaryKeyConstraint("move"),
    **TABLE_OPTIONS,
)
