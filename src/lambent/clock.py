"""Time as a parameter: the time of day, waiting for it, and moving it.

Product code reads the time of day from a `Clock` alone. What waits, retries, expires or is scheduled waits on the
clock too, so that `advance` makes hours pass at once: each wait ends when its moment has come, in order, and time
goes on only when what it woke has done its work. Deadlines of code that is running stay on the loop's own time.
A test hands in a clock that follows a loop whose time jumps (`lambent.testing.loop`).
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

_KEPT_TIMERS: Final = 1024  # beyond it, those that are over are cleared away


@dataclass(slots=True, eq=False)
class _Timer:
    """A wait that is to end at a moment of this clock."""

    limit: asyncio.Timeout
    task: "asyncio.Task[object]"
    is_over: bool = False


@dataclass(slots=True, eq=False)
class Clock:
    """The time of day, in seconds since the epoch (UTC), and whoever waits for it."""

    read: Callable[[], float] = time.time
    _ahead_s: float = 0.0
    _timers: list[tuple[float, int, _Timer]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _held: int = 0
    _woken: "set[asyncio.Task[object]]" = field(default_factory=set)  # by `advance`, and not waiting again yet

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.read() + self._ahead_s

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as CloudWatch Logs and the Runtime API count them."""
        return int(self.now() * 1000)

    def utc(self) -> datetime:
        """The same moment as an aware datetime."""
        return datetime.fromtimestamp(self.now(), UTC)

    async def sleep(self, seconds: float) -> None:
        """Returns when so much time has passed on this clock."""
        await self.wait(asyncio.Event(), seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Waits for the event, but not longer than so many seconds of this clock. Whether the event is set."""
        task = asyncio.current_task()
        assert task is not None
        self._woken.discard(task)
        if seconds is None:
            return await event.wait()
        timer: _Timer | None = None
        try:
            async with asyncio.timeout(max(0.0, seconds)) as limit:
                timer = _Timer(limit, task)
                heapq.heappush(self._timers, (self.now() + max(0.0, seconds), next(self._numbers), timer))
                await event.wait()
        except TimeoutError:
            pass
        finally:
            if timer is not None:
                timer.is_over = True
            if len(self._timers) > _KEPT_TIMERS:
                self._drop_ended()
        return event.is_set()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """While the block runs, `advance` does not go further: what happens in it happens at this moment."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def advance(self, seconds: float) -> None:
        """Lets so much time pass at once. Returns when everything that was due in it has happened."""
        target = self.now() + max(0.0, seconds)
        while True:
            await self._quiet()
            self._drop_ended()
            if not self._timers or self._timers[0][0] > target:
                break
            moment, _number, timer = heapq.heappop(self._timers)
            self._ahead_s += max(0.0, moment - self.now())
            timer.limit.reschedule(asyncio.get_running_loop().time())
            self._woken.add(timer.task)
            timer.task.add_done_callback(self._woken.discard)
        self._ahead_s += max(0.0, target - self.now())
        for moment, _number, timer in self._timers:
            timer.limit.reschedule(asyncio.get_running_loop().time() + max(0.0, moment - self.now()))

    def _drop_ended(self) -> None:
        self._timers = [entry for entry in self._timers if not entry[2].is_over]
        heapq.heapify(self._timers)

    async def _quiet(self) -> None:
        """Nothing holds the time, and what was woken waits again or is done."""
        while True:
            for _turn in range(3):
                await asyncio.sleep(0)
            if not self._held and not self._woken:
                return
            await asyncio.sleep(0.001)
