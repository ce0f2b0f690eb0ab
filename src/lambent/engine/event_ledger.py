"""What events the store has: added and taken away in groups.

Each group is one change, of whatever was asked for while the group before it was on its way to the disk. So a commit
carries as many events as arrive in its time, and what each of them costs by itself is a place in two lists.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace
from sqlalchemy import Connection

from lambent.engine import rows
from lambent.engine.rows import Event
from lambent.store.database import Database, DatabaseBusyError

# As many changes as the database lets wait; whoever comes when so many events do is refused.
_MOST: Final = 20_000
_PATIENCE_S: Final = 0.01  # of what has ended, where nothing arrives


@dataclass(slots=True, eq=False)
class _Group:
    """What one change does, and who waits for it."""

    new: list[Event] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    waiters: "list[asyncio.Future[None]]" = field(default_factory=list)

    def change(self, tx: Connection) -> Sequence[int]:
        ids = rows.insert_events(tx, self.new) if self.new else ()
        if self.ended:
            rows.delete_events(tx, self.ended)
        return ids


class EventLedger:
    """The events of one database. `arrived` is told of each new one, with its id, in the order of their commits."""

    def __init__(self, database: Database, arrived: Callable[[Event], None]) -> None:
        self._database = database
        self._arrived = arrived
        self._next = _Group()
        self._is_busy = False  # a group is on its way, or about to be
        self._timer: asyncio.TimerHandle | None = None

    async def add(self, event: Event) -> None:
        """Returns after the commit. Cancelled, the event is kept all the same.

        Raises:
            DatabaseBusyError: the store is too far behind.
        """
        self._check()
        self._next.new.append(event)
        if not self._is_busy:
            self._is_busy = True
            asyncio.get_running_loop().call_soon(self._write)  # what else arrives in this turn of the loop comes along
        await self._written()

    async def remove(self, event_id: int) -> None:
        """The same for an event that has ended. It is in no hurry, and goes with those that arrive, if any do."""
        self._check()
        self._next.ended.append(event_id)
        if not self._is_busy:
            self._write_later()
        await self._written()

    def _check(self) -> None:
        if len(self._next.waiters) >= _MOST:
            raise DatabaseBusyError(f"{_MOST} events wait for {self._database.path.name}; try again later")

    def _written(self) -> "asyncio.Future[None]":
        waiter = asyncio.get_running_loop().create_future()
        self._next.waiters.append(waiter)
        return waiter

    def _write_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._write)

    def _write(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._next.waiters:  # the timer was quicker than the turn's end
            return
        self._is_busy = True
        group, self._next = self._next, _Group()
        try:
            written = self._database.hand_in(group.change, committed=lambda ids: self._tell(group.new, ids))
        except (DatabaseBusyError, RuntimeError) as error:  # it is busy, or closed
            self._end(group, error)
            return
        written.add_done_callback(lambda done: self._end(group, done.exception()))

    def _tell(self, new: list[Event], ids: Sequence[int]) -> None:
        for event, event_id in zip(new, ids, strict=True):
            self._arrived(replace(event, id=event_id))

    def _end(self, group: _Group, error: BaseException | None) -> None:
        for waiter in group.waiters:
            if not waiter.done():  # else whoever waited was cancelled
                waiter.set_exception(error) if error else waiter.set_result(None)
        self._is_busy = bool(self._next.new)
        if self._is_busy:
            self._write()
        elif self._next.ended:
            self._write_later()
