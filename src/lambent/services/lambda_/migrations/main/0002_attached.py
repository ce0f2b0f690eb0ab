"""What is attached to functions, versions and aliases: one document for each kind and qualifier."""

import sqlalchemy as sa
from alembic import op

revision = "lambda_main_0002"
down_revision = "lambda_main_0001"


def upgrade() -> None:
    """The table of all kinds."""
    op.create_table(
        "lambda_attached",
        sa.Column("account", sa.String(12), primary_key=True),
        sa.Column("region", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("qualifier", sa.String(128), primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
