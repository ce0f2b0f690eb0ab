"""Sending over a non-blocking socket from the loop's callbacks, without a task."""

import asyncio
import socket


class Outbox:
    """Sends what it is given, at once as far as the socket takes it, the rest as it takes more.

    A peer that is gone is no error here: who owns the socket learns it by reading. What waits is bounded by the
    owner, which sends one message at a time.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._unsent = memoryview(b"")

    def send(self, data: bytes) -> None:
        if self._unsent:
            self._unsent = memoryview(bytes(self._unsent) + data)
            return
        sent = self._write(data)
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def close(self) -> None:
        """Forgets what was not sent. Call it before the socket is closed."""
        if self._unsent:
            self._unsent = memoryview(b"")
            self._loop.remove_writer(self._socket.fileno())

    def _writable(self) -> None:
        self._unsent = self._unsent[self._write(self._unsent) :]
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _write(self, data: bytes | memoryview) -> int:
        """How many bytes are off our hands."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)
