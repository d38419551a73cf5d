"""Alembic's environment: migrations run on the connection they are given, and only there."""

from alembic import context

from stellwerk.persistence.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transaction_per_migration=False,
)
context.run_migrations()
