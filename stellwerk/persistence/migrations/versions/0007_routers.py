"""The tables of the learned routers."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import create_table
from stellwerk.persistence.schema.columns import UTF8, Moment, bytes_type, key_type

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Routers by version, their files in parts, and the history of which one served."""
    create_table(
        "stellwerk_routers",
        sa.Column("version", key_type(), nullable=False),
        sa.Column("sha256", key_type(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("card", UTF8(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    create_table(
        "stellwerk_router_parts",
        sa.Column("version", key_type(), nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("data", bytes_type(), nullable=False),
        sa.PrimaryKeyConstraint("version", "part"),
    )
    create_table(
        "stellwerk_router_moves",
        sa.Column("move", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("version", key_type()),
        sa.Column("replaced", key_type()),
        sa.Column("who", UTF8(), nullable=False),
        sa.Column("why", UTF8(), nullable=False),
        sa.Column("evidence", UTF8()),
        sa.Column("moved_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("move"),
    )
