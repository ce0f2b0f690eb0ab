"""SnapStart: versions whose Init has been run, and whose environments are copies of the process that ran it.

A snapshot here is a process, a zygote, which is not kept over a restart of the node: the first start after one
initialises as usual, and has the snapshot taken again beside it. So does a function whose process cannot be copied:
its hooks run, its environments initialise.

Source: AWS Lambda Developer Guide, "Improving startup performance with Lambda SnapStart"; facts sheet section 24.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine import report
from lambent.engine.environment import Environment
from lambent.engine.interpreters import NoInterpreterError
from lambent.engine.runs import InitFailure, Run
from lambent.engine.sandbox.launch import EnvironmentRefused
from lambent.engine.spec import FunctionSpec
from lambent.engine.surroundings import Owner
from lambent.observe.log import Log

_MOST_PARKED: Final = 16
_RECENT_S: Final = 10.0
_LONGEST_LIFE_S: Final = 3 * 3600.0  # its credentials last for hours; a new one is taken before they end
_LOOK_S: Final = 60.0  # for old ones
_PAUSE_S: Final = 600.0  # after a failure to renew one, times the failures in a row
_MOST_FAILURES: Final = 3  # of snapshots taken again

Make = Callable[[FunctionSpec, Owner, Callable[[bytes], None]], Awaitable[Environment]]
"""An environment that runs a version's Init to be copied: its owner, and who is told why it cannot be."""


class SnapshotFailedError(Exception):
    """A version could not be initialised; the text says why, as StateReason does, and `code` is its code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(slots=True, kw_only=True, eq=False)
class Snapshot:
    """One version's. `environment` is the process that is copied; without it, environments initialise."""

    spec: FunctionSpec
    environment: Environment | None = None
    coming: Environment | None = None  # runs Init, to take that one's place
    reason: str = ""  # why there is none
    is_under_way: bool = False
    failures: int = 0
    parked: int = 1
    taken: float = 0.0
    starts: list[float] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """As `lambent doctor FUNCTION` shows it."""
        state = "ready" if self.environment else "being taken" if self.is_under_way else "none"
        own = {"function": self.spec.arn, "version": self.spec.version, "kind": "snapshot"}
        return {**own, "state": state, "reason": self.reason}


class _Taking:
    """The owner of an environment whose snapshot is being taken."""

    def __init__(self, lost: Callable[[Environment], None]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = lost

    def is_idle(self, environment: Environment) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def has_ended(self, environment: Environment, failure: InitFailure | None) -> None:
        if not self.done.done():
            self.done.set_exception(SnapshotFailedError(*_reason(failure)))
        self._lost(environment)

    def take_back(self, environment: Environment, run: Run) -> None:
        """Nothing is invoked here."""

    def has_reported(self, environment: Environment, run: Run, summary: report.Report) -> None:
        """Nothing is invoked here."""


class Snapshots:
    """Those of a node."""

    def __init__(self, make: Make, bury: Callable[[Environment], None], clock: Clock, log: Log) -> None:
        self._make = make
        self._bury = bury
        self._clock = clock
        self._log = log
        self._kept: dict[str, Snapshot] = {}

    def zygote(self, spec: FunctionSpec) -> str | None:
        """The id of the process that an environment of this version is to be a copy of."""
        snapshot = self._kept.get(spec.digest)
        if snapshot is None or snapshot.environment is None:
            return None
        snapshot.starts.append(self._clock.elapsed())
        return snapshot.environment.id

    def is_missing(self, spec: FunctionSpec) -> bool:
        """Whether it is to be taken again."""
        snapshot = self._kept.get(spec.digest)
        return snapshot is None or not (
            snapshot.environment or snapshot.is_under_way or snapshot.reason or snapshot.failures >= _MOST_FAILURES
        )

    async def take(self, spec: FunctionSpec) -> None:
        """Runs the version's Init and keeps the process. One that cannot be copied is not kept, and no failure.

        Raises:
            SnapshotFailedError: Init failed, or took longer than it may.
        """
        snapshot = self._kept.setdefault(spec.digest, Snapshot(spec=spec))
        snapshot.is_under_way = True
        try:
            environment, obstacle = await self._initialised(snapshot)
        except BaseException:
            snapshot.failures += 1
            raise
        finally:
            snapshot.is_under_way = False
        if self._kept.get(spec.digest) is not snapshot:  # forgotten, and its process with it
            return
        if snapshot.environment:
            snapshot.environment.retire()  # what was made of it lives on
        if obstacle:
            snapshot.reason = _said(obstacle)
            environment.retire()
            return
        snapshot.environment, snapshot.taken, snapshot.failures = environment, self._clock.elapsed(), 0
        environment.sandbox.seal(snapshot.parked, keeps_tmp=True)
        environment.sandbox.barren.add_done_callback(lambda barren: self._is_barren(snapshot, barren.result()))

    async def take_again(self, spec: FunctionSpec) -> None:
        """Takes a snapshot that was lost, or is old. A failure is logged: what there was serves on."""
        try:
            await self.take(spec)
        except (SnapshotFailedError, NoInterpreterError, EnvironmentRefused, ApiError, OSError) as error:
            if spec.digest in self._kept:
                self._log.warning("snapshot.failed", function=spec.arn, version=spec.version, reason=str(error))

    async def renew(self) -> None:
        """Takes old ones again, one after the other, until cancelled. Restores go on from the old one meanwhile."""
        while True:
            await self._clock.sleep(_LOOK_S, tidying=True)
            for snapshot in list(self._kept.values()):
                if self._is_old(snapshot):
                    await self.take_again(snapshot.spec)

    def _is_old(self, snapshot: Snapshot) -> bool:
        """Whether it is to be taken again now: after each failure that comes a while later."""
        age_s = self._clock.elapsed() - snapshot.taken
        is_due = age_s >= _LONGEST_LIFE_S + snapshot.failures * _PAUSE_S
        return is_due and snapshot.environment is not None and not snapshot.is_under_way

    async def _initialised(self, snapshot: Snapshot) -> tuple[Environment, bytes]:
        """An environment that has done Init, and why it cannot be copied, if so."""
        obstacles: list[bytes] = []
        taking = _Taking(lambda environment: self._lost(snapshot, environment))
        environment = await self._make(snapshot.spec, taking, obstacles.append)
        if self._kept.get(snapshot.spec.digest) is not snapshot:  # its function changed, or the node stops
            environment.sandbox.discard()
            raise SnapshotFailedError(*_reason(None))
        snapshot.coming = environment
        environment.begin()
        try:
            await taking.done
        except asyncio.CancelledError:
            if snapshot.coming:
                environment.retire()
            raise
        finally:
            snapshot.coming = None
        return environment, obstacles[0] if obstacles else b""

    def retire(self, arn: str, keep_digests: frozenset[str]) -> None:
        """Ends a function's snapshots, but for those of these digests."""
        for digest, snapshot in list(self._kept.items()):
            if snapshot.spec.arn == arn and digest not in keep_digests:
                self._forget(digest)

    def tend(self, *, is_short_of_memory: bool) -> None:
        """Keeps as many copies ahead as were wanted lately."""
        now = self._clock.elapsed()
        for snapshot in self._kept.values():
            if snapshot.environment is None:
                continue
            snapshot.starts = [moment for moment in snapshot.starts if now - moment < _RECENT_S]
            parked = 0 if is_short_of_memory else max(1, min(_MOST_PARKED, len(snapshot.starts)))
            if parked != snapshot.parked:
                snapshot.parked = parked
                snapshot.environment.sandbox.seal(parked)

    def close(self) -> None:
        """Ends all of them."""
        for digest in list(self._kept):
            self._forget(digest)

    def describe(self, function: str) -> list[dict[str, Any]]:
        """What is known of a function's versions, by its name or ARN."""
        return [each.describe() for each in self._kept.values() if function in (each.spec.arn, each.spec.name)]

    def _forget(self, digest: str) -> None:
        snapshot = self._kept.pop(digest)
        for environment in (snapshot.environment, snapshot.coming):
            if environment:
                environment.retire()
        snapshot.environment = None

    def _lost(self, snapshot: Snapshot, environment: Environment) -> None:
        self._bury(environment)
        if snapshot.environment is environment:
            snapshot.environment = None
        if snapshot.coming is environment:
            snapshot.coming = None

    def _is_barren(self, snapshot: Snapshot, reason: str) -> None:
        if snapshot.environment:
            snapshot.environment.retire()
            snapshot.environment, snapshot.reason = None, reason
            self._log.warning("snapshot.lost", function=snapshot.spec.arn, reason=reason)


def _reason(failure: InitFailure | None) -> tuple[str, str]:
    """StateReasonCode and StateReason of a version that could not be initialised."""
    if failure is None:
        return "InternalError", "The function's environment ended while its snapshot was taken."
    if failure.status == "timeout":
        return "FunctionError.InitTimeout", "Init of the function took longer than it may."
    kind = failure.error_type or "Runtime.ExitError"
    return "FunctionError.RuntimeInitError", f"Init of the function failed: {kind}. See its log."


def _said(obstacle: bytes) -> str:
    """Why a process cannot be copied. It comes from the function, so it may be anything."""
    try:
        return str(json.loads(obstacle)["obstacle"])[:500]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "its process did not say why it cannot be copied"


def restore_error(failure: InitFailure) -> ApiError:
    """What an invocation is told whose environment could not be restored."""
    if failure.status == "timeout":
        return ApiError(
            "SnapStartTimeoutException",
            "Lambda couldn't restore the snapshot within the timeout limit.",
            Type="User",
        )
    text = (
        "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs."
    )
    return ApiError("SnapStartException", text, Type="User")
