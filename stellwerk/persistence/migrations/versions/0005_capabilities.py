"""The table of what servers were seen to do."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import create_table
from stellwerk.persistence.schema.columns import UTF8, Moment, digest_type, key_type

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Capabilities, for each URL, model and version of a server."""
    create_table(
        "stellwerk_capabilities",
        sa.Column("server", digest_type(), nullable=False),
        sa.Column("version", key_type(), nullable=False),
        sa.Column("url", UTF8(), nullable=False),
        sa.Column("model", UTF8(), nullable=False),
        sa.Column("found", UTF8(), nullable=False),
        sa.Column("probed_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("server", "version"),
    )
