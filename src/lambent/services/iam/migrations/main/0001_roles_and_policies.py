"""IAM: roles, managed policies and instance profiles."""

import sqlalchemy as sa
from alembic import op

revision = "iam_main_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "iam_roles",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("name_key", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("trust", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("max_session_s", sa.Integer, nullable=False),
        sa.Column("boundary", sa.String),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.UniqueConstraint("account", "name_key"),
    )
    op.create_table(
        "iam_role_policies",
        sa.Column("role_id", sa.String, sa.ForeignKey("iam_roles.id"), primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "iam_attachments",
        sa.Column("role_id", sa.String, sa.ForeignKey("iam_roles.id"), primary_key=True),
        sa.Column("policy_arn", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
    )
    op.create_index("iam_attachments_of_policy", "iam_attachments", ["account", "policy_arn"])
    op.create_table(
        "iam_policies",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("name_key", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("default_version", sa.Integer, nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.UniqueConstraint("account", "name_key"),
    )
    op.create_table(
        "iam_policy_versions",
        sa.Column("policy_id", sa.String, sa.ForeignKey("iam_policies.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "iam_instance_profiles",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("name_key", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("role_id", sa.String, sa.ForeignKey("iam_roles.id")),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.UniqueConstraint("account", "name_key"),
    )
