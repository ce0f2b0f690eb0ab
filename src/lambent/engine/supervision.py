"""What the parent of an environment's runtime and extensions says, and the word that lets the runtime start.

Frames over the control socket, as the runtime speaks them elsewhere: a 5-byte header (`!IB`) and JSON.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from lambent.engine.frames import frame
from lambent.engine.outbox import Outbox

START: Final = 3
KILL: Final = 4
EXITED: Final = 24

_HEAD: Final = struct.Struct("!IB")
_READ_BYTES: Final = 4096
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

    def open(self) -> None:
        """Starts to listen."""
        self._is_open = True
        self._loop.add_reader(self._control.fileno(), self.read)

    def start_runtime(self) -> None:
        """Every extension has registered."""
        if self._is_open:
            self._outbox.send(frame(START, b""))

    def kill(self, name: str) -> None:
        """Ends a process: an extension by its name, the runtime by none."""
        if self._is_open:
            self._outbox.send(frame(KILL, name.encode()))

    def read(self) -> None:
        """Takes what is there now. What is no such frame comes from a process that is no parent any more."""
        if not self._is_open:
            return
        try:
            data = self._control.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._buffer += data
        if not data:
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

    def _take(self, kind: int, said: bytes) -> None:
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
