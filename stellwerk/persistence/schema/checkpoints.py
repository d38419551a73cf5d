"""Tables of the checkpointer.

A checkpoint's row holds what changes with every step; each version of a large channel value is stored
once, under a digest of namespace, channel and version. `thread` is a digest of the thread's id, `ns` of
the namespace, which grows with nesting; both are kept in full beside the checkpoint.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, String, Table

from stellwerk.persistence.schema.columns import (
    TABLE_OPTIONS,
    bytes_type,
    digest_type,
    key_type,
    metadata,
)

checkpoints = Table(
    "stellwerk_checkpoints",
    metadata,
    Column("thread", digest_type(), nullable=False),
    Column("ns", digest_type(), nullable=False),
    Column("checkpoint_id", key_type(), nullable=False),
    Column("parent_id", key_type()),
    Column("thread_id", bytes_type(), nullable=False),
    Column("checkpoint_ns", bytes_type(), nullable=False),
    Column("run_id", key_type()),
    Column("source", String(16)),
    Column("step", Integer),
    Column("saved_at", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("type", String(64)),
    Column("checkpoint", bytes_type(), nullable=False),
    Column("metadata_type", String(64)),
    Column("metadata", bytes_type(), nullable=False),
    PrimaryKeyConstraint("thread", "ns", "checkpoint_id"),
    Index("stellwerk_checkpoints_run", "run_id"),
    **TABLE_OPTIONS,
)

blobs = Table(
    "stellwerk_blobs",
    metadata,
    Column("thread", digest_type(), nullable=False),
    Column("blob", digest_type(), nullable=False),
    Column("type", String(64)),
    Column("value", bytes_type(), nullable=False),
    PrimaryKeyConstraint("thread", "blob"),
    **TABLE_OPTIONS,
)

writes = Table(
    "stellwerk_writes",
    metadata,
    Column("thread", digest_type(), nullable=False),
    Column("ns", digest_type(), nullable=False),
    Column("checkpoint_id", key_type(), nullable=False),
    Column("task_id", key_type(), nullable=False),
    Column("idx", Integer, nullable=False, autoincrement=False),
    Column("task_path", bytes_type(), nullable=False),
    Column("channel", bytes_type(), nullable=False),
    Column("type", String(64)),
    Column("value", bytes_type(), nullable=False),
    PrimaryKeyConstraint("thread", "ns", "checkpoint_id", "task_id", "idx"),
    sqlite_with_rowid=False,  # or the long key is stored twice
    **TABLE_OPTIONS,
)
