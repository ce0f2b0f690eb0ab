"""From the bytes that an environment writes to the events of its log stream.

A printed line is an event. A frame (type 0xA55A00.., length, microseconds, text), which runtimes write for log
records and tracebacks, is one event however many lines it has. Both share one pipe: a frame's first byte cannot
begin a UTF-8 character.

Source: the framing of AWS's runtime clients (`_LAMBDA_TELEMETRY_LOG_FD`); CloudWatch Logs quotas.
"""

import asyncio
import os
import select
from collections.abc import Callable
from typing import Final

MAX_EVENT_BYTES: Final = 1_048_576 - 26
"""The longest event that CloudWatch Logs takes; longer lines are split. Source: CloudWatch Logs quotas."""

_MAGIC: Final = b"\xa5\x5a\x00"
_HEAD: Final = 16
_FROM_EXTENSION: Final = 0x04  # the fourth byte of a frame that the parent of extensions writes
_READ_BYTES: Final = 65_536
_OLDEST_MS: Final = 900_000  # a frame's time is the function's claim: not before the longest invocation began

# An environment that floods its log is read no faster than this, then waits in its own write: nothing is lost, and
# the node's memory stays bounded. 40 MB/s is more than a function usefully logs.
_WINDOW_S: Final = 0.1
_WINDOW_BYTES: Final = 4 * 1_048_576

Event = tuple[int, str]
"""Milliseconds since the epoch, and the message with its line end."""


class ExtensionText(str):
    """A message that an extension wrote, not the function."""

    __slots__ = ()


class LogParser:
    """Cuts a stream of bytes into events. Pure. Keeps at most one event's bytes.

    With `with_extensions`, what extensions wrote is an `ExtensionText`.
    """

    def __init__(self) -> None:
        self._rest = b""  # may be the beginning of a frame's head
        self._line = bytearray()
        self._frame = bytearray()
        self._frame_left = 0
        self._frame_ms = 0
        self.with_extensions = False
        self._is_extensions = False

    def feed(self, data: bytes, now_ms: int) -> list[Event]:
        """The events that are whole now. A frame's own time holds, kept within reason; a line's time is `now_ms`."""
        events: list[Event] = []
        rest = self._rest + data if self._rest else data
        self._rest = b""
        while rest:
            if self._frame_left:
                rest = self._take_frame(rest, events)
                continue
            at = rest.find(_MAGIC)
            if at < 0:
                keep = _overlap(rest)
                self._take_lines(rest[: len(rest) - keep], now_ms, events)
                self._rest = rest[len(rest) - keep :]
                break
            self._take_lines(rest[:at], now_ms, events)
            if len(rest) - at < _HEAD:
                self._rest = rest[at:]
                break
            self._is_extensions = self.with_extensions and rest[at + 3] == _FROM_EXTENSION
            self._frame_left = int.from_bytes(rest[at + 4 : at + 8], "big")
            claimed_ms = int.from_bytes(rest[at + 8 : at + _HEAD], "big") // 1000
            self._frame_ms = min(max(claimed_ms, now_ms - _OLDEST_MS), now_ms)
            rest = rest[at + _HEAD :]
        return events

    @property
    def has_partial_line(self) -> bool:
        return bool(self._line)

    def flush(self, now_ms: int) -> list[Event]:
        """What is left without an end: a partial line, before the environment is frozen or gone."""
        events: list[Event] = []
        if self._line:
            _emit(self._line, now_ms, events)
            self._line.clear()
        return events

    def _take_frame(self, rest: bytes, events: list[Event]) -> bytes:
        part = rest[: self._frame_left]
        self._frame += part
        self._frame_left -= len(part)
        if not self._frame_left or len(self._frame) > MAX_EVENT_BYTES:
            first = len(events)
            _emit(self._frame, self._frame_ms, events)
            if self._is_extensions:
                events[first:] = [(moment, ExtensionText(message)) for moment, message in events[first:]]
            self._frame.clear()
        return rest[len(part) :]

    def _take_lines(self, text: bytes, now_ms: int, events: list[Event]) -> None:
        start = 0
        while (end := text.find(b"\n", start)) >= 0:
            self._line += text[start : end + 1]
            _emit(self._line, now_ms, events)
            self._line.clear()
            start = end + 1
        self._line += text[start:]
        if len(self._line) > MAX_EVENT_BYTES:
            _emit(self._line, now_ms, events)
            self._line.clear()


def _emit(data: bytearray, moment: int, events: list[Event]) -> None:
    """Appends one event, or several where it is too long. Bytes that are no UTF-8 become U+FFFD."""
    raw = bytes(data)
    while len(raw) > MAX_EVENT_BYTES:
        cut = MAX_EVENT_BYTES
        while cut > MAX_EVENT_BYTES - 4 and raw[cut] & 0xC0 == 0x80:
            cut -= 1
        events.append((moment, raw[:cut].decode("utf-8", "replace")))
        raw = raw[cut:]
    message = raw.decode("utf-8", "replace")
    events.append((moment, message if message.endswith("\n") else message + "\n"))


def _overlap(data: bytes) -> int:
    """How many bytes at the end may begin a frame."""
    if data.endswith(_MAGIC[:2]):
        return 2
    return 1 if data.endswith(_MAGIC[:1]) else 0


class LogPipe:
    """Reads an environment's output pipe and gives its events to `write`. Owns the descriptor."""

    def __init__(self, fd: int, write: Callable[[list[Event]], None], now_ms: Callable[[], int]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._write = write
        self._now_ms = now_ms
        self._parser = LogParser()
        self._loop = asyncio.get_running_loop()
        self._window_ends = 0.0
        self._window_left = _WINDOW_BYTES
        self._resume: asyncio.TimerHandle | None = None
        self._loop.add_reader(fd, self._readable)

    def tell_extensions_apart(self) -> None:
        """From now on what extensions wrote is an `ExtensionText`."""
        self._parser.with_extensions = True

    def drain(self, *, flush: bool) -> None:
        """Reads what is there now; with `flush`, ends a partial line."""
        # Bounded by what a pipe can hold, so a thread that keeps writing cannot hold us here.
        for _turn in range(16):
            if not self._has_more() or not self._read():
                break
        if flush and self._fd >= 0 and self._parser.has_partial_line:
            self._hand_on(self._parser.flush(self._now_ms()))

    def close(self) -> None:
        """Reads what is left and closes the pipe. Twice is once."""
        self.drain(flush=True)
        self._stop()

    def _readable(self) -> None:
        self._read()
        now = self._loop.time()
        if now >= self._window_ends:
            self._window_ends, self._window_left = now + _WINDOW_S, _WINDOW_BYTES
        if self._window_left <= 0 and self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._resume = self._loop.call_at(self._window_ends, self._loop.add_reader, self._fd, self._readable)

    def _has_more(self) -> bool:
        """Whether a read finds something, or the end: asking costs a third of a read that finds nothing."""
        if self._fd < 0:
            return False
        return self._poll.poll(0) != []

    def _read(self) -> bool:
        """Whether there may be more."""
        if self._fd < 0:
            return False
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._hand_on(self._parser.flush(self._now_ms()))
            self._stop()
            return False
        self._window_left -= len(data)
        self._hand_on(self._parser.feed(data, self._now_ms()))
        return len(data) == _READ_BYTES

    def _hand_on(self, events: list[Event]) -> None:
        if events:
            self._write(events)

    def _stop(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        if self._resume:
            self._resume.cancel()
        os.close(self._fd)
        self._fd = -1
