"""Layers and their versions, each as a JSON document under its key."""

import sqlalchemy as sa
from alembic import op

revision = "lambda_main_0003"
down_revision = "lambda_main_0002"


def upgrade() -> None:
    """The two tables."""
    for table, last in (
        ("lambda_layers", None),
        ("lambda_layer_versions", sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False)),
    ):
        op.create_table(
            table,
            sa.Column("account", sa.String(12), primary_key=True),
            sa.Column("region", sa.String(32), primary_key=True),
            sa.Column("name", sa.String(140), primary_key=True),
            *([] if last is None else [last]),
            sa.Column("document", sa.Text, nullable=False),
        )
