"""What the parent of an environment's runtime and extensions says, and the word that lets the runtime start.

Frames over the control socket, as the runtime speaks them elsewhere: a 5-byte header (`!IB`) and JSON.
"""

import asyncio
import collections
import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from lambent.engine.frames import frame
from lambent.engine.outbox import Outbox
from lambent.engine.telemetry_delivery import as_connection

START: Final = 3
CONNECT: Final = 4
EXITED: Final = 24
CONNECTED: Final = 25

_HEAD: Final = struct.Struct("!IB")
_READ_BYTES: Final = 4096
_MOST_DESCRIPTORS: Final = 8  # that may wait here: there is one for each frame
_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_PORT: Final = struct.Struct("!H")
_MOST_BYTES: Final = 4096  # of one frame: it holds a file's name and a number


class Supervision:
    """The control socket of an environment with external extensions. Who owns the socket closes it after this."""

    def __init__(self, control: socket.socket, on_exited: Callable[[str, int], None]) -> None:
        control.setblocking(False)
        self._control = control
        self._on_exited = on_exited
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(control)
        self._buffer = bytearray()
        self._is_open = False
        self._descriptors: list[int] = []  # which came and belong to a frame that is not taken yet
        self._asked: collections.deque[Callable[[socket.socket | None], None]] = collections.deque()

    def open(self) -> None:
        """Starts to listen."""
        self._is_open = True
        self._loop.add_reader(self._control.fileno(), self.read)

    def start_runtime(self) -> None:
        """Every extension has registered."""
        if self._is_open:
            self._outbox.send(frame(START, b""))

    def connect(self, port: int, then: Callable[[socket.socket | None], None]) -> None:
        """Asks for a connection to a listener inside; `then` gets it, or None."""
        if self._is_open:
            self._asked.append(then)
            self._outbox.send(frame(CONNECT, _PORT.pack(port)))

    def read(self) -> None:
        """Takes what is there now. What is no such frame comes from a process that is no parent any more."""
        if not self._is_open:
            return
        try:
            data, descriptors, _flags, _address = socket.recv_fds(
                self._control, _READ_BYTES, _MOST_DESCRIPTORS, _CLOSE_ON_EXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        self._buffer += data
        if not data or len(self._descriptors) > _MOST_DESCRIPTORS:
            self.close()
        while self._is_open and len(self._buffer) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._buffer)
            end = _HEAD.size + length
            if length > _MOST_BYTES:
                self.close()
            elif len(self._buffer) < end:
                return
            else:
                said = bytes(self._buffer[_HEAD.size : end])
                del self._buffer[:end]
                self._take(kind, said)

    def close(self) -> None:
        """Listens no more. Twice is once."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._control.fileno())
            self._outbox.close()
            for descriptor in self._descriptors:
                os.close(descriptor)
            self._descriptors = []

    def _take(self, kind: int, said: bytes) -> None:
        if kind == CONNECTED:
            given = as_connection(self._descriptors.pop(0)) if self._descriptors and said == b"1" else None
            if self._asked:
                self._asked.popleft()(given)
            elif given:
                given.close()
            return
        message = _decoded(said) if kind == EXITED else {}
        name, status = message.get("name"), message.get("status")
        if isinstance(name, str) and isinstance(status, int):
            self._on_exited(name, status)


def _decoded(said: bytes) -> dict[str, Any]:
    try:
        message = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
