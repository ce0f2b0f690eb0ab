"""Functions, their versions and aliases, each as a JSON document under its key."""

import sqlalchemy as sa
from alembic import op

revision = "lambda_main_0001"
down_revision = None


def upgrade() -> None:
    """The first tables of Lambda."""
    for table, last in (
        ("lambda_functions", None),
        ("lambda_versions", sa.Column("number", sa.Integer, primary_key=True, autoincrement=False)),
        ("lambda_aliases", sa.Column("alias", sa.String(128), primary_key=True)),
    ):
        op.create_table(
            table,
            sa.Column("account", sa.String(12), primary_key=True),
            sa.Column("region", sa.String(32), primary_key=True),
            sa.Column("name", sa.String(64), primary_key=True),
            *([] if last is None else [last]),
            sa.Column("document", sa.Text, nullable=False),
        )
