"""How an environment comes to be: a sandbox from a launcher, with a function's code, variables and credentials.

It is claimed from those parked, or it is a child of a zygote that has the function's packages already. What Init makes
of it is `environment.py`'s.
"""

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from lambent.aws.caller import Scope
from lambent.aws.trace import new_trace, with_part
from lambent.clock import Clock
from lambent.engine.environment import Environment
from lambent.engine.file_systems import folders_for
from lambent.engine.head_starts import head_start
from lambent.engine.init_order import init_order
from lambent.engine.launchers import Launchers
from lambent.engine.log_stream import Event
from lambent.engine.metadata_api import API_VARIABLE, TOKEN_VARIABLE
from lambent.engine.packages import PackageZygotes, can_be_born
from lambent.engine.provisioned import init_limit_s
from lambent.engine.runtimes import Runtime, Runtimes, Stem, outside
from lambent.engine.sandbox.launch import EnvironmentRefused, Order
from lambent.engine.snapshots import Snapshots
from lambent.engine.spec import ON_DEMAND, SNAP_START, FunctionSpec
from lambent.engine.surroundings import RESTORE_LIMIT_S, Owner, Sandbox, Surroundings
from lambent.engine.variables import Place, variables
from lambent.observe.log import Log

LogSink = Callable[[Scope, str, str, Sequence[Event]], None]
Credentials = Callable[[str, str], Awaitable[Mapping[str, str]]]
"""From a role's ARN and a session name to AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN."""


@dataclass(slots=True, kw_only=True, eq=False)
class Starts:
    """Makes the environments of an engine."""

    launchers: Launchers
    runtimes: Runtimes
    credentials: Credentials
    append_log: LogSink
    clock: Clock
    log: Log
    owner: Owner
    place: Place
    file_systems: Mapping[str, Path]
    has_walls: bool
    init_limit_s: float
    packages: PackageZygotes | None = None
    snapshots: Snapshots | None = None
    home: asyncio.TaskGroup | None = None  # of launchers

    async def create(self, spec: FunctionSpec, kind: str = ON_DEMAND, past: Environment | None = None) -> Environment:
        """A new environment; in the place of a `past` one it has that one's /tmp, log stream and age."""
        stream = past.stream if past else self._stream_name(spec)
        kind = SNAP_START if spec.snap_start else kind
        try:
            runtime = await self.runtimes.resolve(spec.runtime)
            secrets = await self.credentials(spec.role, spec.name)
            sandbox, is_born = await self._claim(spec, runtime, past)
        finally:
            if past:
                await past.sandbox.kill()  # nobody else inherits its /tmp
        try:
            place = self._place(spec, runtime, sandbox)
            order = self._init_order(spec, runtime, place, variables(spec, stream, secrets, place, kind))
            if self.packages and self.home and not spec.snap_start and self.packages.learns(spec, order, self.home):
                order["learn"] = True
            around = self._around(spec, stream, order, kind)
            if is_born and spec.snap_start:
                around = dataclasses.replace(around, is_restore=True, init_limit_s=RESTORE_LIMIT_S)
            environment = Environment(spec, sandbox, stream, around)
        except BaseException:
            sandbox.discard()  # nobody else knows of it
            raise
        if past:
            environment.born, environment.is_wanted = past.born, past.is_wanted
        if runtime.warning:
            environment.warn(runtime.warning)
        return environment

    async def make_for_snapshot(
        self, spec: FunctionSpec, owner: Owner, tell_obstacle: Callable[[bytes], None]
    ) -> Environment:
        """An environment that runs Init to be copied."""
        runtime = await self.runtimes.resolve(spec.runtime)
        secrets = await self.credentials(spec.role, spec.name)
        sandbox = await self._claim_of(runtime.stem, self._order(spec, runtime, is_zygote=self._may_copy(spec)))
        try:
            stream = self._stream_name(spec)
            place = self._place(spec, runtime, sandbox)
            order = self._init_order(spec, runtime, place, variables(spec, stream, secrets, place, SNAP_START))
            around = self._around(spec, stream, order, SNAP_START)
            around = dataclasses.replace(around, owner=owner, learnt=tell_obstacle)
            if not self._may_copy(spec):
                tell_obstacle(b'{"obstacle": "its runtime, or what runs beside it, cannot be copied here"}')
            return Environment(spec, sandbox, stream, around)
        except BaseException:
            sandbox.discard()
            raise

    def _may_copy(self, spec: FunctionSpec) -> bool:
        return self.has_walls and can_be_born(spec)

    def _place(self, spec: FunctionSpec, runtime: Runtime, sandbox: Sandbox) -> Place:
        """Where that environment has things."""
        if self.has_walls:
            return self.place
        return outside(dataclasses.replace(self.place, tmp=sandbox.folder), spec, runtime.program, sandbox.runtime_api)

    def _init_order(
        self, spec: FunctionSpec, runtime: Runtime, place: Place, settings: dict[str, str]
    ) -> dict[str, Any]:
        settings |= self._first_trace()
        settings |= {API_VARIABLE: place.runtime_api, TOKEN_VARIABLE: token_urlsafe(32)}
        order = init_order(spec, place, runtime.program, settings)
        return {**order, "snap_start": True} if spec.snap_start else order

    def _around(self, spec: FunctionSpec, stream: str, order: dict[str, Any], kind: str) -> Surroundings:
        return Surroundings(
            clock=self.clock,
            owner=self.owner,
            write_log=partial(self.append_log, spec.scope, spec.group, stream),
            order=order,
            init_limit_s=self.init_limit_s if kind == ON_DEMAND else init_limit_s(spec.timeout_s),
            initialization_type=kind,
            learnt=lambda findings: self._learnt(spec, findings, order),
        )

    def _first_trace(self) -> dict[str, str]:
        """The trace of an Init phase, which belongs to no invocation yet."""
        return {"_X_AMZN_TRACE_ID": with_part(new_trace(self.clock.now()), "Sampled", "0")}

    def _learnt(self, spec: FunctionSpec, findings: bytes, order: Mapping[str, Any]) -> None:
        if self.packages and self.home and order.get("learn"):
            self.packages.learnt(spec, findings, order, self.home)

    async def make_for_packages(self, spec: FunctionSpec, is_zygote: bool) -> Sandbox:
        """A sandbox of that function in which its packages are tried, or imported for its environments."""
        runtime = await self.runtimes.resolve(spec.runtime)
        return await self._claim_of(runtime.stem, self._order(spec, runtime, is_zygote=is_zygote))

    async def _claim(self, spec: FunctionSpec, runtime: Runtime, past: Environment | None) -> tuple[Sandbox, bool]:
        """A sandbox, and whether it is a zygote's child."""
        zygote = self._zygote(spec) if past is None else None
        order = self._order(spec, runtime, heir_of=past.id if past else None, child_of=zygote)
        try:
            return await self._claim_of(runtime.stem, order), zygote is not None
        except EnvironmentRefused as error:
            if past:
                self.log.warning("environment.tmp_lost", environment=past.id, function=spec.arn)
            elif zygote:
                self.log.warning("environment.not_born", zygote=zygote, function=spec.arn, reason=str(error))
            else:
                raise
            return await self._claim_of(runtime.stem, self._order(spec, runtime)), False

    def _zygote(self, spec: FunctionSpec) -> str | None:
        if not spec.snap_start:
            return self.packages.zygote(spec) if self.packages else None
        if self.snapshots is None:
            return None
        if self.home and self.snapshots.is_missing(spec):
            # The node was started anew, or the snapshot was lost: until there is one, environments initialise.
            self.home.create_task(self.snapshots.take_again(spec), name="engine.snapshot")
        return self.snapshots.zygote(spec)

    def _order(self, spec: FunctionSpec, runtime: Runtime, **more: Any) -> Order:
        program = runtime.program
        return Order(
            environment_id=uuid.uuid4().hex,
            code_dir=spec.code_dir,
            layer_dirs=spec.layer_dirs,
            trees=program.trees if program else {},
            memory_mb=spec.memory_mb,
            ephemeral_mb=spec.ephemeral_mb,
            with_egress=not spec.in_vpc,
            file_systems=folders_for(spec, self.file_systems, has_walls=self.has_walls),
            head_start=head_start(spec, program, self.place) if self.has_walls and not more.get("is_zygote") else None,
            **more,
        )

    async def _claim_of(self, stem: Stem, order: Order) -> Sandbox:
        assert self.home is not None
        try:
            return await (await self.launchers.get(stem, self.home)).claim(order)
        except OSError:  # it broke, perhaps long ago: a new one gets a chance
            self.log.warning("launcher.replaced", stem=str(stem))
            self.launchers.drop(stem)
            return await (await self.launchers.get(stem, self.home)).claim(order)

    def _stream_name(self, spec: FunctionSpec) -> str:
        return f"{self.clock.utc():%Y/%m/%d}/[{spec.version}]{uuid.uuid4().hex}"
