"""CopyObject and UploadPartCopy. Bytes that are in files stay where they are: the copy names the same files."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec
from sqlalchemy import Connection

from lambent.aws import checksums
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.protocol.payload import Payload
from lambent.services.s3 import described, keep, lifecycle, rows
from lambent.services.s3.api.parts import find_upload, keep_part
from lambent.services.s3.api.read import stream, version_asked
from lambent.services.s3.conditions import Span, check_copy_source, copy_span
from lambent.services.s3.model import Bucket, Facts, Segment, Version, bad_request, check_key, invalid, moment
from lambent.services.s3.receive import Told

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_MOST_BYTES: Final = 5 * 1024**3
_ITSELF: Final = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
    "metadata, storage class, website redirect location or encryption attributes."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    bucket: Bucket
    version: Version
    content: bytes | None
    segments: list[Segment]


async def copy_object(service: "S3", caller: Caller, params: Shape) -> Shape:
    """CopyObject."""
    bucket, key = service.named(params), params["Key"]
    check_key(key)
    source = await _source(service, params)
    if source.version.size > _MOST_BYTES:
        message = (
            f"The specified copy source is larger than the maximum allowable size for a copy source: {_MOST_BYTES}"
        )
        raise bad_request(message)
    _check_itself(source, bucket, params)
    digests = [segment.digest for segment in source.segments]
    await service.contents.hold(digests)
    try:
        facts, md5 = await _copied(service, bucket, source, params)
        new = keep.New(
            key=key,
            size=source.version.size,
            etag=described.etag_of(md5, facts, service.next_id()),
            facts=facts,
            event="ObjectCreated:Copy",
            content=source.content,
            segments=[replace(one, number=number) for number, one in enumerate(source.segments)],
            conditions=params,
        )
        version = await keep.kept(service, keep.keeping(service, caller, bucket, new))
    finally:
        service.contents.release(digests)
    return {
        "CopyObjectResult": {
            "ETag": described.quoted(version.etag),
            "LastModified": version.modified,
            **described.checksum(version.facts),
        },
        "CopySourceVersionId": keep.shown_version(source.bucket, source.version),
        "VersionId": keep.shown_version(bucket, version),
        "Expiration": lifecycle.expiration_header(bucket, version),
        **described.encryption(version.facts),
    }


async def _source(service: "S3", params: Shape) -> _Source:
    """The version of CopySource. Raises ApiError NoSuchBucket, NoSuchKey, NoSuchVersion, PreconditionFailed."""
    path, mark, version_id = params["CopySource"].partition("?versionId=")
    name, slash, key = unquote(path).removeprefix("/").partition("/")
    if not slash or not name or not key:
        message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        raise invalid(message, "x-amz-copy-source", params["CopySource"])
    asked = {"Bucket": name, "Key": key, "ExpectedBucketOwner": params.get("ExpectedSourceBucketOwner")}
    bucket = service.named(asked)
    if mark:
        asked["VersionId"] = unquote(version_id)

    def look(tx: Connection) -> _Source:
        try:
            version = version_asked(tx, bucket, asked)
        except ApiError as error:
            if error.code != "MethodNotAllowed":
                raise
            raise bad_request(
                "The source of a copy request may not specifically refer to a delete marker by version id."
            ) from None
        described.check_customer_key(version.facts, params, "CopySource")
        check_copy_source(version, params)
        content = rows.content(tx, version.id)
        segments = rows.segments(tx, version.id) if content is None else []
        return _Source(bucket=bucket, version=version, content=content, segments=segments)

    return await service.database.read(look)


def _check_itself(source: _Source, bucket: Bucket, params: Shape) -> None:
    is_itself = source.bucket.id == bucket.id and source.version.key == params["Key"] and source.version.is_latest
    changes = (
        "StorageClass",
        "WebsiteRedirectLocation",
        "ServerSideEncryption",
        "SSECustomerAlgorithm",
        "ChecksumAlgorithm",
    )
    if is_itself and params.get("MetadataDirective") != "REPLACE" and not any(params.get(name) for name in changes):
        raise bad_request(_ITSELF)


async def _copied(service: "S3", bucket: Bucket, source: _Source, params: Shape) -> tuple[Facts, bytes]:
    """What is kept of the copy, and its MD5, which of an object in parts is another than the source's ETag says."""
    given, old = described.facts_of(bucket, params, service.clock.now_ms()), source.version.facts
    if params.get("MetadataDirective") != "REPLACE":
        given = msgspec.structs.replace(given, headers=old.headers, metadata=old.metadata)
    if params.get("TaggingDirective") != "REPLACE":
        given = msgspec.structs.replace(given, tags=old.tags)
    algorithm = params.get("ChecksumAlgorithm") or old.algorithm or checksums.DEFAULT
    is_known = not old.parts and not old.encryption and algorithm == old.algorithm
    if is_known:
        md5, checksum = bytes.fromhex(source.version.etag), old.checksum
    else:
        md5, checksum = await _digests(service, source, algorithm)
    told = {"algorithm": algorithm, "checksum": checksum, "checksum_type": checksums.FULL_OBJECT}
    return msgspec.structs.replace(given, **told), md5


async def _digests(service: "S3", source: _Source, algorithm: str) -> tuple[bytes, str]:
    """The MD5 and the checksum of the source's bytes."""
    md5, checksum = checksums.of("MD5"), checksums.of(algorithm)

    def take(block: bytes) -> None:
        md5.update(block)
        checksum.update(block)

    async for block in _bytes(service, source, Span(0, source.version.size)):
        await service.contents.in_thread(take, block)
    return md5.digest(), checksums.text(checksum.digest())


async def _bytes(service: "S3", source: _Source, wanted: Span) -> AsyncIterator[bytes]:
    if source.content is not None:
        yield source.content[wanted.start : wanted.end]
    else:
        needed = [one for one in source.segments if one.offset < wanted.end and one.offset + one.size > wanted.start]
        async for block in stream(service, needed, wanted):
            yield block


async def upload_part_copy(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """UploadPartCopy: the bytes of a range come into a file of their own."""
    bucket = service.named(params)
    upload = await find_upload(service, bucket, params)
    source = await _source(service, params)
    wanted = copy_span(params.get("CopySourceRange"), source.version.size) or Span(0, source.version.size)
    blocks = _bytes(service, source, wanted)

    async def read() -> tuple[bytes, bool]:
        async for block in blocks:
            return block, True
        return b"", False

    expected = Told(algorithm=upload.facts.algorithm or checksums.DEFAULT, expected=None)
    segment, _ = await keep_part(service, bucket, upload, params, Payload(read, {}), expected)
    checksum = {f"Checksum{expected.algorithm}": segment.checksum} if upload.facts.algorithm else {}
    return {
        "CopySourceVersionId": keep.shown_version(source.bucket, source.version),
        "CopyPartResult": {
            "ETag": described.quoted(segment.etag),
            "LastModified": moment(segment.modified_ms // 1000 * 1000),
            **checksum,
        },
        **described.encryption(upload.facts),
    }
