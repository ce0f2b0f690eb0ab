"""A launcher without walls: each environment is a subprocess that loads the guest's bootstrap.

For tests of the engine, which want real processes, pipes and sockets but not the privileges of real sandboxes.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lambent
from lambent.engine.runtimes import Stem

GUESTS = Path(lambent.__file__).parent / "guest"
BOOTSTRAP = GUESTS / "python/bootstrap.py"
START = GUESTS / "program/start.py"
_START = """
import importlib.util, socket, sys
spec = importlib.util.spec_from_file_location("bootstrap", sys.argv[1])
bootstrap = importlib.util.module_from_spec(spec)
sys.modules["bootstrap"] = bootstrap
spec.loader.exec_module(bootstrap)
control = socket.socket(fileno=int(sys.argv[2]))
getattr(bootstrap, "prepare", int)()  # the one that executes programs has nothing to prepare
bootstrap.main(control)
"""


@dataclass(frozen=True, slots=True)
class PlainExit:
    """How the process ended."""

    status: int
    out_of_memory: bool = False


class PlainSandbox:
    """A process group of its own, stopped and continued by signals."""

    def __init__(self, stem: Stem, order: Any) -> None:
        self.id: str = order.environment_id
        self.control, theirs = socket.socketpair()
        self.output, their_output = os.pipe()
        self.runtime_api = socket.create_server(("127.0.0.1", 0))
        self.is_throttled = False
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[PlainExit] = self._loop.create_future()
        self.folder = tempfile.gettempdir()
        self.barren: asyncio.Future[str] = self._loop.create_future()
        self._process = subprocess.Popen(
            [stem.interpreter, "-I", "-S", "-c", _START, START if stem.executes else BOOTSTRAP, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=their_output,
            stderr=their_output,
            cwd=order.code_dir,
            env={},
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        self.pid = self._process.pid
        theirs.close()
        os.close(their_output)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)

    def connect(self, port: int, then: Callable[[socket.socket | None], None]) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        self._loop.call_soon(then, connection)

    def seal(self, parked: int, *, keeps_tmp: bool = False) -> None:
        raise NotImplementedError("there are no zygotes without walls")

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def throttle_cpu(self) -> None:
        self.is_throttled = True

    def max_memory_bytes(self) -> int:
        return 40 * 1_048_576

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        await asyncio.shield(self.exited)

    async def stop(self) -> None:
        await self.kill()

    def discard(self) -> None:
        self._signal(signal.SIGKILL)
        self.control.close()
        os.close(self.output)
        self.runtime_api.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._signal(signal.SIGKILL)  # what the function left behind
        status = self._process.wait()
        if not self.exited.done():
            self.exited.set_result(PlainExit(status))


@dataclass
class PlainLauncher:
    """Starts a subprocess for each claim."""

    stem: Stem
    sandboxes: list[PlainSandbox] = field(default_factory=list)
    has_broken: bool = False
    """Set by a test: claims fail from then on."""

    def expect(self, trees: Any, head_start: Any) -> None:
        """Nothing is started ahead."""

    async def claim(self, order: Any) -> PlainSandbox:
        if self.has_broken:
            raise ConnectionResetError("the launcher has ended")
        if not order.code_dir.is_dir():
            raise NotADirectoryError(order.code_dir)
        sandbox = PlainSandbox(self.stem, order)
        self.sandboxes.append(sandbox)
        return sandbox

    @classmethod
    @asynccontextmanager
    async def open(cls, stem: Stem) -> AsyncIterator["PlainLauncher"]:
        """A launcher whose processes end with it."""
        launcher = cls(stem)
        try:
            yield launcher
        finally:
            for sandbox in launcher.sandboxes:
                await sandbox.kill()
