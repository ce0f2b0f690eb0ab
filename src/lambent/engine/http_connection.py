"""One HTTP connection of a process inside an environment: requests one after the other, kept alive between them.

What comes over it comes from the function or an extension: each length is bounded, and a wrong request is answered,
not obeyed.
"""

import asyncio
import json
import socket
from functools import lru_cache
from typing import Final, Protocol

import httptools

from lambent.engine.outbox import Outbox
from lambent.engine.report import MAX_RESPONSE_BYTES

_MAX_HEAD_BYTES: Final = 1_048_576 + 65_536  # Lambda-Runtime-Function-XRay-Error-Cause may be 1 MB
_MAX_FIELDS: Final = 128  # headers or trailers of one request; more are not looked at
_READ_BYTES: Final = 65_536
_REASONS: Final = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
}
_HEADS: Final = {
    status: f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n" for status, reason in _REASONS.items()
}
ACCEPTED: Final = b'{"status":"OK"}\n'
Headers = list[tuple[str, str]]


class Server(Protocol):
    """Who answers what comes over connections."""

    def has_head(self, connection: "Connection") -> bool:
        """The head of a request is there; whether its body goes to `chunk` as it comes."""

    def chunk(self, data: bytes) -> None: ...
    def serve(self, connection: "Connection") -> None: ...
    def forget(self, connection: "Connection") -> None: ...


class Connection:
    """Reads requests and sends answers. Owns the socket."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(sock)
        self._parser = httptools.HttpRequestParser(self)
        self._silent_bytes = 0  # since the parser last gave us something: it keeps lines until they are whole
        self._in_head = True
        self._is_paused = False
        self._is_streaming = False
        self._url = b""
        self.method = ""
        self.headers: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.body = bytearray()
        self.is_too_long = False
        self._loop.add_reader(sock.fileno(), self.read)

    def read(self) -> bool:
        """Parses what is there now. Whether there was something."""
        if self._socket.fileno() < 0:
            return False
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._silent_bytes += len(data)
        if not data or self._silent_bytes > _MAX_HEAD_BYTES:
            self.close()
            return False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.refuse(400, "BadRequest", "The request is not HTTP.")
            self.close()
        return True

    def pause(self) -> None:
        self._is_paused = True
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())

    def resume(self) -> None:
        if self._is_paused and self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self.read)
        self._is_paused = False

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._server.forget(self)
        self._loop.remove_reader(self._socket.fileno())
        self._outbox.close()
        self._socket.close()

    def answer(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        """Sends a JSON answer."""
        head = _HEADS[status]
        for name, value in headers or ():
            # A trace header or client context comes from whoever invoked: it must not end the line.
            text = value if value.isprintable() else value.translate(_ONE_LINE)
            head += f"{name}: {text}\r\n"
        if self._socket.fileno() >= 0:
            self._outbox.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def refuse(self, status: int, kind: str, text: str) -> None:
        self.answer(status, json.dumps({"errorMessage": text, "errorType": kind}).encode())

    # What httptools calls

    def on_message_begin(self) -> None:
        self._url, self.headers, self.trailers = b"", {}, {}
        self.body, self.is_too_long, self._is_streaming = bytearray(), False, False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self.headers if self._in_head else self.trailers
        if len(fields) < _MAX_FIELDS:
            fields[_known_name(name)] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_head, self._silent_bytes = False, 0
        if "expect" in self.headers and self.headers["expect"].lower() == "100-continue":
            self._outbox.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.method = self._parser.get_method().decode()
        self._is_streaming = self._server.has_head(self)

    def on_body(self, data: bytes) -> None:
        self._silent_bytes = 0
        if self._is_streaming:
            self._server.chunk(data)
            return
        if len(self.body) + len(data) > MAX_RESPONSE_BYTES:
            self.is_too_long = True
            self.body.clear()
        if not self.is_too_long:
            self.body += data

    def on_message_complete(self) -> None:
        self._in_head, self._silent_bytes = True, 0
        self._server.serve(self)

    @property
    def is_open(self) -> bool:
        return self._socket.fileno() >= 0

    @property
    def path(self) -> str:
        return self._url.partition(b"?")[0].decode("latin-1")

    def is_method(self, wanted: str) -> bool:
        """Whether it is this method; any other is refused here."""
        if self.method != wanted:
            self.refuse(405, "MethodNotAllowed", f"{self.method} is not {wanted}.")
        return self.method == wanted


@lru_cache(1024)
def _known_name(name: bytes) -> str:
    """In lower case. Runtimes send the same few."""
    return name.decode("latin-1").lower()


_ONE_LINE: Final = {10: " ", 13: " ", 0: " "}
