"""An event queue on a loop whose time jumps, with a real database and functions that do as they are told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine import rows
from lambent.engine.event_queue import EventQueue
from lambent.engine.metrics import FunctionMetrics
from lambent.engine.retries import Retries
from lambent.engine.rows import Delivery, Event, Response
from lambent.observe.log import Log
from lambent.observe.metrics import Metric
from lambent.store.database import Database
from lambent.store.schema import MAIN

SCOPE = Scope("000000000000", "us-east-1")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def throttled() -> ApiError:
    return ApiError("TooManyRequestsException", "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded")


@dataclass
class Platform:
    """Who knows the functions: notes what is run and delivered when, and fails as often as it is told."""

    clock: Clock
    started: float
    policy: Retries = field(default_factory=Retries)
    refusals: Counter[str] = field(default_factory=Counter)  # by request id: how often to throttle
    errors: Counter[str] = field(default_factory=Counter)  # by request id: how often the function fails
    bugs: Counter[str] = field(default_factory=Counter)  # by request id: how often the platform itself breaks
    refusal: ApiError = field(default_factory=throttled)
    targets: list[str] = field(default_factory=list)  # who hears of each event
    undelivered: Counter[str] = field(default_factory=Counter)  # by target: how often a delivery fails
    delivery_error: str = "ResourceNotFoundException"
    functions: set[str] = field(default_factory=lambda: {ARN})
    runs: list[tuple[str, int]] = field(default_factory=list)  # request id, and seconds since the start
    tries: list[tuple[str, int]] = field(default_factory=list)
    delivered: list[tuple[str, str, Event]] = field(default_factory=list)  # request id, target, the event
    delivery_tries: list[tuple[str, int]] = field(default_factory=list)  # target, seconds since the start
    metrics: list[tuple[str, float]] = field(default_factory=list)
    takes_s: float = 0.0
    at_once: int = 0
    most_at_once: int = 0

    @property
    def now(self) -> int:
        return round(self.clock.now() - self.started)

    def retries(self, event: Event) -> Retries:
        if event.function_arn not in self.functions:
            raise ApiError("ResourceNotFoundException", f"Function not found: {event.function_arn}")
        return self.policy

    async def run(self, event: Event) -> Response:
        key, moment = event.request_id, self.now
        self.tries.append((key, moment))
        if self.bugs[key] > 0:
            self.bugs[key] -= 1
            raise ValueError("our bug")
        if self.refusals[key] > 0:
            self.refusals[key] -= 1
            raise self.refusal
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        self.runs.append((key, moment))
        error = self.errors[key] > 0
        self.errors[key] -= error
        return Response(executed_version="1", payload=b"null", function_error="Unhandled" if error else None)

    def deliveries(self, event: Event, condition: str) -> list[Delivery]:
        return [Delivery(kind="", target=target, role="", failure_metric=f"{target}Errors") for target in self.targets]

    async def deliver(self, event: Event, delivery: Delivery) -> None:
        self.delivery_tries.append((delivery.target, self.now))
        if self.undelivered[delivery.target] > 0:
            self.undelivered[delivery.target] -= 1
            raise ApiError(self.delivery_error, "No.")
        self.delivered.append((event.request_id, delivery.target, event))

    def record(self, _scope: tuple[str, str], metric: Metric) -> None:
        self.metrics += [(one.name, one.value) for one in metric.apart()]

    def counted(self, name: str) -> float:
        return sum(value for counted, value in self.metrics if counted == name)


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> "AsyncIterator[tuple[EventQueue, Platform, Database]]":
    async with Database.open(path, metadata=MAIN, durable=False) as database:
        platform = Platform(clock, clock.now())
        queue = EventQueue(database=database, clock=clock, log=Log("off"), metrics=FunctionMetrics(platform.record))
        yield queue, platform, database


@asynccontextmanager
async def running(queue: EventQueue, platform: Platform) -> "AsyncIterator[None]":
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(queue.run(platform))
        yield
        task.cancel()


async def kept(database: Database, clock: Clock) -> int:
    return len(await database.read(lambda tx: rows.due_ids(tx, clock.now_ms() + 10**9, 10_000)))


async def drained(database: Database, clock: Clock, *, every_s: float = 1) -> None:
    """Until no event is left; time jumps meanwhile."""
    await database.write(lambda tx: None)  # behind the writes of callers that went away
    async with asyncio.timeout(7 * 24 * 3600):
        while await kept(database, clock):
            await pause(every_s)


async def pause(seconds: float = 1) -> None:
    await asyncio.sleep(seconds)


async def put(queue: EventQueue, request_id: str, arn: str = ARN, qualifier: str | None = None) -> None:
    await queue.put(SCOPE, arn, qualifier, b'{"n": 1}', request_id=request_id)
