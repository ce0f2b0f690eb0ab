"""A poller: receives from a source, filters, puts batches together, hands them to a target, and settles them.

Each batch that is under way has a lane of its own: receive, invoke, settle, again. One lane waits for records; when
it gets some, another begins to wait, as long as `scaling` allows one more. What becomes of a batch is decided in
`batch`. A crash at any moment leaves records unsettled, never settled and unprocessed: they come again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.eventing import batch
from lambent.eventing.batch import MOST_BYTES, Settled
from lambent.eventing.filter import Filter
from lambent.eventing.scaling import DEFAULT, Limits, Scale
from lambent.eventing.source import Record, Source, Target
from lambent.observe import points
from lambent.observe.log import Log

_LONG_POLL_S: Final = 20
_FILL_S: Final = 1  # how long one receive waits while a window is open: a poller that is stopped looks up so often
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a mapping treats its records."""

    batch_size: int
    window_s: int = 0
    filter: Filter
    reports_failures: bool = False
    limits: Limits = DEFAULT


def _tell_nobody(_result: str) -> None:
    """For who does not show it."""


def _count_nothing(_name: str, _number: int) -> None:
    """For who did not ask for metrics."""


@dataclass(slots=True, kw_only=True, eq=False)
class Poller:
    """Polls while `run` runs. `told` hears what came of each batch, `count` the numbers of EventCount."""

    name: str
    source: Source
    target: Target
    settings: Settings
    clock: Clock
    log: Log
    told: Callable[[str], None] = _tell_nobody
    count: Callable[[str, int], None] = _count_nothing
    _scale: Scale = field(init=False)
    _lanes: int = 0
    _idle: int = 0  # lanes that wait for records
    _waiting: "set[asyncio.Task[None]]" = field(default_factory=set)  # the tasks of those, to be cancelled by `stop`
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _said: tuple[str, str] | None = None  # the last trouble that is in the log

    def stop(self) -> None:
        """Receives no more. `run` returns when the batches that are under way are done with."""
        self._stopped.set()
        self._changed.set()
        for task in self._waiting:
            task.cancel()

    async def run(self) -> None:
        """Until it is stopped. After a failure it may be run again."""
        self._lanes = self._idle = 0
        self._scale = Scale.new(self.settings.limits, self.clock.now())
        async with asyncio.TaskGroup() as lanes:
            while not self._stopped.is_set():
                self._changed.clear()
                seconds = self._start_lane(lanes)
                await self.clock.wait(self._changed, seconds)

    def _start_lane(self, lanes: asyncio.TaskGroup) -> float | None:
        """Starts one if none waits and another one is allowed; when to look again."""
        if self._idle:
            return None
        limits = self.settings.limits
        self._scale = self._scale.grown(limits, self.clock.now(), in_use=self._lanes)
        if self._lanes >= int(self._scale.allowed):
            return self._scale.next_s(limits)
        self._lanes += 1
        self._idle += 1
        lanes.create_task(self._lane(), name=f"{self.name}.lane")
        return None

    # A lane

    async def _lane(self) -> None:
        """Until it is stopped, or there are enough without it."""
        failures = 0
        try:
            while not self._stopped.is_set():
                obstacle, records = await self._next()
                failures = failures + 1 if obstacle else 0
                if obstacle:
                    self.told(obstacle)
                    await self.clock.wait(self._stopped, _pause_s(failures))
                if records:
                    await self._work(records)
                if self._is_one_too_many(has_worked=bool(records)):
                    return
        finally:
            self._lanes -= 1
            self._idle -= 1
            self._changed.set()

    async def _work(self, records: Sequence[Record]) -> None:
        self._idle -= 1
        self._changed.set()  # another one waits now
        try:
            with self.clock.holding():
                await self._process(records)
        finally:
            self._idle += 1

    def _is_one_too_many(self, *, has_worked: bool) -> bool:
        """Whether this lane ends: there are more than are allowed, or others wait for the same."""
        if has_worked:
            return self._lanes > int(self._scale.allowed)
        if self._lanes == 1:  # nothing to do: the next rush begins as the first did
            self._scale = Scale.new(self.settings.limits, self.clock.now())
        return self._idle > 1

    async def _next(self) -> tuple[str | None, list[Record]]:
        """The next records, or what is in the way of them."""
        obstacle = self.target.obstacle()
        if obstacle:
            return obstacle, []
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            records = await self._receive(self.settings.batch_size, _LONG_POLL_S)
        except ApiError as error:
            self._say("poller.cannot_receive", error)
            return f"PROBLEM: {error.message}", []
        finally:
            self._waiting.discard(task)
        if records and self.settings.window_s:
            await self._fill(records)
        return None, records

    async def _fill(self, records: list[Record]) -> None:
        """Adds to a batch until it is full, or its window is over. What is there is not lost by an error."""
        ends = self.clock.now() + self.settings.window_s
        size = sum(len(record.event) for record in records)
        while len(records) < self.settings.batch_size and size < MOST_BYTES and not self._stopped.is_set():
            left = ends - self.clock.now()
            if left < _FILL_S:
                await self.clock.wait(self._stopped, left)
            try:
                more = await self._receive(self.settings.batch_size - len(records), _FILL_S if left >= _FILL_S else 0)
            except ApiError as error:
                self._say("poller.cannot_receive", error)
                return
            records += more
            size += sum(len(record.event) for record in more)
            if left < _FILL_S:
                return

    async def _receive(self, most: int, wait_s: int) -> list[Record]:
        """Records that the filter lets through; the others are ended."""
        received = await self.source.receive(min(most, self.source.most), wait_s)
        if not received:
            return []
        self._said = None
        self.count("PolledEventCount", len(received))
        passing = [record for record in received if self.settings.filter.passes(record.event)]
        if len(passing) < len(received):
            dropped = [record for record in received if record not in passing]
            self.count("FilteredOutEventCount", len(dropped))
            await self._settle(dropped)
        return passing

    def _say(self, event: str, error: ApiError) -> None:
        """Once for each kind of trouble in a row: a queue that is gone is asked for again and again."""
        if self._said != (event, error.code):
            self._said = (event, error.code)
            self.log.warning(event, poller=self.name, code=error.code, message=error.message)

    async def _process(self, records: Sequence[Record]) -> None:
        stayed: list[Record] = []
        for part in batch.parts(records):
            for some in self.target.together(part):
                now = batch.not_behind(some, stayed)
                if now:
                    stayed += await self._deal_with(now)

    async def _deal_with(self, records: Sequence[Record]) -> Sequence[Record]:
        """Hands a batch on and ends what is done with; what stays."""
        settled = await self._hand_on(records)
        points.reached("mapping.answered")
        self.told(settled.result)
        if settled.stay:
            self.count("FailedInvokeEventCount", len(settled.stay))
        if settled.is_failure:
            self._scale = self._scale.halved(self.clock.now())
        if settled.done:
            await self._settle(settled.done)
        return settled.stay

    async def _hand_on(self, records: Sequence[Record]) -> Settled:
        payload, tries = batch.event(records), 0
        self.count("InvokedEventCount", len(records))
        while True:
            tries += 1
            outcome = await self.target.invoke(records, payload)
            step = batch.after(
                outcome,
                records,
                reports_failures=self.settings.reports_failures,
                tries=tries,
                now=self.clock.now(),
            )
            if isinstance(step, Settled):
                return step
            self._scale = self._scale.halved(self.clock.now())
            if await self.clock.wait(self._stopped, step.after_s):
                return Settled(stay=tuple(records))

    async def _settle(self, records: Sequence[Record]) -> None:
        """Ends records. What cannot be ended while it is ours comes again: at least once."""
        left, tries = list(records), 0
        while left:
            tries += 1
            before = len(left)
            try:
                left = await self.source.settle(left)
            except ApiError as error:
                self._say("poller.cannot_settle", error)
            self.count("DeletedEventCount", before - len(left))
            wait_s = _pause_s(tries)
            left = [record for record in left if self.clock.now() + wait_s < record.expires_at]
            if left and await self.clock.wait(self._stopped, wait_s):
                return


def _pause_s(failures: int) -> float:
    return min(_FIRST_WAIT_S * 2.0 ** min(failures, 20), _LONGEST_WAIT_S)
