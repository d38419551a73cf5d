"""The checkpointer's tables."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import create_table
from stellwerk.persistence.schema.columns import bytes_type, digest_type, key_type

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Checkpoints, the values of their channels, and writes that belong to no checkpoint yet."""
    create_table(
        "stellwerk_checkpoints",
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("ns", digest_type(), nullable=False),
        sa.Column("checkpoint_id", key_type(), nullable=False),
        sa.Column("parent_id", key_type()),
        sa.Column("thread_id", bytes_type(), nullable=False),
        sa.Column("checkpoint_ns", bytes_type(), nullable=False),
        sa.Column("run_id", key_type()),
        sa.Column("source", sa.String(16)),
        sa.Column("step", sa.Integer),
        sa.Column("saved_at", sa.BigInteger, nullable=False),
        sa.Column("type", sa.String(64)),
        sa.Column("checkpoint", bytes_type(), nullable=False),
        sa.Column("metadata_type", sa.String(64)),
        sa.Column("metadata", bytes_type(), nullable=False),
        sa.PrimaryKeyConstraint("thread", "ns", "checkpoint_id"),
        indexes={"stellwerk_checkpoints_run": ["run_id"]},
    )
    create_table(
        "stellwerk_blobs",
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("blob", digest_type(), nullable=False),
        sa.Column("type", sa.String(64)),
        sa.Column("value", bytes_type(), nullable=False),
        sa.PrimaryKeyConstraint("thread", "blob"),
    )
    create_table(
        "stellwerk_writes",
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("ns", digest_type(), nullable=False),
        sa.Column("checkpoint_id", key_type(), nullable=False),
        sa.Column("task_id", key_type(), nullable=False),
        sa.Column("idx", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("task_path", bytes_type(), nullable=False),
        sa.Column("channel", bytes_type(), nullable=False),
        sa.Column("type", sa.String(64)),
        sa.Column("value", bytes_type(), nullable=False),
        sa.PrimaryKeyConstraint("thread", "ns", "checkpoint_id", "task_id", "idx"),
        sqlite_with_rowid=False,
    )
