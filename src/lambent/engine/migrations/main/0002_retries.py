"""What an event has behind it, and where its record is still to go."""

import sqlalchemy as sa
from alembic import op

revision = "engine_main_0002"
down_revision = "engine_main_0001"


def upgrade() -> None:
    """Events that were kept before have not been tried, and wait for nobody."""
    op.add_column("engine_events", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("engine_events", sa.Column("trace_header", sa.String))
    op.add_column("engine_events", sa.Column("response", sa.LargeBinary))
    op.add_column("engine_events", sa.Column("condition", sa.String))
    op.add_column("engine_events", sa.Column("ended_ms", sa.BigInteger))
    op.add_column("engine_events", sa.Column("pending", sa.LargeBinary))
