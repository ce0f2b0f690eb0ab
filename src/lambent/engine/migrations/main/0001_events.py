"""Asynchronous invocations that wait to be run."""

import sqlalchemy as sa
from alembic import op

revision = "engine_main_0001"
down_revision = None


def upgrade() -> None:
    """The first table of the engine."""
    op.create_table(
        "engine_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("function_arn", sa.String, nullable=False),
        sa.Column("qualifier", sa.String),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("arrived_ms", sa.BigInteger, nullable=False),
        sa.Column("visible_ms", sa.BigInteger, nullable=False),
        sa.Column("deferrals", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("engine_events_visible", "engine_events", ["visible_ms", "id"])
