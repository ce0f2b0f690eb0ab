"""The node's side of the way out: its process, and the sockets that it serves.

The process is started when somebody first connects: most functions never do, and it holds 12 MiB. The node keeps a copy
of each socket: should the process end, the next one is given all of them, and connections that come meanwhile wait.
"""

import asyncio
import contextlib
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import lambent
from lambent.engine.egress.serve import ADOPT, DROP, NAMES

_MAIN: Final = f"""# the egress proxy
import sys
sys.path.append({str(Path(lambent.__file__).parents[1])!r})  # this very Lambent, wherever it came from
from lambent.engine.egress.serve import main
main(*map(int, sys.argv[1:]))
"""
COMMAND: Final = (sys.executable, "-I", "-c", _MAIN)
_STOP_LIMIT_S: Final = 5.0


class ProxyEnded(Exception):
    """The proxy's process ended although nobody had asked it to."""


class Egress:
    """The proxy, for the environments whose listeners it is given, and the resolver of launchers' routers.

    `uid` is the host user that its process becomes, as root; `command` starts it and is given the number of its
    control socket and the uid. A process that has not ended `stop_limit_s` after it was told to, is killed.
    """

    def __init__(self, uid: int, command: Sequence[str] = COMMAND, stop_limit_s: float = _STOP_LIMIT_S) -> None:
        self._stop_limit_s = stop_limit_s
        self._command = [*command]
        self._uid = uid
        self._kept: dict[str, tuple[bytes, tuple[socket.socket, ...]]] = {}  # what was ordered by id, and for what
        self._routers = 0
        # One order or two for each environment there is: what waits is bounded by their number.
        self._unsent: deque[tuple[bytes, str]] = deque()
        self._control: socket.socket | None = None
        self._first_use: asyncio.Future[None] | None = None  # while there is no process and nobody needed it

    def adopt(self, listener: socket.socket, environment_id: str) -> Callable[[], None]:
        """Be an environment's proxy, until what this returns is called."""
        return self._keep(ADOPT, environment_id, listener)

    def adopt_names(self, udp: socket.socket, tcp: socket.socket) -> Callable[[], None]:
        """Be a router's resolver, likewise."""
        self._routers += 1
        return self._keep(NAMES, f"router {self._routers}", udp, tcp)

    def _keep(self, order: bytes, whose: str, *sockets: socket.socket) -> Callable[[], None]:
        self._kept[whose] = (order, sockets)
        self._watch(sockets)
        self._send(order, whose)

        def close() -> None:
            _, gone = self._kept.pop(whose)
            self._ignore(gone)
            for sock in gone:
                sock.close()
            self._send(DROP, whose)

        return close

    async def run(self) -> None:
        """Run the process, once somebody needs it, until cancelled.

        Raises:
            ProxyEnded: it ended by itself; running again gives the next one all sockets.
        """
        await self._until_used()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with ours:
            with theirs:
                process = await self._start(theirs.fileno())
            self._unsent = deque((order, whose) for whose, (order, _) in self._kept.items())
            self._control = ours
            try:
                self._flush()
                raise ProxyEnded(f"status {await process.wait()}")
            finally:
                self._control = None
                asyncio.get_running_loop().remove_writer(ours)
                ours.close()  # which it takes for the end
                await asyncio.shield(_wait(process, self._stop_limit_s))

    async def _until_used(self) -> None:
        """Wait until something comes on one of the sockets, and leave it there."""
        self._first_use = asyncio.get_running_loop().create_future()
        everything = [sock for _, sockets in self._kept.values() for sock in sockets]
        self._watch(everything)
        try:
            await self._first_use
        finally:
            self._ignore(sock for _, sockets in self._kept.values() for sock in sockets)
            self._first_use = None

    def _watch(self, sockets: Iterable[socket.socket]) -> None:
        if self._first_use is not None:
            for sock in sockets:
                asyncio.get_running_loop().add_reader(sock, self._is_used)

    def _ignore(self, sockets: Iterable[socket.socket]) -> None:
        if self._first_use is not None:
            for sock in sockets:
                asyncio.get_running_loop().remove_reader(sock)

    def _is_used(self) -> None:
        if self._first_use is not None and not self._first_use.done():
            self._first_use.set_result(None)

    async def _start(self, fd: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            str(fd),
            str(self._uid),
            pass_fds=[fd],
            env={},
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    def _send(self, order: bytes, whose: str) -> None:
        if self._control is None:
            return  # the next one is told of all that there are
        self._unsent.append((order, whose))
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        control = self._control
        assert control is not None
        loop = asyncio.get_running_loop()
        while self._unsent:
            order, whose = self._unsent[0]
            _, sockets = self._kept.get(whose, (order, ())) if order != DROP else (order, ())
            try:
                if sockets or order == DROP:
                    socket.send_fds(control, [order + whose.encode()], [sock.fileno() for sock in sockets])
            except BlockingIOError:
                loop.add_writer(control, self._flush)
                return
            except OSError:  # it has gone: run() learns it from the process
                self._unsent.clear()
                break
            self._unsent.popleft()
        loop.remove_writer(control)


async def _wait(process: asyncio.subprocess.Process, limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await process.wait()
            return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
