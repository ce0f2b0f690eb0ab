"""Time as a parameter: the time of day, waiting for it, and moving it.

Product code reads the time of day from a `Clock` alone. What waits, retries, expires or is scheduled waits on the
clock too, so that `advance` makes hours pass at once: each wait ends when its moment has come, in order, and time
goes on only when what it woke has done its work. Two things stay on the machine's own time, which nobody moves:
deadlines of code that is running (on the loop), and what is compared with another machine's clock, such as the date
of a signature or the deadline that a function reads (`machine_now`).

A task that was woken holds time until it waits on the clock again or ends. Whatever else must not be overtaken, such
as a task that a woken one started, says so itself: `with clock.holding():`.

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

# Before time goes on: what was made ready runs, and what that made ready. Work that goes deeper holds the time.
_TURNS: Final = 5
# A woken task that neither waits on the clock again nor ends within this many real seconds is no longer waited for:
# it waits for something that perhaps only time can bring.
_PATIENCE_S: Final = 60.0
# A loop's timer may be early by its resolution, a millisecond for uvloop; then the rest is waited for. A larger
# difference means that the machine's clock was set, which makes no wait longer.
_EARLY_S: Final = 0.1
_SAME_S: Final = 1e-6  # seconds since the epoch are floats, whose last digits are fractions of a microsecond
_FEW: Final = 64  # waits that are over and not cleared away yet

_Task = asyncio.Task[object]


@dataclass(slots=True, eq=False)
class _Timer:
    """A wait that is to end at a moment of this clock."""

    moment: float
    limit: asyncio.Timeout
    task: _Task
    is_over: bool = False

    def end_at(self, loop_time: float) -> None:
        if not self.limit.expired():  # else its task is about to run anyway
            self.limit.reschedule(loop_time)


@dataclass(slots=True, eq=False)
class _Timers:
    """Waits by their moments. Those that are over are cleared away when they are the most."""

    _heap: list[tuple[float, int, _Timer]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)  # equal moments: first come, first woken
    _over: int = 0

    def add(self, timer: _Timer) -> None:
        heapq.heappush(self._heap, (timer.moment, next(self._numbers), timer))

    def end(self, timer: _Timer) -> None:
        timer.is_over = True
        self._over += 1
        if self._over > max(_FEW, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if not entry[2].is_over]
            heapq.heapify(self._heap)
            self._over = 0

    def take_due(self, moment: float) -> _Timer | None:
        """The first wait that ends at this moment or before it; it is no longer among these then."""
        while self._heap and self._heap[0][2].is_over:
            heapq.heappop(self._heap)
            self._over -= 1
        if not self._heap or self._heap[0][0] > moment:
            return None
        self._over -= 1  # it is not among these when its end is counted
        return heapq.heappop(self._heap)[2]

    def waiting(self) -> list[_Timer]:
        return [timer for _moment, _number, timer in self._heap if not timer.is_over]


@dataclass(slots=True, eq=False)
class Clock:
    """The time of day, in seconds since the epoch (UTC), and whoever waits for it."""

    read: Callable[[], float] = time.time
    _ahead_s: float = 0.0
    _timers: _Timers = field(default_factory=_Timers)
    _tidying: _Timers = field(default_factory=_Timers)
    _target: float | None = None  # while `advance` is under way
    _advancing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _holds: "dict[_Task | None, int]" = field(default_factory=dict)
    _woken: set[_Task] = field(default_factory=set)  # during an advance, and not waiting again yet
    _watched: set[_Task] = field(default_factory=set)  # were woken once, and have not ended
    _calm: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.read() + self._ahead_s

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as CloudWatch Logs and the Runtime API count them."""
        return int(self.now() * 1000)

    def utc(self) -> datetime:
        """The same moment as an aware datetime."""
        return datetime.fromtimestamp(self.now(), UTC)

    def machine_now(self) -> float:
        """The machine's own time, which `advance` does not move.

        For what is compared with the clock of somebody who knows nothing of an advance: the date of a request's
        signature, and the deadline that the code of a function reads.
        """
        return self.read()

    def elapsed(self) -> float:
        """Seconds since some moment, for ages: they grow with this clock, but not when the machine's is set."""
        return asyncio.get_running_loop().time() + self._ahead_s

    @property
    def ahead_s(self) -> float:
        """How far this clock is ahead of the machine's, in seconds."""
        return self._ahead_s

    async def sleep(self, seconds: float, *, tidying: bool = False) -> None:
        """Returns when so much time has passed on this clock, never earlier.

        `tidying` is for work that only cleans up and that nobody sees: an advance does not stop for it each time,
        but wakes it once, when it arrives.
        """
        await self._wait(asyncio.Event(), seconds, self._tidying if tidying else self._timers)

    async def wait(self, event: asyncio.Event, seconds: float | None, *, tidying: bool = False) -> bool:
        """Waits for the event, but not longer than so many seconds of this clock. Whether the event is set.

        `tidying` is as for `sleep`: for who only looks up now and then, and would wait again.
        """
        await self._wait(event, seconds, self._tidying if tidying else self._timers)
        return event.is_set()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """While the block runs, `advance` does not go further: what happens in it happens at this moment.

        While the block itself waits on the clock, it does not hold.
        """
        task = asyncio.current_task()
        self._holds[task] = self._holds.get(task, 0) + 1
        try:
            yield
        finally:
            self._holds[task] -= 1
            if not self._holds[task]:
                del self._holds[task]
            self._look()

    async def advance(self, seconds: float) -> None:
        """Lets so much time pass at once. Returns when everything that was due in it has happened.

        What is at work when it begins ends first, so that what is due so much later than its end is in that time.
        One advance at a time: a second one begins when the first has ended. Cancelled, time stays where it has got
        to, and goes on from there as it always does.
        """
        async with self._advancing:
            try:
                await self._quiet()
                self._target = self.now() + max(0.0, seconds)
                await self._go_to(self._target)
            finally:
                self._target = None
                self._woken.clear()
                self._set_loop_timers()

    async def _go_to(self, target: float) -> None:
        while True:
            await self._quiet()
            timer = self._timers.take_due(target + _SAME_S)
            if timer is None:
                self._move_to(target)
                timer = self._tidying.take_due(target + _SAME_S)
            if timer is None:
                return
            self._move_to(timer.moment)
            self._wakes(timer.task)
            timer.end_at(asyncio.get_running_loop().time())

    def _move_to(self, moment: float) -> None:
        self._ahead_s += max(0.0, moment - self.now())

    async def _wait(self, event: asyncio.Event, seconds: float | None, timers: _Timers) -> None:
        task = asyncio.current_task()
        assert task is not None
        holds = self._holds.pop(task, 0)
        self._woken.discard(task)
        self._look()
        try:
            if seconds is None:
                await event.wait()
            else:
                await self._wait_until(self._moment_in(seconds), event, task, timers)
        finally:
            if holds:
                self._holds[task] = holds
        if self._target is not None:
            self._wakes(task)

    async def _wait_until(self, moment: float, event: asyncio.Event, task: _Task, timers: _Timers) -> None:
        left = max(0.0, moment - self.now())
        while True:
            timer: _Timer | None = None
            try:
                async with asyncio.timeout(left) as limit:
                    timer = _Timer(moment, limit, task)
                    timers.add(timer)
                    await event.wait()
            except TimeoutError:
                pass
            finally:
                if timer is not None:
                    timers.end(timer)
            left = moment - self.now()
            if event.is_set() or not _SAME_S < left < _EARLY_S:
                return

    def _moment_in(self, seconds: float) -> float:
        """A wait for no time at all, made when an advance has arrived, still belongs to it."""
        if seconds <= 0 and self._target is not None:
            return min(self.now(), self._target)
        return self.now() + max(0.0, seconds)

    def _wakes(self, task: _Task) -> None:
        self._woken.add(task)
        if task not in self._watched:
            self._watched.add(task)
            task.add_done_callback(self._has_ended)

    def _has_ended(self, task: _Task) -> None:
        self._watched.discard(task)
        self._woken.discard(task)
        self._look()

    def _look(self) -> None:
        if not self._holds and not self._woken:
            self._calm.set()

    async def _quiet(self) -> None:
        """Nothing holds the time, and what was woken waits again or is done."""
        while True:
            turns = 0  # of calm without a break: whoever let go of the time may just have started somebody else
            while not self._holds and not self._woken:
                if turns == _TURNS:
                    return
                turns += 1
                await asyncio.sleep(0)
            self._calm.clear()
            try:
                async with asyncio.timeout(None if self._holds else _PATIENCE_S):
                    await self._calm.wait()
            except TimeoutError:
                self._woken.clear()

    def _set_loop_timers(self) -> None:
        """Waits that go on end on the loop's time, from where an advance has got to."""
        now, loop_now = self.now(), asyncio.get_running_loop().time()
        for timer in [*self._timers.waiting(), *self._tidying.waiting()]:
            timer.end_at(loop_now + max(0.0, timer.moment - now))
