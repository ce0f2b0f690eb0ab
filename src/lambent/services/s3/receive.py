"""Takes a body while it comes: small ones into memory, others into a file, and checks what was said of it."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from lambent.aws import checksums
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.protocol.payload import Payload
from lambent.services.s3.contents import BLOCK, Contents
from lambent.services.s3.model import Segment, bad_request

SMALL: Final = 64 * 1024
"""Bodies up to here are rows of the store, committed together with others; larger ones are files."""
MOST_BYTES: Final = 5 * 1024**3
"""Of one request. Source: Amazon S3 User Guide, "Uploading objects"."""

_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a request says of its body: which checksum is to be computed, and what it has to be.

    `kept` is the one that will be asked for later, where that is another: of a part whose upload knows nothing of the
    checksum that it came with.
    """

    algorithm: str
    expected: str | None  # None: it comes behind the body, or nobody knows it
    md5: bytes | None = None
    kept: str | None = None

    @property
    def algorithms(self) -> list[str]:
        """All that are to be computed."""
        return [self.algorithm] if self.kept in (None, self.algorithm) else [self.algorithm, self.kept or ""]

    @property
    def header(self) -> str:
        return checksums.HEADER + self.algorithm.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A body that has come: `content` when it is small, else the `digest` of its file."""

    size: int
    md5: bytes
    algorithm: str
    checksums: dict[str, str]  # by algorithm
    content: bytes | None = None
    digest: str | None = None

    @property
    def checksum(self) -> str:
        """The one that the request was about."""
        return self.checksums[self.algorithm]

    @property
    def segments(self) -> list[Segment]:
        if self.digest is None:
            return []
        return [Segment(number=0, offset=0, size=self.size, digest=self.digest)]


def told(params: Shape, *, default: str = checksums.DEFAULT) -> Told:
    """What the parameters of an upload say of its body.

    Raises:
        ApiError: InvalidRequest for two checksums, or none where one is promised; InvalidDigest.
    """
    said = {name: params[f"Checksum{name}"] for name in checksums.ALGORITHMS if params.get(f"Checksum{name}")}
    if len(said) > 1:
        raise bad_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    body = params.get("Body")
    announced = body.announced if isinstance(body, Payload) else []
    for name in announced:
        algorithm = name.removeprefix(checksums.HEADER).upper()
        if not name.startswith(checksums.HEADER) or algorithm not in checksums.ALGORITHMS:
            raise bad_request("The value specified in the x-amz-trailer header is not supported")
        said.setdefault(algorithm, None)
    if len(said) > 1:
        raise bad_request("Expecting a single x-amz-checksum- header")
    promised = params.get("ChecksumAlgorithm")
    is_stream = isinstance(body, Payload)
    if promised and is_stream and promised not in said:
        raise bad_request(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found."
        )
    algorithm = next(iter(said), promised or default)
    expected = said.get(algorithm)
    if expected is not None and checksums.value(expected, algorithm) is None:
        raise bad_request(f"Value for {checksums.HEADER}{algorithm.lower()} header is invalid.")
    return Told(algorithm=algorithm, expected=expected, md5=_md5(params.get("ContentMD5")))


def _md5(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 16:
        raise ApiError("InvalidDigest", "The Content-MD5 you specified was invalid.", **{"Content-MD5": text})
    return digest


@asynccontextmanager
async def received(
    contents: Contents, body: "bytes | str | Payload | None", expected: Told, *, most_small: int = SMALL
) -> AsyncIterator[Received]:
    """The body, whole and as it was said to be. Its file is held until the block is left: commit its row within.

    Raises:
        ApiError: BadDigest, EntityTooLarge, IncompleteBody, InvalidRequest, MissingContentLength,
            XAmzContentSHA256Mismatch.
    """
    if not isinstance(body, Payload):
        data = body.encode() if isinstance(body, str) else body or b""
        if len(data) <= most_small:
            yield _small(data, expected, None)
            return
        async with _large(contents, _once(data), expected, None) as found:
            yield found
        return
    if body.length is not None and body.length > MOST_BYTES:
        message = "Your proposed upload exceeds the maximum allowed size"
        raise ApiError("EntityTooLarge", message, ProposedSize=body.length, MaxSizeAllowed=MOST_BYTES)
    parts = aiter(body)
    first = bytearray()
    async for part in parts:
        first += part
        if len(first) > most_small:
            async with _large(contents, _rest(bytes(first), parts), expected, body) as found:
                yield found
            return
    yield _small(bytes(first), expected, body)


def _small(data: bytes, expected: Told, body: Payload | None) -> Received:
    made = {name: checksums.of(name) for name in expected.algorithms}
    for checksum in made.values():
        checksum.update(data)
    digest = hashlib.sha256(data).hexdigest() if body is not None and body.sha256 else ""
    found = Received(
        size=len(data),
        md5=hashlib.md5(data, usedforsecurity=False).digest(),
        algorithm=expected.algorithm,
        checksums={name: checksums.text(checksum.digest()) for name, checksum in made.items()},
        content=data,
    )
    _check(found, digest, expected, body)
    return found


@asynccontextmanager
async def _large(
    contents: Contents, parts: AsyncIterator[bytes], expected: Told, body: Payload | None
) -> AsyncIterator[Received]:
    async with contents.incoming(expected.algorithms) as incoming:
        size = 0
        async for block in _blocks(parts):
            size += len(block)
            if size > MOST_BYTES:
                raise ApiError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
            await incoming.write(block)
        await incoming.settled()
        found = Received(
            size=size,
            md5=incoming.md5,
            algorithm=expected.algorithm,
            checksums={name: checksums.text(made.digest()) for name, made in incoming.checksums.items()},
            digest=incoming.digest,
        )
        _check(found, incoming.digest, expected, body)
        digest = await contents.place(incoming)
    try:
        yield found
    except BaseException:
        contents.suspect([digest])
        raise
    finally:
        contents.release([digest])


def _check(found: Received, digest: str, expected: Told, body: Payload | None) -> None:
    if body is not None and body.sha256 and digest != body.sha256:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        members = {"ClientComputedContentSHA256": body.sha256, "S3ComputedContentSHA256": digest}
        raise ApiError("XAmzContentSHA256Mismatch", message, **members)
    if expected.md5 is not None and expected.md5 != found.md5:
        raise ApiError("BadDigest", "The Content-MD5 you specified did not match what we received.")
    said = expected.expected
    if said is None and body is not None and expected.header in body.announced:
        said = body.trailers.get(expected.header)
        if said is None:
            raise ApiError("MalformedTrailerError", "The request contained trailing data that was not well-formed")
    if said is not None and said != found.checksum:
        raise ApiError("BadDigest", f"The {expected.algorithm} you specified did not match the calculated checksum.")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _rest(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in parts:
        yield part


async def _blocks(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces."""
    waiting: list[bytes] = []
    size = 0
    async for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= BLOCK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
