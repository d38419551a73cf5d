"""The table of what tools wrote."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import create_table
from stellwerk.persistence.schema.columns import UTF8, Moment, bytes_type, digest_type

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Writes of tools: what was intended, by whom, and what came of it."""
    create_table(
        "stellwerk_effects",
        sa.Column("effect", digest_type(), nullable=False),
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("thread_id", bytes_type(), nullable=False),
        sa.Column("subtask", UTF8(), nullable=False),
        sa.Column("tool", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("claim", digest_type(), nullable=False),
        sa.Column("holder", UTF8(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("begun_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment()),
        sa.Column("args_type", sa.String(64), nullable=False),
        sa.Column("args", bytes_type(), nullable=False),
        sa.Column("outcome_type", sa.String(64)),
        sa.Column("outcome", bytes_type()),
        sa.PrimaryKeyConstraint("effect"),
        indexes={
            "stellwerk_effects_begun": ["begun_at"],
            "stellwerk_effects_thread": ["thread"],
        },
    )
