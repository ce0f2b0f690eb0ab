"""Invoke a function: a slot, an environment, an answer.

A warm invocation runs in callbacks from end to end: no task, no disk, no SQL. A cold one starts an environment in
a task of the engine's own, so that whoever asked may go: as on AWS, the invocation runs to its end, the environment
comes back to the pool and the slot is returned.
"""

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine import pool
from lambent.engine.admission import Admission, throttled
from lambent.engine.environment import INIT_LIMIT_S, Environment, InitFailure, Run, Sandbox, Surroundings
from lambent.engine.interpreters import Interpreters, NoInterpreterError
from lambent.engine.launchers import Launchers, OpenLauncher
from lambent.engine.log_stream import Event
from lambent.engine.report import Report
from lambent.engine.sandbox.launch import Order
from lambent.engine.spec import FunctionSpec, Invocation, InvocationResult
from lambent.engine.states import Phase
from lambent.engine.variables import EXEC_WRAPPER, RUNTIME_API, Place, sys_path, variables
from lambent.observe.log import Log

LogSink = Callable[[Scope, str, str, Sequence[Event]], None]
Credentials = Callable[[str, str], Awaitable[Mapping[str, str]]]
"""From a role's ARN and a session name to AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN."""

_FREEZE_AFTER_S: Final = 0.01
# A launcher hands out one parked environment after the other; a few claims under way keep it busy, more only wait
# elsewhere. The queue before it is bounded by the concurrency limit.
_CLAIMS_AT_ONCE: Final = 16
# Credentials last for hours and a runtime's memory grows: AWS too replaces environments after some hours.
_LONGEST_LIFE_S: Final = 6 * 3600.0
_HOUSEKEEPING_S: Final = 1.0
_SHORTEST_PAUSE_S: Final = 0.01
_WANTED_FREE_SHARE: Final = 0.05  # of the machine's memory; below it the longest idle environments go


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The engine's limits and where things are inside an environment."""

    concurrent_executions: int = 1000
    idle_environment_s: float = 600.0
    start_queue: int = 1000
    """Invocations of all accounts that may wait for an environment; more are throttled."""
    stop_grace_s: float = 30.0
    init_limit_s: float = INIT_LIMIT_S
    place: Place = field(default_factory=Place)
    has_walls: bool = True  # False: level `process`, where paths are the host's own


@dataclass(slots=True, kw_only=True, eq=False)
class Engine:
    """Every execution environment of a node."""

    open_launcher: OpenLauncher
    append_log: LogSink
    credentials: Credentials
    interpreters: Interpreters
    clock: Clock
    log: Log
    settings: Settings = field(default_factory=Settings)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while `run` is running: before, nothing can be invoked."""

    admission: Admission = field(init=False)
    _pool: "pool.Pool[Environment, Run]" = field(init=False, default_factory=pool.Pool)
    _launchers: Launchers = field(init=False)
    _home: asyncio.TaskGroup | None = field(init=False, default=None)  # of launchers
    _tasks: asyncio.TaskGroup | None = field(init=False, default=None)  # of starts and ends
    _claims: asyncio.Semaphore = field(init=False)
    _initialising: set[Environment] = field(init=False, default_factory=set)
    _to_freeze: set[Environment] = field(init=False, default_factory=set)
    _freezer: asyncio.TimerHandle | None = field(init=False, default=None)
    _is_stopping: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.settings.concurrent_executions)
        self._launchers = Launchers(self.open_launcher, self.log)
        self._claims = asyncio.Semaphore(_CLAIMS_AT_ONCE)

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> InvocationResult:
        """Runs the function once and waits for its answer. A function's failure is a result, not an exception.

        Cancelling stops the waiting, not the invocation.

        Raises:
            ApiError: TooManyRequestsException, when there is no slot; ServiceException, when the platform could
                not start an environment; InvalidRuntimeException, when this machine has no interpreter for it.
        """
        return await self.start(spec, invocation)

    def start(self, spec: FunctionSpec, invocation: Invocation) -> "asyncio.Future[InvocationResult]":
        """The same without waiting: for who reads the answer while it is written. Raises what comes at once."""
        run = Run(spec, invocation, asyncio.get_running_loop().create_future(), self.admission.take(spec.scope))
        environment = None if self._is_stopping else self._pool.take_idle(spec.digest)
        if environment:
            environment.assign(run)
        else:
            self._queue(run)
        return run.future

    async def retire(self, arn: str, *, keep_digests: frozenset[str] = frozenset()) -> None:
        """Ends a function's environments whose digest is not kept: idle ones now, busy ones when they are done."""
        for environment in self._pool.in_life():
            if environment.spec.arn == arn and environment.digest not in keep_digests:
                environment.is_wanted = False
                if environment.phase is Phase.IDLE:
                    environment.retire()

    async def run(self) -> None:
        """Serves until cancelled; then lets running invocations finish, within limits, and ends everything."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = self._home = tasks
            self.ready.set()
            ageing = tasks.create_task(self._end_the_old(), name="engine.end_the_old")
            try:
                while True:
                    await asyncio.sleep(_HOUSEKEEPING_S)
                    self._relieve_memory()
            finally:
                ageing.cancel()
                await self._stop()

    @property
    def environments(self) -> int:
        """How many environments there are, in any phase."""
        return len(list(self._pool.in_life()))

    # What environments tell

    def is_idle(self, environment: Environment) -> None:
        """It is free: for the run that waited longest, or for the pool."""
        self._has_started(environment)
        run = self._pool.take_waiting(environment.digest)
        if run:
            environment.assign(run)
            return
        now = self.clock.elapsed()
        if not environment.is_wanted or self._is_stopping or now - environment.born > _LONGEST_LIFE_S:
            environment.retire()
            return
        self._pool.put_idle(environment)
        self._to_freeze.add(environment)
        if self._freezer is None:
            self._freezer = asyncio.get_running_loop().call_later(_FREEZE_AFTER_S, self._freeze)

    def has_ended(self, environment: Environment, failure: InitFailure | None) -> None:
        """It will serve no more. Who waited for its Init gets another one, inside the invocation's own timeout."""
        self._has_started(environment)
        self._pool.remove(environment)
        assert self._tasks is not None
        self._tasks.create_task(self._bury(environment), name="engine.bury")
        run = self._pool.take_waiting(environment.digest) if failure else None
        if run and self._is_stopping:
            run.fail(_stopping())
        elif run:
            self._tasks.create_task(self._start(run.spec, run, environment.stream), name="engine.start")

    def has_reported(self, environment: Environment, summary: Report) -> None:
        """One entry for each invocation, at its end."""
        self.log.info(
            "engine.invoke",
            function=environment.spec.arn,
            version=environment.spec.version,
            environment=environment.id,
            request_id=summary.request_id,
            duration_ms=round(summary.duration_ms, 3),
            init_duration_ms=summary.init_duration_ms and round(summary.init_duration_ms, 3),
            max_memory_mb=summary.max_memory_mb,
            status=summary.status,
            error_type=summary.error_type,
        )

    # Starting

    def _queue(self, run: Run) -> None:
        if self._tasks is None or self._is_stopping:
            run.fail(_stopping())
            return
        if self._pool.queue_length >= self.settings.start_queue:
            run.fail(throttled("ConcurrentInvocationLimitExceeded"))
            return
        digest = run.spec.digest
        self._pool.enqueue(digest, run)
        for _one in range(self._pool.missing(digest)):
            self._pool.start_begins(digest)
            self._tasks.create_task(self._start(run.spec), name="engine.start")

    async def _start(self, spec: FunctionSpec, run: Run | None = None, stream: str | None = None) -> None:
        """Starts one environment: for whoever waits, or, after a failed Init, for `run`."""
        environment = None
        try:
            async with self._claims:
                # Another environment may have become free meanwhile.
                if run or self._pool.has_waiting(spec.digest):
                    environment = await self._create(spec, stream or self._stream_name(spec))
        except NoInterpreterError as error:
            self._fail(run, spec.digest, ApiError("InvalidRuntimeException", str(error)))
        except ApiError as error:
            self._fail(run, spec.digest, error)
        except Exception:  # whatever broke, the caller is told and the node serves on
            self.log.error("environment.start_failed", function=spec.arn)
            self._fail(run, spec.digest, ApiError("ServiceException", "The environment could not be started."))
        finally:
            if environment and run is None:
                self._initialising.add(environment)
            elif run is None:
                self._pool.start_ends(spec.digest)
        if environment:
            environment.begin(run)

    async def _create(self, spec: FunctionSpec, stream: str) -> Environment:
        choice = await self.interpreters.resolve(spec.runtime)
        secrets = await self.credentials(spec.role, spec.name)
        sandbox = await self._claim(spec, choice.interpreter.path)
        try:
            environment = self._inhabit(sandbox, spec, stream, secrets)
        except BaseException:
            sandbox.discard()  # nobody else knows of it
            raise
        self._pool.add(environment)
        if choice.warning:
            environment.warn(choice.warning)
        return environment

    def _inhabit(self, sandbox: Sandbox, spec: FunctionSpec, stream: str, secrets: Mapping[str, str]) -> Environment:
        around = Surroundings(
            clock=self.clock,
            owner=self,
            write_log=lambda events: self.append_log(spec.scope, spec.group, stream, events),
            order=self._order(spec, stream, sandbox, secrets),
            init_limit_s=self.settings.init_limit_s,
        )
        return Environment(spec, sandbox, stream, around)

    async def _claim(self, spec: FunctionSpec, interpreter: Path) -> Sandbox:
        order = Order(
            environment_id=uuid.uuid4().hex,
            code_dir=spec.code_dir,
            layer_dirs=spec.layer_dirs,
            memory_mb=spec.memory_mb,
            ephemeral_mb=spec.ephemeral_mb,
            with_runtime_api=EXEC_WRAPPER in spec.environment,
        )
        assert self._home is not None
        try:
            return await (await self._launchers.get(interpreter, self._home)).claim(order)
        except OSError:  # it broke, perhaps long ago: a new one gets a chance
            self.log.warning("launcher.replaced", interpreter=str(interpreter))
            self._launchers.drop(interpreter)
            return await (await self._launchers.get(interpreter, self._home)).claim(order)

    def _order(self, spec: FunctionSpec, stream: str, sandbox: Sandbox, secrets: Mapping[str, str]) -> dict[str, Any]:
        place = self.settings.place if self.settings.has_walls else self._place_without_walls(spec, sandbox)
        return {
            "handler": spec.handler,
            "environment": variables(spec, stream, secrets, place),
            "sys_path": sys_path(spec, place),
            "via_http": EXEC_WRAPPER in spec.environment,
            "wrapper": spec.environment.get(EXEC_WRAPPER),
        }

    def _place_without_walls(self, spec: FunctionSpec, sandbox: Sandbox) -> Place:
        """Level `process`: paths and ports are the host's own."""
        api = sandbox.runtime_api
        return dataclasses.replace(
            self.settings.place,
            task_root=str(spec.code_dir),
            layer_roots=tuple(str(layer) for layer in spec.layer_dirs),
            runtime_api="{}:{}".format(*api.getsockname()) if api else RUNTIME_API,
        )

    def _stream_name(self, spec: FunctionSpec) -> str:
        return f"{self.clock.utc():%Y/%m/%d}/[{spec.version}]{uuid.uuid4().hex}"

    def _fail(self, run: Run | None, digest: str, error: ApiError) -> None:
        failed = run or self._pool.take_waiting(digest)
        if failed:
            failed.fail(error)

    def _has_started(self, environment: Environment) -> None:
        if environment in self._initialising:
            self._initialising.remove(environment)
            self._pool.start_ends(environment.digest)

    # Keeping house, and the end

    def _freeze(self) -> None:
        """Freezes what has been idle long enough; the time between saves a busy environment two system calls.

        Looks every 10 ms while there is something to look at, so it happens 10 to 20 ms after the answer.
        """
        loop = asyncio.get_running_loop()
        self._freezer = loop.call_later(_FREEZE_AFTER_S, self._freeze) if self._to_freeze else None
        due = self.clock.elapsed() - _FREEZE_AFTER_S
        for environment in list(self._to_freeze):
            is_idle = environment.phase is Phase.IDLE
            if is_idle and environment.idle_since > due:
                continue
            self._to_freeze.discard(environment)
            if is_idle:
                environment.freeze()

    async def _end_the_old(self) -> None:
        """Ends environments that nobody has needed for long, each at its moment."""
        limit_s = self.settings.idle_environment_s
        while True:
            idle, now = self._pool.idle(), self.clock.elapsed()
            for environment in pool.too_old(idle, now, limit_s):
                environment.retire()
            await self.clock.sleep(max(_SHORTEST_PAUSE_S, pool.until_too_old(idle, now, limit_s)))

    def _relieve_memory(self) -> None:
        idle = self._pool.idle()
        if not idle:
            return
        free, total = _memory_bytes()
        for environment in pool.to_relieve(idle, free, int(total * _WANTED_FREE_SHARE)):
            environment.retire()

    async def _stop(self) -> None:
        self._is_stopping = True
        self.ready.clear()
        async with asyncio.TaskGroup() as burials:
            self._tasks = burials
            for environment in self._pool.idle():
                environment.retire()
            try:
                async with asyncio.timeout(self.settings.stop_grace_s):
                    await self.admission.is_empty.wait()
            except TimeoutError:
                self.log.warning("engine.stopped_with_invocations", count=self.admission.total)
            for run in self._pool.waiting():
                run.fail(_stopping())
            for environment in self._pool.in_life():
                environment.retire()

    async def _bury(self, environment: Environment) -> None:
        try:
            await environment.sandbox.kill()
        except Exception:  # one environment's remains must not end the node; the next start cleans up
            self.log.error("environment.kill_failed", environment=environment.id, function=environment.spec.arn)


def _stopping() -> ApiError:
    return ApiError("ServiceException", "The node is stopping.")


def _memory_bytes() -> tuple[int, int]:
    """Available and total memory of this machine; where that cannot be read, plenty."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return 1, 1
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    available, total = (int(fields[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    return available, total
