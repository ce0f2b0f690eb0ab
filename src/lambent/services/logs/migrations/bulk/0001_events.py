"""CloudWatch Logs: events, and what they add up to."""

import sqlalchemy as sa
from alembic import op

revision = "logs_bulk_0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "logs_events",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("group_id", sa.BigInteger, nullable=False),
        sa.Column("stream_id", sa.BigInteger, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("ingested_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("logs_events_of_group", "logs_events", ["group_id", "timestamp", "id"])
    op.create_index("logs_events_of_stream", "logs_events", ["stream_id", "timestamp", "id"])
    op.create_table(
        "logs_stream_stats",
        sa.Column("stream_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.BigInteger, nullable=False),
        sa.Column("first_timestamp", sa.BigInteger, nullable=False),
        sa.Column("last_timestamp", sa.BigInteger, nullable=False),
        sa.Column("last_ingested_at", sa.BigInteger, nullable=False),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("logs_stream_stats_of_group", "logs_stream_stats", ["group_id"])
