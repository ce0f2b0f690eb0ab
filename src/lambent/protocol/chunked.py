"""Bodies in `aws-chunked` encoding, in which the SDKs stream to S3.

Source: Amazon S3 API Reference, "Signature calculations: transferring payload in multiple chunks" and "Including
trailing headers". Chunk signatures are not looked at here.
"""

import re
from collections.abc import Mapping
from typing import Final

from lambent.aws.errors import ApiError

_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,16})(?:;[^\r\n]{0,1024})?\r\n")
_LONGEST_LINE: Final = 2_048  # a size with its signature, or a trailing header
_MOST_TRAILERS: Final = 16


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Whether a body with these headers is in chunks."""
    return "aws-chunked" in headers.get("content-encoding", "") or headers.get("x-amz-content-sha256", "").startswith(
        "STREAMING-"
    )


def without_chunks(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body as it was before it was cut into chunks, or as it is."""
    return joined(body) if is_chunked(headers) else body


def joined(body: bytes) -> bytes:
    """The data of all chunks. Raises ApiError IncompleteBody when it ends before its last chunk."""
    reader = ChunkReader()
    data = b"".join(reader.feed(body))
    reader.close()
    return data


class ChunkReader:
    """Takes a body apart while it comes, however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # bytes of the chunk that are still to come, and the line's end behind it
        self._in_trailers = False
        self._is_over = False
        self._trailers: dict[str, str] = {}

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the chunks in it. Raises ApiError IncompleteBody for what is no chunk."""
        found: list[bytes] = []
        self._buffer += data
        while self._step(found):
            pass
        return found

    def close(self) -> dict[str, str]:
        """What followed the last chunk, by name. Raises ApiError IncompleteBody when that did not come."""
        if not self._in_trailers:
            raise _broken()
        if self._buffer and not self._is_over:  # a last line without its end
            self._trailer(bytes(self._buffer))
        return self._trailers

    def _step(self, found: list[bytes]) -> bool:
        """Takes one thing out of the buffer; whether there may be another."""
        if self._is_over or not self._buffer:
            return False
        if self._in_trailers:
            return self._line()
        if self._left:
            return self._data(found)
        return self._size()

    def _size(self) -> bool:
        match = _SIZE.match(self._buffer)
        if match is None:
            if len(self._buffer) > _LONGEST_LINE or b"\r\n" in self._buffer:
                raise _broken()
            return False
        size = int(match[1], 16)
        del self._buffer[: match.end()]
        self._left = size + 2 if size else 0
        self._in_trailers = not size
        return True

    def _data(self, found: list[bytes]) -> bool:
        if self._left > 2:
            part = bytes(self._buffer[: self._left - 2])
            found.append(part)
            self._left -= len(part)
            del self._buffer[: len(part)]
            return True
        if len(self._buffer) < self._left:
            return False
        if self._buffer[:2] != b"\r\n":
            raise _broken()
        del self._buffer[:2]
        self._left = 0
        return True

    def _line(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0 or end > _LONGEST_LINE:
            if len(self._buffer) > _LONGEST_LINE:
                raise _broken()
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        self._is_over = not line
        self._trailer(line)
        return True

    def _trailer(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if colon and len(self._trailers) < _MOST_TRAILERS:
            self._trailers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")


def _broken() -> ApiError:
    return ApiError("IncompleteBody", "The request body terminated unexpectedly")
