"""S3: buckets, versions, contents, uploads, notifications."""

import sqlalchemy as sa
from alembic import op

revision = "s3_main_0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _create_buckets_and_versions()
    _create_uploads_and_notifications()


def _create_buckets_and_versions() -> None:
    op.create_table(
        "s3_buckets",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "s3_versions",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("bucket_id", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("version_id", sa.String, nullable=False),
        sa.Column("is_latest", sa.Boolean, nullable=False),
        sa.Column("is_marker", sa.Boolean, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.String, nullable=False),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.LargeBinary, nullable=False),
        sa.Column("listed", sa.LargeBinary),
    )
    op.create_index("s3_versions_in_order", "s3_versions", ["bucket_id", "key", sa.text("seq DESC")], unique=True)
    op.create_index("s3_versions_listed", "s3_versions", ["bucket_id", "listed"])
    op.create_table(
        "s3_bodies",
        sa.Column("version", _ID, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "s3_segments",
        sa.Column("owner", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("etag", sa.String, nullable=False),
        sa.Column("checksum", sa.String, nullable=False),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "s3_contents",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("mentions", sa.BigInteger, nullable=False),
    )
    gone = sa.text("mentions <= 0")
    op.create_index("s3_contents_unmentioned", "s3_contents", ["digest"], sqlite_where=gone, postgresql_where=gone)


def _create_uploads_and_notifications() -> None:
    op.create_table(
        "s3_uploads",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("bucket_id", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("upload_id", sa.String, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("upload_id"),
    )
    op.create_index("s3_uploads_in_order", "s3_uploads", ["bucket_id", "key", "upload_id"])
    op.create_table(
        "s3_notifications",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("s3_notifications_due", "s3_notifications", ["due_ms"])
