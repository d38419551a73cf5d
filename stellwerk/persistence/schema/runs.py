"""Tables of runs, and of the leases under which they advance their threads.

A thread has one lease, whose token grows by one each time that it is claimed: what a holder writes under
an older token is refused.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, PrimaryKeyConstraint, String, Table

from stellwerk.persistence.schema.columns import (
    TABLE_OPTIONS,
    UTF8,
    Moment,
    bytes_type,
    digest_type,
    key_type,
    metadata,
)

runs = Table(
    "stellwerk_runs",
    metadata,
    Column("run", key_type(), nullable=False),
    Column("thread", digest_type(), nullable=False),
    Column("thread_id", bytes_type(), nullable=False),
    Column("task", UTF8(), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", Moment(), nullable=False),
    Column("ended_at", Moment()),
    Column("holder", UTF8(), nullable=False),
    Column("version", String(64), nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("error", UTF8()),
    Column("totals", UTF8()),
    PrimaryKeyConstraint("run"),
    Index("stellwerk_runs_thread", "thread", "started_at"),
    Index("stellwerk_runs_started", "started_at"),
    **TABLE_OPTIONS,
)

leases = Table(
    "stellwerk_leases",
    metadata,
    Column("thread", digest_type(), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("run", key_type()),
    Column("holder", UTF8(), nullable=False),
    Column("expires_at", Moment(), nullable=False),
    PrimaryKeyConstraint("thread"),
    **TABLE_OPTIONS,
)
