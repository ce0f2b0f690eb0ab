"""The fast way to talk with a runtime: frames over a socketpair.

A frame is a 5-byte header (`!IB`: length, type) and a payload. Whatever comes is checked: the other end may be
hostile, and is told apart from the platform by nothing but this reader.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from lambent.engine.outbox import Outbox
from lambent.engine.report import MAX_RESPONSE_BYTES, error_type

INIT: Final = 1
INVOKE: Final = 2
READY: Final = 16
RESPONSE: Final = 17
ERROR: Final = 18
INIT_ERROR: Final = 19
STREAM: Final = 20  # the answer comes in chunks; the payload is its content type
CHUNK: Final = 21
STREAM_END: Final = 22
STREAM_ERROR: Final = 23  # ends the stream too; the payload is an error document
LEARNT: Final = 24  # what the platform wanted to know of an Init; before READY
UNSTARTABLE: Final = 26  # no program could be executed; the payload says why

_HEAD: Final = struct.Struct("!IB")
# A larger buffer is memory that the kernel has to find, and takes back, for each read: that costs five times the read.
_READ_BYTES: Final = 65_536
_DRAIN_READS: Final = 64  # a socket's buffer holds less than this


def frame(kind: int, payload: bytes) -> bytes:
    """The bytes of one frame."""
    return _HEAD.pack(len(payload), kind) + payload


class Listener(Protocol):
    """Who is told what the runtime says. Each call is synchronous and final: there is no answer."""

    def on_ready(self) -> None: ...
    def on_next(self) -> None: ...
    def on_response(self, payload: bytes) -> None: ...
    def on_error(self, document: bytes, error_type: str | None = None) -> None: ...
    def on_init_error(self, document: bytes, error_type: str | None = None) -> None: ...
    def on_unstartable(self, reason: str) -> None: ...
    def on_learnt(self, findings: bytes) -> None: ...
    def on_oversized(self) -> None: ...
    def on_stream(self, content_type: str) -> None: ...
    def on_chunk(self, data: bytes) -> None: ...
    def on_stream_end(self, error_type: str | None, document: bytes) -> None: ...
    def on_violation(self, text: str) -> None: ...


class Channel(Protocol):
    """A way to talk with a runtime: frames here, or the HTTP Runtime API."""

    @property
    def has_event(self) -> bool:
        """Whether the runtime has not taken yet the invocation that is there for it."""

    @property
    def asks(self) -> bool:
        """Whether the runtime has asked for its next invocation, since it was given its last."""

    def open(self, order: dict[str, Any]) -> None: ...
    def invoke(self, header: dict[str, Any], payload: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def drain(self) -> None: ...
    def close(self) -> None: ...


class FrameChannel:
    """Frames over `control`, read as they come and told to `listener`. Closes the socket in the end."""

    has_event: Final = False  # whoever answered reads the next frame, too
    asks = True  # after its answer our runtime does nothing but wait: its answer is its asking

    def __init__(self, control: socket.socket, listener: Listener) -> None:
        control.setblocking(False)
        self._control = control
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(control)
        self._buffer = bytearray()
        self._skip = 0  # bytes of a frame that is too long and is thrown away as it comes
        self._closed = False
        self._is_paused = False

    def open(self, order: dict[str, Any]) -> None:
        """Starts to listen, and sends the INIT frame."""
        self._loop.add_reader(self._control.fileno(), self._readable)
        self._send(INIT, json.dumps(order).encode())

    def invoke(self, header: dict[str, Any], payload: bytes) -> None:
        """Sends an INVOKE frame."""
        head = msgspec.json.encode(header)
        self._send(INVOKE, len(head).to_bytes(4, "big") + head + payload)

    def pause(self) -> None:
        """Reads no more for now: the function waits once the socket is full."""
        self._is_paused = True
        self._loop.remove_reader(self._control.fileno())

    def resume(self) -> None:
        """Reads on."""
        self._is_paused = False
        if not self._closed:
            self._loop.add_reader(self._control.fileno(), self._readable)

    def drain(self) -> None:
        """Reads what is there now, but not without end: a process that is left may go on writing."""
        for _turn in range(_DRAIN_READS):
            if self._closed or not self._read():
                break

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._control.fileno())
        self._outbox.close()
        self._control.close()

    def _send(self, kind: int, payload: bytes) -> None:
        self._outbox.send(frame(kind, payload))

    def _readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Whether something came."""
        try:
            data = self._control.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._control.fileno())
            return False
        if self._skip:
            data = self._skipped(data)
        # The usual case: one whole frame, nothing before and nothing behind it.
        if not self._buffer and len(data) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(data)
            if len(data) == _HEAD.size + length:
                self._dispatch(kind, data[_HEAD.size :])
                return True
        self._buffer += data
        self._cut()
        return True

    def _cut(self) -> None:
        """Takes whole frames off the buffer."""
        while len(self._buffer) >= _HEAD.size and not self._closed:
            length, kind = _HEAD.unpack_from(self._buffer)
            end = _HEAD.size + length
            if length > MAX_RESPONSE_BYTES:
                self._skip = max(0, end - len(self._buffer))
                del self._buffer[:end]
                if not self._skip:
                    self._listener.on_oversized()
            elif len(self._buffer) < end:
                return
            else:
                payload = bytes(memoryview(self._buffer)[_HEAD.size : end])
                del self._buffer[:end]
                self._dispatch(kind, payload)

    def _skipped(self, data: bytes) -> bytes:
        rest = data[self._skip :]
        self._skip -= len(data) - len(rest)
        if not self._skip:
            self._listener.on_oversized()
        return rest

    def _dispatch(self, kind: int, payload: bytes) -> None:
        tell: Callable[[bytes], None]
        if kind == RESPONSE:
            tell = self._listener.on_response
        elif kind == ERROR:
            tell = self._listener.on_error
        elif kind == CHUNK:
            tell = self._listener.on_chunk
        elif kind == INIT_ERROR:
            tell = self._listener.on_init_error
        elif kind == READY:
            self._listener.on_ready()
            return
        else:
            self._dispatch_stream(kind, payload)
            return
        tell(payload)

    def _dispatch_stream(self, kind: int, payload: bytes) -> None:
        if kind == LEARNT:
            self._listener.on_learnt(payload)
        elif kind == STREAM:
            self._listener.on_stream(payload.decode("latin-1"))
        elif kind == STREAM_END:
            self._listener.on_stream_end(None, b"")
        elif kind == STREAM_ERROR:
            self._listener.on_stream_end(error_type(payload) or "Unhandled", payload)
        else:
            self._listener.on_violation(f"frame type {kind}")
