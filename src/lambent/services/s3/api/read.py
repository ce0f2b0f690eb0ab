"""GetObject and HeadObject."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.protocol.http import UNMODELLED_HEADERS, UNMODELLED_STATUS, CutOffError
from lambent.protocol.timestamps import to_rfc822
from lambent.services.s3 import described, keep, lifecycle, rows
from lambent.services.s3.conditions import Span, check_read, span
from lambent.services.s3.contents import Piece
from lambent.services.s3.model import Bucket, Segment, Version, invalid, no_key, no_version

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
    "ResponseExpires": "Expires",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A version, and what of its bytes is wanted: None for all. `part` is set when a part was asked for."""

    version: Version
    span: Span | None = None
    part: Segment | None = None

    @property
    def start(self) -> int:
        return self.span.start if self.span else 0

    @property
    def end(self) -> int:
        return self.span.end if self.span else self.version.size


async def get_object(service: "S3", caller: Caller, params: Shape) -> Shape:
    """GetObject: the body is read while it is sent."""
    bucket = service.named(params)

    def look(tx: Connection) -> tuple[Found, bytes | None, list[Segment]]:
        found = _found(tx, bucket, params)
        content = rows.content(tx, found.version.id)
        pieces = [] if content is not None else rows.segments_between(tx, found.version.id, found.start, found.end)
        return found, content, pieces

    found, content, pieces = await service.database.read(look)
    answer = _answer(bucket, found, params)
    if pieces:
        answer["Body"] = stream(service, pieces, Span(found.start, found.end))
    else:
        answer["Body"] = (content or b"")[found.start : found.end]
    overridden = {name: params[given] for given, name in _OVERRIDES.items() if params.get(given) is not None}
    if overridden and not caller.access_key:
        raise ApiError("InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
    return answer | overridden


async def head_object(service: "S3", _caller: Caller, params: Shape) -> Shape:
    """HeadObject: what GetObject would tell, without the body."""
    bucket = service.named(params)
    found = await service.database.read(lambda tx: _found(tx, bucket, params))
    return _answer(bucket, found, params)


def version_asked(tx: Connection, bucket: Bucket, params: Shape) -> Version:
    """The version that a request means, the latest if it names none.

    Raises:
        ApiError: NoSuchKey, NoSuchVersion, MethodNotAllowed for a delete marker, InvalidArgument.
    """
    key, version_id = params["Key"], params.get("VersionId")
    if version_id is None:
        found = rows.latest(tx, bucket.id, key)
        if found is None or found.is_marker:
            raise no_key(key, found)
        return found
    found = exact_version(tx, bucket, key, version_id)
    if found is None:
        raise no_version(key, version_id)
    if found.is_marker:
        headers = [
            ("Allow", "DELETE"),
            ("Last-Modified", to_rfc822(found.modified)),
            ("x-amz-delete-marker", "true"),
            ("x-amz-version-id", found.version_id),
        ]
        more: dict[str, Any] = {"Method": "GET", "ResourceType": "DeleteMarker", UNMODELLED_HEADERS: headers}
        raise ApiError("MethodNotAllowed", "The specified method is not allowed against this resource.", **more)
    return found


def exact_version(tx: Connection, bucket: Bucket, key: str, version_id: str) -> Version | None:
    """The version of this id. Raises ApiError InvalidArgument for what is no id."""
    if not version_id or not version_id.isascii() or len(version_id) > 1024:
        raise invalid("Invalid version id specified", "versionId", version_id)
    found = rows.version(tx, bucket.id, key, version_id)
    if found is None and version_id != "null" and len(version_id) != 32:
        raise invalid("Invalid version id specified", "versionId", version_id)
    return found


def _found(tx: Connection, bucket: Bucket, params: Shape) -> Found:
    version = version_asked(tx, bucket, params)
    described.check_customer_key(version.facts, params)
    check_read(version, params)
    number = params.get("PartNumber")
    if number is None:
        return Found(version=version, span=span(params.get("Range"), version.size))
    if params.get("Range") is not None:
        raise ApiError("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    if not version.facts.parts and number == 1:
        return Found(version=version, span=Span(0, version.size))
    part = rows.segment(tx, version.id, number) if version.facts.parts else None
    if part is None:
        message = "The requested partnumber is not satisfiable"
        raise ApiError(
            "InvalidPartNumber", message, PartNumberRequested=number, ActualPartCount=version.facts.parts or 1
        )
    return Found(version=version, span=Span(part.offset, part.offset + part.size), part=part)


def _answer(bucket: Bucket, found: Found, params: Shape) -> Shape:
    version, facts = found.version, found.version.facts
    answer = described.headers(version)
    answer["ContentLength"] = found.end - found.start
    answer["VersionId"] = keep.shown_version(bucket, version)
    answer["Expiration"] = lifecycle.expiration_header(bucket, version)
    if found.span is not None and version.size:
        answer["ContentRange"] = found.span.content_range(version.size)
        answer[UNMODELLED_STATUS] = 206
    if params.get("PartNumber") is not None:
        answer["PartsCount"] = facts.parts or None
    if params.get("ChecksumMode") == "ENABLED":
        if found.part is not None and found.part.checksum:
            answer[f"Checksum{facts.algorithm}"] = found.part.checksum
            answer["ChecksumType"] = facts.checksum_type
        elif found.span is None or (found.start == 0 and found.end == version.size):
            answer |= described.checksum(facts)
    return answer


async def stream(service: "S3", segments: Sequence[Segment], wanted: Span) -> AsyncIterator[bytes]:
    """The bytes of a version, block by block. Its files stay as long, whatever becomes of it meanwhile."""
    digests = [one.digest for one in segments]
    pieces = [
        Piece(one.digest, max(wanted.start - one.offset, 0), min(wanted.end - one.offset, one.size)) for one in segments
    ]
    await service.contents.hold(digests)
    try:
        async for block in service.contents.read(pieces):
            yield block
    except OSError as error:
        service.log.error("s3.body_lost", digests=digests[:3])
        raise CutOffError from error
    finally:
        service.contents.release(digests)
        service.contents.has_suspects.set()
