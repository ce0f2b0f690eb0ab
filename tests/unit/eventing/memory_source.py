"""A queue in memory, as a source, and a function that does what a test says."""

import asyncio
import json
from dataclasses import dataclass, field

from lambent.aws.errors import ApiError
from lambent.eventing.filter import Filter, compile_filter
from lambent.eventing.poller import Poller, Settings
from lambent.eventing.source import Answered, Record
from lambent.observe.log import Log


@dataclass
class MemorySource:
    """Shows a message again `visibility_s` after it was received, unless it was settled."""

    clock: object
    visibility_s: float = 30.0
    most: int = 10
    problem: ApiError | None = None
    cannot_settle: int = 0  # so many calls fail
    rows: dict = field(default_factory=dict)  # id: [body, group, hidden until, receives]
    receives: list = field(default_factory=list)  # (moment, how many were wanted, how long)
    waiting: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, *bodies, group=None):
        for body in bodies:
            self.rows[f"m{len(self.rows) + 1}"] = [body, group, 0.0, 0]
        self._arrived.set()

    @property
    def bodies(self):
        return [row[0] for row in self.rows.values() if row[2] != "gone"]

    async def receive(self, most, wait_s):
        self.receives.append((self.clock.now(), most, wait_s))
        ends = self.clock.now() + wait_s
        while True:
            if self.problem:
                raise self.problem
            found = self._visible(most)
            left = ends - self.clock.now()
            if found or left <= 0:
                return found
            self._arrived.clear()
            hidden = [row[2] for row in self.rows.values() if row[2] != "gone" and row[2] > self.clock.now()]
            self.waiting += 1
            try:
                until = min(hidden, default=ends)
                await self.clock.wait(self._arrived, min(until, ends) - self.clock.now(), tidying=not hidden)
            finally:
                self.waiting -= 1

    def _visible(self, most):
        now, found = self.clock.now(), []
        locked = {row[1] for row in self.rows.values() if row[1] and row[2] != "gone" and row[2] > now}
        for name, row in self.rows.items():
            if len(found) == most or row[2] == "gone" or row[2] > now or row[1] in locked:
                continue
            row[2:] = [now + self.visibility_s, row[3] + 1]
            event = json.dumps({"messageId": name, "body": row[0]}).encode()
            found.append(Record(id=name, event=event, group=row[1], expires_at=now + self.visibility_s))
        return found

    async def settle(self, records):
        if self.cannot_settle:
            self.cannot_settle -= 1
            raise ApiError("ServiceUnavailable", "later")
        for record in records:
            self.rows[record.id][2] = "gone"
        return []


@dataclass
class MemoryTarget:
    """`does(bodies)` gives the outcome; None is success."""

    clock: object
    does: object = None
    blocked_by: str | None = None
    takes_s: float = 0.0
    batches: list = field(default_factory=list)  # (moment, bodies)
    at_once: int = 0
    most_at_once: int = 0

    def obstacle(self):
        return self.blocked_by

    def together(self, records):
        return [records]

    async def invoke(self, records, payload):
        bodies = [each["body"] for each in json.loads(payload)["Records"]]
        self.batches.append((self.clock.now(), bodies))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.clock.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        return (self.does(bodies) if self.does else None) or Answered(b"null")

    @property
    def bodies(self):
        return [body for _moment, bodies in self.batches for body in bodies]


async def _a_moment():
    await asyncio.sleep(0.01)


@dataclass
class Made:
    poller: Poller
    source: MemorySource
    target: MemoryTarget
    counts: dict
    told: list

    async def until(self, condition, limit_s=36_000):
        async with asyncio.timeout(limit_s):
            while not condition():
                await _a_moment()


def make(clock, *, filters=(), source=None, target=None, **settings):
    source, target = source or MemorySource(clock), target or MemoryTarget(clock)
    counts, told = {}, []

    def count(name, number):
        counts[name] = counts.get(name, 0) + number

    poller = Poller(
        name="p",
        source=source,
        target=target,
        settings=Settings(
            filter=compile_filter(filters, "body") if filters else Filter("body"),
            **{"batch_size": 10, "reports_failures": True, **settings},
        ),
        clock=clock,
        log=Log("off"),
        told=told.append,
        count=count,
    )
    return Made(poller, source, target, counts, told)
