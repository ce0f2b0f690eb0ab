"""A streamed answer on its way from an environment to whoever reads it, in bounded memory.

The environment writes from the loop's callbacks; the reader iterates. When the reader is slow, the environment's
socket is not read for a while, so that the function waits in its own write. When the reader goes away, the function
runs on to its end and what it writes is thrown away.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_BYTES: Final = 209_715_200
"""The longest streamed response. Source: AWS Lambda Developer Guide, "Lambda quotas"."""

# What one stream may hold in this process. Larger only makes a slow reader cost more: the socket's own buffer
# (about 200 KB) already keeps the function writing while the reader is busy.
_HIGH_WATER: Final = 1_048_576
_LOW_WATER: Final = 262_144
_OVERHEAD: Final = 64  # of one chunk: a million of one byte each are not one megabyte


def _nothing() -> None:
    pass


class ResponseStream:
    """The chunks of one answer: an asynchronous iterator with one reader, who closes it with `aclose`.

    `begun` is done at the first byte, or at the end if that comes first.
    """

    def __init__(self) -> None:
        self.content_type = ""
        self.size = 0
        """Bytes that the function has written."""
        self.has_begun = False
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._has_ended = False
        self._is_abandoned = False
        self._is_paused = False
        self._pause: Callable[[], None] = _nothing
        self._resume: Callable[[], None] = _nothing
        self._reader: asyncio.Future[None] | None = None

    # The environment's side

    def begin(
        self, content_type: str, pause: Callable[[], None] = _nothing, resume: Callable[[], None] = _nothing
    ) -> None:
        """The answer starts. `pause` stops the environment's socket from being read, `resume` goes on."""
        self.has_begun = True
        self.content_type = content_type
        self._pause, self._resume = pause, resume

    def room(self) -> int:
        """How many bytes may still come."""
        return MAX_BYTES - self.size

    def write(self, data: bytes) -> None:
        """Takes what the function wrote. Nothing waits here: `pause` is called when it is too much."""
        if not data:
            return
        self.size += len(data)
        if not self._is_abandoned:
            self._chunks.append(data)
            self._buffered += len(data) + _OVERHEAD
            if self._buffered >= _HIGH_WATER and not self._is_paused:
                self._is_paused = True
                self._pause()
        self._wake()

    def detach(self) -> None:
        """The function's part is over: its environment is read again, whatever the reader does."""
        self._go_on()
        self._pause = self._resume = _nothing

    def end(self) -> None:
        """Nothing comes any more: the reader gets what is left, and then its end."""
        self._has_ended = True
        self.detach()
        self._wake()

    # The reader's side

    def __aiter__(self) -> "ResponseStream":
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Cancelling loses nothing."""
        while not self._chunks:
            if self._has_ended or self._is_abandoned:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        data = self._chunks.popleft()
        self._buffered -= len(data) + _OVERHEAD
        if self._buffered <= _LOW_WATER:
            self._go_on()
        return data

    async def aclose(self) -> None:
        """The reader goes away. What comes from now on is thrown away."""
        self._is_abandoned = True
        self._chunks.clear()
        self._buffered = 0
        self._go_on()

    def _go_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._resume()

    def _wake(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
