"""How a version comes into a bucket: within one transaction, with the notifications that it causes."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.s3 import notices, rows
from lambent.services.s3.conditions import check_write
from lambent.services.s3.model import ENABLED, NULL, Bucket, Facts, Segment, Version, no_bucket

if TYPE_CHECKING:
    from lambent.services.s3.service import S3


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """An object to keep. `event` is what happened to it; `conditions` are the request's, IfMatch and IfNoneMatch."""

    key: str
    size: int
    etag: str
    facts: Facts
    event: str
    content: bytes | None = None
    segments: Sequence[Segment] = ()
    conditions: Shape = field(default_factory=dict)


Change = Callable[[Connection], Version]


def keeping(service: "S3", caller: Caller, bucket: Bucket, new: New) -> Change:
    """The change that keeps it as the latest version of its key.

    The change raises ApiError NoSuchBucket when the bucket was deleted meanwhile, and what `check_write` raises.
    """
    version = _version(service, bucket, new)
    notify = notices.of(service, caller, bucket, new.event)

    def change(tx: Connection) -> Version:
        if not rows.is_there(tx, bucket.id):
            raise no_bucket(bucket.name)
        before = rows.latest(tx, bucket.id, new.key)
        check_write(before, new.key, new.conditions)
        kept = version if before is None else replace(version, seq=max(version.seq, before.seq + 1))
        replace_null(tx, kept)
        rows.insert_version(tx, kept, new.content, new.segments)
        rows.insert_notifications(tx, notify(kept))
        return kept

    return change


def marking(service: "S3", caller: Caller, bucket: Bucket, key: str, event: str) -> Change:
    """The change that puts a delete marker."""
    new = New(key=key, size=0, etag="", facts=Facts(), event=event)
    marker = replace(_version(service, bucket, new), is_marker=True)
    notify = notices.of(service, caller, bucket, event)

    def change(tx: Connection) -> Version:
        before = rows.latest(tx, bucket.id, key)
        kept = marker if before is None else replace(marker, seq=max(marker.seq, before.seq + 1))
        replace_null(tx, kept)
        rows.insert_version(tx, kept, None, ())
        rows.insert_notifications(tx, notify(kept))
        return kept

    return change


def _version(service: "S3", bucket: Bucket, new: New) -> Version:
    return Version(
        id=service.next_id(),
        bucket_id=bucket.id,
        key=new.key,
        version_id=new_version_id() if bucket.versioning == ENABLED else NULL,
        seq=service.next_seq(),
        size=new.size,
        etag=new.etag,
        modified_ms=service.clock.now_ms(),
        facts=new.facts,
    )


def replace_null(tx: Connection, new: Version) -> None:
    """There is one version without an id at most."""
    if new.version_id == NULL:
        old = rows.null_version(tx, new.bucket_id, new.key)
        if old is not None:
            rows.delete_version(tx, old)


async def kept(service: "S3", change: Callable[[Connection], Version]) -> Version:
    """The version, once it is committed and its notifications are on their way."""
    return await service.database.write(change, committed=lambda _version: after(service))


def after(service: "S3") -> None:
    """What a change may have left behind is looked for: notifications to deliver, files to remove."""
    service.has_notifications.set()
    service.contents.has_suspects.set()


def new_version_id() -> str:
    """32 characters that nobody can guess."""
    return secrets.token_urlsafe(24)


def shown_version(bucket: Bucket, version: Version) -> str | None:
    """The id that answers tell: none where versioning never was on."""
    return version.version_id if bucket.versioning else None
