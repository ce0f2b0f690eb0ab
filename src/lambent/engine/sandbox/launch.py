"""The node's side of sandboxes: a launcher process for each interpreter, and the environments claimed from it.

The node never forks. It asks a launcher over a socket, and gets back a process id and descriptors: the environment's
control socket, its output, its listeners and a few files of its cgroup. All of that works without the launcher; only
starting, ending and learning of the end go through it.
"""

import asyncio
import collections
import contextlib
import errno
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lambent.engine.sandbox import cgroups, processes, wire
from lambent.engine.sandbox.memory_watch import CgroupMemory, MemoryWatch, ProcessMemory
from lambent.engine.sandbox.probe import Walls, Way
from lambent.engine.sandbox.sweep import MOUNTPOINT, sweep

_ENTRY: Final = Path(__file__).with_name("entry.py")
_STOP_LIMIT_S: Final = 10.0  # a launcher with 1,000 environments takes about one second

_LEAST_OWN_BYTES: Final = 16 << 20  # what a zygote's child may have to itself, however much the zygote has

_LISTENERS: Final[tuple[str, ...]] = ("listener", "proxy")

OnListener = Callable[[socket.socket, str], Callable[[], None]]
OnNames = Callable[[socket.socket, socket.socket], Callable[[], None]]


class LauncherFailed(OSError):
    """A launcher could not start or has ended, and its environments with it; the text says why."""


class EnvironmentRefused(Exception):
    """One environment could not be made or given its code; the text says which step failed."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Who serves what launchers listen on for their environments; each says how to end it. None: nobody does.

    `platform` and `proxy` get a listener of each environment, with its id; `names` the two sockets, for UDP and TCP,
    on which a router is asked for names.
    """

    platform: OnListener | None = None
    proxy: OnListener | None = None
    names: OnNames | None = None


NO_SERVERS: Final = Servers()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSettings:
    """What a launcher is told at its start.

    `runtime` is what functions find at /var/runtime: {name: file or folder of the platform}. `gateway_port` is where
    environments reach the platform on their own 127.0.0.1; 0 means not at all. `way` is how they reach the internet,
    and `closed` are the networks that a router leads nowhere to. `uid_base` is the first of the host uids of this
    launcher's environments (one each, from a range of its own), used only as root. Where environments execute a
    program, /var/lang is not the launcher's own interpreter but empty. `scratch` is a folder of the node's own.
    `hidden` are folders that functions must not
    see even if they lie in /usr or beside the interpreter: the data folder, above all. `parked` environments wait
    complete, and for `ahead` more the slow parts are made. At most `head_starts` wait with a program that runs already.
    """

    bootstrap: Path
    scratch: Path
    gateway_port: int = 0
    way: Way = "none"
    closed: tuple[str, ...] = ()
    uid_base: int = 200_000
    parked: int = 4
    ahead: int = 64
    runtime: Mapping[str, Path] = field(default_factory=dict)
    hidden: tuple[Path, ...] = ()
    executes: bool = False
    head_starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An environment to be made ready for one function. `trees` are what it sees besides, read-only: {place: path}.

    With `heir_of`, the id of one that was stopped, it gets that one's /tmp, if its launcher still has it. With
    `head_start`, `{"command": [...], "environment": {...}}`, it may be one where that runs already, waiting for INIT.

    A zygote has children instead of invocations, once it is sealed. `child_of` names the one that this environment is
    to be born of.
    """

    environment_id: str
    code_dir: Path
    layer_dirs: tuple[Path, ...] = ()
    trees: Mapping[str, Path] = field(default_factory=dict)
    memory_mb: int = 128
    ephemeral_mb: int = 512
    with_egress: bool = False
    heir_of: str | None = None
    file_systems: tuple[tuple[str, Path], ...] = ()  # where in the environment, and which folder
    head_start: Mapping[str, Any] | None = None  # what `trees` may have been started with already
    is_zygote: bool = False
    child_of: str | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How an environment ended: its exit code, or a negative signal number."""

    status: int
    out_of_memory: bool


class Sandbox:
    """A claimed environment: what the node holds of it.

    `control`, `output` and `runtime_api` belong to whoever claimed it: they stay open after its end, so that what it
    last wrote can be read. All else is given back when it ends.
    """

    def __init__(self, order: Order, walls: Walls, message: dict[str, Any], ask: Callable[..., None]) -> None:
        fds: dict[str, int] = message["fds"]
        self.id = order.environment_id
        self.pid: int = message["pid"]
        self.folder: str = message["folder"]
        """What it has instead of a /tmp of its own, without walls; empty with them."""
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.barren: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Of a zygote: resolved, with the reason, when it will have no more children. Its own end follows."""
        self.control = socket.socket(fileno=fds.pop("control"))
        self.control.setblocking(False)
        self.output = fds.pop("output")
        os.set_blocking(self.output, False)
        # Without an own network: a free port of loopback.
        self.runtime_api = _socket(fds.pop("runtime_api", None)) or socket.create_server(("127.0.0.1", 0))
        self._connecting: collections.deque[Callable[[socket.socket | None], None]] = collections.deque()
        self._listener_fds = {name: fds.pop(name) for name in _LISTENERS if name in fds}
        self._close_listeners: list[Callable[[], None]] = []
        self._files = fds
        self._memory_mb = order.memory_mb
        self._walls = walls
        self._ask = ask
        self._peak_bytes = 0
        self._is_beyond_memory = False
        version = 2 if walls.cgroups == "v2" else 1
        memory = CgroupMemory(version, fds) if "memory" in fds else ProcessMemory(self.pid)
        self._inherited: int = message["inherited"]  # bytes that it shares with its zygote
        own = max(_LEAST_OWN_BYTES, (order.memory_mb << 20) - self._inherited)
        self._memory = MemoryWatch(memory, own, self._end_for_memory)
        self._memory.start()

    def serve_listener(self, name: str, on_listener: OnListener | None) -> None:
        """Hand one of its listeners to whoever serves it, until the environment ends: `listener` is that on the
        platform's port, `proxy` that on the egress proxy's. Nobody serves it: it is closed.
        """
        sock = _socket(self._listener_fds.pop(name, None))
        if sock is None:
            return
        if on_listener is None:
            sock.close()
            return
        self._close_listeners.append(on_listener(sock, self.id))

    def freeze(self) -> None:
        """Stop every process of it, without waiting until the last has stopped."""
        self._set_frozen(frozen=True)
        self._memory.stop()

    def thaw(self) -> None:
        self._set_frozen(frozen=False)
        if not self.exited.done():
            self._memory.start()

    def throttle_cpu(self) -> None:
        """Hold it to the CPU share of its memory from now on."""
        if "cpu" in self._files:
            version = 2 if self._walls.cgroups == "v2" else 1
            self._write("cpu", cgroups.cpu_quota(self._memory_mb, version))
            os.close(self._files.pop("cpu"))

    def max_memory_bytes(self) -> int:
        """The most memory it has used so far, its own at most; without cgroups, the peaks of its present processes."""
        if not self.exited.done():
            self._peak_bytes = max(self._peak_bytes, self._memory.peak())
        return min(self._peak_bytes + self._inherited, self._memory_mb << 20)  # the kernel counts /tmp too

    def connect(self, port: int, then: Callable[[socket.socket | None], None]) -> None:
        """Connect to a listener on its 127.0.0.1. `then` gets the connection, which may still be on its way, or None;
        it is not called when the environment ends meanwhile.
        """
        self._connecting.append(then)
        self._ask("connect", self.id, port=port)

    def on_connected(self, connection: socket.socket | None) -> None:
        """Called by the launcher's reader, in the order in which was asked."""
        self._connecting.popleft()(connection)

    def terminate(self) -> None:
        """Ask its first process to end, which passes it on to the runtime."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def seal(self, parked: int, *, keeps_tmp: bool = False) -> None:
        """Of a zygote: it has done its work, and is to have that many children ahead from now on.

        With `keeps_tmp` they find its files in /tmp.
        """
        self._memory.stop()
        self._ask("seal", self.id, parked=parked, keeps_tmp=keeps_tmp)

    async def kill(self) -> None:
        """End every process of it and wait until they are gone. The launcher takes its walls down afterwards."""
        self._ask("kill", self.id)  # if it has ended, it still has its /tmp
        if not self.exited.done():
            await asyncio.shield(self.exited)

    async def stop(self) -> None:
        """The same, but its /tmp is kept: for a claim that names it, or until `kill`."""
        if not self.exited.done():
            self._ask("stop", self.id)
            await asyncio.shield(self.exited)

    def on_exit(self, exit_: Exit, peak_bytes: int) -> None:
        """Called once by the launcher's reader."""
        self._peak_bytes = max(self._peak_bytes, peak_bytes)
        self._memory.stop()
        self._stop_listening()
        for fd in self._files.values():
            os.close(fd)
        self._files = {}
        if not self.exited.done():
            beyond = self._is_beyond_memory and exit_.status != 0
            self.exited.set_result(Exit(exit_.status, exit_.out_of_memory or beyond))

    def discard(self) -> None:
        """End it, and close what its claimer would have: nobody wants it any more."""
        self._ask("kill", self.id)
        self.control.close()
        os.close(self.output)
        self.runtime_api.close()

    def _end_for_memory(self) -> None:
        self._is_beyond_memory = True
        self._ask("stop", self.id)

    def _stop_listening(self) -> None:
        for close in self._close_listeners:
            close()
        for fd in self._listener_fds.values():
            os.close(fd)
        self._close_listeners, self._listener_fds = [], {}

    def _write(self, name: str, value: bytes) -> None:
        """Write to a file of its cgroup, which may be gone although we have not heard of its end yet."""
        try:
            os.pwrite(self._files[name], value, 0)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def _set_frozen(self, *, frozen: bool) -> None:
        if self.exited.done():
            return
        if "freeze" in self._files:
            self._write("freeze", b"1" if frozen else b"0")
        elif "freeze_v1" in self._files:
            self._write("freeze_v1", b"FROZEN" if frozen else b"THAWED")
        else:
            processes.send_signal(self.pid, signal.SIGSTOP if frozen else signal.SIGCONT)


class Launcher:
    """A launcher process, and the environments that were claimed from it."""

    def __init__(self, sock: socket.socket, walls: Walls, servers: Servers) -> None:
        self._sock = sock
        self._walls = walls
        self._servers = servers
        self._close_names: Callable[[], None] = lambda: None
        self._reader = wire.Reader(sock)
        self._unsent = b""
        self._claims: dict[str, tuple[Order, asyncio.Future[Sandbox]]] = {}
        self._sandboxes: dict[str, Sandbox] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Resolved when the launcher's process is gone; then every environment is, and claims fail."""
        self.head_starts: dict[str, int] = {}
        """How many environments wait with a program that runs already, by its command line on this machine."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        interpreter: Path,
        walls: Walls,
        settings: LaunchSettings,
        servers: Servers = NO_SERVERS,
    ) -> AsyncIterator["Launcher"]:
        """A launcher for that interpreter; leaving the block ends all its environments and the process.

        Raises:
            LauncherFailed: it could not start or build its root; the text says which step failed.
        """
        processes.raise_file_limit()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = _start(interpreter, theirs)
        launcher = cls(ours, walls, servers)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), launcher._on_readable)
        try:
            mountpoint = settings.scratch / f"{MOUNTPOINT}{process.pid}"
            mountpoint.mkdir(parents=True, exist_ok=True)
            launcher._send(_opening_message(walls, settings, mountpoint, process.pid))
            await launcher._ready
            yield launcher
        finally:
            launcher._end(LauncherFailed("the launcher was closed"))
            await asyncio.shield(asyncio.to_thread(_clean_up, process, settings.scratch))

    async def claim(self, order: Order) -> Sandbox:
        """An environment with that code behind its walls, waiting for INIT on its control socket.

        Cancelled, the environment is ended as soon as it is there.

        Raises:
            EnvironmentRefused: no environment could be made, or the code could not be attached.
            LauncherFailed: the launcher has ended, or ended meanwhile.
        """
        if self.ended.done():
            raise LauncherFailed("the launcher has ended")
        future: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
        self._claims[order.environment_id] = (order, future)
        message = {
            "op": "claim",
            "id": order.environment_id,
            "code_dir": str(order.code_dir),
            "layer_dirs": [str(path) for path in order.layer_dirs],
            "trees": {place: str(path) for place, path in order.trees.items()},
            "memory_mb": order.memory_mb,
            "ephemeral_mb": order.ephemeral_mb,
            "with_egress": order.with_egress,
            "heir_of": order.heir_of,
            "is_zygote": order.is_zygote,
            "child_of": order.child_of,
            "file_systems": [(target, str(folder)) for target, folder in order.file_systems],
            "head_start": order.head_start,
        }
        self._send(message)
        return await future

    def expect(self, trees: Mapping[str, Path], head_start: Mapping[str, Any] | None) -> None:
        """A function has come into being: have an environment ready, or, by `head_start`, its program running."""
        places = {place: str(path) for place, path in trees.items()}
        self._send({"op": "expect", "trees": places, "head_start": head_start})

    def _on_readable(self) -> None:
        try:
            messages = self._reader.receive()
        except BlockingIOError:
            return
        except OSError:
            messages = None
        if messages is None:
            self._end(LauncherFailed("the launcher's process ended"))
            return
        for message in messages:
            self._on_message(message)

    def _on_message(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "ready":
                self._serve_names(message["fds"])
                self._ready.set_result(None)
            case "failed":
                self._ready.set_exception(LauncherFailed(message["error"]))
            case "claimed":
                self._on_claimed(message)
            case "connected":
                self._on_connected(message)
            case "refused":
                _, future = self._claims.pop(message["id"])
                if not future.done():
                    future.set_exception(EnvironmentRefused(message["error"]))
            case "barren":
                self._on_barren(message)
            case "exited":
                sandbox = self._sandboxes.pop(message["id"])
                sandbox.on_exit(Exit(message["status"], message["oom"]), message["peak"])
            case "head_starts":
                self.head_starts = message["ready"]

    def _on_connected(self, message: dict[str, Any]) -> None:
        connection = _socket(message["fds"].get("connection"))
        if message["id"] in self._sandboxes:
            self._sandboxes[message["id"]].on_connected(connection)
        elif connection:
            connection.close()

    def _on_barren(self, message: dict[str, Any]) -> None:
        if sandbox := self._sandboxes.get(message["id"]):
            sandbox.barren.set_result(message["error"])

    def _on_claimed(self, message: dict[str, Any]) -> None:
        order, future = self._claims.pop(message["id"])
        sandbox = Sandbox(order, self._walls, message, self._ask)
        self._sandboxes[sandbox.id] = sandbox
        if future.done():  # whoever asked was cancelled
            sandbox.discard()
            return
        sandbox.serve_listener("listener", self._servers.platform)
        future.set_result(sandbox)
        # Whoever claimed it goes first: who connects before the proxy knows of it, waits.
        serve = self._servers.proxy if order.with_egress else None
        asyncio.get_running_loop().call_soon(sandbox.serve_listener, "proxy", serve)

    def _serve_names(self, fds: dict[str, int]) -> None:
        if not fds:
            return
        udp, tcp = (socket.socket(fileno=fds[name]) for name in ("udp", "tcp"))
        if self._servers.names:
            self._close_names = self._servers.names(udp, tcp)
        else:
            udp.close()
            tcp.close()

    def _ask(self, what: str, environment_id: str, **more: int) -> None:
        self._send({"op": what, "id": environment_id, **more})

    def _send(self, message: dict[str, Any]) -> None:
        if self.ended.done():
            return
        had_unsent = bool(self._unsent)
        self._unsent += wire.encode(message)
        if not had_unsent:
            self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""  # its end is seen by the reader
        if self._unsent:
            loop.add_writer(self._sock.fileno(), self._flush)
        else:
            loop.remove_writer(self._sock.fileno())

    def _end(self, reason: LauncherFailed) -> None:
        """Hang up, which ends the launcher; everyone who waits for something learns it."""
        if self.ended.done():
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock.fileno())
        loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._reader.close()
        self._close_names()
        self.ended.set_result(None)
        if not self._ready.done():
            self._ready.set_exception(reason)
        for _, future in self._claims.values():
            if not future.done():
                future.set_exception(reason)
        for sandbox in self._sandboxes.values():
            sandbox.on_exit(Exit(-signal.SIGKILL, out_of_memory=False), 0)
        self._claims.clear()
        self._sandboxes.clear()


def _socket(fd: int | None) -> socket.socket | None:
    if fd is None:
        return None
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def _start(interpreter: Path, theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Its environment is empty and its descriptors are one: what it has, environments could find."""
    command = [os.path.realpath(interpreter), "-I", "-S", "-E", str(_ENTRY), "launch", str(theirs.fileno())]
    return subprocess.Popen(
        command, pass_fds=[theirs.fileno()], env={}, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True
    )


def _opening_message(walls: Walls, settings: LaunchSettings, mountpoint: Path, pid: int) -> dict[str, Any]:
    return {
        "op": "open",
        "level": walls.level,
        "root": walls.root,
        "cgroups": walls.cgroups is not None,
        "name": cgroups.launcher_folder(pid),
        "mountpoint": str(mountpoint),
        "bootstrap": str(settings.bootstrap),
        "gateway_port": settings.gateway_port,
        "way": settings.way,
        "closed": settings.closed,
        "uid_base": settings.uid_base,
        "executes": settings.executes,
        "head_starts": settings.head_starts,
        "parked": settings.parked,
        "ahead": settings.ahead,
        "hidden": [str(path.absolute()) for path in settings.hidden],
        "runtime": {name: str(path) for name, path in settings.runtime.items()},
    }


def _clean_up(process: subprocess.Popen[bytes], scratch: Path) -> None:
    """Wait for the launcher's end; if it was not its own, take away what it would have."""
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    sweep(scratch)
