"""Tables of whom traces come from, and of what may be kept of them.

No name is in here: `origin`, `person` and `thread` are keyed hashes where there is a key, as
`stellwerk.persistence.origins` makes them. A row of `origins` joins the person and the thread of traces,
examples and runs that name the origin, so that whatever came from either can be found again.

Definitions of tools are the same for thousands of calls, which name them by a digest.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, PrimaryKeyConstraint, String, Table

from stellwerk.persistence.schema.columns import TABLE_OPTIONS, UTF8, Moment, digest_type, metadata

origins = Table(
    "stellwerk_origins",
    metadata,
    Column("origin", digest_type(), nullable=False),
    Column("person", digest_type()),
    Column("thread", digest_type()),
    Column("created_at", Moment(), nullable=False),
    PrimaryKeyConstraint("origin"),
    Index("stellwerk_origins_person", "person"),
    Index("stellwerk_origins_thread", "thread"),
    **TABLE_OPTIONS,
)

consents = Table(
    "stellwerk_consents",
    metadata,
    Column("thread", digest_type(), nullable=False),
    Column("consent", String(16), nullable=False),
    Column("keep_days", Integer),
    Column("who", UTF8()),
    Column("changed_at", Moment(), nullable=False),
    PrimaryKeyConstraint("thread"),
    **TABLE_OPTIONS,
)

tool_sets = Table(
    "stellwerk_tool_sets",
    metadata,
    Column("tools", digest_type(), nullable=False),
    Column("definitions", UTF8(), nullable=False),
    PrimaryKeyConstraint("tools"),
    **TABLE_OPTIONS,
)
