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
        self._unsent = memoryview(data)
        self._write()
        if self._unsent:
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def close(self) -> None:
        """Forgets what was not sent. Call it before the socket is closed."""
        if self._unsent:
            self._unsent = memoryview(b"")
            self._loop.remove_writer(self._socket.fileno())

    def _writable(self) -> None:
        self._write()
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
