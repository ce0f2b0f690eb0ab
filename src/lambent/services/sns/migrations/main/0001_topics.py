"""SNS: topics, subscriptions, messages and their deliveries, deduplication, archives."""

import sqlalchemy as sa
from alembic import op

revision = "sns_main_0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sns_topics",
        sa.Column("arn", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("data_protection", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("deleted_subscriptions", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sns_subscriptions",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("arn", sa.String, nullable=False, unique=True),
        sa.Column("topic_arn", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("protocol", sa.String, nullable=False),
        sa.Column("endpoint", sa.String, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("is_confirmed", sa.Boolean, nullable=False),
        sa.Column("was_authenticated", sa.Boolean, nullable=False),
        sa.Column("is_private", sa.Boolean, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("base_url", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("replayed_seq", sa.BigInteger, nullable=False),
        sa.Column("replay_status", sa.String, nullable=False),
    )
    op.create_index("sns_subscriptions_by_topic", "sns_subscriptions", ["topic_arn"])
    op.create_table(
        "sns_messages",
        sa.Column("seq", _ID, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sns_deliveries",
        sa.Column("subscription_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("group_id", sa.String),
        sa.Column("dead", sa.Text),
    )
    op.create_index("sns_deliveries_by_message", "sns_deliveries", ["seq"])
    op.create_table(
        "sns_deduplication",
        sa.Column("topic_arn", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("message_id", sa.String, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("sns_deduplication_by_age", "sns_deduplication", ["at_ms"])
    op.create_table(
        "sns_archive",
        sa.Column("topic_arn", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("published_ms", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("sns_archive_by_age", "sns_archive", ["topic_arn", "published_ms"])
    op.create_table(
        "sns_epochs",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
