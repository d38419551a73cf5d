"""The tables of runs and leases."""

import sqlalchemy as sa
from alembic import op

from stellwerk.persistence.schema.columns import (
    TABLE_OPTIONS,
    UTF8,
    Moment,
    bytes_type,
    digest_type,
    key_type,
)

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Runs, and the leases of their threads."""
    op.create_table(
        "stellwerk_runs",
        sa.Column("run", key_type(), nullable=False),
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("thread_id", bytes_type(), nullable=False),
        sa.Column("task", UTF8(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment()),
        sa.Column("holder", UTF8(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("error", UTF8()),
        sa.Column("totals", UTF8()),
        sa.PrimaryKeyConstraint("run"),
        **TABLE_OPTIONS,
    )
    op.create_index("stellwerk_runs_thread", "stellwerk_runs", ["thread", "started_at"])
    op.create_index("stellwerk_runs_started", "stellwerk_runs", ["started_at"])
    op.create_table(
        "stellwerk_leases",
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("run", key_type()),
        sa.Column("holder", UTF8(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("thread"),
        **TABLE_OPTIONS,
    )
