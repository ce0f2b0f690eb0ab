"""Deliveries at work: each subscription has a lane of its own, so that one that hangs holds up nobody else.

A delivery is on disk until it is over, with the moment of its next attempt. A lane holds the first of its deliveries in
memory; when there are more than it holds, it reads the next ones when those are through. What is over is deleted a
moment later, many at once: a crash in between delivers again.

A standard topic's deliveries go side by side, and one that has to wait is read again when its time has come. Of a FIFO
topic, the deliveries of each message group go one after the other: one that has to wait holds up its group.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lambent.clock import Clock
from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.services.sns import rows
from lambent.services.sns.messages import Message
from lambent.services.sns.rows import Delivery
from lambent.store.database import Database, DatabaseBusyError

_AT_ONCE: Final = 64  # deliveries to one subscription at the same time; more wait for their turn
_HELD: Final = 1_024  # deliveries of a lane in memory; more stay on disk until there is room
_HELD_BYTES: Final = 64 * 1_048_576  # what the messages of all lanes take in memory; more are read when they are sent
_FLUSH_S: Final = 0.05  # for how long a delivery that is over may be unknown to the store
_STORE_BUSY_S: Final = 1.0
_ALL: Final = 2**62

Attempt = Callable[[Delivery, Message | None], Awaitable[Delivery | None]]
"""Tries a delivery once: what it is then, with the moment of the next attempt; None when it is over."""


class _Held(NamedTuple):
    delivery: Delivery
    message: Message | None  # None is not in memory


@dataclass(slots=True, kw_only=True, eq=False)
class Deliverer:
    """All lanes. `run` must be awaited by whoever made it; what is committed before stays on disk until then."""

    database: Database
    clock: Clock
    log: Log
    attempt: Attempt
    held_bytes: int = 0
    tasks: asyncio.TaskGroup | None = None
    _over: list[tuple["Lane", int]] = field(default_factory=list)
    _is_over: asyncio.Event = field(default_factory=asyncio.Event)
    _alarms: list[tuple[int, int, "Lane"]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _alarmed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, lanes: Callable[[list[int]], list["Lane"]]) -> None:
        """Delivers until cancelled. `lanes` finds those of subscriptions."""
        await self.database.write(rows.collect)
        ids = await self.database.read(rows.waited_for)
        try:
            async with asyncio.TaskGroup() as self.tasks:
                for name, work in (("sns.forget", self._forget), ("sns.wake", self._wake)):
                    self.tasks.create_task(supervise(name, work, self.log), name=name)
                for lane in lanes(ids):
                    lane.look()
        finally:
            self.tasks = None
            await self._flush()

    def over(self, lane: "Lane", seq: int) -> None:
        """A delivery is over: the store is told soon."""
        self._over.append((lane, seq))
        self._is_over.set()

    def wake_at(self, lane: "Lane", due_ms: int) -> None:
        """A lane looks again at a moment."""
        heapq.heappush(self._alarms, (due_ms, next(self._numbers), lane))
        self._alarmed.set()

    async def defer(self, delivery: Delivery) -> None:
        """Commits when a delivery is tried again, however far behind the store is."""
        while True:
            try:
                return await self.database.write(lambda tx: rows.defer(tx, delivery))
            except DatabaseBusyError:
                await self.clock.sleep(_STORE_BUSY_S)

    async def _forget(self) -> None:
        while True:
            await self._is_over.wait()
            await asyncio.sleep(_FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        self._is_over.clear()
        over, self._over = self._over, []
        if not over:
            return
        arrived = [(lane.subscription_id, seq) for lane, seq in over]

        def follow(_done: None) -> None:
            for lane, seq in over:
                lane.forgotten(seq)

        try:
            await self.database.write(lambda tx: rows.delete_deliveries(tx, arrived), committed=follow)
        except BaseException:
            self._over = [*over, *self._over]
            self._is_over.set()
            raise

    async def _wake(self) -> None:
        while True:
            self._alarmed.clear()
            now_ms = self.clock.now_ms()
            while self._alarms and self._alarms[0][0] <= now_ms:
                heapq.heappop(self._alarms)[2].look()
            wait_s = (self._alarms[0][0] - now_ms) / 1000 if self._alarms else None
            await self.clock.wait(self._alarmed, wait_s)


@dataclass(slots=True, eq=False)
class Lane:
    """The deliveries of a subscription to a standard topic."""

    subscription_id: int
    deliverer: Deliverer
    _waiting: deque[_Held] = field(default_factory=deque)
    _known: set[int] = field(default_factory=set)  # waiting, running, or over and not forgotten by the store
    _forgotten: set[int] = field(default_factory=set)  # since the last reading began
    _running: int = 0
    _has_more: bool = False  # on disk
    _is_reading: bool = False
    _ongoing: "set[asyncio.Task[None]]" = field(default_factory=set)

    def arrived(self, delivery: Delivery, message: Message) -> None:
        """A delivery is committed."""
        deliverer = self.deliverer
        if self._has_more or self._is_reading or len(self._known) >= _HELD or deliverer.tasks is None:
            self._has_more = True
            return self._go_on()
        held = message if deliverer.held_bytes + message.size <= _HELD_BYTES else None
        deliverer.held_bytes += held.size if held else 0
        self._take(_Held(delivery, held))
        return self._go_on()

    def look(self) -> None:
        """There may be something to do on disk."""
        self._has_more = True
        self._go_on()

    def forgotten(self, seq: int) -> None:
        """The store has forgotten a delivery that was over."""
        self._known.discard(seq)
        self._forgotten.add(seq)
        if self._has_more:
            self._go_on()

    def end(self) -> None:
        """The subscription is gone."""
        self._waiting.clear()
        self._has_more = False
        for task in self._ongoing:
            task.cancel()

    def _take(self, held: _Held) -> None:
        self._known.add(held.delivery.seq)
        self._waiting.append(held)

    def _go_on(self) -> None:
        if self.deliverer.tasks is None:
            return
        while self._waiting and self._running < _AT_ONCE:
            self._running += 1
            self._start(self._serve(self._waiting.popleft()))
        if self._has_more and not self._is_reading and not self._waiting and len(self._known) < _HELD:
            self._is_reading = True
            self._start(self._read())

    def _start(self, work: "Awaitable[None]") -> None:
        async def child() -> None:
            await work

        assert self.deliverer.tasks is not None
        task = self.deliverer.tasks.create_task(child(), name=f"sns.lane {self.subscription_id}")
        self._ongoing.add(task)
        task.add_done_callback(self._ongoing.discard)

    async def _serve(self, held: _Held) -> None:
        delivery: Delivery | None = held.delivery

        async def go_on() -> None:
            nonlocal delivery
            assert delivery is not None
            with self.deliverer.clock.holding():
                delivery = await self._tried(delivery, held.message)

        try:
            await supervise("sns.delivery", go_on, self.deliverer.log)
        finally:
            self._running -= 1
            self.deliverer.held_bytes -= held.message.size if held.message else 0
            self._settle(held.delivery.seq, delivery)

    async def _tried(self, delivery: Delivery, message: Message | None) -> Delivery | None:
        after = await self.deliverer.attempt(delivery, message)
        if after is not None:
            await self.deliverer.defer(after)
        return after

    def _settle(self, seq: int, after: Delivery | None) -> None:
        if after is None:
            self.deliverer.over(self, seq)
        else:
            self._known.discard(seq)
            self._forgotten.add(seq)
            self.deliverer.wake_at(self, after.due_ms)
        self._go_on()

    async def _read(self) -> None:
        self._has_more = False
        self._forgotten.clear()
        now_ms, most = self.deliverer.clock.now_ms(), _HELD + len(self._known)
        of = self.subscription_id

        try:
            found, next_ms = await self.deliverer.database.read(
                lambda tx: (rows.due(tx, of, now_ms, 0, most), rows.next_due_ms(tx, of, now_ms))
            )
        except DatabaseBusyError:
            found, next_ms = [], self.deliverer.clock.now_ms() + int(_STORE_BUSY_S * 1000)
        for delivery in found:
            if delivery.seq not in self._known and delivery.seq not in self._forgotten:
                self._take(_Held(delivery, None))
        self._has_more = self._has_more or len(found) == most
        self._is_reading = False
        if next_ms is not None:
            self.deliverer.wake_at(self, next_ms)
        self._go_on()


@dataclass(slots=True, eq=False)
class OrderedLane(Lane):
    """The deliveries of a subscription to a FIFO topic: those of a message group one after the other."""

    _groups: dict[str, deque[_Held]] = field(default_factory=dict)
    _ready: deque[str] = field(default_factory=deque)  # groups that nobody works on yet
    _last: int = 0  # the highest number that was taken: what is read is behind it

    def end(self) -> None:
        self._groups.clear()
        self._ready.clear()
        super(OrderedLane, self).end()

    def _take(self, held: _Held) -> None:
        self._known.add(held.delivery.seq)
        self._last = held.delivery.seq
        group = held.delivery.group or ""
        if group not in self._groups:
            self._groups[group] = deque()
            self._ready.append(group)
        self._groups[group].append(held)

    def _go_on(self) -> None:
        if self.deliverer.tasks is None:
            return
        while self._ready and self._running < _AT_ONCE:
            self._running += 1
            self._start(self._work_off(self._ready.popleft()))
        if self._has_more and not self._is_reading and len(self._known) < _HELD // 2:
            self._is_reading = True
            self._start(self._read())

    async def _work_off(self, group: str) -> None:
        async def go_on() -> None:
            waiting = self._groups[group]
            while waiting:
                held = waiting[0]
                await self._bring(held)
                if waiting and waiting[0] is held:
                    waiting.popleft()

        try:
            await supervise("sns.delivery", go_on, self.deliverer.log)
        finally:
            self._running -= 1
            self._groups.pop(group, None)
            self._go_on()

    async def _bring(self, held: _Held) -> None:
        delivery: Delivery | None = held.delivery
        clock = self.deliverer.clock
        while delivery is not None:
            if delivery.due_ms > clock.now_ms():
                await clock.sleep((delivery.due_ms - clock.now_ms()) / 1000)
            with clock.holding():
                delivery = await self._tried(delivery, held.message)
        self.deliverer.held_bytes -= held.message.size if held.message else 0
        self.deliverer.over(self, held.delivery.seq)

    async def _read(self) -> None:
        self._has_more = False
        of, after = self.subscription_id, self._last
        try:
            found = await self.deliverer.database.read(lambda tx: rows.due(tx, of, _ALL, after, _HELD))
        except DatabaseBusyError:
            self.deliverer.wake_at(self, self.deliverer.clock.now_ms() + int(_STORE_BUSY_S * 1000))
            found = []
        for delivery in found:
            self._take(_Held(delivery, None))
        self._has_more = self._has_more or len(found) == _HELD
        self._is_reading = False
        self._go_on()
