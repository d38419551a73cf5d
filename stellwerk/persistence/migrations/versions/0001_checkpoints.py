"""The checkpointer's tables."""

import sqlalchemy as sa
from alembic import op

from stellwerk.persistence.schema.columns import TABLE_OPTIONS, bytes_type, digest_type, key_type

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Checkpoints, the values of their channels, and writes that belong to no checkpoint yet."""
    # What is there stays: MySQL commits each table by itself, so a migration may have been cut off between.
    op.create_table(
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
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    indexes = sa.inspect(op.get_bind()).get_indexes("stellwerk_checkpoints")
    if "stellwerk_checkpoints_run" not in [index["name"] for index in indexes]:
        op.create_index("stellwerk_checkpoints_run", "stellwerk_checkpoints", ["run_id"])
    op.create_table(
        "stellwerk_blobs",
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("blob", digest_type(), nullable=False),
        sa.Column("type", sa.String(64)),
        sa.Column("value", bytes_type(), nullable=False),
        sa.PrimaryKeyConstraint("thread", "blob"),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
    op.create_table(
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
        if_not_exists=True,
        **TABLE_OPTIONS,
    )
