"""CloudWatch: metrics and their data points."""

import sqlalchemy as sa
from alembic import op

revision = "cloudwatch_bulk_0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "cloudwatch_metrics",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("namespace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("dimensions", sa.Text, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account", "region", "namespace", "name", "dimensions"),
        sqlite_autoincrement=True,
    )
    op.create_index("cloudwatch_metrics_by_age", "cloudwatch_metrics", ["last_at"])
    op.create_table(
        "cloudwatch_points",
        sa.Column("metric_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("period", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("unit", sa.String, primary_key=True),
        sa.Column("count", sa.Double, nullable=False),
        sa.Column("total", sa.Double, nullable=False),
        sa.Column("minimum", sa.Double, nullable=False),
        sa.Column("maximum", sa.Double, nullable=False),
        sa.Column("buckets", sa.LargeBinary),
    )
    op.create_index("cloudwatch_points_by_age", "cloudwatch_points", ["period", "at"])
