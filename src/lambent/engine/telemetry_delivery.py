"""How events get to a subscriber inside an environment: in batches, one at a time, over HTTP or TCP.

The connections are made by the environment's launcher and handed over, since a socket belongs to the network it was
made in.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Final

import httptools

from lambent.engine.report import iso
from lambent.engine.telemetry_api import Event, Subscription

Connect = Callable[[int, Callable[[socket.socket | None], None]], None]
"""Asks for a connection to a port inside; what is called gets it, perhaps still on its way, or None."""

_READ_BYTES: Final = 65_536
_MOST_ANSWER_BYTES: Final = 1_048_576  # of all answers that a subscriber gives to one batch
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_MOST_TRIES: Final = 10  # then a batch counts as dropped
_DROPPED: Final = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."


class Subscriber:
    """One subscription, its buffer, and the batch on its way.

    The buffer holds at most what the subscription allows while a batch is on its way; what comes then is dropped,
    counted, and told with the next batch.
    """

    def __init__(self, subscription: Subscription, connect: Connect, now: Callable[[], float]) -> None:
        self._wanted = subscription
        self._connect = connect
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._items: list[bytes] = []
        self._bytes = 0
        self._dropped_items = 0
        self._dropped_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._batch: list[bytes] = []  # on its way
        self._tries = 0
        self._link: _Link | None = None
        self._is_open = True

    def put(self, event: Event) -> None:
        """Takes an event, if the subscription is for it."""
        for shown in self._wanted.shown(event):
            self._add(json.dumps(shown, separators=(",", ":")).encode())

    def flush(self) -> None:
        """Sends what is there, unless a batch is on its way."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._batch or not self._is_open or not (self._items or self._dropped_items):
            return
        if self._dropped_items:
            self._items.append(self._dropped_event())
        self._batch, self._items, self._bytes, self._tries = self._items, [], 0, 0
        self._try()

    def close(self) -> None:
        """Forgets what is left."""
        self._is_open = False
        if self._timer:
            self._timer.cancel()
        if self._link:
            self._link.close()

    def _add(self, item: bytes) -> None:
        is_full = len(self._items) >= self._wanted.max_items or self._bytes + len(item) > self._wanted.max_bytes
        if is_full and not self._batch:
            self.flush()
        elif is_full:
            self._dropped_items += 1
            self._dropped_bytes += len(item)
            return
        self._items.append(item)
        self._bytes += len(item)
        if self._timer is None and self._is_open:
            self._timer = self._loop.call_later(self._wanted.timeout_ms / 1000, self.flush)

    def _dropped_event(self) -> bytes:
        counts = {"droppedRecords": self._dropped_items, "droppedBytes": self._dropped_bytes}
        self._dropped_items = self._dropped_bytes = 0
        record = {"reason": _DROPPED, **counts}
        return json.dumps({"time": iso(self._now()), "type": "platform.logsDropped", "record": record}).encode()

    def _try(self) -> None:
        if not self._is_open:
            return
        if self._link:
            self._link.send(self._message())
        else:
            self._connect(self._wanted.port, self._connected)

    def _connected(self, sock: socket.socket | None) -> None:
        if sock and not self._is_open:
            sock.close()
        elif sock:
            self._link = _Link(sock, self._wanted.protocol == "HTTP", self._done)
            self._link.send(self._message())
        else:
            self._done(was_taken=False)

    def _message(self) -> bytes:
        if self._wanted.protocol == "TCP":
            return b"".join(item + b"\n" for item in self._batch)
        body = b"[" + b",".join(self._batch) + b"]"
        head = (
            f"{self._wanted.method} {self._wanted.path} HTTP/1.1\r\n"
            f"Host: sandbox.localdomain:{self._wanted.port}\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _done(self, *, was_taken: bool) -> None:
        if self._link and not (was_taken and self._wanted.protocol == "TCP"):
            self._link.close()
            self._link = None
        if not self._is_open:
            return
        self._tries += 1
        if not was_taken and self._tries < _MOST_TRIES:
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._tries)
            self._loop.call_later(pause_s, self._try)
            return
        if not was_taken:
            self._dropped_items += len(self._batch)
            self._dropped_bytes += sum(map(len, self._batch))
        self._batch = []
        if self._items and self._timer is None:
            self._timer = self._loop.call_later(self._wanted.timeout_ms / 1000, self.flush)


class _Link:
    """One connection: sends a message, and for HTTP reads the answer."""

    def __init__(self, sock: socket.socket, is_http: bool, done: Callable[..., None]) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._is_http = is_http
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._unsent = memoryview(b"")
        self._received = 0
        self._parser = httptools.HttpResponseParser(self) if is_http else None

    def send(self, data: bytes) -> None:
        self._unsent = memoryview(data)
        self._loop.add_writer(self._socket.fileno(), self._write)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket.fileno())
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def on_headers_complete(self) -> None:
        """Called by httptools. A body says nothing more, and may have no end but the connection's."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status >= 200:
            self._done(was_taken=status < 300)

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._done(was_taken=False)
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            return
        self._loop.remove_writer(self._socket.fileno())
        if self._is_http:
            self._loop.add_reader(self._socket.fileno(), self._read)
        else:
            self._done(was_taken=True)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += len(data)
        if not data or self._received > _MOST_ANSWER_BYTES:
            self._done(was_taken=False)
            return
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._socket.fileno() >= 0:
                self._done(was_taken=False)
