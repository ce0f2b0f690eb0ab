"""The HTTP server at an environment's own address, 169.254.100.1:9001: who in there asks for what.

The Runtime API answers there where a runtime speaks it; extensions, telemetry and metadata answer in every
environment.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from lambent.engine.http_connection import Connection

_MAX_CONNECTIONS: Final = 64  # a runtime needs one, an extension too; more are closed at once
_DRAIN_READS: Final = 256  # a socket's buffers hold less than this

Serve = Callable[[Connection], None]
Route = Callable[[str], Serve | None]
"""From a path to who answers there."""


class InsideApi:
    """Accepts connections and has `route` say who answers each request. Owns the listening socket."""

    def __init__(self, listening: socket.socket, route: Route) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()

    def listen(self) -> None:
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def drain(self) -> None:
        """Reads what is there now, but not without end."""
        for connection in list(self._connections):
            for _turn in range(_DRAIN_READS):
                if not connection.read():
                    break

    def close(self) -> None:
        """Twice is once."""
        if self._listening.fileno() < 0:
            return
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
        for connection in list(self._connections):
            connection.close()

    # What a connection brings

    def has_head(self, connection: Connection) -> bool:
        """Every body is collected."""
        return False

    def chunk(self, data: bytes) -> None:
        raise AssertionError("no body is passed on as it comes")

    def serve(self, connection: Connection) -> None:
        """Answers a request."""
        path = connection.path
        answer = self._route(path)
        if answer:
            answer(connection)
        else:
            connection.refuse(404, "NotFound", f"There is no {path[:200]} here.")

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def _accept(self) -> None:
        try:
            sock, _address = self._listening.accept()
        except OSError:
            return
        if len(self._connections) >= _MAX_CONNECTIONS:
            sock.close()
            return
        self._connections.add(Connection(sock, self))
