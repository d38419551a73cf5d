"""The table of what tools wrote.

`effect` is a digest of what makes a write the same as another. `claim` is of whoever makes it, and good until
`expires_at`, unless it is renewed. Arguments and outcome are as a serializer wrote them.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, PrimaryKeyConstraint, String, Table

from stellwerk.persistence.schema.columns import (
    TABLE_OPTIONS,
    UTF8,
    Moment,
    bytes_type,
    digest_type,
    metadata,
)

effects = Table(
    "stellwerk_effects",
    metadata,
    Column("effect", digest_type(), nullable=False),
    Column("thread", digest_type(), nullable=False),
    Column("thread_id", bytes_type(), nullable=False),
    Column("subtask", UTF8(), nullable=False),
    Column("tool", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("claim", digest_type(), nullable=False),
    Column("holder", UTF8(), nullable=False),
    Column("expires_at", Moment(), nullable=False),
    Column("begun_at", Moment(), nullable=False),
    Column("ended_at", Moment()),
    Column("args_type", String(64), nullable=False),
    Column("args", bytes_type(), nullable=False),
    Column("outcome_type", String(64)),
    Column("outcome", bytes_type()),
    PrimaryKeyConstraint("effect"),
    Index("stellwerk_effects_begun", "begun_at"),
    Index("stellwerk_effects_thread", "thread"),
    **TABLE_OPTIONS,
)
