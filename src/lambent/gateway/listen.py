"""The sockets behind the front: uvicorn's HTTP protocol on ours and on those inside environments.

uvicorn's own `Server` is not used: it owns signals and one set of sockets, and here the node does.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any, Final

from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

Application = Callable[..., Any]

# Request line and headers together. AWS's load balancers take 64 KB; a Lambda client context has at most 3.5 KB.
_MAX_HEAD: Final = 64 * 1024
_HEAD_TIMEOUT_S: Final = 60.0  # how long a new connection may take for its first request
_KEEP_ALIVE_S: Final = 75  # longer than the pools of the SDKs keep an idle connection before they look
_BACKLOG: Final = 2048


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol, with limits on what comes before a body."""

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(_HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_head_timer()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > _MAX_HEAD:
            raise ValueError("the head is too large")  # the parser gives up, and the client gets a 400
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD and not self.transport.is_closing():
                self.send_400_response("Request header is too large.")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Gateway:
    """Serves an application on an address, and on sockets that are handed in."""

    def __init__(self, outside: Application, inside: Application, tasks: asyncio.TaskGroup) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks
        self._state = ServerState()
        self._outside = _loaded(outside)
        self._inside = _loaded(inside)
        self._server: asyncio.Server | None = None
        self.port = 0
        """The port that is listened on, once `listen` is done."""
        self._tick()

    @classmethod
    @asynccontextmanager
    async def open(cls, outside: Application, inside: Application) -> AsyncIterator["Gateway"]:
        """A gateway with two doors: `outside` on its address, `inside` on adopted sockets.

        Leaving the block closes every connection; `drain` first, to let requests finish.
        """
        async with asyncio.TaskGroup() as tasks:
            gateway = cls(outside, inside, tasks)
            ticking = tasks.create_task(gateway._keep_date(), name="gateway.date")
            try:
                yield gateway
            finally:
                ticking.cancel()
                gateway._close()

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on a bound socket."""
        self.port = sock.getsockname()[1]
        self._server = await self._loop.create_server(
            lambda: self._connection(self._outside), sock=sock, backlog=_BACKLOG
        )

    def adopt(self, sock: socket.socket) -> Callable[[], None]:
        """Serve a listening socket of an environment's network namespace, until the returned function is called.

        Nothing but a read watch is set up until the function's first connection: most never make one.
        """
        sock.setblocking(False)
        started: list[asyncio.Task[None]] = []

        def first_connection() -> None:
            self._loop.remove_reader(sock.fileno())
            started.append(self._tasks.create_task(self._serve(sock), name="gateway.environment"))

        def close() -> None:
            if started:
                started[0].cancel()
                started[0].add_done_callback(lambda _done: sock.close())
            elif sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
                sock.close()

        self._loop.add_reader(sock.fileno(), first_connection)
        return close

    async def drain(self, grace_s: float) -> None:
        """Stop accepting; requests in progress have `grace_s` seconds to end, then they are cancelled."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        running = set(self._state.tasks)
        if running:
            await asyncio.wait(running, timeout=grace_s)
        for task in set(self._state.tasks):
            task.cancel()

    async def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # its environment ended while it was asked for
            server = await self._loop.create_server(lambda: self._connection(self._inside), sock=sock)
            try:
                await self._loop.create_future()
            finally:
                server.close()

    def _connection(self, config: UvicornConfig) -> asyncio.Protocol:
        return _Connection(config=config, server_state=self._state, app_state={}, _loop=self._loop)

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.close()

    def _tick(self) -> None:
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]

    async def _keep_date(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._tick()


def _loaded(app: Application) -> UvicornConfig:
    # Unreadable requests are the client's; uvicorn would warn of each.
    log = logging.getLogger("uvicorn.error")
    log.setLevel(logging.ERROR)
    log.addFilter(_is_no_cut_off)
    config = UvicornConfig(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody is trusted to say who somebody else is
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    config.load()
    return config


def _is_no_cut_off(record: logging.LogRecord) -> bool:
    """A streamed answer whose function fails breaks off on purpose: uvicorn would tell of each."""
    return "without completing response" not in str(record.msg)
