"""The proxy: connections out of environments, each with one request, to one address that was allowed.

A name is looked up once; the address that was judged is the one that is connected to, so an answer that changes
afterwards changes nothing. Nothing is stored: a chunk is read when the one before it has been taken, so a peer that
does not read holds the other one back, and the memory of a connection is two chunks. Everything has a limit, of each
environment too, so that one of them cannot use up what the others need.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from lambent.engine.egress import heads
from lambent.engine.egress.addresses import is_allowed
from lambent.engine.egress.bodies import BodyError, ChunkedBody, SizedBody
from lambent.engine.egress.heads import HeadError, Request

_CHUNK: Final = 32_768
_MOST_ADDRESSES: Final = 4  # of one name are tried
_MOST_ACCEPTED: Final = 16  # in one turn; the others come in the next
_PAUSE_S: Final = 1.0  # before accepting again, when the machine has no descriptor left
_LINGER_S: Final = 1.0
_LOOKUP_THREADS: Final = 64
# Source: the Lambda FAQ: "TCP port 25 traffic is also blocked as an anti-spam measure".
_CLOSED_PORTS: Final = frozenset({25})
_REASONS: Final = {
    400: "Bad Request",
    403: "Forbidden",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an environment, and all together, may have. `idle_s` is that of AWS's NAT gateways."""

    connections: int = 256
    all_connections: int = 4096
    lookups: int = 8
    head_s: float = 30.0
    connect_s: float = 20.0
    idle_s: float = 350.0


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, as this machine finds them. Blocks."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class _Refusal(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text

    def encode(self) -> bytes:
        body = f"Lambent's egress proxy: {self.text}.\n".encode()
        head = f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\nContent-Type: text/plain\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@dataclass(slots=True, eq=False)
class _Door:
    """One environment's listener, and what came through it."""

    listener: socket.socket
    lookups: asyncio.Semaphore
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)


class Proxy:
    """Serves the listeners that it is given, while `run` runs.

    `allows` judges an address, `look_up` finds those of a name. `before_accept` is called before a connection is
    taken, so that an order which was sent before the connection came is carried out before it.
    """

    def __init__(
        self,
        *,
        allows: Callable[[str], bool] = is_allowed,
        look_up: Callable[[str, int], list[str]] = look_up,
        limits: Limits | None = None,
        before_accept: Callable[[], None] = lambda: None,
    ) -> None:
        self._allows = allows
        self._look_up = look_up
        self._limits = limits or Limits()
        self._before_accept = before_accept
        self._doors: dict[str, _Door] = {}
        self._connections = 0
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, "look_up")
        self._tasks: asyncio.TaskGroup | None = None
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.ready.set()
                await asyncio.Event().wait()
        finally:
            for environment_id in list(self._doors):
                self.drop(environment_id)
            self._threads.shutdown(wait=False, cancel_futures=True)

    def adopt(self, listener: socket.socket, environment_id: str) -> None:
        """Serve an environment from now on; the listener is the proxy's then."""
        listener.setblocking(False)
        door = self._doors[environment_id] = _Door(listener, asyncio.Semaphore(self._limits.lookups))
        self._listen(door)

    def drop(self, environment_id: str) -> None:
        """An environment has ended: nothing of it goes on."""
        if door := self._doors.pop(environment_id, None):
            asyncio.get_running_loop().remove_reader(door.listener)
            door.listener.close()
            for task in door.tasks:
                task.cancel()

    def _listen(self, door: _Door) -> None:
        if door.listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(door.listener, self._on_connections, door)

    def _on_connections(self, door: _Door) -> None:
        self._before_accept()
        for _ in range(_MOST_ACCEPTED):
            if door.listener.fileno() < 0:
                return
            try:
                client, _address = door.listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left, or the client has gone
                loop = asyncio.get_running_loop()
                loop.remove_reader(door.listener)
                loop.call_later(_PAUSE_S, self._listen, door)
                return
            self._take(client, door)

    def _take(self, client: socket.socket, door: _Door) -> None:
        client.setblocking(False)
        limits = self._limits
        if len(door.tasks) >= limits.connections or self._connections >= limits.all_connections:
            with client:
                client.send(_Refusal(503, f"{len(door.tasks)} connections are open; close some").encode())
            return

        def on_done(task: "asyncio.Task[None]") -> None:
            door.tasks.discard(task)
            self._connections -= 1
            client.close()

        assert self._tasks is not None
        task = self._tasks.create_task(self._serve(client, door), name="egress.connection")
        self._connections += 1
        door.tasks.add(task)
        task.add_done_callback(on_done)

    async def _serve(self, client: socket.socket, door: _Door) -> None:
        loop = asyncio.get_running_loop()
        try:
            try:
                request, rest = await self._read_request(client)
                far = await self._reach(request, door)
            except _Refusal as refusal:
                await loop.sock_sendall(client, refusal.encode())
                await _linger(client)
                return
            with far:
                async with asyncio.timeout(self._limits.idle_s) as idle:
                    relay = _Relay(client, far, idle, self._limits.idle_s)
                    await (relay.tunnel(rest) if request.head is None else relay.pass_on(request, rest))
        except* (OSError, BodyError):  # one of the two has gone, stands still or talks nonsense
            pass

    async def _read_request(self, client: socket.socket) -> tuple[Request, bytes]:
        data = bytearray()
        async with asyncio.timeout(self._limits.head_s):
            while (end := data.find(heads.END)) < 0:
                if len(data) > heads.MAX_HEAD_BYTES:
                    raise _Refusal(431, f"the head of a request may have {heads.MAX_HEAD_BYTES} bytes")
                part = await asyncio.get_running_loop().sock_recv(client, _CHUNK)
                if not part:
                    raise ConnectionAbortedError
                data += part
        end += len(heads.END)
        try:
            return heads.read(bytes(data[:end])), bytes(data[end:])
        except HeadError as error:
            raise _Refusal(400, str(error)) from error

    async def _reach(self, request: Request, door: _Door) -> socket.socket:
        """A connection to an allowed address of the host."""
        if request.port in _CLOSED_PORTS:
            raise _Refusal(403, f"port {request.port} is closed, as on AWS")
        try:
            async with asyncio.timeout(self._limits.connect_s):
                found = [address for address in await self._addresses(request, door) if self._allows(address)]
                if not found:
                    # Said alike of a name that is not there and of one that is private: it tells nothing of either.
                    raise _Refusal(403, f"{request.host} has no public address; there is no way to any other")
                return await _connect(found[:_MOST_ADDRESSES], request.port)
        except TimeoutError as error:
            raise _Refusal(504, f"{request.host} did not answer in time") from error
        except OSError as error:
            raise _Refusal(502, f"{request.host} could not be reached: {error.strerror}") from error

    async def _addresses(self, request: Request, door: _Door) -> list[str]:
        """Those of the name. A lookup counts until its thread is free, however long somebody waits for it."""
        await door.lookups.acquire()
        looking = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, request.host, request.port)

        def on_done(done: "asyncio.Future[list[str]]") -> None:
            door.lookups.release()
            if not done.cancelled():
                done.exception()  # is seen, whether or not anybody still waits

        looking.add_done_callback(on_done)
        try:
            return await asyncio.shield(looking)
        except (socket.gaierror, UnicodeError):
            return []


class _Relay:
    """Bytes in both directions, until both ends have said that they are done or nothing has moved for too long."""

    def __init__(self, client: socket.socket, far: socket.socket, idle: asyncio.Timeout, idle_s: float) -> None:
        self._client = client
        self._far = far
        self._idle = idle
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()

    async def tunnel(self, rest: bytes) -> None:
        """What comes, as it is; an end on one side is an end on the other, and the other direction goes on."""
        await self._loop.sock_sendall(self._client, _CONNECTED)
        async with asyncio.TaskGroup() as directions:
            directions.create_task(self._copy(self._client, self._far, rest), name="egress.up")
            directions.create_task(self._copy(self._far, self._client), name="egress.down")

    async def pass_on(self, request: Request, rest: bytes) -> None:
        """One request and its answer, which ends with the connection."""
        assert request.head is not None
        body = ChunkedBody() if request.length is None else SizedBody(request.length)
        await self._loop.sock_sendall(self._far, request.head)
        async with asyncio.TaskGroup() as directions:
            sending = directions.create_task(self._send_body(body, rest), name="egress.up")
            await self._copy(self._far, self._client)
            sending.cancel()
        await _linger(self._client)

    async def _copy(self, source: socket.socket, target: socket.socket, first: bytes = b"") -> None:
        data = first or await self._loop.sock_recv(source, _CHUNK)
        while data:
            await self._pass(data, target)
            data = await self._loop.sock_recv(source, _CHUNK)
        target.shutdown(socket.SHUT_WR)

    async def _send_body(self, body: ChunkedBody | SizedBody, data: bytes) -> None:
        while not body.is_complete:
            data = data or await self._loop.sock_recv(self._client, _CHUNK)
            if not data:
                self._far.shutdown(socket.SHUT_WR)
                return
            count = body.take(data)
            await self._pass(data[:count], self._far)
            data = data[count:]
        if data or await self._loop.sock_recv(self._client, 1):
            raise ConnectionAbortedError  # a second request: it may be for somebody else, and has to come again

    async def _pass(self, data: bytes, target: socket.socket) -> None:
        self._idle.reschedule(self._loop.time() + self._idle_s)
        await self._loop.sock_sendall(target, data)
        self._idle.reschedule(self._loop.time() + self._idle_s)


async def _connect(addresses: list[str], port: int) -> socket.socket:
    """A connection to the first of these that takes it. Raises the last one's OSError."""
    loop = asyncio.get_running_loop()
    for number, address in enumerate(addresses, 1):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, (address, port))
        except OSError:
            sock.close()
            if number == len(addresses):
                raise
        except BaseException:
            sock.close()
            raise
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise AssertionError("no address")


async def _linger(client: socket.socket) -> None:
    """Say that this is the end and wait a little for the client's: closing on what it still sends would take back the
    answer.
    """
    client.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(_LINGER_S):
        while await asyncio.get_running_loop().sock_recv(client, _CHUNK):
            pass
