"""The store's tables."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import create_table
from stellwerk.persistence.schema.columns import UTF8, Moment, bytes_type, digest_type, key_type
from stellwerk.persistence.schema.floats import Floats

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Items, and the vectors by which they are found."""
    create_table(
        "stellwerk_items",
        sa.Column("item", key_type(32), nullable=False),
        sa.Column("namespace", key_type(), nullable=False),
        sa.Column("namespace_rest", bytes_type(), nullable=False),
        sa.Column("key", bytes_type(), nullable=False),
        sa.Column("value", UTF8(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment()),
        sa.Column("ttl_minutes", sa.Double),
        sa.PrimaryKeyConstraint("item"),
        indexes={
            "stellwerk_items_namespace": ["namespace", "updated_at"],
            "stellwerk_items_expires": ["expires_at"],
        },
    )
    create_table(
        "stellwerk_vectors",
        sa.Column("item", key_type(32), nullable=False),
        sa.Column("path", digest_type(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("dims", sa.Integer, nullable=False),
        sa.Column("norm", sa.Double, nullable=False),
        sa.Column("vector", Floats(), nullable=False),
        sa.PrimaryKeyConstraint("item", "path"),
    )
