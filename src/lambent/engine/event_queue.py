"""Asynchronous invocations: acknowledged when they are on disk, run once each, deleted after they ran.

A crash between the run and the deletion runs an event again: at least once, as on AWS. An event that is throttled,
or whose function is not ready, waits (1 s, doubling to 5 min) and is not lost. What AWS retries after a function's
error, and where failures go, comes with destinations.

Source: AWS Lambda Developer Guide, "Invoking a Lambda function asynchronously"; facts sheet section 25.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine import rows
from lambent.engine.admission import throttled
from lambent.engine.rows import Event
from lambent.engine.spec import FunctionSpec, Invocation, InvocationResult
from lambent.observe import points
from lambent.observe.log import Log
from lambent.store.database import Database, DatabaseBusyError

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 300.0

Invoke = Callable[[FunctionSpec, Invocation], Awaitable[InvocationResult]]
Resolve = Callable[[str, str | None], Awaitable[FunctionSpec]]


def wait_s(deferrals: int) -> float:
    """How long an event waits that already had to wait so often: 1 s, 2 s, 4 s, ... 5 min. Pure."""
    return float(min(_FIRST_WAIT_S * 2 ** min(deferrals, 20), _LONGEST_WAIT_S))


@dataclass(slots=True, kw_only=True, eq=False)
class EventQueue:
    """The events of a node. `put` may be called before and while `run` runs."""

    database: Database
    clock: Clock
    log: Log
    invoke: Invoke
    resolve: Resolve
    at_once: int = 256
    """Events that run at the same time. More wait on disk; their payloads (up to 1 MB each) stay out of memory."""
    stop_grace_s: float = 10.0
    """How long events that are running may go on when the queue stops; then they run again at the next start."""

    _wake: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _running: dict[int, "asyncio.Task[None]"] = field(init=False, default_factory=dict)
    _tasks: asyncio.TaskGroup | None = field(init=False, default=None)
    _ended: set[int] = field(init=False, default_factory=set)  # since the last reading began
    _highest_read: int = field(init=False, default=0)  # of the events that were started from a reading
    _has_backlog: bool = field(init=False, default=True)  # events on disk that nobody has looked at

    @property
    def _refill_at(self) -> int:
        return self.at_once * 7 // 8  # each reading costs the same, so it is made for several events

    async def put(
        self, scope: Scope, function_arn: str, qualifier: str | None, payload: bytes, *, request_id: str
    ) -> None:
        """Keeps an event; returns after the commit. Cancelled, the event may be kept all the same.

        Raises:
            ApiError: TooManyRequestsException, when the store is too far behind.
        """
        now_ms = self.clock.now_ms()
        event = Event(
            scope=scope,
            function_arn=function_arn,
            qualifier=qualifier,
            request_id=request_id,
            payload=payload,
            arrived_ms=now_ms,
            visible_ms=now_ms,
        )

        def change(tx: Connection) -> Event:
            return dataclasses.replace(event, id=rows.insert_event(tx, event))

        try:
            await self.database.write(change, committed=self._arrived)
        except DatabaseBusyError:
            raise throttled("CallerRateLimitExceeded") from None

    async def run(self) -> None:
        """Runs events until cancelled; those that are running then may finish, within a limit."""
        self._has_backlog = True
        async with asyncio.TaskGroup() as self._tasks:
            try:
                while True:
                    self._wake.clear()
                    await self._sleep(await self._start_due())
            finally:
                self._tasks = None
                if self._running:
                    await asyncio.wait(self._running.values(), timeout=self.stop_grace_s)
                for task in self._running.values():
                    task.cancel()

    def _arrived(self, event: Event) -> None:
        """A new event is committed: it runs now if there is room, without reading it back."""
        # A reading may have found it before we are told; ids grow in the order of commits.
        is_new = event.id > self._highest_read
        if is_new and self._tasks is not None and not self._has_backlog and len(self._running) < self.at_once:
            self._start(event)
        else:
            self._has_backlog = True
            self._wake.set()

    async def _start_due(self) -> float | None:
        """Starts what may run; in how many seconds there may be more, None for not before something happens."""
        room = self.at_once - len(self._running)
        if room <= 0:
            self._has_backlog = True
            return None  # an event that ends wakes us
        now_ms = self.clock.now_ms()
        # Whatever is committed while we read is behind: the flag falls before the reading, not after. What ends
        # meanwhile must not be started again from what we read.
        self._has_backlog = False
        self._ended.clear()
        running = frozenset(self._running)

        def read(tx: Connection) -> tuple[list[Event], bool, int | None]:
            limit = room + len(running)
            ids = rows.due_ids(tx, now_ms, limit)
            fresh = [key for key in ids if key not in running]
            events = [event for key in fresh[:room] if (event := rows.event(tx, key))]
            return events, len(fresh) > room or len(ids) == limit, rows.next_visible_ms(tx, now_ms)

        events, has_more, next_ms = await self.database.read(read)
        for event in events:
            if event.id in self._ended or event.id in self._running:
                continue
            if len(self._running) >= self.at_once:  # new ones came in between
                has_more = True
                break
            self._highest_read = max(self._highest_read, event.id)
            self._start(event)
        if has_more:
            self._has_backlog = True
            return None if len(self._running) >= self.at_once else 0.0
        return None if next_ms is None else max(0.0, (next_ms - self.clock.now_ms()) / 1000)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _start(self, event: Event) -> None:
        assert self._tasks is not None
        assert event.id not in self._running
        self._running[event.id] = self._tasks.create_task(self._serve(event), name=f"engine.event {event.id}")

    async def _serve(self, event: Event) -> None:
        """Runs one event to its end: deleted, or deferred."""
        try:
            until_ms = await self._try(event)
            if until_ms is None:
                await self._write(lambda tx: rows.delete_event(tx, event.id))
            else:
                await self._write(lambda tx: rows.defer_event(tx, event.id, until_ms))
                self._has_backlog = True  # when to look again has changed
        finally:
            del self._running[event.id]
            self._ended.add(event.id)
            if self._has_backlog and len(self._running) <= self._refill_at:
                self._wake.set()

    async def _try(self, event: Event) -> int | None:
        """Runs it. None when it is done with, else the moment before which it must not be tried again."""
        try:
            spec = await self.resolve(event.function_arn, event.qualifier)
            arn = f"{event.function_arn}:{event.qualifier}" if event.qualifier else event.function_arn
            invocation = Invocation(request_id=event.request_id, payload=event.payload, invoked_arn=arn)
            await self.invoke(spec, invocation)
            points.reached("event.responded")
        except ApiError as error:
            if error.code == "ResourceNotFoundException":
                self.log.warning("event.dropped", function=event.function_arn, request_id=event.request_id)
                return None
            if not event.deferrals:
                self.log.info("event.deferred", function=event.function_arn, code=error.code)
            return self.clock.now_ms() + int(wait_s(event.deferrals) * 1000)
        return None

    async def _write(self, change: Callable[[Connection], None]) -> None:
        """Commits the end of an event, however far behind the store is: else it would run twice."""
        while True:
            try:
                return await self.database.write(change)
            except DatabaseBusyError:
                await asyncio.sleep(_FIRST_WAIT_S)
