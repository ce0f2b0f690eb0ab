"""CloudWatch Logs: groups, streams, and what deletions left to remove."""

import sqlalchemy as sa
from alembic import op

revision = "logs_main_0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "logs_groups",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("retention_days", sa.Integer),
        sa.Column("log_class", sa.String, nullable=False),
        sa.Column("kms_key_id", sa.String),
        sa.Column("is_protected", sa.Boolean, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.UniqueConstraint("account", "region", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "logs_streams",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("group_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("group_id", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "logs_tombstones",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("group_id", sa.BigInteger, nullable=False),
        sa.Column("stream_id", sa.BigInteger),
        sa.Column("deleted_at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
