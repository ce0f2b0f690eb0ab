"""Event source mappings, each as a JSON document beside what it is looked for by."""

import sqlalchemy as sa
from alembic import op

revision = "lambda_main_0005"
down_revision = "lambda_main_0004"


def upgrade() -> None:
    """The table."""
    op.create_table(
        "lambda_event_source_mappings",
        sa.Column("uuid", sa.String(36), primary_key=True),
        sa.Column("source", sa.String(512), nullable=False),
        sa.Column("function_arn", sa.String(256), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index(
        "lambda_event_source_mappings_pair", "lambda_event_source_mappings", ["source", "function_arn"], unique=True
    )
