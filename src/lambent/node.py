"""The composition root: reads a `Config`, builds everything, runs it in task groups. Nothing else wires.

A node is what lives as long as its process: the address, the walls, the launchers. A platform is what lives on one
data folder: databases, services, engine. Resetting an ephemeral node puts up a new platform and keeps the rest.
"""

import asyncio
import ipaddress
import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from lambent import __version__
from lambent.clock import Clock
from lambent.config import Config
from lambent.dispatch import Dispatch, Handler
from lambent.engine.event_queue import EventQueue
from lambent.engine.interpreters import Interpreters, NoInterpreterError
from lambent.engine.invoke import Engine, Settings
from lambent.engine.launchers import Launchers
from lambent.engine.metrics import FunctionMetrics
from lambent.engine.sandbox.launch import Launcher, LauncherFailed, LaunchSettings
from lambent.engine.sandbox.probe import PROCESS, Finding, Walls, probe
from lambent.engine.sandbox.runtime_packages import runtime_contents
from lambent.engine.sandbox.sweep import sweep
from lambent.engine.variables import Place
from lambent.gateway.authenticate import Authenticator
from lambent.gateway.front import Front, Page
from lambent.gateway.listen import Gateway
from lambent.gateway.pages import health_page, reset_page
from lambent.observe.log import Log
from lambent.observe.metrics import record_nothing
from lambent.observe.supervise import supervise
from lambent.protocol.http import HttpRequest, HttpResponse
from lambent.protocol.validate import validate
from lambent.services.iam.service import Iam
from lambent.services.lambda_.service import Lambda
from lambent.services.logs.service import Logs
from lambent.services.sts.service import Sts
from lambent.store.database import Database
from lambent.store.folder import DataFolder, FolderInUseError
from lambent.store.migrate import SchemaError, prepare, revision_folders
from lambent.store.schema import BULK, MAIN

_SERVICES: Final[dict[str, Any]] = {"iam": Iam, "lambda": Lambda, "logs": Logs, "sts": Sts}

_GUEST: Final = Path(__file__).parent / "guest" / "python"
_CREDENTIALS_S: Final = 43_200  # twice as long as an environment lives
_UIDS_PER_LAUNCHER: Final = 10_000  # ten times the environments that an account may have by default

Probe = Callable[[], tuple[Walls, list[Finding]]]


class StartRefused(Exception):
    """The node cannot start like this; `next_step` is what can be done about it."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step


def operations_there() -> dict[str, list[str]]:
    """The operations of each service that a node answers, by botocore's name of the service. Starts nothing."""
    # The tables bind their service without looking at it, so one that was never opened will do.
    return {name: sorted(kind.operations(object.__new__(kind))) for name, kind in _SERVICES.items()}


@dataclass(slots=True, kw_only=True, eq=False)
class _Platform:
    """The services on one data folder, and how to end them."""

    dispatch: Dispatch
    sts: Sts
    functions: Lambda
    engine: Engine
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A running node. Use `Node.open`; `endpoint` answers from then on."""

    config: Config
    walls: Walls
    notices: list[str]
    """What whoever starts it should be told, in words."""
    home: Path
    """The data folder; of an ephemeral node, the folder that goes with it."""
    port: int
    clock: Clock = field(default_factory=Clock)
    log: Log
    interpreters: Interpreters
    _started: float = field(default_factory=time.monotonic)
    _gateway: Gateway = field(init=False)
    _tasks: asyncio.TaskGroup = field(init=False)
    _launchers: Launchers = field(init=False)
    _launched: int = field(init=False, default=0)
    _platform: _Platform = field(init=False)
    _platforms: int = field(init=False, default=0)
    _running: "set[asyncio.Task[None]]" = field(init=False, default_factory=set)
    _resetting: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _fronts: list[Front] = field(init=False, default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config, probe: Probe = probe) -> "AsyncIterator[Node]":
        """A node that serves; leaving the block lets running invocations end, within limits, and takes all down.

        `probe` finds the walls that this machine allows.

        Raises:
            StartRefused: the address or the folder is in use, or what was asked for is not safe or not possible here.
        """
        _check_address(config)
        _raise_descriptor_limit()
        with ExitStack() as stack:
            sock = stack.enter_context(_bound(config))
            walls, notices = await _walls(config, probe)
            folder = stack.enter_context(_folder(config))
            log = Log(config.log_level)
            node = cls(
                config=config,
                walls=walls,
                notices=notices,
                home=folder.path,
                port=sock.getsockname()[1],
                log=log,
                interpreters=Interpreters(config.python_paths, config.runtimes_strict, dict(os.environ)),
            )
            node.scratch.mkdir(mode=0o700, exist_ok=True)
            await asyncio.to_thread(sweep, node.scratch)  # what a killed node left
            stack.callback(shutil.rmtree, node.scratch, ignore_errors=True)
            folder.announce(node.endpoint)
            async with node._serving(folder, sock):
                yield node

    @property
    def endpoint(self) -> str:
        """The address for clients on this machine."""
        host = self.config.host
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"http://{host}:{self.port}"

    @property
    def scratch(self) -> Path:
        """Files of the running node alone."""
        return self.home / "run"

    def health(self) -> dict[str, Any]:
        """What `GET /_lambent/health` answers."""
        return {
            "status": "running",
            "version": __version__,
            "services": dict.fromkeys(sorted(self._platform.dispatch.operations), "available"),
            "isolation": self.walls.level,
            "endpoint": self.endpoint,
            "data_dir": None if self.config.ephemeral else str(self.home),
            "environments": self._platform.engine.environments,
            "uptime_s": round(time.monotonic() - self._started, 3),
        }

    async def reset(self) -> None:
        """Everything is as after the start, on an ephemeral node. What still runs ends on its own, unseen."""
        async with self._resetting:
            old = self._platform
            self._platform = await self._start_platform(None)
            for front in self._fronts:
                front.dispatch = self._platform.dispatch
                front.authenticator = self._authenticator()
            old.stop.set()

    @asynccontextmanager
    async def _serving(self, folder: DataFolder, sock: socket.socket) -> AsyncIterator[None]:
        self._launchers = Launchers(self._open_launcher, self.log)
        async with asyncio.TaskGroup() as self._tasks:
            self._platform = await self._start_platform(None if self.config.ephemeral else folder)
            self._fronts = [self._front(self._pages()), self._front({"/_lambent/code/": self._code_page})]
            outside, inside = self._fronts
            async with Gateway.open(outside, inside) as self._gateway:
                warming = self._tasks.create_task(self._warm_up(), name="node.warm_up")
                await self._gateway.listen(sock)
                try:
                    yield
                finally:
                    warming.cancel()
                    await self._gateway.drain(self.config.stop_grace_s)
                    self._platform.stop.set()
                    await asyncio.wait(self._running)
                    self._launchers.close()

    # The services

    async def _start_platform(self, folder: DataFolder | None) -> _Platform:
        """A platform on this folder; None is a new one inside the node's own. It runs until its `stop` is set."""
        opened: asyncio.Future[_Platform] = asyncio.get_running_loop().create_future()
        self._platforms += 1
        name = f"platform-{self._platforms}"
        task = self._tasks.create_task(self._keep_platform(folder, name, opened), name=f"node.{name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await opened

    async def _keep_platform(self, folder: DataFolder | None, name: str, opened: "asyncio.Future[_Platform]") -> None:
        with ExitStack() as stack:
            if folder is None:
                path = self.home / name
                stack.callback(shutil.rmtree, path, ignore_errors=True)
                folder = stack.enter_context(DataFolder.open(path))
            async with self._open_platform(folder) as platform:
                opened.set_result(platform)
                await platform.stop.wait()

    @asynccontextmanager
    async def _open_platform(self, folder: DataFolder) -> AsyncIterator[_Platform]:
        durable = not self.config.ephemeral
        tables: dict[str, Mapping[str, Handler]] = {}
        dispatch = Dispatch(operations=tables, validate=validate)
        await asyncio.to_thread(_prepare, folder)
        async with AsyncExitStack() as stack:
            main = await stack.enter_async_context(Database.open(folder.main_db, metadata=MAIN, durable=durable))
            bulk = await stack.enter_async_context(Database.open(folder.bulk_db, metadata=BULK, durable=False))
            logs = Logs(main=main, bulk=bulk, clock=self.clock, log=self.log)
            iam = Iam(database=main, clock=self.clock)
            sts = Sts(secret=folder.secret, clock=self.clock, call=dispatch.call)
            metrics = FunctionMetrics(record_nothing)
            engine = self._engine(logs, sts)
            functions: Lambda
            events = EventQueue(
                database=main,
                clock=self.clock,
                log=self.log,
                invoke=engine.invoke,
                resolve=lambda arn, qualifier: functions.resolve(arn, qualifier),
                stop_grace_s=self.config.stop_grace_s,
            )
            functions = Lambda(
                database=main,
                folder=folder.path / "functions",
                engine=engine,
                event_queue=events,
                find_interpreter=self.interpreters.resolve,
                call=dispatch.call,
                metrics=metrics,
                clock=self.clock,
                config=self.config,
                secret=folder.secret,
                log=self.log,
            )
            await functions.load()
            tables |= {
                "iam": iam.operations(),
                "lambda": functions.operations(),
                "logs": logs.operations(),
                "sts": sts.operations(),
            }
            # Stopped in the opposite order: what the engine's last invocations say is still written.
            stack.push_async_callback(logs.flush)
            await stack.enter_async_context(_running("logs", partial(supervise, "logs", logs.run, self.log)))
            await stack.enter_async_context(_running("engine", engine.run))
            await engine.ready.wait()
            for name, run in {"event_queue": events.run, "lambda": functions.run}.items():
                await stack.enter_async_context(_running(name, partial(supervise, name, run, self.log)))
            yield _Platform(dispatch=dispatch, sts=sts, functions=functions, engine=engine)

    def _engine(self, logs: Logs, sts: Sts) -> Engine:
        async def credentials(role: str, session: str) -> dict[str, str]:
            issued = sts.role_credentials(role, session, _CREDENTIALS_S)
            return {
                "AWS_ACCESS_KEY_ID": issued.access_key_id,
                "AWS_SECRET_ACCESS_KEY": str(issued.secret_access_key),
                "AWS_SESSION_TOKEN": str(issued.session_token),
            }

        settings = Settings(
            concurrent_executions=self.config.concurrent_executions,
            idle_environment_s=self.config.idle_environment_s,
            stop_grace_s=self.config.stop_grace_s,
            place=self._place(),
            has_walls=self.walls.level != "process",
        )
        return Engine(
            open_launcher=self._borrow_launcher,
            append_log=logs.append,
            credentials=credentials,
            interpreters=self.interpreters,
            clock=self.clock,
            log=self.log,
            settings=settings,
        )

    def _place(self) -> Place:
        endpoint = f"http://127.0.0.1:{self.port}"
        if self.walls.level != "process":
            return Place(endpoint_url=endpoint)
        packages = self.scratch / "runtime"
        packages.mkdir(exist_ok=True)
        for name, path in runtime_contents(_GUEST).items():
            if not (packages / name).exists():
                (packages / name).symlink_to(path)
        return Place(runtime_dir=str(packages), endpoint_url=endpoint)

    # The launchers

    @asynccontextmanager
    async def _open_launcher(self, interpreter: Path) -> AsyncIterator[Launcher]:
        settings = LaunchSettings(
            bootstrap=_GUEST / "bootstrap.py",
            scratch=self.scratch,
            gateway_port=self.port,
            uid_base=self.config.uid_base + self._launched * _UIDS_PER_LAUNCHER,
            parked=self.config.parked_environments,
            runtime=runtime_contents(_GUEST),
            hidden=(self.home,),
        )
        self._launched += 1
        async with Launcher.open(interpreter, self.walls, settings, lambda sock, _id: self._gateway.adopt(sock)) as one:
            yield one

    @asynccontextmanager
    async def _borrow_launcher(self, interpreter: Path) -> AsyncIterator[Launcher]:
        """A launcher for an engine: it stays when the engine goes, unless it broke."""
        launcher = await self._launchers.get(interpreter, self._tasks)
        assert isinstance(launcher, Launcher)
        try:
            yield launcher
        finally:
            if launcher.ended.done():
                self._launchers.drop(interpreter)

    async def _warm_up(self) -> None:
        """The launcher that most functions will need parks its environments while nobody waits for them yet."""
        with suppress(NoInterpreterError, OSError, LauncherFailed):  # whoever needs it is told
            runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
            choice = await self.interpreters.resolve(runtime)
            await self._launchers.get(choice.interpreter.path, self._tasks)

    # The front

    def _front(self, pages: Mapping[str, Page]) -> Front:
        return Front(self._platform.dispatch, self._authenticator(), log=self.log, pages=pages)

    def _authenticator(self) -> Authenticator:
        return Authenticator(self.config.region, self._platform.sts.identity)

    def _pages(self) -> dict[str, Page]:
        return {
            "/_lambent/code/": self._code_page,
            "/_lambent/health": health_page(self.health),
            "/_lambent/reset": reset_page(self.reset if self.config.ephemeral else None),
        }

    async def _code_page(self, request: HttpRequest) -> HttpResponse:
        status, headers, body = await self._platform.functions.code_page(request.path, request.query)
        return HttpResponse(status, headers, body)


def serve(
    config: Config, *, announce: Callable[[str], None], control_fd: int | None = None, probe: Probe = probe
) -> None:
    """Run a node until SIGINT, SIGTERM or the end of `control_fd`; a second signal does not wait for anything.

    `announce` is given one line when the node serves. `control_fd` is a socket: the same facts are written to it as a
    line of JSON, and its end of file stops the node. `probe` is `Node.open`'s.

    Raises:
        StartRefused: as `Node.open`.
    """
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(asyncio.CancelledError):
            runner.run(_serve(config, announce, control_fd, probe))
    except* StartRefused as group:
        raise _first(group) from None


async def _serve(config: Config, announce: Callable[[str], None], control_fd: int | None, probe: Probe) -> None:
    loop, main, stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
    assert main is not None

    def on_signal() -> None:
        if stop.is_set():
            main.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    async with Node.open(config, probe) as node:
        for notice in node.notices:
            sys.stderr.write(f"warning: {notice}\n")
        announce(_ready_line(node))
        if control_fd is None:
            await stop.wait()
            return
        with socket.socket(fileno=control_fd) as control:
            control.sendall(msgspec.json.encode(node.health()) + b"\n")
            loop.add_reader(control_fd, stop.set)  # nothing is ever sent: readable is its end
            await stop.wait()
            loop.remove_reader(control_fd)


def _ready_line(node: Node) -> str:
    kept = "none (ephemeral)" if node.config.ephemeral else str(node.home)
    facts = f"{node.endpoint}  data: {kept}  isolation: {node.walls.level}"
    return f"Lambent {__version__} is ready: {facts}  next: lambent deploy DIR"


def _first(group: BaseExceptionGroup[StartRefused]) -> StartRefused:
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    assert isinstance(inner, StartRefused)
    return inner


@asynccontextmanager
async def _running(name: str, run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Runs it for as long as the block lasts; its failure ends the block."""

    async def child() -> None:
        await run()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(child(), name=name)
        try:
            yield
        finally:
            task.cancel()


# What is asked for, and what this machine offers


def _check_address(config: Config) -> None:
    if config.insecure or config.auth != "open" or _is_loopback(config.host):
        return
    raise StartRefused(
        f"{config.host} is reachable from other machines, and any credentials are taken (auth is open).",
        "Listen on 127.0.0.1, or say --insecure if this network is yours alone.",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _walls(config: Config, probe: Probe) -> tuple[Walls, list[str]]:
    """The walls to put up, and what is to be said about them."""
    if config.isolation == "process":
        return PROCESS, []
    walls, findings = await asyncio.to_thread(probe)
    if walls.level == "namespaces":
        return walls, []
    wrong = [finding for finding in findings if not finding.ok and finding.name not in ("cgroups", "own uids")]
    reasons = "; ".join(f"{finding.name}: {finding.detail}" for finding in wrong)
    remedy = next((finding.remedy for finding in wrong if finding.remedy), "")
    if config.isolation == "namespaces" or not _is_loopback(config.host):
        raise StartRefused(
            f"functions cannot be isolated here ({reasons}).",
            f"{remedy}\n`lambent doctor` says more. --isolation process runs them without walls: trusted code only.",
        )
    return walls, [f"functions run without isolation here ({reasons}). Run trusted code only; see `lambent doctor`."]


def _raise_descriptor_limit() -> None:
    """Each environment takes about six descriptors of the node."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _bound(config: Config) -> Iterator[socket.socket]:
    try:
        address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(address[0], socket.SOCK_STREAM)
    except OSError as error:
        raise StartRefused(f"{config.host}: {error.strerror}.", "Name an address of this machine.") from error
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        try:
            sock.bind(address[4])
        except OSError as error:
            where = f"{config.host}:{config.port}"
            raise StartRefused(
                f"{where}: {error.strerror}.", "Is a node running there already? Choose another with --port."
            ) from error
        yield sock


@contextmanager
def _folder(config: Config) -> Iterator[DataFolder]:
    opening = DataFolder.ephemeral() if config.ephemeral else DataFolder.open(config.data_dir)
    try:
        folder = opening.__enter__()
    except FolderInUseError as error:
        raise StartRefused(str(error)) from error
    except OSError as error:
        raise StartRefused(f"{config.data_dir}: {error.strerror}.", "Name another folder with --data-dir.") from error
    with ExitStack() as stack:
        stack.push(opening)
        yield folder


def _prepare(folder: DataFolder) -> None:
    try:
        prepare(folder.main_db, MAIN, revision_folders("main"))
        prepare(folder.bulk_db, BULK, revision_folders("bulk"))
    except SchemaError as error:
        raise StartRefused(str(error)) from error
