"""What routers learn from: the context of each attempt, and who says whether an answer is right."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import add_columns
from stellwerk.persistence.schema.columns import UTF8, digest_type

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Columns of the traces; feedback that is there came from people."""
    add_columns(
        "stellwerk_attempts",
        sa.Column("context", UTF8()),
        sa.Column("episode", digest_type()),
        sa.Column("value_hash", digest_type()),
    )
    add_columns(
        "stellwerk_feedback",
        sa.Column("source", sa.String(16), nullable=False, server_default="person"),
    )
