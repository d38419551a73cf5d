"""The table of what servers were seen to do.

`server` is a digest of URL and model. A row is of one version of the server.
"""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, Table

from stellwerk.persistence.schema.columns import TABLE_OPTIONS, UTF8, Moment, digest_type, key_type, metadata

capabilities = Table(
    "stellwerk_capabilities",
    metadata,
    Column("server", digest_type(), nullable=False),
    Column("version", key_type(), nullable=False),
    Column("url", UTF8(), nullable=False),
    Column("model", UTF8(), nullable=False),
    Column("found", UTF8(), nullable=False),
    Column("probed_at", Moment(), nullable=False),
    PrimaryKeyConstraint("server", "version"),
    **TABLE_OPTIONS,
)
