"""What a request may ask of the object that is there: conditions on reading and writing, and ranges of bytes.

Source: Amazon S3 User Guide, "Conditional requests"; RFC 9110, sections 13 and 14; facts sheet C3.
"""

import re
from datetime import datetime
from typing import Any, Final, NamedTuple

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.protocol.http import UNMODELLED_HEADERS
from lambent.protocol.timestamps import to_rfc822
from lambent.services.s3.model import Version, bad_request, no_key, precondition_failed

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))", re.ASCII)
_COPY_RANGE: Final = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})", re.ASCII)


class Span(NamedTuple):
    """Bytes from `start` on and before `end`."""

    start: int
    end: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.end - 1}/{size}"


def check_read(found: Version, params: Shape) -> None:
    """Raises ApiError PreconditionFailed, or NotModified."""
    is_match = _etag_holds(params.get("IfMatch"), found.etag)
    if is_match is False:
        raise precondition_failed("If-Match")
    if is_match is None and _is_after(found.modified, params.get("IfUnmodifiedSince")):
        raise precondition_failed("If-Unmodified-Since")
    differs = _etag_holds(params.get("IfNoneMatch"), found.etag)
    since = params.get("IfModifiedSince")
    if differs or (differs is None and since is not None and found.modified <= since):
        headers = [("ETag", f'"{found.etag}"'), ("Last-Modified", to_rfc822(found.modified))]
        raise ApiError("NotModified", "Not Modified", **{UNMODELLED_HEADERS: headers})


def check_copy_source(found: Version, params: Shape) -> None:
    """Raises ApiError PreconditionFailed, whichever condition does not hold."""
    names = ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")
    try:
        check_read(found, {name: params.get(f"CopySource{name}") for name in names})
    except ApiError as error:
        if error.code == "NotModified":
            raise precondition_failed("x-amz-copy-source-If-None-Match") from None
        raise precondition_failed(f"x-amz-copy-source-{error.members['Condition']}") from None


def check_write(there: Version | None, key: str, params: Shape) -> None:
    """Raises ApiError: the conditions of a write do not hold for what is there now."""
    exists = there is not None and not there.is_marker
    none_match, match = params.get("IfNoneMatch"), params.get("IfMatch")
    if none_match is not None:
        if none_match.strip() != "*":
            message = "A header you provided implies functionality that is not implemented"
            raise ApiError("NotImplemented", message, Header="If-None-Match")
        if exists:
            raise precondition_failed("If-None-Match")
    if match is not None:
        if there is None or not exists:
            raise no_key(key)
        if not _etag_holds(match, there.etag):
            raise precondition_failed("If-Match")


def _etag_holds(asked: str | None, etag: str) -> bool | None:
    """Whether one of these is the ETag; None when none is asked for."""
    if asked is None:
        return None
    return any(one.strip().removeprefix("W/").strip('"') in ("*", etag) for one in asked.split(","))


def _is_after(modified: datetime, moment: datetime | None) -> bool:
    return moment is not None and modified > moment


def span(asked: str | None, size: int) -> Span | None:
    """The bytes that a Range header asks for; None when all are wanted, or it asks for what no server need do.

    Raises:
        ApiError: InvalidRange, when it has none of them.
    """
    found = _RANGE.fullmatch(asked.strip()) if asked else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(size - int(suffix), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        more: dict[str, Any] = {"RangeRequested": asked, "ActualObjectSize": size}
        more[UNMODELLED_HEADERS] = [("Content-Range", f"bytes */{size}")]
        raise ApiError("InvalidRange", "The requested range is not satisfiable", **more)
    return Span(start, end)


def copy_span(asked: str | None, size: int) -> Span | None:
    """The bytes of a source that a part is to have. Raises ApiError InvalidArgument or InvalidRequest."""
    if asked is None:
        return None
    found = _COPY_RANGE.fullmatch(asked.strip())
    if found is None or int(found[2]) < int(found[1]):
        message = (
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy"
        )
        raise ApiError("InvalidArgument", message, ArgumentName="x-amz-copy-source-range", ArgumentValue=asked)
    if int(found[2]) >= size:
        raise bad_request(f"Range specified is not valid for source object of size: {size}")
    return Span(int(found[1]), int(found[2]) + 1)
