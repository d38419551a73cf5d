"""The tables of runs and leases."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import create_table
from stellwerk.persistence.schema.columns import UTF8, Moment, bytes_type, digest_type, key_type

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Runs, and the leases of their threads."""
    create_table(
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
        indexes={
            "stellwerk_runs_thread": ["thread", "started_at"],
            "stellwerk_runs_started": ["started_at"],
        },
    )
    create_table(
        "stellwerk_leases",
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("run", key_type()),
        sa.Column("holder", UTF8(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("thread"),
    )
