"""A node: what lives as long as its process. The address, the walls, the launchers, and the platform they serve.

Resetting an ephemeral node puts up a new platform and keeps the rest.
"""

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import lambent
from lambent import __version__
from lambent.clock import Clock
from lambent.config import Config
from lambent.engine.egress.addresses import CLOSED_V4
from lambent.engine.egress.process import COMMAND, Egress
from lambent.engine.interpreters import Interpreters, NoInterpreterError
from lambent.engine.javascript import NodeInterpreters
from lambent.engine.launchers import Launchers
from lambent.engine.runtimes import Runtimes, Stem
from lambent.engine.sandbox.launch import Launcher, LauncherFailed, LaunchSettings, Servers
from lambent.engine.sandbox.probe import Walls, probe
from lambent.engine.sandbox.runtime_packages import runtime_contents
from lambent.engine.sandbox.sweep import sweep
from lambent.engine.variables import PROXY_URL, Place
from lambent.gateway.authenticate import Authenticator
from lambent.gateway.front import Front, Page
from lambent.gateway.listen import Gateway
from lambent.gateway.pages import certificate_page, health_page, queue_page, reset_page, starts_page, time_page
from lambent.node.platform import Ground, Platform, open_platform
from lambent.node.start import (
    Probe,
    bound,
    check_address,
    data_folder,
    raise_descriptor_limit,
    walls_for,
)
from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.protocol.http import HttpRequest, HttpResponse, UrlTarget
from lambent.store.folder import DataFolder

_GUESTS: Final = Path(lambent.__file__).parent / "guest"
_GUEST: Final = _GUESTS / "python"
_UIDS_PER_LAUNCHER: Final = 10_000  # ten times the environments that an account may have by default


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
    """The platform's: a reset gives the next one a clock that is not ahead."""
    log: Log
    runtimes: Runtimes
    _started: float = field(default_factory=time.monotonic)
    _gateway: Gateway = field(init=False)
    _tasks: asyncio.TaskGroup = field(init=False)
    _launchers: Launchers = field(init=False)
    _launched: int = field(init=False, default=0)
    _platform: Platform = field(init=False)
    _platforms: int = field(init=False, default=0)
    _egress: Egress | None = None
    _running: "set[asyncio.Task[None]]" = field(init=False, default_factory=set)
    _resetting: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _fronts: list[Front] = field(init=False, default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, config: Config, probe: Probe = probe, egress_command: Sequence[str] = COMMAND
    ) -> "AsyncIterator[Node]":
        """A node that serves; leaving the block lets running invocations end, within limits, and takes all down.

        `probe` finds the walls that this machine allows; `egress_command` starts the egress proxy.

        Raises:
            StartRefused: the address or the folder is in use, or what was asked for is not safe or not possible here.
        """
        check_address(config)
        raise_descriptor_limit()
        with ExitStack() as stack:
            sock = stack.enter_context(bound(config))
            walls, notices = await walls_for(config, probe)
            folder = stack.enter_context(data_folder(config))
            log = Log(config.log_level)
            node = cls(
                config=config,
                walls=walls,
                notices=notices,
                home=folder.path,
                port=sock.getsockname()[1],
                log=log,
                runtimes=_runtimes(config),
            )
            if walls.level == "namespaces" and walls.way != "none":
                node._egress = Egress(config.uid_base - 1 if walls.root else 0, egress_command)
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
            "head_starts": self._head_starts(),
            "uptime_s": round(time.monotonic() - self._started, 3),
        }

    def _head_starts(self) -> dict[str, int]:
        """How many environments wait with a program already up, by the program."""
        counts: dict[str, int] = {}
        for launcher in self._launchers.opened():
            if isinstance(launcher, Launcher):
                counts |= launcher.head_starts
        return counts

    async def reset(self) -> None:
        """Everything is as after the start, on an ephemeral node. What still runs ends on its own, unseen."""
        async with self._resetting:
            old, self.clock = self._platform, Clock()
            self._platform = await self._start_platform(None)
            for front in self._fronts:
                front.dispatch = self._platform.dispatch
                front.authenticator = self._authenticator()
            old.stop.set()

    @asynccontextmanager
    async def _serving(self, folder: DataFolder, sock: socket.socket) -> AsyncIterator[None]:
        self._launchers = Launchers(self._open_launcher, self.log)
        async with asyncio.TaskGroup() as self._tasks, self._egress_running():
            self._platform = await self._start_platform(None if self.config.ephemeral else folder)
            pages = {"/_lambent/code/": self._code_page, "/_lambent/sns/": certificate_page(self._certificate)}
            self._fronts = [self._front(self._pages()), self._front(pages, is_inside=True)]
            outside, inside = self._fronts
            async with Gateway.open(outside, inside, self.log) as self._gateway:
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

    @asynccontextmanager
    async def _egress_running(self) -> AsyncIterator[None]:
        """The egress proxy, as long as the block lasts."""
        if self._egress is None:
            yield
            return
        watched = supervise("egress", self._egress.run, self.log)
        task = self._tasks.create_task(watched, name="node.egress")
        try:
            yield
        finally:
            task.cancel()

    # The services

    async def _start_platform(self, folder: DataFolder | None) -> Platform:
        """A platform on this folder; None is a new one inside the node's own. It runs until its `stop` is set."""
        opened: asyncio.Future[Platform] = asyncio.get_running_loop().create_future()
        self._platforms += 1
        name = f"platform-{self._platforms}"
        task = self._tasks.create_task(self._keep_platform(folder, name, opened), name=f"node.{name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await opened

    async def _keep_platform(self, folder: DataFolder | None, name: str, opened: "asyncio.Future[Platform]") -> None:
        with ExitStack() as stack:
            if folder is None:
                path = self.home / name
                stack.callback(shutil.rmtree, path, ignore_errors=True)
                folder = stack.enter_context(DataFolder.open(path))
            async with open_platform(self._ground(), folder) as platform:
                opened.set_result(platform)
                await platform.stop.wait()

    def _ground(self) -> Ground:
        return Ground(
            config=self.config,
            clock=self.clock,
            log=self.log,
            runtimes=self.runtimes,
            open_launcher=self._borrow_launcher,
            place=self._place(),
            has_walls=self.walls.level != "process",
        )

    def _place(self) -> Place:
        endpoint = f"http://127.0.0.1:{self.port}"
        if self.walls.level != "process":
            return Place(endpoint_url=endpoint, proxy_url=PROXY_URL if self.walls.way == "proxy" else "")
        packages = self.scratch / "runtime"
        packages.mkdir(exist_ok=True)
        for name, path in runtime_contents(_GUEST).items():
            if not (packages / name).exists():
                (packages / name).symlink_to(path)
        return Place(runtime_dir=str(packages), endpoint_url=endpoint)

    # The launchers

    @asynccontextmanager
    async def _open_launcher(self, stem: Stem) -> AsyncIterator[Launcher]:
        settings = LaunchSettings(
            bootstrap=_GUESTS / "program/start.py" if stem.executes else _GUEST / "bootstrap.py",
            scratch=self.scratch,
            gateway_port=self.port,
            way=self.walls.way,
            closed=CLOSED_V4,
            uid_base=self.config.uid_base + self._launched * _UIDS_PER_LAUNCHER,
            parked=self.config.parked_environments,
            head_starts=self.config.head_starts if stem.executes else 0,
            runtime={} if stem.executes else runtime_contents(_GUEST),
            executes=stem.executes,
            hidden=(self.home,),
        )
        self._launched += 1
        egress = self._egress
        servers = Servers(self._adopt, egress.adopt, egress.adopt_names) if egress else Servers(self._adopt)
        async with Launcher.open(stem.interpreter, self.walls, settings, servers) as one:
            yield one

    def _adopt(self, sock: socket.socket, _environment_id: str) -> Callable[[], None]:
        return self._gateway.adopt(sock)

    @asynccontextmanager
    async def _borrow_launcher(self, stem: Stem) -> AsyncIterator[Launcher]:
        """A launcher for an engine: it stays when the engine goes, unless it broke."""
        launcher = await self._launchers.get(stem, self._tasks)
        assert isinstance(launcher, Launcher)
        try:
            yield launcher
        finally:
            if launcher.ended.done():
                self._launchers.drop(stem)

    async def _warm_up(self) -> None:
        """The launcher that most functions will need parks its environments while nobody waits for them yet."""
        with suppress(NoInterpreterError, OSError, LauncherFailed):  # whoever needs it is told
            runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
            await self._launchers.get((await self.runtimes.resolve(runtime)).stem, self._tasks)

    # The front

    def _front(self, pages: Mapping[str, Page], *, is_inside: bool = False) -> Front:
        return Front(
            self._platform.dispatch,
            self._authenticator(),
            log=self.log,
            pages=pages,
            url_page=self._url_page,
            is_inside=is_inside,
        )

    def _authenticator(self) -> Authenticator:
        return Authenticator(self.config.region, self._platform.sts.identity, self.clock.machine_now)

    def _pages(self) -> dict[str, Page]:
        return {
            "/_lambent/code/": self._code_page,
            "/_lambent/health": health_page(self.health),
            "/_lambent/queue": queue_page(self._peek if self.config.auth == "open" else None),
            "/_lambent/reset": reset_page(self.reset if self.config.ephemeral else None),
            "/_lambent/sns/": certificate_page(self._certificate),
            "/_lambent/starts": starts_page(self._starts if self.config.auth == "open" else None),
            "/_lambent/time": time_page(lambda: self.clock, may_advance=self.config.ephemeral),
        }

    def _starts(self, function: str) -> list[dict[str, Any]]:
        return self._platform.engine.describe(function)

    async def _peek(self, arn: str, most: int) -> list[dict[str, Any]] | None:
        return await self._platform.queues.peek(arn, most)

    async def _certificate(self, path: str) -> bytes | None:
        return await self._platform.topics.certificate(path)

    async def _url_page(self, target: UrlTarget, request: HttpRequest, request_id: str) -> HttpResponse:
        return await self._platform.functions.url_page(target, request, request_id)

    async def _code_page(self, request: HttpRequest) -> HttpResponse:
        status, headers, body = await self._platform.functions.code_page(request.path, request.query)
        return HttpResponse(status, headers, body)


def _runtimes(config: Config) -> Runtimes:
    environ, strict = dict(os.environ), config.runtimes_strict
    return Runtimes(
        pythons=Interpreters(config.python_paths, strict, environ),
        nodes=NodeInterpreters(config.runtimes_dir.expanduser(), config.node_paths, strict, environ),
        node_guest=_GUESTS / "node",
    )
