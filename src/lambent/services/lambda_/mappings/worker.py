"""Brings changes of mappings into force, and runs a poller for each one that is enabled.

Each mapping has a task of its own: what fails, hangs or waits in one is nothing to another. A change stops the poller,
whose batches under way end with what they were begun with, and starts a new one. After a restart all begin again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.engine import Connection

from lambent.clock import Clock
from lambent.eventing.poller import Poller
from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.services.lambda_.mappings import rows
from lambent.services.lambda_.mappings.catalogue import Mappings
from lambent.services.lambda_.mappings.model import DELETING, DISABLING, ENABLED, EventSourceMapping, settled
from lambent.store.database import Database


@dataclass(slots=True, kw_only=True, eq=False)
class MappingWorker:
    """`changed` may be called at any time. `new_poller` makes the poller of a mapping."""

    database: Database
    mappings: Mappings
    new_poller: Callable[[EventSourceMapping], Poller]
    pending_s: float
    stop_grace_s: float
    clock: Clock
    log: Log
    _tasks: asyncio.TaskGroup | None = field(init=False, default=None)
    _changes: dict[str, asyncio.Event] = field(init=False, default_factory=dict)  # of the mappings that have a task
    _polling: "dict[asyncio.Task[None], Poller]" = field(init=False, default_factory=dict)

    def changed(self, uuid: str) -> None:
        """A change of a mapping was committed."""
        if uuid in self._changes:
            self._changes[uuid].set()
        elif self._tasks is not None and self.mappings.find(uuid) is not None:
            self._begin(uuid)

    async def run(self) -> None:
        """Until cancelled. Batches that are under way then may end, within a limit."""
        self._changes.clear()
        async with asyncio.TaskGroup() as self._tasks:
            for mapping in self.mappings.all():
                self._begin(mapping.uuid)
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None
                for poller in self._polling.values():
                    poller.stop()
                if self._polling:
                    await asyncio.wait(self._polling, timeout=self.stop_grace_s)

    def _begin(self, uuid: str) -> None:
        assert self._tasks is not None
        self._changes[uuid] = asyncio.Event()
        keep = partial(self._keep, uuid)
        self._tasks.create_task(supervise("mapping", keep, self.log), name=f"lambda.mapping {uuid}")

    async def _keep(self, uuid: str) -> None:
        """One mapping, until it is gone."""
        change = self._changes[uuid]
        polling: set[asyncio.Task[None]] = set()
        while True:
            change.clear()
            mapping = self.mappings.find(uuid)
            if mapping is None:
                del self._changes[uuid]
                return
            if not mapping.is_settled:
                await self._settle(mapping, polling)
                continue
            poller = self._start(mapping, polling) if mapping.state == ENABLED else None
            try:
                await change.wait()
            finally:
                if poller is not None:
                    poller.stop()

    def _start(self, mapping: EventSourceMapping, polling: "set[asyncio.Task[None]]") -> Poller | None:
        if self._tasks is None:
            return None
        poller = self.new_poller(mapping)
        task = self._tasks.create_task(supervise("poller", poller.run, self.log), name=poller.name)
        self._polling[task] = poller
        polling.add(task)
        task.add_done_callback(self._forget)
        task.add_done_callback(polling.discard)
        return poller

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._polling.pop(task, None)

    async def _settle(self, mapping: EventSourceMapping, polling: "set[asyncio.Task[None]]") -> None:
        """Not before pollers of the API could see the state that passes. Disabled is who has nothing under way."""
        await self.clock.sleep(self.pending_s)
        if mapping.state in (DISABLING, DELETING) and polling:
            await asyncio.wait(polling)

        def change(tx: Connection) -> EventSourceMapping | None:
            now = rows.mapping(tx, mapping.uuid)
            if now is None or now.revision != mapping.revision:
                return now  # changed again: then that is what comes into force
            done = settled(now)
            if done is None:
                rows.delete_mapping(tx, now.uuid)
            else:
                rows.update_mapping(tx, done)
            return done

        def committed(done: EventSourceMapping | None) -> None:
            if done is None:
                self.mappings.remove(mapping.uuid)
            else:
                self.mappings.put(done)

        await self.database.write(change, committed=committed)
