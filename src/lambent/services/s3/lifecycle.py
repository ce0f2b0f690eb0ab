"""Lets objects expire: what a bucket's lifecycle configuration says of each version, and a worker that does it.

Source: Amazon S3 User Guide, "Lifecycle configuration elements" and "Understanding object expiration"; facts sheet C5.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.services.s3 import keep, notices, rows
from lambent.services.s3.model import Bucket, Upload, Version, is_locked

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_EVERY_S: Final = 3_600.0
_PAGE: Final = 1_000
_LAST: Final = b"\xff"
_DAY_MS: Final = 86_400_000

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version is in its key's history: how many noncurrent ones are newer, and since when it is noncurrent."""

    newer: int = 0
    noncurrent_ms: int | None = None
    is_alone: bool = False


def rules_of(bucket: Bucket) -> list[Rule]:
    """The rules that are enabled."""
    rules = bucket.settings.get("LifecycleConfiguration", {}).get("Rules", ())
    return [rule for rule in rules if rule["Status"] == "Enabled"]


def applies(rule: Rule, version: Version) -> bool:
    """Whether the rule's filter takes it."""
    given = rule.get("Filter", {})
    parts = [given, given.get("And", {}), {"Prefix": rule.get("Prefix", "")}]
    tags = [part["Tag"] for part in parts if "Tag" in part] + list(given.get("And", {}).get("Tags", ()))
    return (
        all(version.key.startswith(part.get("Prefix") or "") for part in parts)
        and all(version.facts.tags.get(tag["Key"]) == tag["Value"] for tag in tags)
        and all(version.size > part.get("ObjectSizeGreaterThan", -1) for part in parts)
        and all(version.size < part.get("ObjectSizeLessThan", version.size + 1) for part in parts)
    )


def expiry(rules: Iterable[Rule], version: Version) -> tuple[datetime, str] | None:
    """When the latest version expires, and by which rule; the earliest of all."""
    found = []
    for rule in rules:
        expiration = rule.get("Expiration", {})
        if not applies(rule, version):
            continue
        if "Days" in expiration:
            found.append((_midnight_after(version.modified_ms, expiration["Days"]), rule.get("ID", "")))
        elif "Date" in expiration:
            found.append((_date(expiration["Date"]), rule.get("ID", "")))
    return min(found, default=None)


def is_over(rules: Iterable[Rule], version: Version, place: Place, now: datetime) -> bool:
    """Whether a version has expired; for the latest one that may mean a delete marker instead."""
    rules = list(rules)
    if place.noncurrent_ms is not None:
        return any(_is_old(rule, version, place, now) for rule in rules)
    if version.is_marker:
        return place.is_alone and any(
            applies(rule, version)
            and (rule.get("Expiration", {}).get("ExpiredObjectDeleteMarker") or "Days" in rule.get("Expiration", {}))
            for rule in rules
        )
    found = expiry(rules, version)
    return found is not None and found[0] <= now


def _is_old(rule: Rule, version: Version, place: Place, now: datetime) -> bool:
    said = rule.get("NoncurrentVersionExpiration")
    if not said or not applies(rule, version) or place.newer < said.get("NewerNoncurrentVersions", 0):
        return False
    return _midnight_after(place.noncurrent_ms or 0, said.get("NoncurrentDays", 0)) <= now


def _midnight_after(ms: int, days: int) -> datetime:
    """So many days later, at the next midnight."""
    return datetime.fromtimestamp(-(-(ms + days * _DAY_MS) // _DAY_MS) * _DAY_MS / 1000, UTC)


def _date(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def expiration_header(bucket: Bucket, version: Version) -> str | None:
    """`x-amz-expiration` of an object that is to expire."""
    found = expiry(rules_of(bucket), version)
    if found is None:
        return None
    return f'expiry-date="{found[0]:%a, %d %b %Y %H:%M:%S} GMT", rule-id="{found[1]}"'


# --- the worker


async def run(service: "S3") -> None:
    """Let expire what is to, every hour, until cancelled."""
    while True:
        for bucket in list(service.by_name.values()):
            if rules := rules_of(bucket):
                await _expire(service, bucket, rules)
                await _abort(service, bucket)
        await service.clock.sleep(_EVERY_S, tidying=True)


async def _expire(service: "S3", bucket: Bucket, rules: list[Rule]) -> None:
    now = service.clock.utc()
    async for version, place in _histories(service, bucket):
        if is_over(rules, version, place, now) and not is_locked(version, service.clock.now_ms()):
            await _remove(service, bucket, version, is_latest=place.noncurrent_ms is None)


async def _histories(service: "S3", bucket: Bucket) -> AsyncIterator[tuple[Version, Place]]:
    """Each version of a bucket with its place."""
    after = b""
    while True:
        page = await _page(service, bucket, after)
        keys = _by_key(page)
        if len(page) == _PAGE and len(keys) > 1:
            del keys[max(keys)]  # whose history may go on
        for key, versions in keys.items():
            if len(page) == _PAGE and len(versions) == _PAGE:
                versions = versions + await _older(service, bucket, key, versions[-1].seq)
            for version, place in placed(versions):
                yield version, place
            after = key
        if len(page) < _PAGE:
            return


async def _page(service: "S3", bucket: Bucket, after: bytes) -> list[Version]:
    return await service.database.read(lambda tx: rows.versions_between(tx, bucket.id, after, _LAST, _PAGE))


async def _older(service: "S3", bucket: Bucket, key: bytes, below: int) -> list[Version]:
    return await service.database.read(lambda tx: rows.older_versions(tx, bucket.id, key, below, 1_000_000))


def _by_key(versions: Iterable[Version]) -> dict[bytes, list[Version]]:
    found: dict[bytes, list[Version]] = {}
    for version in versions:
        found.setdefault(version.key.encode(), []).append(version)
    return found


def placed(versions: list[Version]) -> Iterator[tuple[Version, Place]]:
    """The versions of one key, the latest first, with their places."""
    yield versions[0], Place(is_alone=len(versions) == 1)
    for number, version in enumerate(versions[1:]):
        yield version, Place(newer=number, noncurrent_ms=versions[number].modified_ms)


async def _remove(service: "S3", bucket: Bucket, version: Version, *, is_latest: bool) -> None:
    principal = Caller(account=bucket.account, region=bucket.region, user_id="s3.amazonaws.com")
    if is_latest and not version.is_marker and bucket.versioning:
        change = keep.marking(service, principal, bucket, version.key, "LifecycleExpiration:DeleteMarkerCreated")

        def mark(tx: Connection) -> Version | None:
            now = rows.latest(tx, bucket.id, version.key)
            return change(tx) if now is not None and now.id == version.id else None

        await service.database.write(mark, committed=lambda _: keep.after(service))
        return
    notify = notices.of(service, principal, bucket, "LifecycleExpiration:Delete")

    def remove(tx: Connection) -> None:
        now = rows.version(tx, bucket.id, version.key, version.version_id)
        if now is not None and now.id == version.id:
            rows.delete_version(tx, now)
            rows.insert_notifications(tx, notify(now))

    await service.database.write(remove, committed=lambda _: keep.after(service))


async def _abort(service: "S3", bucket: Bucket) -> None:
    after = b""
    while uploads := await _uploads(service, bucket, after):
        for upload in uploads:
            due = abort_date(bucket, upload.key, upload.started_ms)
            if due is not None and due[0] <= service.clock.utc():
                await service.database.write(partial(rows.delete_upload, upload_pk=upload.id))
        after = uploads[-1].key.encode()
    keep.after(service)


async def _uploads(service: "S3", bucket: Bucket, after: bytes) -> list[Upload]:
    return await service.database.read(lambda tx: rows.uploads_between(tx, bucket.id, after, _LAST, _PAGE))


def abort_date(bucket: Bucket, key: str, started_ms: int) -> tuple[datetime, str] | None:
    """When an upload will be given up, and by which rule."""
    found = []
    for rule in rules_of(bucket):
        days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        prefix = rule.get("Filter", {}).get("Prefix") or rule.get("Prefix") or ""
        if days is not None and key.startswith(prefix):
            found.append((_midnight_after(started_ms, days), rule.get("ID", "")))
    return min(found, default=None)
