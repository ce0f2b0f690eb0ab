"""A queue at work: its messages in memory and in the store, and who waits for them.

What is in memory follows the store: a message is added, removed or moved there when the transaction is committed, in
the order of commits, and reading more of them is a change like any other. Only what a receive says of a message (how
often it was received, when it is visible again) goes the other way: a FIFO queue's is stored before it is answered, a
standard queue's up to `service.FLUSH_S` later (docs/decisions/0011).
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import Connection

from lambent.clock import Clock
from lambent.services.sqs import rows
from lambent.services.sqs.entries import Entry
from lambent.services.sqs.fifo import MAX_KNOWN, FifoQueue
from lambent.services.sqs.messages import MAX_DELAY_S, Content, decoded
from lambent.services.sqs.model import DEDUPLICATION_MS, Queue, no_queue
from lambent.services.sqs.standard import WINDOW, StandardQueue
from lambent.store.database import Database

_FROM_THE_START: Final = (-1, -1)
_LOADED_AT_ONCE: Final = 2_000
_AHEAD: Final = 500  # contents of a FIFO queue that are read at once
_OVERHEAD_BYTES: Final = 1_024  # of a message in memory, beside its body and attributes
_TENTH_MS: Final = 100
_MANY_ATTEMPTS: Final = 1_000


class Counts(NamedTuple):
    """How many messages a queue has."""

    visible: int
    not_visible: int
    delayed: int


class Received(NamedTuple):
    """A message and what it says."""

    entry: Entry
    content: Content
    source: str | None


class Told(NamedTuple):
    """What a message says, and of which queue it is a dead letter."""

    content: Content
    source: str | None = None

    @classmethod
    def of(cls, fetched: rows.Fetched) -> "Told":
        return cls(decoded(fetched.content), fetched.source)


class Contents:
    """What messages say that were sent lately, or come next: most receivers need no look at the disk."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._known: OrderedDict[int, Told] = OrderedDict()

    def put(self, seq: int, told: Told) -> None:
        self.drop([seq])
        self._known[seq] = told
        self._size += told.content.size + _OVERHEAD_BYTES
        while self._size > self._most:
            self._size -= self._known.popitem(last=False)[1].content.size + _OVERHEAD_BYTES

    def get(self, seq: int) -> Told | None:
        return self._known.get(seq)

    def drop(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            found = self._known.pop(seq, None)
            if found is not None:
                self._size -= found.content.size + _OVERHEAD_BYTES

    def __len__(self) -> int:
        return len(self._known)


class SteadyTime:
    """The time of day that is never set back, in milliseconds: what was to be visible soon must not wait for hours."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = 0
        self._last = (clock.now_ms(), clock.elapsed())

    def now(self) -> int:
        wall, elapsed = self._clock.now_ms(), self._clock.elapsed()
        last_wall, last_elapsed = self._last
        if wall < last_wall:
            self._ahead_ms += last_wall - wall + int((elapsed - last_elapsed) * 1000)
        self._last = (wall, elapsed)
        return wall + self._ahead_ms


class Delays:
    """How many messages are not visible yet for the first time, to a tenth of a second: a million take no more memory
    than the tenths of the longest delay.
    """

    def __init__(self) -> None:
        self._due: list[int] = []
        self._counts: dict[int, int] = {}

    def add(self, at: int, count: int = 1) -> None:
        tenth = at // _TENTH_MS
        if tenth not in self._counts:
            heapq.heappush(self._due, tenth)
        self._counts[tenth] = self._counts.get(tenth, 0) + count

    def count(self, now: int) -> int:
        while self._due and self._due[0] <= now // _TENTH_MS:
            del self._counts[heapq.heappop(self._due)]
        return sum(self._counts.values())


@dataclass(slots=True, eq=False, kw_only=True)
class Ground:
    """What every queue stands on."""

    database: Database
    clock: Clock
    time: SteadyTime
    contents: Contents
    next_number: Callable[[], int]
    find: "Callable[[str], LiveQueue | None]"
    """The queue of an ARN."""
    marked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while a queue knows of receives that the store does not."""


@dataclass(slots=True, eq=False)
class LiveQueue:
    """One queue. `open` it before anything else; all its methods belong to the event loop."""

    queue: Queue
    ground: Ground
    core: StandardQueue | FifoQueue = field(init=False)
    total: int = 0
    delays: Delays = field(default_factory=Delays)
    dirty: dict[int, Entry] = field(default_factory=dict)
    is_gone: bool = False
    is_open: bool = False
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _attempts: OrderedDict[str, tuple[int, list[tuple[Entry, int]]]] = field(default_factory=OrderedDict)
    _most_attempts: int = _MANY_ATTEMPTS  # then those go that mean nothing any more
    _waiters: dict[asyncio.Event, None] = field(default_factory=dict)  # who came first looks when time brings something

    def __post_init__(self) -> None:
        self._clear()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.ground.time.now()

    def position(self, entry: Entry) -> int:
        """Where the store has it."""
        return entry.seq if self.queue.is_fifo else entry.visible_ms

    def counts(self) -> Counts:
        """How many messages there are now."""
        now = self.now()
        self.core.settle(now)
        delayed = self.delays.count(now)
        return Counts(max(0, self.total - self.core.in_flight - delayed), self.core.in_flight, delayed)

    def oldest(self, tx: Connection) -> int | None:
        """When the oldest message was sent."""
        return rows.oldest_sent(tx, self.queue.partition)

    # --- coming and going

    async def open(self) -> "LiveQueue":
        """The queue itself, once its first messages are known."""
        if not self.is_open:
            async with self._loading:
                if not self.is_open:
                    await self._first_load()
        return self

    async def _first_load(self) -> None:
        now = self.now()

        def read(tx: Connection) -> Callable[[], None]:
            partition = self.queue.partition
            most = MAX_KNOWN if self.queue.is_fifo else WINDOW
            flying = [] if self.queue.is_fifo else rows.in_flight(tx, partition, now)
            first = rows.entries_after(tx, partition, _FROM_THE_START, most)
            told = self._told_after(tx, _FROM_THE_START)
            delays = rows.delays(tx, partition, now, MAX_DELAY_S * 1000)
            total = rows.count_messages(tx, partition)

            def install() -> None:
                if self.is_open:  # purged meanwhile
                    return
                self.total, self.is_open = total, True
                self._know(told)
                for at, count in delays:
                    self.delays.add(at, count)
                self.core.load(flying, now, is_all=False)
                self.core.load(first, now, is_all=len(first) < most)

            return install

        await self.ground.database.write(read, committed=lambda install: install())

    async def _load_more(self) -> None:
        async with self._loading:
            horizon, core = self.core.horizon, self.core
            if horizon is None:
                return
            after = (horizon, horizon) if isinstance(horizon, int) else horizon
            now, partition = self.now(), self.queue.partition
            most = _LOADED_AT_ONCE if self.queue.is_fifo else WINDOW

            def read(tx: Connection) -> tuple[list[Entry], dict[int, Told]]:
                return rows.entries_after(tx, partition, after, most), self._told_after(tx, after)

            def loaded(found: tuple[list[Entry], dict[int, Told]]) -> None:
                entries, told = found
                if self.core is core and core.horizon == horizon:
                    core.load(entries, now, is_all=len(entries) < most)
                    self._know(told)

            await self.ground.database.write(read, committed=loaded)

    def _told_after(self, tx: Connection, after: tuple[int, int]) -> dict[int, Told]:
        """What those say that come next. A FIFO queue's are asked for when one of them is taken."""
        if self.queue.is_fifo:
            return {}
        fetched = rows.contents_after(tx, self.queue.partition, after, WINDOW)
        return {seq: Told.of(each) for seq, each in fetched.items()}

    def _know(self, told: Mapping[int, Told]) -> None:
        for seq, each in told.items():
            self.ground.contents.put(seq, each)

    async def delay_again(self) -> None:
        """A FIFO queue's delay was changed: it holds for what was sent before, too."""
        delay_ms = self.queue.delay_ms

        def change(tx: Connection) -> None:
            rows.delay_again(tx, self.queue.partition, delay_ms)

        await self.ground.database.write(change, committed=lambda _done: self._forget())
        await self.open()

    def _forget(self) -> None:
        """What was known of the messages is read again."""
        self.is_open = False
        self._clear()

    def _clear(self) -> None:
        self.core = FifoQueue() if self.queue.is_fifo else StandardQueue()
        self.total = 0
        self.delays = Delays()
        self.dirty = {}

    def purged(self, queue: Queue) -> None:
        """Its messages are gone."""
        self.queue = queue
        self.is_open = True
        self._clear()

    def ended(self) -> None:
        """It was deleted: who waits for it is told."""
        self.is_gone = True
        self._clear()
        for event in self._waiters:
            event.set()

    def sent(self, messages: Sequence[tuple[Entry, Content]]) -> None:
        """Messages were stored."""
        for entry, content in messages:
            self.ground.contents.put(entry.seq, Told(content))
        self.arrived([entry for entry, _content in messages])

    def arrived(self, entries: Sequence[Entry]) -> None:
        """Messages were stored; what they say may be known or not."""
        if not self.is_open or self.is_gone:
            return
        now = self.now()
        self.total += len(entries)
        for entry in entries:
            if entry.visible_ms > now and not entry.receives:
                self.delays.add(entry.visible_ms)
            self.core.add(entry)
        self.nudge()

    def removed(self, seqs: Iterable[int], count: int) -> None:
        """Messages were removed from the store: these, as far as they were there; how many were."""
        seqs = list(seqs)
        self.ground.contents.drop(seqs)
        self.total -= count
        for seq in seqs:
            self.core.remove(seq)
            self.dirty.pop(seq, None)
        self.nudge()

    # --- receiving

    async def receive_again(self, attempt_id: str, visibility_ms: int) -> list[Received]:
        """What an attempt with this id received, if all of it is still in flight; then its time begins again."""
        found = self._attempts.get(attempt_id)
        now = self.now()
        if found is None or found[0] <= now - DEDUPLICATION_MS:
            return []
        entries = [entry for entry, _receives in found[1]]
        if not self._all_flying(found[1], now):
            return []
        for entry in entries:
            self.core.change(entry, now + visibility_ms, now)
        await self.store_receives(entries)
        return await self._contents(entries)

    def _all_flying(self, some: Sequence[tuple[Entry, int]], now: int) -> bool:
        return all(self.core.flying(entry.seq, receives, now) is entry for entry, receives in some)

    def keep_attempt(self, attempt_id: str, found: Sequence[Received]) -> None:
        """Remembers what an attempt with this id received, for five minutes."""
        now = self.now()
        while self._attempts and next(iter(self._attempts.values()))[0] <= now - DEDUPLICATION_MS:
            self._attempts.popitem(last=False)
        if len(self._attempts) >= self._most_attempts:
            for each in [each for each, (_at, some) in self._attempts.items() if not self._all_flying(some, now)]:
                del self._attempts[each]
            self._most_attempts = max(_MANY_ATTEMPTS, 2 * len(self._attempts))
        self._attempts[attempt_id] = (now, [(each.entry, each.entry.receives) for each in found])

    async def receive(self, most: int, visibility_ms: int, wait_ms: int) -> list[Received]:
        """Up to so many messages, as soon as there is one; none when none comes within `wait_ms`.

        Cancelled, it leaves the messages in the queue.

        Raises:
            ApiError: QueueDoesNotExist, when the queue is deleted meanwhile.
        """
        found = await self._take(most, visibility_ms)
        if found or wait_ms <= 0:
            return found
        event, end = asyncio.Event(), self.now() + wait_ms
        self._waiters[event] = None
        try:
            while not found and (left := end - self.now()) > 0:
                until = self._until_next(event, left)
                # Time that is advanced does not stop for each poll of a queue in which nothing will come by itself.
                await self.ground.clock.wait(event, until / 1000, tidying=self.core.next_at() is None)
                event.clear()
                found = await self._take(most, visibility_ms)
        finally:
            del self._waiters[event]
            self.nudge()
        return found

    def _until_next(self, event: asyncio.Event, left: int) -> int:
        """How long to wait: who is first looks when the next message is due, and calls the next one if it leaves."""
        due = self.core.next_at()
        if due is None or next(iter(self._waiters)) is not event:
            return left
        return max(0, min(left, due - self.now()))

    def nudge(self) -> None:
        """Something has changed: whoever waits longest looks."""
        for event in self._waiters:
            event.set()
            return

    async def _take(self, most: int, visibility_ms: int) -> list[Received]:
        found: list[Received] = []
        while not found:
            if self.is_gone:
                raise no_queue()
            while self.core.is_short(self.now(), most):
                await self._load_more()
            now = self.now()
            taken, dead = self.core.take(
                now,
                most,
                now + visibility_ms,
                max_receives=self._max_receives(),
                sent_after=now - self.queue.retention_ms,
            )
            if not taken and not dead:
                return []
            self.nudge()
            try:
                await self._bury(dead)
                await self._keep(taken)
                found = await self._contents(taken)
            except BaseException:
                self.give_back(taken)
                raise
        return found

    async def take_to_move(self, most: int, for_ms: int) -> list[Entry]:
        """The next messages, for whoever moves them in a transaction of its own, or gives them back."""
        while self.core.is_short(self.now(), most):
            await self._load_more()
        now = self.now()
        after = now - self.queue.retention_ms
        return self.core.take(now, most, now + for_ms, max_receives=None, sent_after=after)[0]

    def give_back(self, taken: Iterable[Entry]) -> None:
        """Nobody got these messages: they are as they were."""
        taken = list(taken)
        self.core.give_back(taken, self.now())
        self.mark(taken)
        self.nudge()

    def _max_receives(self) -> int | None:
        redrive = self.queue.redrive
        target = self.ground.find(redrive.target) if redrive else None
        return redrive.max_receives if redrive and target else None

    async def _keep(self, taken: list[Entry]) -> None:
        if not self.queue.is_fifo:
            self.mark(taken)
            return
        await self.store_receives(taken)

    async def store_receives(self, entries: Sequence[Entry]) -> None:
        """Returns when the store knows how often these were received, and when they are visible again."""
        if not entries:
            return
        partition = self.queue.partition
        receives = [
            rows.Receive(entry.seq, self.position(entry), entry.visible_ms, entry.receives, entry.first_ms)
            for entry in entries
        ]
        await self.ground.database.write(lambda tx: rows.keep_receives(tx, partition, receives))

    def mark(self, entries: Iterable[Entry]) -> None:
        """The store is to know soon what was received."""
        for entry in entries:
            if self.core.entries.get(entry.seq) is entry:
                entry.is_dirty = True
                self.dirty[entry.seq] = entry
                self.ground.marked.set()

    async def flush(self) -> None:
        """Returns when the store knows what was received before."""
        entries, self.dirty = self.dirty, {}
        for entry in entries.values():
            entry.is_dirty = False
        try:
            await self.store_receives(list(entries.values()))
        except BaseException:
            self.mark(entries.values())
            raise

    async def _bury(self, dead: list[Entry]) -> None:
        """Moves messages to the dead-letter queue."""
        if not dead:
            return
        redrive = self.queue.redrive
        target = self.ground.find(redrive.target) if redrive else None
        if target is None:
            self.core.give_back(dead, self.now())
            return
        try:
            await self._move(dead, target)
        except asyncio.CancelledError:
            raise  # it is done all the same
        except BaseException:
            self.core.give_back(dead, self.now())
            raise

    async def _move(self, dead: list[Entry], target: "LiveQueue") -> None:
        now = target.now()
        moves = [
            Entry(self.ground.next_number(), entry.sent_ms, now, entry.receives, entry.first_ms, entry.group)
            for entry in dead
        ]
        if self.queue.is_fifo:  # a FIFO queue counts the age of a message from its arrival
            for entry in moves:
                entry.sent_ms = now

        def change(tx: Connection) -> list[bool]:
            return [
                rows.move_message(tx, old.seq, new, target.position(new), target.queue.id, self.queue.arn)
                for old, new in zip(dead, moves, strict=True)
            ]

        def moved(were_there: list[bool]) -> None:
            self.removed([entry.seq for entry in dead], sum(were_there))
            target.arrived([entry for entry, was_there in zip(moves, were_there, strict=True) if was_there])

        await self.ground.database.write(change, committed=moved)

    async def _contents(self, taken: list[Entry]) -> list[Received]:
        """What the messages say. What is not there any more is forgotten."""
        known = {entry.seq: self.ground.contents.get(entry.seq) for entry in taken}
        missing = [seq for seq, told in known.items() if told is None]
        if missing:
            known |= await self._fetched(missing)
        found = []
        for entry in taken:
            told = known[entry.seq]
            if told is None:
                self.core.remove(entry.seq)
            else:
                found.append(Received(entry, *told))
        return found

    async def _fetched(self, seqs: Sequence[int]) -> Mapping[int, Told]:
        """What these say, as far as they are there. What comes next in a FIFO queue is known afterwards, too."""
        partition, is_fifo = self.queue.partition, self.queue.is_fifo

        def read(tx: Connection) -> tuple[dict[int, Told], dict[int, Told]]:
            ahead = rows.contents_after(tx, partition, (min(seqs), min(seqs)), _AHEAD) if is_fifo else {}
            found = rows.contents(tx, seqs)
            return {seq: Told.of(each) for seq, each in found.items()}, {s: Told.of(a) for s, a in ahead.items()}

        found, ahead = await self.ground.database.read(read)
        self._know({seq: told for seq, told in ahead.items() if seq in self.core.entries})
        return found
