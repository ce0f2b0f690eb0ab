"""The sockets behind the front: ours, and those inside environments."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Final

from lambent.gateway.connection import Application, Connection, Shared
from lambent.observe.log import Log

# How long a connection may take for the head of a request: longer than the pools of the SDKs keep one before they look.
_IDLE_S: Final = 75.0
_BACKLOG: Final = 2048


class Gateway:
    """Serves an application on an address, and on sockets that are handed in."""

    def __init__(self, outside: Application, inside: Application, shared: Shared) -> None:
        self._loop = asyncio.get_running_loop()
        self._shared = shared
        self._outside = outside
        self._inside = inside
        self._server: asyncio.Server | None = None
        self.port = 0
        """The port that is listened on, once `listen` is done."""
        self._tick()

    @classmethod
    @asynccontextmanager
    async def open(cls, outside: Application, inside: Application, log: Log) -> AsyncIterator["Gateway"]:
        """A gateway with two doors: `outside` on its address, `inside` on adopted sockets.

        Leaving the block closes every connection; `drain` first, to let requests finish.
        """
        async with asyncio.TaskGroup() as tasks:
            gateway = cls(outside, inside, Shared(tasks, log))
            ticking = tasks.create_task(gateway._keep_time(), name="gateway.time")
            try:
                yield gateway
            finally:
                ticking.cancel()
                gateway._close()

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on a bound socket."""
        self.port = sock.getsockname()[1]
        self._server = await self._loop.create_server(
            lambda: Connection(self._outside, self._shared), sock=sock, backlog=_BACKLOG
        )

    def adopt(self, sock: socket.socket) -> Callable[[], None]:
        """Serve a listening socket of an environment's network namespace, until the returned function is called.

        Nothing but a read watch is set up until the function's first connection: most never make one.
        """
        sock.setblocking(False)
        started: list[asyncio.Task[None]] = []

        def first_connection() -> None:
            self._loop.remove_reader(sock.fileno())
            started.append(self._shared.tasks.create_task(self._serve(sock), name="gateway.environment"))

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
        self._stop_listening()
        running = self._running()
        if running:
            await asyncio.wait(running, timeout=grace_s)
        for task in self._running():
            task.cancel()

    async def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # its environment ended while it was asked for
            server = await self._loop.create_server(lambda: Connection(self._inside, self._shared), sock=sock)
            try:
                await self._loop.create_future()
            finally:
                server.close()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        self._shared.is_draining = True
        for connection in list(self._shared.open):
            connection.shut_down()

    def _running(self) -> "set[asyncio.Task[None]]":
        return {connection.task for connection in self._shared.open if connection.task}

    def _close(self) -> None:
        self._stop_listening()
        for connection in list(self._shared.open):
            connection.stop()

    def _tick(self) -> None:
        self._shared.date = f"date: {formatdate(time.time(), usegmt=True)}\r\n"
        idle, now = self._shared.idle, self._loop.time()
        while idle and now - next(iter(idle.values())) > _IDLE_S:
            connection = next(iter(idle))
            del idle[connection]
            connection.close()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._tick()
