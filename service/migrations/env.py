"""Alembic's entry: runs the migrations on the connection that `service.database` hands over."""

from typing import Any, Literal

from alembic import context

from service.tables import Base, UtcDateTime

MIGRATION_LOCK = 0x4F4E4550
"""Any number of our own; the letters ONEP."""


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our column types as plain SQLAlchemy ones, so that old migrations outlive our code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=render_item,
    compare_type=True,
)
if connection.dialect.name == "postgresql":
    connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
    # Two processes that start on one empty database migrate one after the other.
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
with context.begin_transaction():
    context.run_migrations()
