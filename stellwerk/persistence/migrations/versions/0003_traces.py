"""The tables of the traces."""

import sqlalchemy as sa

from stellwerk.persistence.migrations.tables import create_table
from stellwerk.persistence.schema.columns import UTF8, Moment, bytes_type, digest_type, key_type

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Attempts, the runs that they belong to, and feedback on either."""
    create_table(
        "stellwerk_attempts",
        sa.Column("trace", digest_type(), nullable=False),
        sa.Column("run", digest_type(), nullable=False),
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("run_id", key_type(), nullable=False),
        sa.Column("thread_id", bytes_type(), nullable=False),
        sa.Column("subtask", bytes_type(), nullable=False),
        sa.Column("worker", key_type(), nullable=False),
        sa.Column("worker_version", UTF8(), nullable=False),
        sa.Column("tier", key_type(), nullable=False),
        sa.Column("model", UTF8(), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("router", UTF8()),
        sa.Column("router_version", UTF8()),
        sa.Column("propensity", sa.Double),
        sa.Column("decision", UTF8()),
        sa.Column("accepted", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("reason", UTF8()),
        sa.Column("detail", UTF8()),
        sa.Column("checks", UTF8(), nullable=False),
        sa.Column("content", sa.String(8), nullable=False),
        sa.Column("prompt", UTF8()),
        sa.Column("answer", UTF8()),
        sa.Column("prompt_hash", digest_type()),
        sa.Column("answer_hash", digest_type()),
        sa.Column("value", UTF8()),
        sa.Column("tools", UTF8(), nullable=False),
        sa.Column("calls", UTF8(), nullable=False),
        sa.Column("input", sa.BigInteger, nullable=False),
        sa.Column("cached", sa.BigInteger, nullable=False),
        sa.Column("output", sa.BigInteger, nullable=False),
        sa.Column("usd", sa.Double),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("logprobs", UTF8()),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("trace"),
        indexes={
            "stellwerk_attempts_created": ["created_at", "trace"],
            "stellwerk_attempts_run": ["run_id", "created_at"],
            "stellwerk_attempts_thread": ["thread", "created_at"],
            "stellwerk_attempts_worker": ["worker", "created_at"],
        },
    )
    create_table(
        "stellwerk_traced_runs",
        sa.Column("run", digest_type(), nullable=False),
        sa.Column("thread", digest_type(), nullable=False),
        sa.Column("run_id", key_type(), nullable=False),
        sa.Column("thread_id", bytes_type(), nullable=False),
        sa.Column("task", UTF8()),
        sa.Column("task_hash", digest_type()),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", UTF8()),
        sa.Column("ledger", UTF8()),
        sa.Column("calls", sa.BigInteger),
        sa.Column("input", sa.BigInteger),
        sa.Column("cached", sa.BigInteger),
        sa.Column("output", sa.BigInteger),
        sa.Column("usd", sa.Double),
        sa.Column("wall_seconds", sa.Double),
        sa.Column("versions", UTF8(), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("run"),
        indexes={
            "stellwerk_traced_runs_started": ["started_at", "run"],
            "stellwerk_traced_runs_run_id": ["run_id"],
            "stellwerk_traced_runs_thread": ["thread", "started_at"],
        },
    )
    create_table(
        "stellwerk_feedback",
        sa.Column("feedback", digest_type(), nullable=False),
        sa.Column("trace", digest_type()),
        sa.Column("run", digest_type(), nullable=False),
        sa.Column("run_id", key_type(), nullable=False),
        sa.Column("thread_id", bytes_type(), nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("label", UTF8()),
        sa.Column("comment", UTF8()),
        sa.Column("who", UTF8()),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("feedback"),
        indexes={
            "stellwerk_feedback_trace": ["trace"],
            "stellwerk_feedback_run": ["run"],
            "stellwerk_feedback_created": ["created_at", "feedback"],
        },
    )
