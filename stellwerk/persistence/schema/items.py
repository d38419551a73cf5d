"""Tables of the store.

`item` is a digest of the namespace followed by a digest of the key, so that it has 32 bytes for names of any
length, and the items of a namespace lie together. The namespace is kept in two columns, as an index takes no
more than its first bytes; together they are the labels joined by `.`, which no label contains.

A vector belongs to one version of its item, which it names by `updated_at`: one that a race leaves behind is
never taken for a vector of the present value. Its norm (Euclidean) says how far a sum of 32 bits, as of
pgvector, can be off.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, PrimaryKeyConstraint, Table

from stellwerk.persistence.schema.columns import (
    TABLE_OPTIONS,
    UTF8,
    Moment,
    bytes_type,
    digest_type,
    key_type,
    metadata,
)
from stellwerk.persistence.schema.floats import Floats

items = Table(
    "stellwerk_items",
    metadata,
    Column("item", key_type(32), nullable=False),
    Column("namespace", key_type(), nullable=False),
    Column("namespace_rest", bytes_type(), nullable=False),
    Column("key", bytes_type(), nullable=False),
    Column("value", UTF8(), nullable=False),
    Column("created_at", Moment(), nullable=False),
    Column("updated_at", Moment(), nullable=False),
    Column("expires_at", Moment()),
    Column("ttl_minutes", Double),
    PrimaryKeyConstraint("item"),
    Index("stellwerk_items_namespace", "namespace", "updated_at"),
    Index("stellwerk_items_expires", "expires_at"),
    **TABLE_OPTIONS,
)

vectors = Table(
    "stellwerk_vectors",
    metadata,
    Column("item", key_type(32), nullable=False),
    Column("path", digest_type(), nullable=False),
    Column("updated_at", Moment(), nullable=False),
    Column("dims", Integer, nullable=False),
    Column("norm", Double, nullable=False),
    Column("vector", Floats(), nullable=False),
    PrimaryKeyConstraint("item", "path"),
    **TABLE_OPTIONS,
)
