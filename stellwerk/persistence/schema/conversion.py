"""Tables of the conversion from a large model to small ones.

`conversions` is the log of its steps. A dataset is a set of curated examples; a clustering, a model that
tells which recurring job a call belongs to, with its clusters, and the traces that belong to each. An adapter
was trained on a dataset for a cluster. `cluster_moves` says which model serves a cluster, and why: the last
move of a cluster counts.

What people said is in `dataset_examples.content` and nowhere else: cards and reports hold figures and names,
so that to forget somebody is to delete rows. A file stands in parts, as MariaDB refuses a statement of 16 MB.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, PrimaryKeyConstraint, String, Table

from stellwerk.persistence.schema.columns import (
    TABLE_OPTIONS,
    UTF8,
    Moment,
    bytes_type,
    digest_type,
    key_type,
    metadata,
)

conversions = Table(
    "stellwerk_conversions",
    metadata,
    Column("conversion", digest_type(), nullable=False),
    Column("step", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("parameters", UTF8(), nullable=False),
    Column("asked", digest_type(), nullable=False),  # of the parameters, to find what can be resumed
    Column("cursor", UTF8()),
    Column("counts", UTF8(), nullable=False),
    Column("report", UTF8()),
    Column("error", UTF8()),
    Column("started_at", Moment(), nullable=False),
    Column("updated_at", Moment(), nullable=False),
    PrimaryKeyConstraint("conversion"),
    Index("stellwerk_conversions_step", "step", "started_at"),
    Index("stellwerk_conversions_started", "started_at", "conversion"),
    **TABLE_OPTIONS,
)

datasets = Table(
    "stellwerk_datasets",
    metadata,
    Column("dataset", key_type(), nullable=False),
    Column("card", UTF8(), nullable=False),
    Column("created_at", Moment(), nullable=False),
    PrimaryKeyConstraint("dataset"),
    **TABLE_OPTIONS,
)

examples = Table(
    "stellwerk_dataset_examples",
    metadata,
    Column("dataset", key_type(), nullable=False),
    Column("trace", digest_type(), nullable=False),
    Column("origin", digest_type()),
    Column("call_site", key_type(), nullable=False),
    Column("split", String(16), nullable=False),
    Column("content", UTF8(), nullable=False),
    Column("created_at", Moment(), nullable=False),  # of the trace
    PrimaryKeyConstraint("dataset", "trace"),
    Index("stellwerk_dataset_examples_trace", "trace"),
    Index("stellwerk_dataset_examples_origin", "origin"),
    **TABLE_OPTIONS,
)

clusterings = Table(
    "stellwerk_clusterings",
    metadata,
    Column("version", key_type(), nullable=False),
    Column("sha256", key_type(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("card", UTF8(), nullable=False),
    Column("created_at", Moment(), nullable=False),
    PrimaryKeyConstraint("version"),
    **TABLE_OPTIONS,
)

clustering_parts = Table(
    "stellwerk_clustering_parts",
    metadata,
    Column("version", key_type(), nullable=False),
    Column("part", Integer, nullable=False),
    Column("data", bytes_type(), nullable=False),
    PrimaryKeyConstraint("version", "part"),
    **TABLE_OPTIONS,
)

clusters = Table(
    "stellwerk_clusters",
    metadata,
    Column("version", key_type(), nullable=False),
    Column("cluster", key_type(), nullable=False),
    Column("call_site", key_type(), nullable=False),
    Column("name", UTF8(), nullable=False),
    Column("card", UTF8(), nullable=False),
    PrimaryKeyConstraint("version", "cluster"),
    **TABLE_OPTIONS,
)

members = Table(
    "stellwerk_cluster_members",
    metadata,
    Column("version", key_type(), nullable=False),
    Column("trace", digest_type(), nullable=False),
    Column("cluster", key_type(), nullable=False),
    PrimaryKeyConstraint("version", "trace"),
    Index("stellwerk_cluster_members_cluster", "version", "cluster", "trace"),
    Index("stellwerk_cluster_members_trace", "trace"),
    **TABLE_OPTIONS,
)

adapters = Table(
    "stellwerk_adapters",
    metadata,
    Column("adapter", key_type(), nullable=False),  # `cluster@version`
    Column("cluster", key_type(), nullable=False),
    Column("base", UTF8(), nullable=False),
    Column("path", UTF8(), nullable=False),
    Column("sha256", key_type(32), nullable=False),
    Column("dataset", key_type(), nullable=False),
    Column("card", UTF8(), nullable=False),
    Column("state", String(16), nullable=False),
    Column("forgot_at", Moment()),  # somebody was forgotten since whose examples it was trained on
    Column("created_at", Moment(), nullable=False),
    PrimaryKeyConstraint("adapter"),
    Index("stellwerk_adapters_cluster", "cluster"),
    Index("stellwerk_adapters_dataset", "dataset"),
    **TABLE_OPTIONS,
)

moves = Table(
    "stellwerk_cluster_moves",
    metadata,
    Column("move", BigInteger, nullable=False, autoincrement=False),
    Column("cluster", key_type(), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("served", key_type()),
    Column("serves", key_type(), nullable=False),
    Column("share", Double, nullable=False),
    Column("evidence", UTF8()),
    Column("who", UTF8(), nullable=False),
    Column("why", UTF8(), nullable=False),
    Column("moved_at", Moment(), nullable=False),
    PrimaryKeyConstraint("move"),
    Index("stellwerk_cluster_moves_cluster", "cluster", "move"),
    **TABLE_OPTIONS,
)
