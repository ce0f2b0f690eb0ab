"""Tells the engine what functions reserve, and which environments are to be kept for them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine.admission import Allotment
from lambent.engine.provisioned import Key, Plan, Progress
from lambent.engine.spec import FunctionSpec
from lambent.services.lambda_ import concurrency
from lambent.services.lambda_.catalogue import Catalogue
from lambent.services.lambda_.model import FunctionKey, FunctionVersion

_AGAIN_S: Final = 5.0  # after a package could not be unpacked: the disk may have room then


class Keeper(Protocol):
    """Who keeps environments: `engine.invoke.Engine`."""

    def allot(self, scope: Scope, arn: str, allotment: Allotment | None) -> None:
        """What a function has for itself from now on; None when it was deleted."""

    def provision(self, arn: str, plans: Sequence[Plan]) -> None:
        """Keeps these environments of a function, and no others."""

    def progress(self, key: Key) -> Progress | None:
        """How far that is."""


@dataclass(slots=True, kw_only=True, eq=False)
class ProvisionedWorker:
    """`changed` may be called at any time; what it has to wait for is done while `run` runs.

    What waits is bounded by what there is: one job for each function.
    """

    catalogue: Catalogue
    keeper: Keeper
    ready_spec: Callable[[FunctionVersion], Awaitable[FunctionSpec]]
    clock: Clock
    _known: set[FunctionKey] = field(default_factory=set)  # functions that have anything for themselves
    _waiting: set[FunctionKey] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, key: FunctionKey) -> None:
        """Something of a function was committed: limits hold at once, and what is not wanted any more goes."""
        entry = self.catalogue.find(key)
        allotment = concurrency.allotment(entry) if entry else None
        if key not in self._known and allotment == Allotment():
            return
        self.keeper.allot(key.scope, key.arn(), allotment)
        plans = concurrency.plans(entry) if entry else []
        begun = [plan for plan in plans if self.keeper.progress(plan.key)]
        self.keeper.provision(key.arn(), begun)
        if allotment in (None, Allotment()):
            self._known.discard(key)
        else:
            self._known.add(key)
        if len(begun) < len(plans):  # their code may have to be unpacked first
            self._waiting.add(key)
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What was provisioned before a restart is started again."""
        self._waiting |= self._known
        async with asyncio.TaskGroup() as tasks:
            while True:
                while self._waiting:
                    tasks.create_task(self._provision(self._waiting.pop()), name="lambda.provision")
                await self._wake.wait()
                self._wake.clear()

    async def _provision(self, key: FunctionKey) -> None:
        entry = self.catalogue.find(key)
        versions = [entry.versions[plan.spec.version] for plan in concurrency.plans(entry)] if entry else []
        try:
            with self.clock.holding():
                for version in versions:
                    await self.ready_spec(version)
        except ApiError:  # it is in the log
            await self.clock.sleep(_AGAIN_S)
            self._waiting.add(key)
            self._wake.set()
            return
        entry = self.catalogue.find(key)  # as it is now
        self.keeper.provision(key.arn(), concurrency.plans(entry) if entry else [])
