"""Asynchronous invocations on a loop whose time jumps, with a real database."""

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from lambent.testing.loop import run

SCOPE = Scope("000000000000", "us-east-1")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def throttled() -> ApiError:
    return ApiError("TooManyRequestsException", "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded")


@dataclass
class Platform:
    """Who knows the functions: notes what is run and delivered when, and fails as often as it is told."""

    clock: Clock
    started: float
    policy: Retries = Retries()
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
        self.metrics.append((metric.name, metric.value))

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


async def drained(database: Database, clock: Clock) -> None:
    """Until no event is left; time jumps meanwhile."""
    await database.write(lambda tx: None)  # behind the writes of callers that went away
    async with asyncio.timeout(7 * 24 * 3600):
        while await kept(database, clock):
            await _a_second()


async def _a_second() -> None:
    await asyncio.sleep(1)


async def put(queue: EventQueue, request_id: str, arn: str = ARN, qualifier: str | None = None) -> None:
    await queue.put(SCOPE, arn, qualifier, b'{"n": 1}', request_id=request_id)


def test_an_event_runs_once_and_is_forgotten(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            await put(queue, "a", qualifier="1")
            await put(queue, "b")
            await drained(database, clock)
            assert sorted(platform.runs) == [("a", 0), ("b", 0)]

    run(main)


def test_a_throttled_event_waits_longer_each_time_and_is_not_lost(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.refusals["a"] = 11
            await put(queue, "a")
            await drained(database, clock)
            moments = [moment for _id, moment in platform.tries]
            waits = [after - before for before, after in itertools.pairwise(moments)]
            assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
            assert len(platform.runs) == 1

    run(main)


def test_an_event_of_a_deleted_function_is_dropped(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            await put(queue, "a", arn=ARN + "-deleted")
            await drained(database, clock)
            assert platform.tries == []

    run(main)


def test_put_returns_after_the_commit_and_events_outlive_the_queue(tmp_path: Path) -> None:
    async def first(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database):
            await put(queue, "a")  # nothing runs it
            assert await kept(database, clock) == 1
            assert platform.runs == []

    async def second(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            await drained(database, clock)
            assert [request_id for request_id, _moment in platform.runs] == ["a"]

    run(first)
    run(second)


def test_an_event_that_was_running_at_a_crash_runs_again(tmp_path: Path) -> None:
    async def first(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, _database):
            platform.takes_s = 3600.0
            queue.stop_grace_s = 0.0
            async with running(queue, platform):
                await put(queue, "a")
                await asyncio.sleep(1)
                assert platform.at_once == 1

    async def second(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            await drained(database, clock)
            assert [request_id for request_id, _moment in platform.runs] == ["a"]

    run(first)
    run(second)


def test_stopping_lets_running_events_finish(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database):
            platform.takes_s = 5.0
            async with running(queue, platform):
                await put(queue, "a")
                await asyncio.sleep(1)
            assert len(platform.runs) == 1
            assert await kept(database, clock) == 0

    run(main)


def test_many_events_run_side_by_side_within_a_bound(tmp_path: Path) -> None:

    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            queue.at_once = 8
            platform.takes_s = 1.0
            async with asyncio.TaskGroup() as tasks:
                for number in range(50):
                    tasks.create_task(put(queue, str(number)))
            await drained(database, clock)
            assert platform.most_at_once == 8
            assert sorted(int(request_id) for request_id, _moment in platform.runs) == list(range(50))

    run(main)


steps = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), min_size=1, max_size=12
)  # seconds before it arrives, how often it is throttled, whether its caller goes away


@settings(max_examples=25, deadline=None)
@given(steps, st.sampled_from([1, 3, 256]), st.sampled_from([0.0, 2.0]))
def test_each_event_runs_exactly_once_when_nothing_crashes(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[tuple[int, int, bool]], bound: int, takes_s: float
) -> None:
    path = tmp_path_factory.mktemp("events") / f"{uuid.uuid4().hex}.db"

    async def main(clock: Clock) -> None:
        async with opened(path, clock) as (queue, platform, database), running(queue, platform):
            queue.at_once = bound
            platform.takes_s = takes_s
            certain = set()
            async with asyncio.TaskGroup() as tasks:
                for number, (after_s, refusals, goes_away) in enumerate(arrivals):
                    await asyncio.sleep(after_s)
                    platform.refusals[str(number)] = refusals
                    caller = tasks.create_task(put(queue, str(number)))
                    await asyncio.sleep(0)
                    if goes_away:
                        caller.cancel()
                    else:
                        certain.add(str(number))
            await drained(database, clock)
            ran = [request_id for request_id, _moment in platform.runs]
            assert len(ran) == len(set(ran))
            assert certain <= set(ran)
            await _a_second()  # the last task sees its deletion committed
            assert not queue._running

    run(main)
