"""Multipart uploads: begun, completed, given up, listed."""

import secrets
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.s3 import described, keep, lifecycle, multiparts, notices, rows
from lambent.services.s3.api.buckets import check_page
from lambent.services.s3.conditions import check_write
from lambent.services.s3.listing import Page, Wanted, common_prefix, encoder, just_after
from lambent.services.s3.model import Bucket, Upload, Version, check_key, moment, no_bucket, no_upload

if TYPE_CHECKING:
    from lambent.services.s3.service import S3


async def create_multipart_upload(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """CreateMultipartUpload."""
    bucket, key, now = service.named(params), params["Key"], service.clock.now_ms()
    check_key(key)
    algorithm = params.get("ChecksumAlgorithm") or ""
    kind = multiparts.checksum_type(algorithm, params.get("ChecksumType"))
    facts = described.facts_of(bucket, params, now)
    upload = Upload(
        id=service.next_id(),
        # Uploads of one key are listed by their ids, and those by when they began.
        upload_id=f"{now:012x}{secrets.token_urlsafe(48)}",
        bucket_id=bucket.id,
        key=key,
        started_ms=now,
        facts=msgspec.structs.replace(facts, algorithm=algorithm, checksum_type=kind),
    )

    def change(tx: Connection) -> None:
        if not rows.is_there(tx, bucket.id):
            raise no_bucket(bucket.name)
        rows.insert_upload(tx, upload)

    await service.database.write(change)
    abort = lifecycle.abort_date(bucket, key, now)
    return {
        "Bucket": bucket.name,
        "Key": key,
        "UploadId": upload.upload_id,
        "ChecksumAlgorithm": algorithm or None,
        "ChecksumType": kind or None,
        "AbortDate": abort[0] if abort else None,
        "AbortRuleId": abort[1] if abort else None,
        **described.encryption(facts),
    }


async def complete_multipart_upload(service: "S3", caller: Caller, params: Shape) -> Shape:
    """CompleteMultipartUpload: the parts become the object where they are. Of two at once, one finds no upload."""
    bucket, key = service.named(params), params["Key"]
    wanted = (params.get("MultipartUpload") or {}).get("Parts") or []
    notify = notices.of(service, caller, bucket, "ObjectCreated:CompleteMultipartUpload")
    version_pk, seq, now = service.next_id(), service.next_seq(), service.clock.now_ms()
    version_id = keep.new_version_id() if bucket.versioning == "Enabled" else "null"

    def change(tx: Connection) -> Version:
        upload = rows.upload_named(tx, bucket.id, key, params["UploadId"])
        if upload is None:
            raise no_upload(params["UploadId"])
        there = {segment.number: segment for segment in rows.segments(tx, upload.id)}
        parts = multiparts.chosen(upload, there, wanted)
        facts = multiparts.whole(upload, parts, params)
        before = rows.latest(tx, bucket.id, key)
        check_write(before, key, params)
        version = Version(
            id=version_pk,
            bucket_id=bucket.id,
            key=key,
            version_id=version_id,
            seq=seq if before is None else max(seq, before.seq + 1),
            size=sum(part.size for part in parts),
            etag=multiparts.etag(parts),
            modified_ms=now,
            facts=facts,
        )
        keep.replace_null(tx, version)
        rows.insert_version(tx, version, None, ())
        rows.adopt_segments(tx, upload.id, version.id, parts)
        rows.delete_upload(tx, upload.id)
        rows.insert_notifications(tx, notify(version))
        return version

    version = await keep.kept(service, change)
    return {
        "Location": f"{caller.base_url}/{bucket.name}/{encoder('url')(key)}",
        "Bucket": bucket.name,
        "Key": key,
        "ETag": described.quoted(version.etag),
        "VersionId": keep.shown_version(bucket, version),
        "Expiration": lifecycle.expiration_header(bucket, version),
        **described.encryption(version.facts),
        **described.checksum(version.facts),
    }


async def abort_multipart_upload(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """AbortMultipartUpload: its parts go."""
    bucket = service.named(params)

    def change(tx: Connection) -> None:
        upload = rows.upload_named(tx, bucket.id, params["Key"], params["UploadId"])
        if upload is None:
            raise no_upload(params["UploadId"])
        rows.delete_upload(tx, upload.id)

    await service.database.write(change, committed=lambda _: keep.after(service))
    return {}


async def list_multipart_uploads(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """ListMultipartUploads: by key, those of one key by when they began."""
    bucket = service.named(params)
    key, upload_id = params.get("KeyMarker") or "", params.get("UploadIdMarker") or ""
    wanted = Wanted(
        prefix=params.get("Prefix") or "",
        delimiter=params.get("Delimiter") or "",
        after=key.encode(),
        most=check_page(params.get("MaxUploads"), "max-uploads"),
    )
    found = await service.database.read(lambda tx: _uploads(tx, bucket, wanted, key, upload_id))
    encode = encoder(params.get("EncodingType"))
    person = {"ID": bucket.owner}
    last = found.entries[-1] if found.entries else None
    return {
        "Bucket": bucket.name,
        "KeyMarker": encode(key),
        "UploadIdMarker": upload_id,
        "NextKeyMarker": encode(found.last) if found.after is not None else None,
        "NextUploadIdMarker": last.upload_id if last is not None and found.after is not None else None,
        "Prefix": encode(params.get("Prefix") or ""),
        "Delimiter": encode(params.get("Delimiter")),
        "EncodingType": params.get("EncodingType"),
        "MaxUploads": wanted.most,
        "IsTruncated": found.after is not None,
        "Uploads": [
            {
                "UploadId": one.upload_id,
                "Key": encode(one.key),
                "Initiated": moment(one.started_ms),
                "StorageClass": one.facts.storage_class,
                "Owner": person,
                "Initiator": person,
                "ChecksumAlgorithm": one.facts.algorithm or None,
                "ChecksumType": one.facts.checksum_type or None,
            }
            for one in found.entries
        ]
        or None,
        "CommonPrefixes": [{"Prefix": encode(one)} for one in found.prefixes] or None,
    }


def _uploads(tx: Connection, bucket: Bucket, wanted: Wanted, key: str, upload_id: str) -> Page[Upload]:
    """A page: what is left of the marker's key first."""
    rest = rows.later_uploads(tx, bucket.id, key.encode(), upload_id, wanted.most + 1) if upload_id else []
    found: Page[Upload] = Page()
    after = wanted.start
    while True:
        there = rest or rows.uploads_between(tx, bucket.id, after, wanted.end, wanted.most + 1)
        for one in there:
            common = common_prefix(one.key, wanted)
            if common is not None and found.prefixes and found.prefixes[-1] == common:
                continue
            if len(found.entries) + len(found.prefixes) >= wanted.most:
                found.after = found.last.encode()
                return found
            if common is None:
                found.entries.append(one)
            else:
                found.prefixes.append(common)
            found.last = one.key if common is None else common
        if not rest and len(there) <= wanted.most:
            return found
        after = after if rest else _behind(there[-1].key, wanted)
        rest = []


def _behind(key: str, wanted: Wanted) -> bytes:
    common = common_prefix(key, wanted)
    return key.encode() if common is None else just_after(common.encode())
