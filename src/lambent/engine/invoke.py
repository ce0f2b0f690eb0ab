"""Invoke a function: a slot, an environment, an answer.

A warm invocation runs in callbacks from end to end: no task, no disk, no SQL. A cold one starts an environment in
a task of the engine's own, so that whoever asked may go: as on AWS, the invocation runs to its end, the environment
comes back to the pool and the slot is returned.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine import pool
from lambent.engine.admission import Admission, Allotment, Release, throttled
from lambent.engine.environment import Environment
from lambent.engine.freezer import Freezer
from lambent.engine.gauges import Gauges
from lambent.engine.head_starts import head_start
from lambent.engine.hot import AT_WORK, Hot
from lambent.engine.interpreters import NoInterpreterError
from lambent.engine.launchers import Launchers, OpenLauncher
from lambent.engine.memory import memory_bytes
from lambent.engine.metrics import FunctionMetrics, Resource
from lambent.engine.package_memory import PackageMemory
from lambent.engine.packages import PackageZygotes
from lambent.engine.patience import Patience
from lambent.engine.provisioned import INIT_FAILURE, Allocation, Key, Plan, Progress, Provisioned
from lambent.engine.report import Report
from lambent.engine.runs import InitFailure, Run
from lambent.engine.runtimes import Runtimes
from lambent.engine.settings import Settings
from lambent.engine.snapshots import Snapshots, restore_error
from lambent.engine.spec import ON_DEMAND, PROVISIONED, FunctionSpec, Invocation, InvocationResult
from lambent.engine.starts import Credentials, LogSink, Starts
from lambent.engine.states import Phase
from lambent.observe.log import Log
from lambent.observe.metrics import record_nothing

# A launcher hands out one parked environment after the other; a few claims under way keep it busy, more only wait
# elsewhere. The queue before it is bounded by the concurrency limit.
_CLAIMS_AT_ONCE: Final = 16
_PROVISIONED_CLAIMS: Final = 4  # of those; a large amount must not keep invocations waiting
_LONGEST_RETRY_S: Final = 300.0
# Credentials last for hours and a runtime's memory grows: AWS too replaces environments after some hours.
_LONGEST_LIFE_S: Final = 6 * 3600.0
_HOUSEKEEPING_S: Final = 1.0
_SHORTEST_PAUSE_S: Final = 0.01
_WANTED_FREE_SHARE: Final = 0.05  # of the machine's memory; below it the longest idle environments go


@dataclass(slots=True, kw_only=True, eq=False)
class Engine:
    """Every execution environment of a node."""

    open_launcher: OpenLauncher
    append_log: LogSink
    credentials: Credentials
    runtimes: Runtimes
    clock: Clock
    log: Log
    metrics: FunctionMetrics = field(default_factory=lambda: FunctionMetrics(record_nothing))
    settings: Settings = field(default_factory=Settings)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while `run` is running: before, nothing can be invoked."""

    admission: Admission = field(init=False)
    _pool: "pool.Pool[Environment, Run]" = field(init=False, default_factory=pool.Pool)
    _starts: Starts = field(init=False)
    _packages: PackageZygotes = field(init=False)
    _package_memory: PackageMemory = field(init=False)
    _snapshots: Snapshots = field(init=False)
    _tasks: asyncio.TaskGroup | None = field(init=False, default=None)  # of starts and ends
    _claims: asyncio.Semaphore = field(init=False)
    _gauges: Gauges = field(init=False)
    _provisioned: "Provisioned[Environment]" = field(init=False, default_factory=Provisioned)
    _provisioned_claims: asyncio.Semaphore = field(init=False)
    _initialising: set[Environment] = field(init=False, default_factory=set)
    _resetting: set[Environment] = field(init=False, default_factory=set)  # those that another takes the place of
    _freezer: Freezer = field(init=False)
    _patience: Patience = field(init=False)
    _hot: Hot = field(init=False)
    _is_stopping: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.settings.concurrent_executions, self.clock.now)
        self._freezer = Freezer(self.clock.elapsed)
        self._patience = Patience(self._pool, self._start_more)
        self._hot = Hot(self._pool, self._wake)
        self._gauges = Gauges(self.admission, self.clock.now_ms)
        self._starts = Starts(
            launchers=Launchers(self.open_launcher, self.log),
            runtimes=self.runtimes,
            credentials=self.credentials,
            append_log=self.append_log,
            clock=self.clock,
            log=self.log,
            owner=self,
            place=self.settings.place,
            file_systems=self.settings.file_systems,
            has_walls=self.settings.has_walls,
            init_limit_s=self.settings.init_limit_s,
        )
        make = self._starts.make_for_packages
        self._package_memory = PackageMemory(self.settings.package_memory)
        idle_s = self.settings.idle_environment_s
        self._packages = PackageZygotes(make, self.clock, self.log, idle_s, self._package_memory)
        if self.settings.has_walls and self.settings.package_zygotes:
            self._starts.packages = self._packages
        self._snapshots = Snapshots(self._starts.make_for_snapshot, self._bury_soon, self.clock, self.log)
        self._starts.snapshots = self._snapshots
        self._claims = asyncio.Semaphore(_CLAIMS_AT_ONCE)
        self._provisioned_claims = asyncio.Semaphore(_PROVISIONED_CLAIMS)

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
        environment, release = self._admit(spec, invocation)
        run = Run(spec, invocation, asyncio.get_running_loop().create_future(), release)
        if environment is None and not self._is_stopping and self._pool.has_idle(spec.digest):
            in_use = self.admission.function_in_use(spec.arn) if self.admission.total > AT_WORK else 0
            if in_use and self._hot.is_better(spec, in_use):
                self._pool.enqueue(spec.digest, run)
                self._hot.wait(spec)
                return run.future
            environment = self._pool.take_idle(spec.digest)
        if environment:
            environment.assign(run)
        else:
            self._queue(run)
        return run.future

    def _wake(self, spec: FunctionSpec) -> None:
        """Environments for all who have waited for one at work: those that rest, else new ones."""
        while (run := self._pool.front(spec.digest)) and (environment := self._pool.take_idle(spec.digest)):
            self._pool.take_waiting(spec.digest)
            environment.assign(run)
        self._start_more(spec, self._pool.waiting_for(spec.digest))

    def _admit(self, spec: FunctionSpec, invocation: Invocation) -> tuple[Environment | None, Release]:
        """A provisioned environment for an invocation if one is free, and its slot."""
        allocation = None
        if self._provisioned and not self._is_stopping:
            allocation = self._provisioned.find(spec.digest, invocation.qualifier, spec.version)
        is_event, environment = invocation.is_event, None
        if allocation and allocation.may_take(self.clock.now(), is_event=is_event):
            release = self.admission.take_provisioned(spec.scope, spec.arn, is_event=is_event)
            environment = allocation.take()
            self._count(spec, invocation, "ProvisionedConcurrencyInvocations")
        else:
            release = self.admission.take(spec.scope, spec.arn, is_event=is_event)
            if allocation and allocation.is_complete:
                self._count(spec, invocation, "ProvisionedConcurrencySpilloverInvocations")
        amount = allocation.plan.count if allocation and environment else 0
        return environment, self._gauges.begins(spec, invocation, release, amount)

    async def retire(self, arn: str, *, keep_digests: frozenset[str] = frozenset()) -> None:
        """Ends a function's environments whose digest is not kept: idle ones now, busy ones when they are done."""
        self._packages.retire(arn, keep_digests)
        self._snapshots.retire(arn, keep_digests)
        resetting = (environment for environment in self._resetting if environment.arn == arn)
        for environment in (*self._pool.of(arn), *resetting):
            if environment.digest not in keep_digests:
                environment.is_wanted = False
                if environment.phase in (Phase.IDLE, Phase.RESET):
                    environment.retire()

    async def run(self) -> None:
        """Serves until cancelled; then lets running invocations finish, within limits, and ends everything."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = self._starts.home = tasks
            await asyncio.to_thread(self._package_memory.load)
            self.ready.set()
            ageing = tasks.create_task(self._end_the_old(), name="engine.end_the_old")
            renewing = tasks.create_task(self._snapshots.renew(), name="engine.renew_snapshots")
            try:
                while True:
                    await asyncio.sleep(_HOUSEKEEPING_S)
                    is_short = self._relieve_memory()
                    self._packages.tend(is_short_of_memory=is_short)
                    self._snapshots.tend(is_short_of_memory=is_short)
                    self._gauges.flush(self.metrics.record)
            finally:
                ageing.cancel()
                renewing.cancel()
                await self._stop()

    def provision(self, arn: str, plans: Sequence[Plan]) -> None:
        """Keeps these environments of a function initialised from now on, and no others. Returns at once."""
        allocations, leaving = self._provisioned.plan(arn, plans)
        for environment in leaving:
            environment.retire()
        for allocation in allocations:
            self._fill(allocation)

    def allot(self, scope: Scope, arn: str, allotment: Allotment | None) -> None:
        """What a function reserves and has provisioned from now on; None when it was deleted."""
        if allotment is None:
            self.admission.forget(scope, arn)
        else:
            self.admission.allot(scope, arn, allotment)

    async def expect(self, spec: FunctionSpec) -> None:
        """A function has come into being that may be invoked soon: an environment is kept ready for it."""
        runtime = await self.runtimes.resolve(spec.runtime)
        start = head_start(spec, runtime.program, self.settings.place)
        if self.settings.has_walls and self._starts.home and not self._is_stopping:
            trees = runtime.program.trees if start and runtime.program else {}
            with contextlib.suppress(OSError):  # whoever invokes it is told
                (await self._starts.launchers.get(runtime.stem, self._starts.home)).expect(trees, start)

    def progress(self, key: Key) -> Progress | None:
        """How far what was planned for a version and a qualifier is; None when nothing is planned."""
        allocation = self._provisioned.get(key)
        return allocation.progress if allocation else None

    def describe(self, function: str) -> list[dict[str, Any]]:
        """How the versions of a function, by its name or ARN, start: for `lambent doctor`."""
        return [*self._packages.describe(function), *self._snapshots.describe(function)]

    async def take_snapshot(self, spec: FunctionSpec) -> None:
        """Runs the Init of a version that is published with SnapStart, and keeps it for its environments.

        Raises:
            SnapshotFailedError: it could not be initialised; the text is its StateReason.
        """
        await self._snapshots.take(spec)

    @property
    def environments(self) -> int:
        """How many environments there are, in any phase."""
        return self._pool.size

    # What environments tell

    def is_idle(self, environment: Environment) -> None:
        """It is free: for the run that waited longest, or for the pool."""
        allocation = self._provisioned.whose(environment)
        if allocation:
            self._is_free(environment, allocation)
            return
        self._has_started(environment)
        is_old = environment.idle_since - environment.born >= _LONGEST_LIFE_S  # it became idle just now
        run = None if is_old else self._pool.take_waiting(environment.digest)
        if run:
            environment.assign(run)
            return
        if is_old or self._is_stopping or not environment.is_wanted:
            environment.retire()
            self._start_missing(environment.spec, 1)
            return
        self._pool.put_idle(environment)
        self._freezer.add(environment)

    def _is_leaving(self, environment: Environment) -> bool:
        return self._is_stopping or not environment.is_wanted or self._is_old(environment)

    def _is_old(self, environment: Environment) -> bool:
        return self.clock.elapsed() - environment.born >= _LONGEST_LIFE_S

    def has_ended(self, environment: Environment, failure: InitFailure | None) -> None:
        """It will serve no more. Another takes its place, with its /tmp and its log stream.

        Who waited for its Init gets that one, inside the invocation's own timeout; else the next invocation does.
        """
        self._has_started(environment)
        self._pool.remove(environment)
        assert self._tasks is not None
        allocation = self._provisioned.lose(environment)
        run = self._pool.take_waiting(environment.digest) if failure and not allocation else None
        if run and failure and environment.is_restored:
            run.fail(restore_error(failure))
            self._bury_soon(environment)
            return
        if run and not self._is_stopping:
            self._tasks.create_task(self._start(run.spec, run, environment), name="engine.start")
            return
        if not (failure or self._is_leaving(environment)) and environment.can_be_reset:
            if allocation is None:
                self._pool.start_begins(environment.digest)
                self._tasks.create_task(self._reset(environment), name="engine.reset")
                return
            if allocation.missing():
                self._start_one(allocation, environment)
                return
        self._tasks.create_task(self._bury(environment), name="engine.bury")
        if allocation:
            self._lost(allocation, failure)
        elif run:
            run.fail(_stopping())

    def take_back(self, environment: Environment, run: Run) -> None:
        """It has ended, and its runtime never saw this run: another serves it."""
        self.has_ended(environment, None)
        self._queue(run)

    def has_reported(self, environment: Environment, run: Run, summary: Report) -> None:
        """One entry for each invocation, at its end, and its metrics."""
        invocation = run.invocation
        self.metrics.add_invocation(
            environment.spec.scope,
            Resource(environment.spec.name, invocation.qualifier, invocation.executed_version),
            at_ms=summary.started_ms,
            duration_ms=summary.duration_ms,
            has_failed=summary.has_failed,
            post_runtime_ms=summary.post_runtime_ms,
        )
        if not self.log.tells_info:
            return
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
        spec, digest = run.spec, run.spec.digest
        if run.invocation.is_event and self._pool.will_have(digest, spec.arn):
            self._pool.enqueue(digest, run)
            self._patience.wait(spec)
            return
        if self._pool.is_one_short(digest):
            try:
                self.admission.start(spec.scope, spec.arn)
            except ApiError as error:
                run.fail(error)
                return
        self._pool.enqueue(digest, run)
        self._start_missing(spec, 1)

    def _start_missing(self, spec: FunctionSpec, most: int) -> None:
        """An environment for each run that waits for one and has none on its way, up to so many."""
        for _one in range(min(most, self._pool.missing(spec.digest)) if self._tasks else 0):
            assert self._tasks is not None
            self._pool.start_begins(spec.digest)
            self._tasks.create_task(self._start(spec), name="engine.start")

    def _start_more(self, spec: FunctionSpec, most: int) -> None:
        """Environments for events that have waited, as far as the function may grow."""
        for _one in range(0 if self._is_stopping else min(most, self._pool.missing(spec.digest))):
            try:
                self.admission.start(spec.scope, spec.arn)
            except ApiError:
                return  # there is a next tick
            self._start_missing(spec, 1)

    async def _start(self, spec: FunctionSpec, run: Run | None = None, past: Environment | None = None) -> None:
        """Starts one environment: for whoever waits, or, in the place of a `past` one whose Init failed, for `run`."""
        environment = None
        try:
            if past:
                await past.shut_down()
                await past.sandbox.stop()
            async with self._claims:
                # Another environment may have become free meanwhile.
                if run or self._pool.has_waiting(spec.digest):
                    environment = await self._create(spec, past=past)
                else:
                    self.admission.not_started(spec.arn)
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

    async def _reset(self, past: Environment) -> None:
        """Puts an environment in the place of one whose runtime ended. It does Init when it is invoked."""
        environment = None
        self._resetting.add(past)
        try:
            await past.shut_down()
            await past.sandbox.stop()
            async with self._claims:
                environment = await self._create(past.spec, past=past)
        except (NoInterpreterError, ApiError) as error:
            self._fail(None, past.digest, ApiError("ServiceException", str(error)))
        except Exception:  # as for an invocation's environment
            self.log.error("environment.reset_failed", function=past.spec.arn)
            self._fail(None, past.digest, ApiError("ServiceException", "The environment could not be started."))
        finally:
            self._resetting.discard(past)
            self._pool.start_ends(past.digest)
        if environment is None:
            return
        environment.rest()
        run = self._pool.take_waiting(past.digest)
        if run:
            environment.assign(run)
        elif self._is_leaving(environment):
            environment.retire()
        else:
            self._pool.put_idle(environment)

    async def _create(self, spec: FunctionSpec, kind: str = ON_DEMAND, past: Environment | None = None) -> Environment:
        """A new environment; in the place of a `past` one it has that one's /tmp, log stream and age."""
        environment = await self._starts.create(spec, kind, past)
        self._pool.add(environment)
        return environment

    def _fail(self, run: Run | None, digest: str, error: ApiError) -> None:
        failed = run or self._pool.take_waiting(digest)
        if failed:
            failed.fail(error)

    def _count(self, spec: FunctionSpec, invocation: Invocation, name: str) -> None:
        of = Resource(spec.name, invocation.qualifier, invocation.executed_version)
        self.metrics.add(spec.scope, name, 1, of=of)

    def _has_started(self, environment: Environment) -> None:
        if environment in self._initialising:
            self._initialising.remove(environment)
            self._pool.start_ends(environment.digest)

    # Provisioned concurrency

    def _fill(self, allocation: Allocation[Environment]) -> None:
        """Starts what an allocation lacks."""
        if self._tasks is None or self._is_stopping:
            return
        for _one in range(allocation.missing()):
            self._start_one(allocation)

    def _start_one(self, allocation: Allocation[Environment], past: Environment | None = None) -> None:
        assert self._tasks is not None
        allocation.starting += 1
        self._tasks.create_task(self._start_provisioned(allocation, past), name="engine.start_provisioned")

    async def _start_provisioned(self, allocation: Allocation[Environment], past: Environment | None) -> None:
        """Starts one environment, perhaps in the place of a `past` one that was reset: it has that one's /tmp."""
        environment, spec = None, allocation.plan.spec
        try:
            if past:
                await past.shut_down()
                await past.sandbox.stop()
            async with self._provisioned_claims, self._claims:
                if allocation.is_short and not self._is_stopping:
                    environment = await self._create(spec, PROVISIONED, past)
                elif past:
                    await past.sandbox.kill()
        except (NoInterpreterError, ApiError) as error:
            self._failed(allocation, str(error))
        except Exception:  # as for an invocation's environment
            self.log.error("environment.start_failed", function=spec.arn)
            self._failed(allocation, "The environment could not be started.")
        if environment is None:
            allocation.starting -= 1
            return
        self._provisioned.belongs(environment, allocation)
        environment.begin()

    def _is_free(self, environment: Environment, allocation: Allocation[Environment]) -> None:
        """A provisioned environment is initialised, or has answered."""
        if self._provisioned.is_started(environment):
            allocation.starting -= 1
        if self._is_leaving(environment) or not allocation.is_free(environment):
            environment.retire()
            return
        self._freezer.add(environment)

    def _lost(self, allocation: Allocation[Environment], failure: InitFailure | None) -> None:
        """One of its environments has ended."""
        if failure:
            self._failed(allocation, INIT_FAILURE)
        self._fill(allocation)

    def _failed(self, allocation: Allocation[Environment], reason: str) -> None:
        self.log.warning("provisioned.failed", function=allocation.plan.spec.arn, reason=reason)
        for environment in allocation.fail(reason):
            environment.retire()
        if allocation.is_complete and not allocation.waits_for_retry and self._tasks and not self._is_stopping:
            allocation.waits_for_retry = True
            self._tasks.create_task(self._fill_later(allocation), name="engine.fill_later")

    async def _fill_later(self, allocation: Allocation[Environment]) -> None:
        await self.clock.sleep(min(_LONGEST_RETRY_S, 2.0 ** min(allocation.failures, 20)))
        allocation.waits_for_retry = False
        self._fill(allocation)

    # Keeping house, and the end

    async def _end_the_old(self) -> None:
        """Ends environments that nobody has needed for long, or whose credentials will run out, each at its moment."""
        limit_s, books = self.settings.idle_environment_s, self._pool
        while True:
            now = self.clock.elapsed()
            for environment in books.idle_too_long(now, limit_s):
                environment.retire()
            for environment in books.lived_too_long(now, _LONGEST_LIFE_S):
                if environment.phase in (Phase.IDLE, Phase.RESET):  # a busy one when it is free
                    environment.retire()
            idle_s = books.until_idle_too_long(now, limit_s)
            pause_s = min(idle_s, books.until_lived_too_long(now, _LONGEST_LIFE_S))
            await self.clock.sleep(max(_SHORTEST_PAUSE_S, pause_s))

    def _relieve_memory(self) -> bool:
        """Whether memory is short; then idle environments end."""
        free, total = memory_bytes()
        wanted = int(total * _WANTED_FREE_SHARE)
        count = pool.to_relieve(self._pool.idle, free, wanted) if self._pool.idle else 0
        for environment in self._pool.longest_idle(count):
            environment.retire()
        return free < wanted

    async def _stop(self) -> None:
        self._is_stopping = True
        self.ready.clear()
        self._packages.close()
        async with asyncio.TaskGroup() as burials:
            self._tasks = burials
            self._snapshots.close()
            for environment in (*self._pool.longest_idle(self._pool.idle), *self._provisioned.idle()):
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

    def _bury_soon(self, environment: Environment) -> None:
        assert self._tasks is not None
        self._tasks.create_task(self._bury(environment), name="engine.bury")

    async def _bury(self, environment: Environment) -> None:
        try:
            await environment.shut_down()
            await environment.sandbox.kill()
        except Exception:  # one environment's remains must not end the node; the next start cleans up
            self.log.error("environment.kill_failed", environment=environment.id, function=environment.spec.arn)


def _stopping() -> ApiError:
    return ApiError("ServiceException", "The node is stopping.")
