"""One client's connection: requests are read with httptools, handed on, and answered one after the other.

A request is handed to the application when its head is there; the application reads the body, and returns the
response, which goes out in one write. What a server owes its clients is here: keep-alive, pipelining, 100-continue,
limits on what comes before a body, and waiting, in both directions, for whoever is slower.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from re import compile as pattern
from typing import Any, Final, cast

import httptools

from lambent.gateway.body import Disconnected, Read
from lambent.observe.log import Log
from lambent.protocol.http import CutOffError, HttpRequest, HttpResponse

Application = Callable[[HttpRequest, Read], Awaitable[HttpResponse]]
"""Answers a request, whose body is still to be read."""

# Request line and headers together. AWS's load balancers take 64 KB; a Lambda client context has at most 3.5 KB.
_MAX_HEAD: Final = 64 * 1024
_MAX_UNREAD: Final = 64 * 1024  # of a body that the application has not asked for yet; then the client waits
_MAX_JOINED: Final = 64 * 1024  # a larger body is not copied behind its head
_CONTROL: Final = pattern(r"[\x00-\x08\x0a-\x1f\x7f]")
_NAME: Final = pattern(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_NO_BODY: Final = (204, 304)
_OURS: Final = ("content-length: ", "transfer-encoding: ")  # we know better how long a body is


@dataclass(slots=True, eq=False)
class Shared:
    """What the connections of a gateway have together."""

    tasks: asyncio.TaskGroup
    log: Log
    date: str = ""
    """A line of each response's head."""
    open: "set[Connection]" = field(default_factory=set)
    idle: "dict[Connection, float]" = field(default_factory=dict)
    """Those that wait for a request's head, and since when on the loop's clock, the longest first."""
    is_draining: bool = False


class Exchange:
    """A request on a connection, and what of its body has come and was not read yet."""

    __slots__ = ("_body", "_connection", "_waiter", "expects", "is_whole", "keeps_alive", "request")

    def __init__(self, connection: "Connection", request: HttpRequest, *, keeps_alive: bool, expects: bool) -> None:
        self._connection = connection
        self.request = request
        self.keeps_alive = keeps_alive
        self.expects = expects  # to be told that its body is wanted
        self.is_whole = False
        self._body = b""
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> tuple[bytes, bool]:
        """`body.Read`: what has come since the last time, at least a byte or the end; whether more follows."""
        connection = self._connection
        if not self._body and not self.is_whole:
            if self.expects:
                self.expects = False
                connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.resume_reading()
            if not connection.is_lost:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            if connection.is_lost and not self.is_whole:
                raise Disconnected
        body, self._body = self._body, b""
        return body, not self.is_whole

    def take(self, data: bytes) -> None:
        """A part of the body has come."""
        self._body += data
        if len(self._body) > _MAX_UNREAD:
            self._connection.pause_reading()
        self.wake()

    def wake(self) -> None:
        """Whoever reads may look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """Reads requests for `app` and writes its responses."""

    is_lost = False
    _transport: asyncio.Transport

    def __init__(self, app: Application, shared: Shared) -> None:
        self._app = app
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        # A client that said Connection: close may have sent more; it does not get a 400 for that.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._client = ""
        self._in_head = True
        self._head_bytes = 0  # in chunks that ended within the head
        self._chunk_bytes = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._arriving: Exchange | None = None  # whose body is coming
        self._current: Exchange | None = None  # that is being answered
        self._waiting: deque[Exchange] = deque()  # at most those of one chunk: then reading pauses
        self._task: asyncio.Task[None] | None = None  # answers, as long as the connection lasts
        self._called: asyncio.Future[None] | None = None  # while it waits for a request
        self._has_begun = False  # to answer the current one
        self._is_streaming = False
        self._stop: Callable[[], object] | None = None  # what is only waited for: see `when_left`
        self._is_refused = False
        self._is_paused = False  # reading
        self._room: asyncio.Future[None] | None = None  # while the client reads slower than we write

    # What asyncio says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        self._shared.open.add(self)
        self._shared.idle[self] = self._loop.time()
        self._task = self._shared.tasks.create_task(self._serve())

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.open.discard(self)
        self._shared.idle.pop(self, None)
        self._waiting.clear()
        self._lose()

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        was_in_head, self._chunk_bytes = self._in_head, len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # we stay with HTTP/1.1, as a server may
            if rest := data[upgrade.args[0] :]:
                self.data_received(rest)
            return
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
            return
        if self._in_head and was_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD:
                self._refuse("Request header is too large.")

    # What httptools says

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._url, self._headers = b"", {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        headers, key, text = self._headers, _known_name(name), value.decode("latin-1")
        if key in headers:
            between = "; " if key == "cookie" else ","
            text = f"{headers[key]}{between}{text}"
        headers[key] = text

    def on_headers_complete(self) -> None:
        self._in_head = False
        headers, url, parser = self._headers, self._url, self._parser
        if self._chunk_bytes > _MAX_HEAD and len(url) + sum(map(len, (*headers, *headers.values()))) > _MAX_HEAD:
            raise ValueError("the head is too large")  # the parser gives up, and the client gets a 400
        if not url.startswith(b"/") or b"#" in url:
            parts = httptools.parse_url(url)
            url = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
        path, _, query = url.decode("latin-1").partition("?")
        version = parser.get_http_version()
        exchange = self._arriving = Exchange(
            self,
            HttpRequest(
                parser.get_method().decode("ascii"), path, query, headers, b"", version, self._client, self.when_left
            ),
            keeps_alive=version != "1.0" and parser.should_keep_alive(),
            expects=headers.get("expect", "").lower() == "100-continue",
        )
        if self._current is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        if self._arriving is not None:
            self._arriving.take(body)

    def on_message_complete(self) -> None:
        if self._arriving is not None:
            self._arriving.is_whole = True
            self._arriving.wake()
            self._arriving = None

    # Answering

    def when_left(self, stop: Callable[[], object]) -> None:
        """Calls this when the client goes away, or the node stops, before the request being answered has its answer."""
        if self.is_lost:
            stop()
        else:
            self._stop = stop

    def shut_down(self) -> None:
        """Ends it: now, or when the request that is being answered has its answer."""
        if self._current is None:
            self.close()
        elif self._stop is not None:
            self._stop()
        self._waiting.clear()

    def close(self) -> None:
        """Ends it when what is written has gone out."""
        self._transport.close()

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """What answers a request now."""
        return self._task if self._current is not None else None

    def pause_reading(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and not self.is_lost and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if not self.is_lost:
            self._transport.write(data)

    def stop(self) -> None:
        """Ends it now, whatever it is doing."""
        if self._task is not None:
            self._task.cancel()
        self.close()

    def _begin(self, exchange: Exchange) -> None:
        self._shared.idle.pop(self, None)
        self._current = exchange
        self._wake()

    def _wake(self) -> None:
        if self._called is not None and not self._called.done():
            self._called.set_result(None)

    async def _serve(self) -> None:
        """Answers one request after the other: a task for each would cost more than the reading of it."""
        while not self.is_lost:
            if self._current is not None:
                await self._answer(self._current)
            else:
                self._called = self._loop.create_future()
                await self._called

    async def _answer(self, exchange: Exchange) -> None:
        try:
            response = await self._app(exchange.request, exchange.read)
            if self._room is not None:
                await self._room
            self._respond(exchange, response)
            if response.chunks is not None:
                await self._stream(exchange, response.chunks, response.length)
        except (Disconnected, CutOffError):
            exchange.keeps_alive = False
        except asyncio.CancelledError:  # the node stops, or nobody is there to read on
            self.close()
            raise
        except Exception:  # of the application, or of what makes its chunks: this client's alone
            self._shared.log.error("gateway.failed", path=exchange.request.path)
            exchange.keeps_alive = False
            if not self._has_begun:
                self._respond(exchange, HttpResponse(500, [("content-type", "text/plain")], b"Internal Server Error"))
        self._next(exchange)

    def _next(self, exchange: Exchange) -> None:
        self._current, self._has_begun, self._stop = None, False, None
        if self._arriving is exchange:
            self._arriving = None  # nobody wants the rest of its body
        if self.is_lost:
            return
        if not exchange.keeps_alive or self._is_refused or self._shared.is_draining:
            self.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self.resume_reading()
            self._shared.idle[self] = self._loop.time()

    def _lose(self) -> None:
        """Nobody is there any more. What was asked for goes on; whoever waits for the client is told."""
        self.is_lost = True
        self._wake()
        self.resume_writing()
        if self._current is not None:
            self._current.wake()
        if self._stop is not None:
            self._stop()
        if self._is_streaming and self._task is not None:
            self._task.cancel()

    def _respond(self, exchange: Exchange, response: HttpResponse) -> None:
        """Writes the head, and the body if it is there."""
        has_length = response.status not in _NO_BODY
        lines = [_STATUS.get(response.status) or f"HTTP/1.1 {response.status} \r\n", self._shared.date]
        for name, value in response.headers:
            start = _header_start(name)
            if start in _OURS:
                continue
            if start == "connection: " and "close" in value.lower():
                exchange.keeps_alive = False
                continue
            if not value.isprintable() and _CONTROL.search(value):
                raise ValueError(f"the value of the header {name} cannot be sent")
            lines.append(f"{start}{value}\r\n")
        if not exchange.keeps_alive:
            lines.append("connection: close\r\n")
        if has_length and response.length is not None:
            lines.append(f"content-length: {response.length}\r\n")
        elif has_length and response.chunks is None:
            lines.append(f"content-length: {len(response.body)}\r\n")
        elif has_length and exchange.request.version != "1.0":
            lines.append("transfer-encoding: chunked\r\n")
        lines.append("\r\n")
        head = "".join(lines).encode("latin-1")
        body = response.body if has_length and exchange.request.method != "HEAD" else b""
        self._has_begun, self._stop = True, None
        if len(body) <= _MAX_JOINED:
            self.write(head + body)
        else:
            self.write(head)
            self.write(body)

    async def _stream(self, exchange: Exchange, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """Writes each chunk when it comes. When the client goes away this task is cancelled, and the chunks closed."""
        is_chunked = exchange.request.version != "1.0" and length is None
        self._is_streaming = True
        if self.is_lost and self._task is not None:
            self._task.cancel()  # not before the first chunk is asked for: a generator that never began is not told
        try:
            async for chunk in chunks:
                if chunk:
                    self.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
                if self._room is not None:
                    await self._room
        finally:
            self._is_streaming = False
            close: Any = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        if is_chunked:
            self.write(b"0\r\n\r\n")
        elif length is None:
            exchange.keeps_alive = False

    def _refuse(self, text: str) -> None:
        """Nothing more that comes can be understood. Who waits for an answer gets that first."""
        self._is_refused = True
        self._waiting.clear()
        if self._current is not None and self._current is not self._arriving:
            return
        if not self._has_begun:
            head = f"{_STATUS[400]}{self._shared.date}content-type: text/plain; charset=utf-8\r\n"
            self.write(f"{head}content-length: {len(text)}\r\nconnection: close\r\n\r\n{text}".encode())
        self.close()
        self._lose()  # the body that was coming will never be whole


@lru_cache(1024)
def _known_name(name: bytes) -> str:
    """The name of a request's header, in lower case. Clients send the same few."""
    return name.decode("latin-1").lower()


@lru_cache(1024)
def _header_start(name: str) -> str:
    """How a response's header begins. ValueError for what is no name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")
    return f"{name.lower()}: "
