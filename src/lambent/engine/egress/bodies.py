"""Where the body of a plain request ends, so that nothing behind it goes the same way. Pure.

Source: RFC 9112, section 7.1 (chunked transfer coding).
"""

import re
from typing import Final

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_LINE_BYTES: Final = 16_384
_LINE_END: Final = b"\r\n"


class BodyError(Exception):
    """A body whose end cannot be found."""


class SizedBody:
    """A body of that many bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def is_complete(self) -> bool:
        return self._left == 0

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body."""
        count = min(self._left, len(data))
        self._left -= count
        return count


class ChunkedBody:
    """A body in chunks, with what comes after the last of them."""

    def __init__(self) -> None:
        self.is_complete = False
        self._left = 0  # of a chunk's data and its line end
        self._line = bytearray()
        self._is_in_trailers = False
        self._after = b""  # of the line end behind a chunk's data, what has come

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body.

        Raises:
            BodyError: no chunk can begin like that.
        """
        at = 0
        while at < len(data) and not self.is_complete:
            if self._left:
                at += self._take_data(data[at : at + self._left])
            else:
                end = data.find(b"\n", at) + 1 or len(data)
                self._take_line(data[at:end])
                at = end
        return at

    def _take_data(self, data: bytes) -> int:
        ending = data[max(0, self._left - len(_LINE_END)) :]
        self._left -= len(data)
        self._after += ending
        if not _LINE_END.startswith(self._after):
            raise BodyError("a chunk is longer than it said")
        if not self._left:
            self._after = b""
        return len(data)

    def _take_line(self, part: bytes) -> None:
        self._line += part
        if len(self._line) > _MAX_LINE_BYTES:
            raise BodyError("a chunk's first line is too long")
        if not self._line.endswith(b"\n"):
            return
        line, self._line = bytes(self._line), bytearray()
        if not line.endswith(_LINE_END) or b"\r" in line[:-2]:
            raise BodyError("a line ends in an unusual way")
        if self._is_in_trailers:
            self.is_complete = line == _LINE_END
            return
        match = _SIZE.fullmatch(line[:-2])
        if not match:
            raise BodyError("a chunk has no size")
        size = int(match[1], 16)
        self._is_in_trailers = size == 0
        self._left = size + len(_LINE_END) if size else 0
