"""Looking up names for environments behind a router: their questions are passed to this machine's resolvers.

Those may listen on loopback or in a private network, where functions themselves cannot go. A question is not
understood, only passed on, from a port of its own so that nobody can guess where the answer is awaited, and the first
answer with its number goes back. What is too long for a datagram comes by TCP, as everywhere.

Source: RFC 1035, section 4.2; RFC 5452, section 9; resolv.conf(5).
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_PORT: Final = 53
_HEAD_BYTES: Final = 12
_MOST_RESOLVERS: Final = 3  # as in glibc
_WAIT_S: Final = 2.0  # for one resolver; then the next is asked. Clients ask again after five
_TCP_S: Final = 10.0
_PAUSE_S: Final = 0.1
_MOST_AT_ONCE: Final = 1024
_MOST_OF_ONE: Final = 64  # so that one environment cannot use up what the others need
_CHUNK: Final = 16_384


class Resolvers:
    """The resolvers of this machine, as its resolv.conf names them now."""

    def __init__(self, path: Path = Path("/etc/resolv.conf")) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._found: list[str] = []

    def now(self) -> list[str]:
        """Their addresses, three at most; loopback when it names none."""
        with contextlib.suppress(OSError):
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._found = _read(self._path.read_text("utf-8", errors="replace"))
                self._seen = seen
        return self._found or ["127.0.0.1"]


def _read(text: str) -> list[str]:
    words = [line.split() for line in text.splitlines()]
    named = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
    found = []
    for address in named:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(address.partition("%")[0])
            found.append(address)
    return found[:_MOST_RESOLVERS]


class Names:
    """Serves the sockets that it is given, in a task group of its owner's."""

    def __init__(self, tasks: asyncio.TaskGroup, resolvers: Callable[[], list[str]], port: int = _PORT) -> None:
        self._tasks = tasks
        self._resolvers = resolvers
        self._port = port
        self._busy: Counter[str] = Counter()
        self._served: dict[str, list[asyncio.Task[None]]] = {}

    def adopt(self, udp: socket.socket, tcp: socket.socket, name: str) -> None:
        """Serve these two from now on; they are closed when that ends."""
        for sock in (udp, tcp):
            sock.setblocking(False)
        self._served[name] = [
            self._tasks.create_task(self._serve_datagrams(udp), name=f"egress.names.udp {name}"),
            self._tasks.create_task(self._serve_connections(tcp), name=f"egress.names.tcp {name}"),
        ]

    def drop(self, name: str) -> None:
        """Serve them no longer."""
        for task in self._served.pop(name, ()):
            task.cancel()

    def _admits(self, who: str) -> bool:
        return self._busy[who] < _MOST_OF_ONE and self._busy.total() < _MOST_AT_ONCE

    async def _serve_datagrams(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with sock:
            while True:
                question, peer = await loop.sock_recvfrom(sock, 65_535)
                if len(question) >= _HEAD_BYTES and self._admits(peer[0]):
                    self._busy[peer[0]] += 1
                    self._tasks.create_task(self._answer(sock, question, peer), name="egress.names.question")

    async def _answer(self, sock: socket.socket, question: bytes, peer: tuple[str, int]) -> None:
        try:
            for resolver in self._resolvers():
                try:
                    answer = await self._ask(resolver, question)
                except (OSError, TimeoutError):
                    continue
                with contextlib.suppress(OSError):  # whoever asked has gone
                    await asyncio.get_running_loop().sock_sendto(sock, answer, peer)
                return
        finally:
            self._forget(peer[0])

    async def _ask(self, resolver: str, question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(_family(resolver), socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            async with asyncio.timeout(_WAIT_S):
                await loop.sock_connect(sock, (resolver, self._port))
                await loop.sock_sendall(sock, question)
                answer = b""
                while answer[:2] != question[:2]:
                    answer = await loop.sock_recv(sock, 65_535)
                return answer

    async def _serve_connections(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with sock:
            while True:
                try:
                    connection, peer = await loop.sock_accept(sock)
                except OSError:  # no descriptor is left, or the connection has gone already
                    await asyncio.sleep(_PAUSE_S)
                    continue
                if self._admits(peer[0]):
                    self._busy[peer[0]] += 1
                    self._tasks.create_task(self._relay(connection, peer[0]), name="egress.names.connection")
                else:
                    connection.close()

    async def _relay(self, connection: socket.socket, who: str) -> None:
        try:
            with connection, contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_TCP_S):
                    await self._relay_to_first(connection)
        finally:
            self._forget(who)

    async def _relay_to_first(self, connection: socket.socket) -> None:
        for resolver in self._resolvers():
            with socket.socket(_family(resolver), socket.SOCK_STREAM) as outer:
                outer.setblocking(False)
                if await _connects(outer, (resolver, self._port)):
                    await _exchange(connection, outer)
                    return

    def _forget(self, who: str) -> None:
        self._busy[who] -= 1
        if not self._busy[who]:
            del self._busy[who]


async def _connects(sock: socket.socket, address: tuple[str, int]) -> bool:
    try:
        async with asyncio.timeout(_WAIT_S):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except (OSError, TimeoutError):
        return False
    return True


async def _exchange(one: socket.socket, other: socket.socket) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_pour(one, other), name="egress.names.there")
        tasks.create_task(_pour(other, one), name="egress.names.back")


async def _pour(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; then the target hears so."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, _CHUNK):
            await loop.sock_sendall(target, data)
        target.shutdown(socket.SHUT_WR)


def _family(address: str) -> Any:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
