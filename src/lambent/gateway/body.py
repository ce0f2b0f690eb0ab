"""A request's body, with its limit held before it is read.

The limits are those of the wire. Quotas on what is inside (a payload of 6 MB, a zip of 50 MB) are the operation's.
"""

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from lambent.aws.errors import ApiError

Read = Callable[[], Awaitable[tuple[bytes, bool]]]
"""The next part of a request's body, and whether more follows. Raises `Disconnected`."""

# The operation itself refuses more than 6,291,456 bytes; the margin lets it answer in its own words.
_INVOKE_MARGIN: Final = 64 * 1024
_INVOKE: Final = 6_291_456
_UPLOAD: Final = 70_167_211
_OTHER: Final = 16 * 1024 * 1024  # the largest of any modelled operation so far: DynamoDB's 16 MB batch
# A client in the middle of sending sees its 413 only if somebody reads the rest; beyond this it is cut off.
_DISCARD: Final = 256 * 1024 * 1024
_STALLED_S: Final = 60.0  # how long a client may pause within a body
_FUNCTIONS: Final = re.compile(r"/2015-03-31/functions(?:/?|/[^/]+/code/?)")
_LAYERS: Final = re.compile(r"/2018-10-31/layers/[^/]+/versions/?")


class Disconnected(Exception):
    """The client went away in the middle of its request: nobody is there to answer."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How many bytes a body may have, and what is said when it has more."""

    size: int
    code: str
    message: str


INVOKE: Final = Limit(
    _INVOKE + _INVOKE_MARGIN,
    "RequestTooLargeException",
    f"Request must be smaller than {_INVOKE} bytes for the InvokeFunction operation",
)
OTHER: Final = Limit(_OTHER, "RequestEntityTooLargeException", f"Request must be smaller than {_OTHER} bytes")


def _upload(operation: str) -> Limit:
    return Limit(
        _UPLOAD,
        "RequestEntityTooLargeException",
        f"Request must be smaller than {_UPLOAD} bytes for the {operation} operation",
    )


_CREATE: Final = _upload("CreateFunction")
_UPDATE: Final = _upload("UpdateFunctionCode")
_LAYER: Final = _upload("PublishLayerVersion")


def limit_of(method: str, path: str) -> Limit:
    """The limit of a request to this raw path. Source: recorded answers of AWS Lambda; Lambda quotas."""
    if path.endswith(("/invocations", "/invoke-async", "/invoke-async/", "/response-streaming-invocations")):
        return INVOKE
    if method == "POST" and _LAYERS.fullmatch(path):
        return _LAYER
    if method in ("POST", "PUT") and _FUNCTIONS.fullmatch(path):
        return _CREATE if method == "POST" else _UPDATE
    return OTHER


async def read_body(read: Read, limit: Limit, *, length: str | None, encoding: str | None = None) -> bytes:
    """The whole body. `length` and `encoding` are the headers Content-Length and Content-Encoding.

    Raises:
        ApiError: the limit's, when the body, as sent or unpacked, is larger.
        Disconnected: the client went away, or stalled for a minute, before all of it had come.
    """
    if length is not None and length.isdecimal() and int(length) > limit.size:
        await _discard(read)
        raise ApiError(limit.code, limit.message)
    body, more = await read()
    if more:
        body = await _rest(read, body, limit)
    elif len(body) > limit.size:
        raise ApiError(limit.code, limit.message)
    if encoding is not None and "gzip" in encoding:
        return await asyncio.to_thread(_unpacked, body, limit)
    return body


async def _rest(read: Read, first: bytes, limit: Limit) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
        chunk, more = await read_part(read)
        chunks.append(chunk)
        size += len(chunk)
        if size > limit.size:
            if more:
                await _discard(read)
            raise ApiError(limit.code, limit.message)
    return b"".join(chunks)


async def _discard(read: Read) -> None:
    left, more = _DISCARD, True
    while more and left > 0:
        chunk, more = await read_part(read)
        left -= len(chunk)


async def read_part(read: Read) -> tuple[bytes, bool]:
    """The next part of a body, and whether more follows. Raises Disconnected when the client stalls for a minute."""
    try:
        async with asyncio.timeout(_STALLED_S):
            return await read()
    except TimeoutError as error:
        raise Disconnected from error


def _unpacked(body: bytes, limit: Limit) -> bytes:
    """A gzip body unpacked, never beyond the limit: a small bomb may not become a large one."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = unpacker.decompress(body, limit.size + 1)
    except zlib.error as error:
        raise ApiError("SerializationException", f"The body is not gzip, as Content-Encoding says: {error}") from error
    if len(plain) > limit.size:
        raise ApiError(limit.code, limit.message)
    return plain
