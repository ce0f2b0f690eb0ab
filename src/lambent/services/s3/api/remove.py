"""DeleteObject and DeleteObjects."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3 import keep, notices, rows
from lambent.services.s3.api.read import exact_version
from lambent.services.s3.conditions import check_write
from lambent.services.s3.locking import check_removal
from lambent.services.s3.model import NULL, Bucket, Version, check_key, malformed_xml

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_MOST: Final = 1_000
_DELETED: Final = "ObjectRemoved:Delete"
_MARKED: Final = "ObjectRemoved:DeleteMarkerCreated"

_Remove = Callable[[Connection], Shape]
"""Removes, or puts a marker; what is answered."""


async def delete_object(service: "S3", caller: Caller, params: Shape) -> Shape:
    """DeleteObject: the latest version, which may mean a delete marker; or the one that is named."""
    bucket = service.named(params)
    check_key(params["Key"])
    remove = _removing(service, caller, bucket, params)
    return await service.database.write(remove, committed=lambda _: keep.after(service))


def _removing(service: "S3", caller: Caller, bucket: Bucket, params: Shape) -> _Remove:
    if params.get("VersionId"):
        return _removing_version(service, caller, bucket, params)
    if bucket.versioning:
        return _marking(service, caller, bucket, params)
    key = params["Key"]
    notify = notices.of(service, caller, bucket, _DELETED)
    nothing = Version(id=0, bucket_id=bucket.id, key=key, version_id=NULL, seq=service.next_seq())

    def remove(tx: Connection) -> Shape:
        there = rows.latest(tx, bucket.id, key)
        _check_match(there, params)
        if there is not None:
            rows.delete_version(tx, there)
        rows.insert_notifications(tx, notify(_gone(there, nothing.seq) if there is not None else nothing))
        return {}

    return remove


def _removing_version(service: "S3", caller: Caller, bucket: Bucket, params: Shape) -> _Remove:
    key, version_id, now = params["Key"], params["VersionId"], service.clock.now_ms()
    notify, seq = notices.of(service, caller, bucket, _DELETED), service.next_seq()

    def remove(tx: Connection) -> Shape:
        there = exact_version(tx, bucket, key, version_id)
        _check_match(there, params)
        if there is None:
            return {"VersionId": version_id}
        check_removal(there, params, now)
        rows.delete_version(tx, there)
        rows.insert_notifications(tx, notify(_gone(there, seq)))
        return {"VersionId": version_id, "DeleteMarker": there.is_marker or None}

    return remove


def _gone(there: Version, seq: int) -> Version:
    """What was removed, as it is told: later than it was made."""
    return replace(there, seq=max(seq, there.seq + 1))


def _marking(service: "S3", caller: Caller, bucket: Bucket, params: Shape) -> _Remove:
    key = params["Key"]
    mark = keep.marking(service, caller, bucket, key, _MARKED)

    def remove(tx: Connection) -> Shape:
        _check_match(rows.latest(tx, bucket.id, key), params)
        return {"VersionId": mark(tx).version_id, "DeleteMarker": True}

    return remove


def _check_match(there: Version | None, params: Shape) -> None:
    if params.get("IfMatch"):
        check_write(there, params["Key"], {"IfMatch": params["IfMatch"]})


async def delete_objects(service: "S3", caller: Caller, params: Shape) -> Shape:
    """DeleteObjects: up to 1,000 in one transaction; what cannot be deleted is told one by one."""
    bucket = service.named(params)
    wanted = params["Delete"]["Objects"]
    if not 1 <= len(wanted) <= _MOST:
        raise malformed_xml()
    bypass = {"BypassGovernanceRetention": params.get("BypassGovernanceRetention")}
    asked = [
        {"Key": one["Key"], "VersionId": one.get("VersionId"), "IfMatch": one.get("ETag"), **bypass} for one in wanted
    ]
    removals = [(one, _removing(service, caller, bucket, one)) for one in asked]

    def change(tx: Connection) -> list[Shape]:
        return [_tried(tx, one, remove) for one, remove in removals]

    done = await service.database.write(change, committed=lambda _: keep.after(service))
    deleted = [_deleted(one) for one in done if "Code" not in one]
    errors = [one for one in done if "Code" in one]
    is_quiet = params["Delete"].get("Quiet", False)
    return {"Deleted": None if is_quiet else deleted, "Errors": errors or None}


def _tried(tx: Connection, asked: Shape, remove: _Remove) -> Shape:
    """What came of one; each refuses before it writes."""
    try:
        check_key(asked["Key"])
        return {"Key": asked["Key"], "Asked": asked.get("VersionId"), **remove(tx)}
    except ApiError as error:
        told = {"Key": asked["Key"], "Code": error.code, "Message": error.message}
        return told | ({"VersionId": asked["VersionId"]} if asked.get("VersionId") else {})


def _deleted(done: Shape) -> Shape:
    shape: Shape = {"Key": done["Key"], "VersionId": done["Asked"]}
    if done.get("DeleteMarker"):
        shape |= {"DeleteMarker": True, "DeleteMarkerVersionId": done["VersionId"]}
    return shape
