"""The messages of a standard queue, as far as memory holds them. Pure.

The messages that were received, and the first of those that wait, are here; what lies behind the horizon is in the
store alone, and is handed in when these run short. So a queue takes the same memory with a thousand messages as with a
million.

Messages of a group that has many in flight wait behind those of quieter groups (fair queues): groups are compared by
tens of messages in flight, and within the same tens by age. What has no group waits behind nobody.

Source: Amazon SQS Developer Guide, "Amazon SQS visibility timeout" and "Amazon SQS fair queues".
"""

import heapq
from collections.abc import Iterable
from typing import Final

from lambent.services.sqs.entries import Entry, State

MAX_IN_FLIGHT: Final = 120_000
WINDOW: Final = 1_000
"""How many waiting messages are kept when there are more: enough for a hundred receives between looks at the store."""
_RANK: Final = 10

_Key = tuple[int, int]


class StandardQueue:
    """Which message is visible, and which is next."""

    window = WINDOW

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.in_flight = 0
        self.horizon: _Key | None = None
        """Messages with a later key are in the store alone; None: there are no others than these."""
        self._ready: dict[str | None, list[_Key]] = {}  # heaps; what was removed is still there
        self._order: list[tuple[int, _Key, str, str | None]] = []  # rank and first key of each group; old ones too
        self._ready_count = 0
        self._due: list[_Key] = []  # when what is not visible becomes so; old ones too
        self._group_flights: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """A message was sent, or came back from where it was."""
        quiet = entry.group is not None and entry.group not in self._ready
        if self.horizon is not None and entry.key > self.horizon and not (quiet and len(self._ready) < self.window):
            return
        self.entries[entry.seq] = entry
        self._place(entry)
        self._keep_small()

    def load(self, entries: Iterable[Entry], now: int, *, is_all: bool) -> None:
        """Takes in messages from behind the horizon, in order; `is_all` when none is left there."""
        for entry in entries:
            self.horizon = entry.key
            if entry.seq not in self.entries:
                self.entries[entry.seq] = entry
                entry.state = State.IN_FLIGHT if entry.receives and entry.visible_ms > now else State.WAITING
                if entry.state is State.IN_FLIGHT:
                    self._fly(entry)
                else:
                    self._place(entry)
        if is_all:
            self.horizon = None

    def settle(self, now: int) -> None:
        """What is due by now becomes visible."""
        while self._due and self._due[0][0] <= now:
            at, seq = heapq.heappop(self._due)
            entry = self.entries.get(seq)
            if entry is not None and entry.visible_ms == at and entry.state in (State.WAITING, State.IN_FLIGHT):
                self._land(entry)
                self._make_ready(entry)
        self._keep_small()

    def has_visible(self, now: int) -> bool:
        """Whether something can be taken; more may be behind the horizon."""
        self.settle(now)
        return self._ready_count > 0

    def is_short(self, now: int, most: int) -> bool:
        """Whether the store is to be asked for more before so many are taken."""
        if self.horizon is None or self.horizon[0] > now:
            return False
        self.settle(now)
        return self._ready_count < most

    def next_at(self) -> int | None:
        """When to look again, if nothing happens until then."""
        due = self._due[0][0] if self._due else None
        if self.horizon is None:
            return due
        return self.horizon[0] if due is None else min(due, self.horizon[0])

    def take(
        self, now: int, most: int, until: int, *, max_receives: int | None, sent_after: int
    ) -> tuple[list[Entry], list[Entry]]:
        """The next messages, received now and visible again at `until`; and those received too often, to be moved.

        What was sent at `sent_after` or before has expired, and is forgotten.
        """
        self.settle(now)
        taken: list[Entry] = []
        dead: list[Entry] = []
        while len(taken) < most and self.in_flight < MAX_IN_FLIGHT:
            entry = self._pop()
            if entry is None:
                break
            if entry.sent_ms <= sent_after:
                del self.entries[entry.seq]
            elif max_receives is not None and entry.receives >= max_receives:
                entry.state = State.MOVING
                dead.append(entry)
            else:
                entry.receive(now, until)
                self._fly(entry)
                taken.append(entry)
        return taken, dead

    def give_back(self, entries: Iterable[Entry], now: int) -> None:
        """Nobody got these: they were not received."""
        for entry in entries:
            if self.entries.get(entry.seq) is entry and entry.state is not State.READY:
                if entry.state is State.IN_FLIGHT:
                    entry.receives -= 1
                self.change(entry, now, now)

    def change(self, entry: Entry, until: int, now: int) -> None:
        """A message in flight, or on its way to another queue, is visible again at another moment."""
        self._land(entry)
        entry.visible_ms = until
        if until <= now:
            self._make_ready(entry)
        else:
            self._fly(entry)

    def remove(self, seq: int) -> None:
        """A message is gone."""
        entry = self.entries.pop(seq, None)
        if entry is not None:
            if entry.state is State.READY:
                self._ready_count -= 1
            self._land(entry)

    def flying(self, seq: int, receives: int, now: int) -> Entry | None:
        """The message in flight that such a receipt is of."""
        self.settle(now)
        entry = self.entries.get(seq)
        return entry if entry is not None and entry.state is State.IN_FLIGHT and entry.receives == receives else None

    def _place(self, entry: Entry) -> None:
        entry.state = State.WAITING
        heapq.heappush(self._due, entry.key)

    def _fly(self, entry: Entry) -> None:
        entry.state = State.IN_FLIGHT
        self.in_flight += 1
        if entry.group is not None:
            flights = self._group_flights.get(entry.group, 0) + 1
            self._group_flights[entry.group] = flights
            if flights % _RANK == 0:
                self._show(entry.group)
        heapq.heappush(self._due, entry.key)
        self._tidy_due()

    def _land(self, entry: Entry) -> None:
        """It is in flight no more, if it was; what it is now, the caller says."""
        if entry.state is not State.IN_FLIGHT:
            return
        entry.state = State.WAITING
        self.in_flight -= 1
        if entry.group is not None:
            left = self._group_flights[entry.group] - 1
            self._group_flights[entry.group] = left
            if not left:
                del self._group_flights[entry.group]
            if (left + 1) % _RANK == 0:
                self._show(entry.group)

    def _tidy_due(self) -> None:
        """Messages that were deleted leave their moments behind: they go when they are the most."""
        if len(self._due) > 2 * len(self.entries) + self.window:
            self._due = [
                entry.key for entry in self.entries.values() if entry.state in (State.WAITING, State.IN_FLIGHT)
            ]
            heapq.heapify(self._due)

    # --- what is visible, by groups

    def _make_ready(self, entry: Entry) -> None:
        entry.state = State.READY
        self._ready_count += 1
        heap = self._ready.setdefault(entry.group, [])
        heapq.heappush(heap, entry.key)
        if heap[0] == entry.key:
            self._show(entry.group)

    def _show(self, group: str | None) -> None:
        """A group's place in the order, which has changed. The order may hold older ones, which mean nothing."""
        heap = self._ready.get(group)
        if heap:
            heapq.heappush(self._order, (self._rank(group), heap[0], group or "", group))
            if len(self._order) > 2 * len(self._ready) + self.window:
                self._order = [(self._rank(each), keys[0], each or "", each) for each, keys in self._ready.items()]
                heapq.heapify(self._order)

    def _rank(self, group: str | None) -> int:
        return 0 if group is None else self._group_flights.get(group, 0) // _RANK

    def _pop(self) -> Entry | None:
        while self._order:
            rank, key, _name, group = heapq.heappop(self._order)
            heap = self._ready.get(group)
            if not heap or heap[0] != key or rank != self._rank(group):
                continue
            entry = self.entries.get(heapq.heappop(heap)[1])
            if heap:
                self._show(group)
            else:
                del self._ready[group]
            if entry is not None and entry.state is State.READY and entry.key == key:
                self._ready_count -= 1
                return entry
        return None

    def _keep_small(self) -> None:
        """Leaves to the store what waits longest, of what it knows as well as we do."""
        if len(self.entries) - self.in_flight <= 2 * self.window:
            return
        waiting = [entry for entry in self.entries.values() if entry.state in (State.WAITING, State.READY)]
        waiting.sort(key=lambda entry: entry.key)
        kept = waiting[: self.window]
        for entry in waiting[self.window :]:
            if not entry.is_dirty:
                self.remove(entry.seq)
        self.horizon = kept[-1].key if self.horizon is None else min(self.horizon, kept[-1].key)
