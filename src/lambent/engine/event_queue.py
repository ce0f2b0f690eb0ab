"""Asynchronous invocations: acknowledged when they are on disk, run, tried again, and their end made known.

An event stays on disk until it has ended and whoever is to hear of it has. What becomes of it after each attempt is
decided in `retries`; what the queue does itself is to keep that, in one commit, before the next step. A crash between
a step and its commit repeats the step: at least once, as on AWS, also for what is delivered.

Source: AWS Lambda Developer Guide, "Invoking a Lambda function asynchronously"; facts sheet section 25.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final, Protocol

from msgspec.structs import replace
from sqlalchemy import Connection

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine import retries, rows
from lambent.engine.admission import throttled
from lambent.engine.event_ledger import EventLedger
from lambent.engine.metrics import FunctionMetrics, Resource
from lambent.engine.retries import Ended, Outcome, Retries, SoFar
from lambent.engine.rows import Delivery, Event, Response
from lambent.observe import points
from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.store.database import Database, DatabaseBusyError

_STORE_BUSY_S: Final = 1.0
# Of events that are next: they need not be read back. More wait on disk alone.
_MOST_NEXT: Final = 2_000
_MOST_NEXT_BYTES: Final = 8 * 1_048_576
_GONE: Final = "ResourceNotFoundException"
_LOOPS: Final = "RecursiveInvocationException"


class Functions(Protocol):
    """Who knows the functions that events are for: `services.lambda_.asynchronous`."""

    def retries(self, event: Event) -> Retries:
        """How the event is treated now. Raises ApiError ResourceNotFoundException, when its function is gone."""

    async def run(self, event: Event) -> Response:
        """Runs it once. Raises ApiError, when the function did not run."""

    def deliveries(self, event: Event, condition: str) -> Sequence[Delivery]:
        """Who is to hear of an event that ended like this."""

    async def deliver(self, event: Event, delivery: Delivery) -> None:
        """Tells one of them. Raises ApiError, when that failed."""


@dataclass(slots=True, kw_only=True, eq=False)
class EventQueue:
    """The events of a node. `put` may be called before and while `run` runs."""

    database: Database
    clock: Clock
    log: Log
    metrics: FunctionMetrics
    at_once: int = 256
    """Events that run at the same time. More wait on disk; their payloads (up to 1 MB each) stay out of memory."""
    stop_grace_s: float = 10.0
    """How long events that are running may go on when the queue stops; then they run again at the next start."""

    _ledger: EventLedger = field(init=False)
    _functions: Functions = field(init=False)
    _wake: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _running: dict[int, "asyncio.Task[None]"] = field(init=False, default_factory=dict)
    _next: OrderedDict[int, Event] = field(init=False, default_factory=OrderedDict)  # new ones, for want of room
    _next_bytes: int = field(init=False, default=0)
    _tasks: asyncio.TaskGroup | None = field(init=False, default=None)
    _ended: set[int] = field(init=False, default_factory=set)  # since the last reading began
    _leaving: int = field(init=False, default=0)  # of those that run: nothing is left but to forget them
    _highest_read: int = field(init=False, default=0)  # of the events that were started from a reading
    _has_backlog: bool = field(init=False, default=True)  # events on disk that nobody has looked at

    def __post_init__(self) -> None:
        self._ledger = EventLedger(self.database, self._arrived)

    @property
    def _room(self) -> int:
        """For how many more events. Those that are to be forgotten do not count, but there are not more of them."""
        return self.at_once - len(self._running) + min(self._leaving, self.at_once)

    @property
    def _refill_at(self) -> int:
        return -(-self.at_once // 8)  # each reading costs the same, so it is made for several events

    async def put(
        self,
        scope: Scope,
        function_arn: str,
        qualifier: str | None,
        payload: bytes,
        *,
        request_id: str,
        trace_header: str | None = None,
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
            trace_header=trace_header,
        )

        try:
            await self._ledger.add(event)
        except DatabaseBusyError:
            raise throttled("CallerRateLimitExceeded") from None

    async def run(self, functions: Functions) -> None:
        """Runs events until cancelled; those that are running then may finish, within a limit."""
        self._functions = functions
        self._has_backlog = True
        self._next.clear()
        self._next_bytes = 0
        async with asyncio.TaskGroup() as self._tasks:
            try:
                while True:
                    await self._start_due_and_wait()
            finally:
                self._tasks = None
                if self._running:
                    await asyncio.wait(self._running.values(), timeout=self.stop_grace_s)
                for task in self._running.values():
                    task.cancel()

    async def _start_due_and_wait(self) -> None:
        self._wake.clear()
        with self.clock.holding():
            wait_s = await self._start_due()
        await self.clock.wait(self._wake, wait_s)

    def _arrived(self, event: Event) -> None:
        """A new event is committed: it runs now or, when there is room, next, without being read back."""
        self._count(event, "AsyncEventsReceived")
        # A reading may have found it before we are told; ids grow in the order of commits.
        is_new = event.id > self._highest_read
        fits = len(self._next) < _MOST_NEXT and self._next_bytes + len(event.payload) <= _MOST_NEXT_BYTES
        if is_new and self._tasks is not None and not self._has_backlog and fits:
            self._next[event.id] = event
            self._next_bytes += len(event.payload)
            self._start_next()
        else:
            self._has_backlog = True
            self._wake.set()

    def _start_next(self) -> None:
        while self._next and self._room > 0 and self._tasks is not None:
            _key, event = self._next.popitem(last=False)
            self._next_bytes -= len(event.payload)
            self._start(event)

    async def _start_due(self) -> float | None:
        """Starts what may run; in how many seconds there may be more, None for not before something happens."""
        self._start_next()
        room = self._room
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
            if event.id in self._ended or event.id in self._running or event.id in self._next:
                continue
            if self._room <= 0:  # new ones came in between
                has_more = True
                break
            self._highest_read = max(self._highest_read, event.id)
            self._start(event)
        if has_more:
            self._has_backlog = True
            return None if self._room <= 0 else 0.0
        return None if next_ms is None else max(0.0, (next_ms - self.clock.now_ms()) / 1000)

    def _start(self, event: Event) -> None:
        assert self._tasks is not None
        assert event.id not in self._running
        self._running[event.id] = self._tasks.create_task(self._serve(event), name=f"engine.event {event.id}")

    async def _serve(self, event: Event) -> None:
        """Takes one event as far as it goes now. A failure of ours is this event's alone: it is tried again."""
        known: Event | None = event

        async def go_on() -> None:
            nonlocal known
            now, known = known, None  # after a failure, the store knows how far it got
            with self.clock.holding():
                now = now or await self.database.read(lambda tx: rows.event(tx, event.id))
                if now and not now.condition:
                    now = await self._try(now)
                if now:
                    await self._deliver(now)

        try:
            await supervise("event", go_on, self.log)
        finally:
            del self._running[event.id]
            self._ended.add(event.id)
            self._go_on()

    def _go_on(self) -> None:
        """There may be room now."""
        self._start_next()
        if self._has_backlog and self._room >= self._refill_at:
            self._wake.set()

    # Running

    async def _try(self, event: Event) -> Event | None:
        """Runs it, unless it must not run. The event with its committed end, if somebody is to hear of that."""
        try:
            policy = self._functions.retries(event)
            ended = retries.before(_so_far(event), self.clock.now_ms(), policy)
            if ended:
                return await self._end(event, ended.condition)
            outcome, event = await self._attempt(event)
        except ApiError as error:
            await self._drop(event, error)
            return None
        step = retries.after(outcome, _so_far(event), self.clock.now_ms(), policy)
        if isinstance(step, Ended):
            return await self._end(event, step.condition)
        await self._keep(replace(event, visible_ms=step.at_ms))
        return None

    async def _attempt(self, event: Event) -> tuple[Outcome, Event]:
        """One attempt, and the event that has it behind it. What the function answered last is kept with it.

        Raises:
            ApiError: the function is gone.
        """
        age_ms = max(0, self.clock.now_ms() - event.arrived_ms)
        self._count(event, "AsyncEventAge", age_ms, unit="Milliseconds")
        try:
            response = await self._functions.run(event)
        except ApiError as error:
            if error.code == _GONE:
                raise
            if not event.deferrals:
                self.log.info("event.deferred", function=event.function_arn, code=error.code)
            outcome = Outcome.STOPPED if error.code == _LOOPS else Outcome.DEFERRED
            refused = event.response if event.attempts else Response(refusal=(error.code, error.message))
            return outcome, replace(event, response=refused, deferrals=event.deferrals + 1)
        points.reached("event.responded")
        outcome = Outcome.FAILED if response.function_error else Outcome.SUCCEEDED
        return outcome, replace(event, response=response, attempts=event.attempts + 1)

    async def _drop(self, event: Event, error: ApiError) -> None:
        """Nobody is left who could say what is to become of it."""
        self.log.warning("event.dropped", function=event.function_arn, request_id=event.request_id, code=error.code)
        self._count(event, "AsyncEventsDropped")
        await self._forget(event)

    async def _end(self, event: Event, condition: str) -> Event | None:
        """It will not run again. The event with whoever is to hear of that, if anybody is."""
        if condition != retries.SUCCESS:
            self._count(event, "AsyncEventsDropped")
            self.log.info("event.ended", function=event.function_arn, request_id=event.request_id, condition=condition)
        pending = tuple(self._functions.deliveries(event, condition))
        if not pending:
            await self._forget(event)
            return None
        now_ms = self.clock.now_ms()
        ended = replace(event, condition=condition, ended_ms=now_ms, visible_ms=now_ms, pending=pending, deferrals=0)
        await self._write(lambda tx: rows.update_event(tx, ended))
        points.reached("event.ended")
        return ended

    # Delivering

    async def _deliver(self, event: Event) -> None:
        """Tells everybody who is to hear of the event's end; who could not be told is told again, within a limit."""
        tries, left, again_ms = event.deferrals + 1, list(event.pending), None
        for delivery in event.pending:
            try:
                await self._functions.deliver(event, delivery)
                points.reached("event.delivered")
                again = None
            except ApiError as error:
                again = retries.after_delivery(error.code, tries, self.clock.now_ms())
                self._delivery_failed(event, delivery, error, is_last=again is None)
            if again is not None:
                again_ms = max(again_ms or 0, again.at_ms)
                continue
            left.remove(delivery)
            if left and delivery is not event.pending[-1]:  # a crash must not deliver this one again
                await self._write(partial(rows.update_event, event=replace(event, pending=tuple(left))))
        if again_ms is None:
            await self._forget(event)
        else:
            await self._keep(replace(event, pending=tuple(left), deferrals=tries, visible_ms=again_ms))

    def _delivery_failed(self, event: Event, delivery: Delivery, error: ApiError, *, is_last: bool) -> None:
        self._count(event, delivery.failure_metric)
        self.log.warning(
            "event.record_lost" if is_last else "event.not_delivered",
            function=event.function_arn,
            request_id=event.request_id,
            target=delivery.target,
            code=error.code,
            message=error.message,
        )

    # Keeping

    async def _keep(self, event: Event) -> None:
        await self._write(lambda tx: rows.update_event(tx, event))
        self._has_backlog = True  # when to look again has changed

    async def _forget(self, event: Event) -> None:
        self._leaving += 1
        self._go_on()
        try:
            await self._insist(lambda: self._ledger.remove(event.id))
        finally:
            self._leaving -= 1

    async def _write(self, change: Callable[[Connection], None]) -> None:
        await self._insist(lambda: self.database.write(change))

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Commits a step of an event, however far behind the store is: else it would happen twice."""
        while True:
            try:
                return await write()
            except DatabaseBusyError:
                await self.clock.sleep(_STORE_BUSY_S)

    def _count(self, event: Event, name: str, value: float = 1, *, unit: str = "Count") -> None:
        self.metrics.add(event.scope, name, value, of=_resource(event.function_arn, event.qualifier), unit=unit)


@lru_cache(4096)
def _resource(function_arn: str, qualifier: str | None) -> Resource:
    return Resource(function_arn.rpartition(":")[2], qualifier)


def _so_far(event: Event) -> SoFar:
    return SoFar(arrived_ms=event.arrived_ms, attempts=event.attempts, deferrals=event.deferrals)
