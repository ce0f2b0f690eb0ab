"""SQS: queues, messages, deduplication, move tasks."""

import sqlalchemy as sa
from alembic import op

revision = "sqs_main_0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sqs_queues",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("partition", sa.BigInteger, nullable=False),
        sa.Column("created_s", sa.BigInteger, nullable=False),
        sa.Column("modified_s", sa.BigInteger, nullable=False),
        sa.Column("purged_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account", "region", "name"),
    )
    op.create_table(
        "sqs_messages",
        sa.Column("seq", _ID, primary_key=True, autoincrement=False),
        sa.Column("partition", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("visible_ms", sa.BigInteger, nullable=False),
        sa.Column("sent_ms", sa.BigInteger, nullable=False),
        sa.Column("receives", sa.Integer, nullable=False),
        sa.Column("first_ms", sa.BigInteger),
        sa.Column("group_id", sa.String),
        sa.Column("source", sa.String),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("sqs_messages_in_order", "sqs_messages", ["partition", "position", "seq"])
    op.create_index("sqs_messages_by_age", "sqs_messages", ["partition", "sent_ms"])
    op.create_table(
        "sqs_deduplication",
        sa.Column("queue_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("message_id", sa.String, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("sqs_deduplication_by_age", "sqs_deduplication", ["at_ms"])
    op.create_table("sqs_garbage", sa.Column("partition", sa.BigInteger, primary_key=True, autoincrement=False))
    op.create_table(
        "sqs_epochs",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("now_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sqs_move_tasks",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("destination", sa.String),
        sa.Column("per_second", sa.Integer),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("moved", sa.BigInteger, nullable=False),
        sa.Column("to_move", sa.BigInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text),
    )
