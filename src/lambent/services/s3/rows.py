"""All SQL of S3: buckets, versions of objects, where their bytes are, uploads, and notifications to deliver.

Keys are kept as bytes, in whose order S3 lists them. The latest versions that are no delete markers are in an index of
their own, by which listings go. Small bodies are rows; larger ones are files named by their content, which
`s3_contents` counts the mentions of.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from lambent.services.s3.model import NULL, Bucket, Facts, Segment, Upload, Version
from lambent.store.schema import MAIN

_ID: Final = BigInteger().with_variant(Integer, "sqlite")

BUCKETS: Final = Table(
    "s3_buckets",
    MAIN,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("settings", Text, nullable=False),  # as JSON
    UniqueConstraint("name"),
)
VERSIONS: Final = Table(
    "s3_versions",
    MAIN,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("bucket_id", BigInteger, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("seq", BigInteger, nullable=False),  # the highest is the latest
    Column("version_id", String, nullable=False),
    Column("is_latest", Boolean, nullable=False),
    Column("is_marker", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", String, nullable=False),
    Column("modified_ms", BigInteger, nullable=False),
    Column("facts", LargeBinary, nullable=False),  # model.Facts as JSON
    Column("listed", LargeBinary),  # the key, of the latest version that is no delete marker: what listings go by
    Index("s3_versions_listed", "bucket_id", "listed"),
)
Index("s3_versions_in_order", VERSIONS.c.bucket_id, VERSIONS.c.key, VERSIONS.c.seq.desc(), unique=True)
BODIES: Final = Table(
    "s3_bodies",
    MAIN,
    Column("version", _ID, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)
SEGMENTS: Final = Table(
    "s3_segments",
    MAIN,
    Column("owner", BigInteger, primary_key=True, autoincrement=False),  # a version's id, or an upload's
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", String, nullable=False),
    Column("etag", String, nullable=False),
    Column("checksum", String, nullable=False),
    Column("modified_ms", BigInteger, nullable=False),
)
CONTENTS: Final = Table(
    "s3_contents",
    MAIN,
    Column("digest", String, primary_key=True),
    Column("mentions", BigInteger, nullable=False),
)
_UNMENTIONED: Final = Index(
    "s3_contents_unmentioned",
    CONTENTS.c.digest,
    # No postgresql_where here: it would load that dialect into every node, 19 modules. There the migration says it.
    sqlite_where=CONTENTS.c.mentions <= literal_column("0"),
)
UPLOADS: Final = Table(
    "s3_uploads",
    MAIN,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("bucket_id", BigInteger, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("upload_id", String, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    UniqueConstraint("upload_id"),
    Index("s3_uploads_in_order", "bucket_id", "key", "upload_id"),
)
NOTIFICATIONS: Final = Table(
    "s3_notifications",
    MAIN,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("target", String, nullable=False),  # an ARN
    Column("source", String, nullable=False),  # the bucket's ARN
    Column("account", String, nullable=False),  # the bucket's
    Column("body", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Index("s3_notifications_due", "due_ms"),
)


# --- buckets


def all_buckets(tx: Connection) -> list[Bucket]:
    """Every bucket of the node."""
    return [_bucket(row) for row in tx.execute(select(BUCKETS))]


def bucket_named(tx: Connection, name: str) -> Bucket | None:
    """The bucket of a name."""
    row = tx.execute(select(BUCKETS).where(BUCKETS.c.name == name)).one_or_none()
    return None if row is None else _bucket(row)


_BUCKET_THERE: Final = select(BUCKETS.c.id).where(BUCKETS.c.id == bindparam("of_bucket"))


def is_there(tx: Connection, bucket_id: int) -> bool:
    """Whether a bucket was not deleted meanwhile."""
    return tx.execute(_BUCKET_THERE, {"of_bucket": bucket_id}).one_or_none() is not None


def insert_bucket(tx: Connection, bucket: Bucket) -> None:
    """Keeps a new bucket."""
    values = {name: getattr(bucket, name) for name in ("id", "account", "region", "name", "created_ms")}
    tx.execute(insert(BUCKETS), {**values, "settings": _json(bucket.settings)})


def update_settings(tx: Connection, bucket: Bucket) -> bool:
    """Keeps its settings; whether it is there."""
    statement = update(BUCKETS).where(BUCKETS.c.id == bucket.id).values(settings=_json(bucket.settings))
    return tx.execute(statement).rowcount > 0


def has_versions(tx: Connection, bucket_id: int) -> bool:
    """Whether there is any version or delete marker in it."""
    query = select(VERSIONS.c.id).where(VERSIONS.c.bucket_id == bucket_id).limit(1)
    return tx.execute(query).one_or_none() is not None


def delete_bucket(tx: Connection, bucket_id: int) -> None:
    """Forgets a bucket, which has no versions, and its uploads."""
    for row in tx.execute(select(UPLOADS.c.id).where(UPLOADS.c.bucket_id == bucket_id)).all():
        delete_upload(tx, row.id)
    tx.execute(delete(BUCKETS).where(BUCKETS.c.id == bucket_id))


def _bucket(row: Row[Any]) -> Bucket:
    return Bucket(
        id=row.id,
        account=row.account,
        region=row.region,
        name=row.name,
        created_ms=row.created_ms,
        settings=msgspec.json.decode(row.settings),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- versions

_OF_KEY: Final = (VERSIONS.c.bucket_id == bindparam("of_bucket"), VERSIONS.c.key == bindparam("of_key"))
_LATEST: Final = select(VERSIONS).where(*_OF_KEY).order_by(VERSIONS.c.seq.desc()).limit(1)
_NAMED: Final = select(VERSIONS).where(*_OF_KEY, VERSIONS.c.version_id == bindparam("of_version"))
_INSERT: Final = insert(VERSIONS)
_OUTDATE: Final = update(VERSIONS).where(VERSIONS.c.id == bindparam("of_id")).values(is_latest=False, listed=None)
_PROMOTE: Final = (
    update(VERSIONS).where(VERSIONS.c.id == bindparam("of_id")).values(is_latest=True, listed=bindparam("now_listed"))
)
_DELETE: Final = delete(VERSIONS).where(VERSIONS.c.id == bindparam("of_id"))
_FACTS: Final = msgspec.json.Decoder(Facts)


def latest(tx: Connection, bucket_id: int, key: str) -> Version | None:
    """The latest version of a key, which may be a delete marker."""
    row = tx.execute(_LATEST, {"of_bucket": bucket_id, "of_key": key.encode()}).one_or_none()
    return None if row is None else _version(row)


def version(tx: Connection, bucket_id: int, key: str, version_id: str) -> Version | None:
    """The version of a key that has this id."""
    row = tx.execute(_NAMED, {"of_bucket": bucket_id, "of_key": key.encode(), "of_version": version_id}).one_or_none()
    return None if row is None else _version(row)


def insert_version(tx: Connection, new: Version, content: bytes | None, segments: Sequence[Segment]) -> None:
    """Keeps a version as the latest of its key, with its bytes: as a row, or in files."""
    before = latest(tx, new.bucket_id, new.key)
    if before is not None and before.is_latest:
        tx.execute(_OUTDATE, {"of_id": before.id})
    values = {
        "id": new.id,
        "bucket_id": new.bucket_id,
        "key": new.key.encode(),
        "seq": new.seq,
        "version_id": new.version_id,
        "is_latest": True,
        "is_marker": new.is_marker,
        "size": new.size,
        "etag": new.etag,
        "modified_ms": new.modified_ms,
        "facts": msgspec.json.encode(new.facts),
        "listed": None if new.is_marker else new.key.encode(),
    }
    tx.execute(_INSERT, values)
    if content:
        tx.execute(insert(BODIES), {"version": new.id, "content": content})
    insert_segments(tx, new.id, segments)


def delete_version(tx: Connection, gone: Version) -> None:
    """Forgets a version and its bytes; the one before it is the latest then, if it was."""
    tx.execute(_DELETE, {"of_id": gone.id})
    tx.execute(delete(BODIES).where(BODIES.c.version == gone.id))
    delete_segments(tx, gone.id)
    if gone.is_latest:
        now = latest(tx, gone.bucket_id, gone.key)
        if now is not None:
            tx.execute(_PROMOTE, {"of_id": now.id, "now_listed": None if now.is_marker else now.key.encode()})


def update_facts(tx: Connection, version_pk: int, facts: Facts) -> None:
    """Keeps what is known of a version."""
    tx.execute(update(VERSIONS).where(VERSIONS.c.id == version_pk).values(facts=msgspec.json.encode(facts)))


def null_version(tx: Connection, bucket_id: int, key: str) -> Version | None:
    """The version that was written without versioning."""
    return version(tx, bucket_id, key, NULL)


def content(tx: Connection, version_pk: int) -> bytes | None:
    """A small body."""
    found: bytes | None = tx.execute(
        select(BODIES.c.content).where(BODIES.c.version == version_pk)
    ).scalar_one_or_none()
    return found


def _version(row: Row[Any]) -> Version:
    return Version(
        id=row.id,
        bucket_id=row.bucket_id,
        key=row.key.decode(),
        version_id=row.version_id,
        seq=row.seq,
        is_latest=row.is_latest,
        is_marker=row.is_marker,
        size=row.size,
        etag=row.etag,
        modified_ms=row.modified_ms,
        facts=_FACTS.decode(row.facts),
    )


# --- listing

_LISTING: Final = (
    select(VERSIONS)
    .where(
        VERSIONS.c.bucket_id == bindparam("of_bucket"),
        VERSIONS.c.listed > bindparam("after"),
        VERSIONS.c.listed < bindparam("before"),
    )
    .order_by(VERSIONS.c.listed)
    .limit(bindparam("most"))
)
_VERSIONS_AFTER: Final = (
    select(VERSIONS)
    .where(
        VERSIONS.c.bucket_id == bindparam("of_bucket"),
        VERSIONS.c.key > bindparam("after"),
        VERSIONS.c.key < bindparam("before"),
    )
    .order_by(VERSIONS.c.key, VERSIONS.c.seq.desc())
    .limit(bindparam("most"))
)
_OLDER: Final = (
    select(VERSIONS)
    .where(*_OF_KEY, VERSIONS.c.seq < bindparam("below"))
    .order_by(VERSIONS.c.seq.desc())
    .limit(bindparam("most"))
)


def listed(tx: Connection, bucket_id: int, after: bytes, before: bytes, most: int) -> list[Version]:
    """The objects between two keys, both left out, in order."""
    values = {"of_bucket": bucket_id, "after": after, "before": before, "most": most}
    return [_version(row) for row in tx.execute(_LISTING, values)]


def versions_between(tx: Connection, bucket_id: int, after: bytes, before: bytes, most: int) -> list[Version]:
    """All versions of the keys between two, the latest of each key first."""
    values = {"of_bucket": bucket_id, "after": after, "before": before, "most": most}
    return [_version(row) for row in tx.execute(_VERSIONS_AFTER, values)]


def older_versions(tx: Connection, bucket_id: int, key: bytes, below: int, most: int) -> list[Version]:
    """The versions of a key before one, the latest first."""
    values = {"of_bucket": bucket_id, "of_key": key, "below": below, "most": most}
    return [_version(row) for row in tx.execute(_OLDER, values)]


# --- segments, and the files that they name

_SEGMENTS_OF: Final = select(SEGMENTS).where(SEGMENTS.c.owner == bindparam("of_owner"))


def segments(tx: Connection, owner: int) -> list[Segment]:
    """The pieces of a version or an upload, in order."""
    return [_segment(row) for row in tx.execute(_SEGMENTS_OF.order_by(SEGMENTS.c.number), {"of_owner": owner})]


def segments_between(tx: Connection, owner: int, start: int, end: int) -> list[Segment]:
    """The pieces of a version that have bytes from `start` on and before `end`."""
    there = (SEGMENTS.c.offset < end, SEGMENTS.c.offset + SEGMENTS.c.size > start)
    query = _SEGMENTS_OF.where(*there).order_by(SEGMENTS.c.number)
    return [_segment(row) for row in tx.execute(query, {"of_owner": owner})]


def segment(tx: Connection, owner: int, number: int) -> Segment | None:
    """One piece."""
    row = tx.execute(_SEGMENTS_OF.where(SEGMENTS.c.number == number), {"of_owner": owner}).one_or_none()
    return None if row is None else _segment(row)


def segments_after(tx: Connection, owner: int, number: int, most: int) -> list[Segment]:
    """The parts behind a number, in order."""
    query = _SEGMENTS_OF.where(SEGMENTS.c.number > number).order_by(SEGMENTS.c.number).limit(most)
    return [_segment(row) for row in tx.execute(query, {"of_owner": owner})]


def insert_segments(tx: Connection, owner: int, pieces: Sequence[Segment]) -> None:
    """Keeps pieces, each of which is one more mention of its file."""
    if not pieces:
        return
    tx.execute(insert(SEGMENTS), [{"owner": owner, **_values(piece)} for piece in pieces])
    for piece in pieces:
        _mention(tx, piece.digest, 1)


def delete_segments(tx: Connection, owner: int, number: int | None = None) -> None:
    """Forgets the pieces of a version or an upload, or one of them."""
    there = [SEGMENTS.c.owner == owner, *([] if number is None else [SEGMENTS.c.number == number])]
    gone = tx.execute(select(SEGMENTS.c.digest).where(*there)).scalars().all()
    if gone:
        tx.execute(delete(SEGMENTS).where(*there))
        for digest in gone:
            _mention(tx, digest, -1)


def unmentioned(tx: Connection, most: int) -> list[str]:
    """Files that nothing names any more."""
    return list(
        tx.execute(select(CONTENTS.c.digest).where(CONTENTS.c.mentions <= literal_column("0")).limit(most)).scalars()
    )


def known(tx: Connection, digests: Sequence[str]) -> set[str]:
    """Those of these files that something names."""
    query = select(CONTENTS.c.digest).where(CONTENTS.c.digest.in_(digests), CONTENTS.c.mentions > 0)
    return set(tx.execute(query).scalars())


def forget_content(tx: Connection, digest: str) -> bool:
    """Whether the file may go: nothing names it, and nothing will say that it is there."""
    tx.execute(delete(CONTENTS).where(CONTENTS.c.digest == digest, CONTENTS.c.mentions <= literal_column("0")))
    return tx.execute(select(CONTENTS.c.digest).where(CONTENTS.c.digest == digest)).one_or_none() is None


_MENTION: Final = (
    update(CONTENTS)
    .where(CONTENTS.c.digest == bindparam("of_digest"))
    .values(mentions=CONTENTS.c.mentions + bindparam("by"))
)


def _mention(tx: Connection, digest: str, by: int) -> None:
    if not tx.execute(_MENTION, {"of_digest": digest, "by": by}).rowcount:
        tx.execute(insert(CONTENTS), {"digest": digest, "mentions": by})


def _values(piece: Segment) -> dict[str, Any]:
    return {name: getattr(piece, name) for name in Segment.__dataclass_fields__}


def _segment(row: Row[Any]) -> Segment:
    return Segment(**{name: getattr(row, name) for name in Segment.__dataclass_fields__})


# --- uploads


def insert_upload(tx: Connection, upload: Upload) -> None:
    """Keeps a new upload."""
    tx.execute(
        insert(UPLOADS),
        {
            "id": upload.id,
            "bucket_id": upload.bucket_id,
            "key": upload.key.encode(),
            "upload_id": upload.upload_id,
            "started_ms": upload.started_ms,
            "facts": msgspec.json.encode(upload.facts),
        },
    )


def upload_named(tx: Connection, bucket_id: int, key: str, upload_id: str) -> Upload | None:
    """The upload of this id, if it is of this key."""
    there = (UPLOADS.c.upload_id == upload_id, UPLOADS.c.bucket_id == bucket_id, UPLOADS.c.key == key.encode())
    row = tx.execute(select(UPLOADS).where(*there)).one_or_none()
    return None if row is None else _upload(row)


def delete_upload(tx: Connection, upload_pk: int) -> None:
    """Forgets an upload and its parts."""
    delete_segments(tx, upload_pk)
    tx.execute(delete(UPLOADS).where(UPLOADS.c.id == upload_pk))


def uploads_between(tx: Connection, bucket_id: int, after: bytes, before: bytes, most: int) -> list[Upload]:
    """The uploads whose keys are between two, by key and then by when they began."""
    there = (UPLOADS.c.bucket_id == bucket_id, UPLOADS.c.key > after, UPLOADS.c.key < before)
    query = select(UPLOADS).where(*there).order_by(UPLOADS.c.key, UPLOADS.c.upload_id).limit(most)
    return [_upload(row) for row in tx.execute(query)]


def later_uploads(tx: Connection, bucket_id: int, key: bytes, upload_id: str, most: int) -> list[Upload]:
    """The uploads of one key behind one of them."""
    there = (UPLOADS.c.bucket_id == bucket_id, UPLOADS.c.key == key, UPLOADS.c.upload_id > upload_id)
    query = select(UPLOADS).where(*there).order_by(UPLOADS.c.upload_id).limit(most)
    return [_upload(row) for row in tx.execute(query)]


def _upload(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id,
        upload_id=row.upload_id,
        bucket_id=row.bucket_id,
        key=row.key.decode(),
        started_ms=row.started_ms,
        facts=_FACTS.decode(row.facts),
    )


# --- notifications

_DUE: Final = (
    select(NOTIFICATIONS)
    .where(NOTIFICATIONS.c.due_ms <= bindparam("now"))
    .order_by(NOTIFICATIONS.c.due_ms)
    .limit(bindparam("most"))
)
_DELIVERED: Final = delete(NOTIFICATIONS).where(NOTIFICATIONS.c.id == bindparam("of_id"))


class Notification(NamedTuple):
    """What is to be told to whom: `target` by ARN, for the bucket of the ARN `source` and its account."""

    id: int
    target: str
    source: str
    account: str
    body: bytes
    due_ms: int


def insert_notifications(tx: Connection, new: Sequence[Notification]) -> None:
    """Keeps what is to be told."""
    if new:
        tx.execute(insert(NOTIFICATIONS), [{**one._asdict(), "attempts": 0} for one in new])


def due_notifications(tx: Connection, now_ms: int, most: int) -> Sequence[Row[Any]]:
    """What is to be told by now, the oldest first."""
    return tx.execute(_DUE, {"now": now_ms, "most": most}).all()


def next_due(tx: Connection) -> int | None:
    """When the next notification is to be delivered."""
    found: int | None = tx.execute(select(func.min(NOTIFICATIONS.c.due_ms))).scalar_one()
    return found


def delete_notifications(tx: Connection, ids: Sequence[int]) -> None:
    """Forgets what was told."""
    tx.execute(_DELIVERED, [{"of_id": one} for one in ids])


def defer_notification(tx: Connection, notification: int, attempts: int, due_ms: int) -> None:
    """Keeps when it is to be told again."""
    there = NOTIFICATIONS.c.id == notification
    tx.execute(update(NOTIFICATIONS).where(there).values(attempts=attempts, due_ms=due_ms))


def highest(tx: Connection) -> tuple[int, int]:
    """The highest id of anything, and the highest sequence number of a version."""
    tables = (BUCKETS, VERSIONS, UPLOADS, NOTIFICATIONS)
    ids = [tx.execute(select(func.max(table.c.id))).scalar_one() or 0 for table in tables]
    seq: int | None = tx.execute(select(func.max(VERSIONS.c.seq))).scalar_one()
    return max(ids), seq or 0


_ADOPT: Final = (
    update(SEGMENTS)
    .where(SEGMENTS.c.owner == bindparam("from_owner"), SEGMENTS.c.number == bindparam("of_number"))
    .values(owner=bindparam("to_owner"), offset=bindparam("at"))
)


def adopt_segments(tx: Connection, upload_pk: int, version_pk: int, pieces: Sequence[Segment]) -> None:
    """Makes parts of an upload the pieces of a version; the others stay the upload's."""
    values = [
        {"from_owner": upload_pk, "of_number": piece.number, "to_owner": version_pk, "at": piece.offset}
        for piece in pieces
    ]
    tx.execute(_ADOPT, values)
