"""A request's body that an operation takes in parts, while it comes: an object on its way into a bucket."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from lambent.aws.errors import ApiError
from lambent.protocol.chunked import ChunkReader, is_chunked

ReadPart = Callable[[], Awaitable[tuple[bytes, bool]]]
"""The next part of the body as it is on the wire, and whether more follows."""

_ANNOUNCED: Final = "x-amz-trailer"
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Payload:
    """Iterate over it once for the parts of the body, without the framing of `aws-chunked`.

    `trailers` has what followed the body, when all of it was read; `announced` the names that are to come. `length` is
    how many bytes the client says there are, and `sha256` what they are to be, None where it does not say. Iterating
    raises ApiError IncompleteBody when there are fewer bytes, or more.
    """

    def __init__(self, read: ReadPart, headers: Mapping[str, str]) -> None:
        self._read = read
        self._chunks = ChunkReader() if is_chunked(headers) else None
        length = headers.get("x-amz-decoded-content-length" if self._chunks else "content-length", "")
        self.length = int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None
        told = headers.get("x-amz-content-sha256", "")
        self.sha256 = told if _HEX.fullmatch(told) else None
        self.trailers: dict[str, str] = {}
        names = headers.get(_ANNOUNCED, "").split(",")
        self.announced = [name.strip().lower() for name in names if name.strip()]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, more = 0, True
        while more:
            data, more = await self._read()
            for part in self._chunks.feed(data) if self._chunks else (data,):
                size += len(part)
                if self.length is not None and size > self.length:
                    raise _incomplete()
                if part:
                    yield part
        if self._chunks is not None:
            self.trailers = self._chunks.close()
        if self.length is not None and size != self.length:
            raise _incomplete()


def _incomplete() -> ApiError:
    message = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    return ApiError("IncompleteBody", message)
