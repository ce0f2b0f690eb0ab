"""ListObjects, ListObjectsV2 and ListObjectVersions."""

import base64
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.s3 import rows
from lambent.services.s3.api.buckets import check_page
from lambent.services.s3.listing import Page, Wanted, common_prefix, encoder, just_after, page
from lambent.services.s3.model import Bucket, Version, invalid

if TYPE_CHECKING:
    from lambent.services.s3.service import S3


async def list_objects_v2(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """ListObjectsV2."""
    bucket = service.named(params)
    token, start_after = params.get("ContinuationToken"), params.get("StartAfter") or ""
    wanted = _wanted(params, _position(token) if token else start_after.encode())
    found = await _objects(service, bucket, wanted)
    encode = encoder(params.get("EncodingType"))
    return {
        "Name": bucket.name,
        "Prefix": encode(params.get("Prefix") or ""),
        "Delimiter": encode(params.get("Delimiter")),
        "MaxKeys": wanted.most,
        "EncodingType": params.get("EncodingType"),
        "KeyCount": len(found.entries) + len(found.prefixes),
        "IsTruncated": found.after is not None,
        "ContinuationToken": token,
        "NextContinuationToken": None if found.after is None else _token(found.after),
        "StartAfter": encode(params.get("StartAfter")),
        **_contents(bucket, found, params, with_owner=params.get("FetchOwner", False)),
    }


async def list_objects(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """ListObjects."""
    bucket = service.named(params)
    marker, delimiter = params.get("Marker") or "", params.get("Delimiter") or ""
    wanted = _wanted(params, marker.encode())
    if delimiter and common_prefix(marker, wanted) == marker and marker.startswith(wanted.prefix):
        wanted = _wanted(params, just_after(marker.encode()))  # a common prefix that the page before ended with
    found = await _objects(service, bucket, wanted)
    encode = encoder(params.get("EncodingType"))
    return {
        "Name": bucket.name,
        "Prefix": encode(params.get("Prefix") or ""),
        "Marker": encode(marker),
        "Delimiter": encode(params.get("Delimiter")),
        "MaxKeys": wanted.most,
        "EncodingType": params.get("EncodingType"),
        "IsTruncated": found.after is not None,
        "NextMarker": encode(found.last) if delimiter and found.after is not None else None,
        **_contents(bucket, found, params, with_owner=True),
    }


def _wanted(params: Shape, after: bytes) -> Wanted:
    return Wanted(
        prefix=params.get("Prefix") or "",
        delimiter=params.get("Delimiter") or "",
        after=after,
        most=check_page(params.get("MaxKeys"), "max-keys"),
    )


async def _objects(service: "S3", bucket: Bucket, wanted: Wanted) -> Page[Version]:
    def look(tx: Connection) -> Page[Version]:
        return page(wanted, lambda after, before, most: rows.listed(tx, bucket.id, after, before, most))

    return await service.database.read(look)


def _contents(bucket: Bucket, found: Page[Version], params: Shape, *, with_owner: bool) -> Shape:
    encode = encoder(params.get("EncodingType"))
    owner = {"Owner": {"ID": bucket.owner}} if with_owner else {}
    contents = [{**_listed(one), "Key": encode(one.key), **owner} for one in found.entries]
    return {
        "Contents": contents or None,
        "CommonPrefixes": [{"Prefix": encode(one)} for one in found.prefixes] or None,
    }


def _listed(version: Version) -> dict[str, Any]:
    facts = version.facts
    shape: dict[str, Any] = {
        "LastModified": version.modified,
        "ETag": f'"{version.etag}"',
        "Size": version.size,
        "StorageClass": facts.storage_class,
    }
    if facts.checksum:
        shape |= {"ChecksumAlgorithm": [facts.algorithm], "ChecksumType": facts.checksum_type}
    return shape


def _token(position: bytes) -> str:
    return base64.urlsafe_b64encode(b"1" + position).decode()


def _position(token: str) -> bytes:
    try:
        position = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        position = b""
    if position[:1] != b"1" or len(position) > 2_500:
        raise invalid("The continuation token provided is incorrect", "continuation-token", token)
    return position[1:]


# --- versions


async def list_object_versions(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """ListObjectVersions: the versions of each key, the latest first."""
    bucket = service.named(params)
    key, version_id = params.get("KeyMarker") or "", params.get("VersionIdMarker")
    if version_id and not key:
        raise invalid("A version-id marker cannot be specified without a key marker.", "version-id-marker", version_id)
    wanted = _wanted(params, key.encode())
    if wanted.delimiter and common_prefix(key, wanted) == key:
        wanted = _wanted(params, just_after(key.encode()))

    def look(tx: Connection) -> Page[Version]:
        return _versions(tx, bucket, wanted, key, version_id)

    found = await service.database.read(look)
    encode = encoder(params.get("EncodingType"))
    owner = {"ID": bucket.owner}
    entries = [{**_version(one), "Key": encode(one.key), "Owner": owner} for one in found.entries]
    is_truncated = found.after is not None
    ended_with = found.entries[-1] if found.entries and found.entries[-1].key == found.last else None
    return {
        "Name": bucket.name,
        "Prefix": encode(params.get("Prefix") or ""),
        "KeyMarker": encode(key),
        "VersionIdMarker": version_id or "",
        "Delimiter": encode(params.get("Delimiter")),
        "MaxKeys": wanted.most,
        "EncodingType": params.get("EncodingType"),
        "IsTruncated": is_truncated,
        "NextKeyMarker": encode(found.last) if is_truncated else None,
        "NextVersionIdMarker": ended_with.version_id if is_truncated and ended_with else None,
        "Versions": [one for one in entries if "Size" in one] or None,
        "DeleteMarkers": [one for one in entries if "Size" not in one] or None,
        "CommonPrefixes": [{"Prefix": encode(one)} for one in found.prefixes] or None,
    }


def _versions(tx: Connection, bucket: Bucket, wanted: Wanted, key: str, version_id: str | None) -> Page[Version]:
    """A page. A key's history may be cut: then the marker names a version too."""
    rest: list[Version] = []
    if version_id:
        there = rows.version(tx, bucket.id, key, version_id)
        below = 0 if there is None else there.seq
        rest = rows.older_versions(tx, bucket.id, key.encode(), below, wanted.most + 1)
    seen = _Histories(tx, bucket.id, rest)
    return seen.page(wanted)


class _Histories:
    """Pages through versions: as `listing.page`, but that a key comes as often as it has versions."""

    def __init__(self, tx: Connection, bucket_id: int, rest: list[Version]) -> None:
        self._tx = tx
        self._bucket_id = bucket_id
        self._rest = rest

    def page(self, wanted: Wanted) -> Page[Version]:
        found: Page[Version] = Page()
        if not wanted.most:
            return found
        if not self._take(found, self._rest, wanted):
            return found
        after = wanted.start
        while True:
            most = wanted.most - len(found.entries) - len(found.prefixes) + 1
            there = rows.versions_between(self._tx, self._bucket_id, after, wanted.end, most)
            if not self._take(found, there, wanted) or len(there) < most:
                return found
            after = there[-1].key.encode()
            common = common_prefix(there[-1].key, wanted)
            if common is not None:
                after = just_after(common.encode())
            elif not self._take(found, self._older(there[-1], wanted.most), wanted):
                return found

    def _older(self, version: Version, most: int) -> list[Version]:
        return rows.older_versions(self._tx, self._bucket_id, version.key.encode(), version.seq, most + 1)

    def _take(self, found: Page[Version], versions: list[Version], wanted: Wanted) -> bool:
        """Whether there is room for more."""
        for version in versions:
            common = common_prefix(version.key, wanted)
            if common is not None and found.prefixes and found.prefixes[-1] == common:
                continue
            if len(found.entries) + len(found.prefixes) >= wanted.most:
                found.after = found.last.encode()
                return False
            if common is None:
                found.entries.append(version)
            else:
                found.prefixes.append(common)
            found.last = version.key if common is None else common
        return True


def _version(version: Version) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "VersionId": version.version_id,
        "IsLatest": version.is_latest,
        "LastModified": version.modified,
    }
    return shape if version.is_marker else {**_listed(version), **shape}
