"""The messages of a FIFO queue, as far as memory holds them. Pure.

A group's messages are taken in their order, and none while one of them is in flight. As in SQS, the first 120,000
messages are looked through for groups that are free; what is behind them is in the store alone.

Source: Amazon SQS Developer Guide, "FIFO queue delivery logic in Amazon SQS" and "Amazon SQS FIFO queue quotas".
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from lambent.services.sqs.entries import Entry, State

MAX_IN_FLIGHT: Final = 120_000
MAX_KNOWN: Final = 120_000
"""How far the queue is looked through for messages of groups that are free."""


@dataclass(slots=True, eq=False)
class _Group:
    waiting: list[int] = field(default_factory=list)  # a heap; what was removed is still there
    flights: int = 0


class FifoQueue:
    """Which message is visible, and which is next."""

    max_known = MAX_KNOWN

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.in_flight = 0
        self.horizon: int | None = None
        """Messages with a higher number are in the store alone; None: there are no others than these."""
        self._last = 0
        self._groups: dict[str, _Group] = {}
        self._free: list[tuple[int, str]] = []  # the first message of each group that is free; old ones too
        self._due: list[tuple[int, int]] = []  # when what is not visible becomes so; old ones too

    def add(self, entry: Entry) -> None:
        """A message was sent; its number is higher than all before."""
        if self.horizon is not None:
            return
        if len(self.entries) >= self.max_known:
            self.horizon = self._last
            return
        self._enter(entry)

    def load(self, entries: Iterable[Entry], now: int, *, is_all: bool) -> None:
        """Takes in messages from behind the horizon, in order; `is_all` when none is left there."""
        for entry in entries:
            self.horizon = entry.seq
            if entry.seq in self.entries:
                continue
            if entry.receives and entry.visible_ms > now:
                self.entries[entry.seq] = entry
                self._last = entry.seq
                self._fly(entry)
            else:
                self._enter(entry)
        if is_all:
            self.horizon = None

    def settle(self, now: int) -> None:
        """What is due by now becomes visible."""
        while self._due and self._due[0][0] <= now:
            at, seq = heapq.heappop(self._due)
            entry = self.entries.get(seq)
            if entry is None or entry.visible_ms != at:
                continue
            if entry.state is State.WAITING:
                entry.state = State.READY
                if self._head(self._groups[str(entry.group)]) is entry:  # else its group is no freer than before
                    self._show(str(entry.group))
            elif entry.state is State.IN_FLIGHT:
                self._land(entry)
                self._queue(entry)

    def has_visible(self, now: int) -> bool:
        """Whether something can be taken; more may be behind the horizon."""
        self.settle(now)
        return self._has_free()

    def _has_free(self) -> bool:
        while self._free:
            seq, group = self._free[0]
            if self._is_free(seq, group):
                return True
            heapq.heappop(self._free)
        return False

    def is_short(self, now: int, _most: int) -> bool:
        """Whether the store is to be asked for more before something is taken."""
        return self.horizon is not None and len(self.entries) < self.max_known and not self.has_visible(now)

    def next_at(self) -> int | None:
        """When to look again, if nothing happens until then."""
        return self._due[0][0] if self._due else None

    def take(
        self, now: int, most: int, until: int, *, max_receives: int | None, sent_after: int
    ) -> tuple[list[Entry], list[Entry]]:
        """The next messages, received now and visible again at `until`; and those received too often, to be moved.

        As many as can be are of one group. What was sent at `sent_after` or before has expired, and is forgotten.
        """
        taken: list[Entry] = []
        dead: list[Entry] = []
        touched: list[str] = []
        self.settle(now)  # once: what is visible again at once is not taken twice
        while len(taken) < most and self.in_flight < MAX_IN_FLIGHT and self._has_free():
            name = heapq.heappop(self._free)[1]
            touched.append(name)
            group = self._groups[name]
            while len(taken) < most and (entry := self._head(group)) is not None and entry.state is State.READY:
                heapq.heappop(group.waiting)
                if entry.sent_ms <= sent_after:
                    del self.entries[entry.seq]
                elif max_receives is not None and entry.receives >= max_receives:
                    entry.state = State.MOVING
                    dead.append(entry)
                else:
                    entry.receive(now, until)
                    self._fly(entry)
                    taken.append(entry)
        for name in touched:
            self._show(name)
        return taken, dead

    def give_back(self, entries: Iterable[Entry], now: int) -> None:
        """Nobody got these: they were not received."""
        for entry in entries:
            if self.entries.get(entry.seq) is entry and entry.state in (State.IN_FLIGHT, State.MOVING):
                if entry.state is State.IN_FLIGHT:
                    entry.receives -= 1
                self.change(entry, now, now)

    def change(self, entry: Entry, until: int, now: int) -> None:
        """A message in flight, or on its way to another queue, is visible again at another moment."""
        if entry.state is State.IN_FLIGHT:
            self._land(entry)
        entry.visible_ms = until
        if until <= now:
            self._queue(entry)
        else:
            self._fly(entry)
        self._show(str(entry.group))

    def remove(self, seq: int) -> None:
        """A message is gone."""
        entry = self.entries.pop(seq, None)
        if entry is None:
            return
        if entry.state is State.IN_FLIGHT:
            self._land(entry)
        self._show(str(entry.group))

    def flying(self, seq: int, receives: int, now: int) -> Entry | None:
        """The message in flight that such a receipt is of."""
        self.settle(now)
        entry = self.entries.get(seq)
        return entry if entry is not None and entry.state is State.IN_FLIGHT and entry.receives == receives else None

    def _enter(self, entry: Entry) -> None:
        self.entries[entry.seq] = entry
        self._last = entry.seq
        entry.state = State.WAITING
        group = self._groups.setdefault(str(entry.group), _Group())
        heapq.heappush(group.waiting, entry.seq)
        heapq.heappush(self._due, (entry.visible_ms, entry.seq))

    def _queue(self, entry: Entry) -> None:
        """Back into its group, at its old place."""
        entry.state = State.READY
        group = self._groups.setdefault(str(entry.group), _Group())
        heapq.heappush(group.waiting, entry.seq)
        self._show(str(entry.group))

    def _fly(self, entry: Entry) -> None:
        entry.state = State.IN_FLIGHT
        self.in_flight += 1
        self._groups.setdefault(str(entry.group), _Group()).flights += 1
        heapq.heappush(self._due, (entry.visible_ms, entry.seq))
        if len(self._due) > 2 * len(self.entries) + 1_000:
            waiting = (State.WAITING, State.IN_FLIGHT)
            self._due = [(each.visible_ms, each.seq) for each in self.entries.values() if each.state in waiting]
            heapq.heapify(self._due)

    def _land(self, entry: Entry) -> None:
        entry.state = State.READY
        self.in_flight -= 1
        self._groups[str(entry.group)].flights -= 1

    def _head(self, group: _Group) -> Entry | None:
        while group.waiting:
            entry = self.entries.get(group.waiting[0])
            if entry is not None and entry.state in (State.READY, State.WAITING):
                return entry
            heapq.heappop(group.waiting)
        return None

    def _show(self, name: str) -> None:
        """A group may be free now, or empty."""
        group = self._groups.get(name)
        if group is None or group.flights:
            return
        head = self._head(group)
        if head is None:
            del self._groups[name]
        elif head.state is State.READY:
            heapq.heappush(self._free, (head.seq, name))

    def _is_free(self, seq: int, name: str) -> bool:
        group = self._groups.get(name)
        if group is None or group.flights:
            return False
        head = self._head(group)
        return head is not None and head.seq == seq  # which is visible: only those are shown
