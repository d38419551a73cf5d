"""Whom traces come from, what may be kept of them, and the tables of the conversion to small models."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import add_columns, create_table
from stellwerk.persistence.schema.columns import UTF8, Moment, bytes_type, digest_type, key_type

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Traces that are there keep an unknown origin."""
    add_columns("stellwerk_attempts", sa.Column("origin", digest_type()), sa.Column("offered", digest_type()))
    create_table("stellwerk_attempts", indexes={"stellwerk_attempts_origin": ["origin"]})
    add_columns("stellwerk_traced_runs", sa.Column("origin", digest_type()))
    create_table("stellwerk_traced_runs", indexes={"stellwerk_traced_runs_origin": ["origin"]})
    _origins()
    _datasets()
    _clusters()
    _adapters()


def _origins() -> None:
    create_table(
        "stellwerk_origins",
        sa.Column("origin", digest_type(), nullable=False),
        sa.Column("person", digest_type()),
        sa.Column("thread", digest_type()),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("origin"),
        indexes={"stellwerk_origins_person": ["person"], "stellwerk_origins_thread": ["thread"]},
    )
    create_table(
        "stellwerk_consents",
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("consent", sa.String(16), nullable=False),
        sa.Column("keep_days", sa.Integer),
        sa.Column("who", UTF8()),
        sa.Column("changed_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("thread"),
    )
    create_table(
        "stellwerk_tool_sets",
        sa.Column("tools", digest_type(), nullable=False),
        sa.Column("definitions", UTF8(), nullable=False),
        sa.PrimaryKeyConstraint("tools"),
    )


def _datasets() -> None:
    create_table(
        "stellwerk_conversions",
        sa.Column("conversion", digest_type(), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("parameters", UTF8(), nullable=False),
        sa.Column("asked", digest_type(), nullable=False),
        sa.Column("cursor", UTF8()),
        sa.Column("counts", UTF8(), nullable=False),
        sa.Column("report", UTF8()),
        sa.Column("error", UTF8()),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("conversion"),
        indexes={
            "stellwerk_conversions_step": ["step", "started_at"],
            "stellwerk_conversions_started": ["started_at", "conversion"],
        },
    )
    create_table(
        "stellwerk_datasets",
        sa.Column("dataset", key_type(), nullable=False),
        sa.Column("card", UTF8(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("dataset"),
    )
    create_table(
        "stellwerk_dataset_examples",
        sa.Column("dataset", key_type(), nullable=False),
        sa.Column("trace", digest_type(), nullable=False),
        sa.Column("origin", digest_type()),
        sa.Column("call_site", key_type(), nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        sa.Column("content", UTF8(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "trace"),
        indexes={
            "stellwerk_dataset_examples_trace": ["trace"],
            "stellwerk_dataset_examples_origin": ["origin"],
        },
    )


def _clusters() -> None:
    create_table(
        "stellwerk_clusterings",
        sa.Column("version", key_type(), nullable=False),
        sa.Column("sha256", key_type(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("card", UTF8(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    create_table(
        "stellwerk_clustering_parts",
        sa.Column("version", key_type(), nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("data", bytes_type(), nullable=False),
        sa.PrimaryKeyConstraint("version", "part"),
    )
    create_table(
        "stellwerk_clusters",
        sa.Column("version", key_type(), nullable=False),
        sa.Column("cluster", key_type(), nullable=False),
        sa.Column("call_site", key_type(), nullable=False),
        sa.Column("name", UTF8(), nullable=False),
        sa.Column("card", UTF8(), nullable=False),
        sa.PrimaryKeyConstraint("version", "cluster"),
    )
    create_table(
        "stellwerk_cluster_members",
        sa.Column("version", key_type(), nullable=False),
        sa.Column("trace", digest_type(), nullable=False),
        sa.Column("cluster", key_type(), nullable=False),
        sa.PrimaryKeyConstraint("version", "trace"),
        indexes={
            "stellwerk_cluster_members_cluster": ["version", "cluster", "trace"],
            "stellwerk_cluster_members_trace": ["trace"],
        },
    )


def _adapters() -> None:
    create_table(
        "stellwerk_adapters",
        sa.Column("adapter", key_type(), nullable=False),
        sa.Column("cluster", key_type(), nullable=False),
        sa.Column("base", UTF8(), nullable=False),
        sa.Column("path", UTF8(), nullable=False),
        sa.Column("sha256", key_type(32), nullable=False),
        sa.Column("dataset", key_type(), nullable=False),
        sa.Column("card", UTF8(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("forgot_at", Moment()),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("adapter"),
        indexes={
            "stellwerk_adapters_cluster": ["cluster"],
            "stellwerk_adapters_dataset": ["dataset"],
        },
    )
    create_table(
        "stellwerk_cluster_moves",
        sa.Column("move", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("cluster", key_type(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("served", key_type()),
        sa.Column("serves", key_type(), nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("evidence", UTF8()),
        sa.Column("who", UTF8(), nullable=False),
        sa.Column("why", UTF8(), nullable=False),
        sa.Column("moved_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("move"),
        indexes={"stellwerk_cluster_moves_cluster": ["cluster", "move"]},
    )
