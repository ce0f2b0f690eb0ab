"""Events that fail, wait, grow too old, and whose end is made known; a node that dies anywhere in between."""

import asyncio
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from event_platform import ARN, SCOPE, Platform, drained, kept, opened, pause, put, running
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine import rows
from lambent.engine.event_queue import EventQueue
from lambent.engine.metrics import FunctionMetrics
from lambent.engine.retries import Retries
from lambent.observe import points
from lambent.observe.log import Log
from lambent.store.database import Database
from lambent.store.schema import MAIN
from lambent.testing.loop import JumpingLoop, run

POINTS = ["event.responded", "event.ended", "event.delivered"]


class Crash(BaseException):
    """The process ends here: whatever is in memory is gone."""


@contextmanager
def crash_at(point: str) -> Iterator[None]:
    """The first time that the point is reached, whoever is there dies, and everybody with it."""

    def watcher(reached: str) -> None:
        if reached == point:
            points.watch(None)
            raise Crash

    points.watch(watcher)
    try:
        yield
    finally:
        points.watch(None)


def ends(platform: Platform) -> list[tuple[str, str, str | None, int]]:
    """Request id, target, condition and attempts of each delivery."""
    return [(key, target, event.condition, event.attempts) for key, target, event in platform.delivered]


def test_a_failing_event_is_tried_three_times_under_one_request_id(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.errors["a"], platform.targets = 9, ["queue"]
            await put(queue, "a")
            await drained(database, clock)
            assert platform.runs == [("a", 0), ("a", 60), ("a", 180)]
            assert ends(platform) == [("a", "queue", "RetriesExhausted", 3)]
            _, _, event = platform.delivered[0]
            assert event.response == rows.Response(executed_version="1", payload=b"null", function_error="Unhandled")
            ages = [value for name, value in platform.metrics if name == "AsyncEventAge"]
            assert sorted(set(ages)) == [0, 60_000, 180_000]
            assert platform.counted("AsyncEventsReceived") == platform.counted("AsyncEventsDropped") > 0

    run(main)


def test_a_retry_that_succeeds_is_a_success(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.errors["a"], platform.targets = 1, ["function"]
            await put(queue, "a")
            await drained(database, clock)
            assert ends(platform) == [("a", "function", "Success", 2)]
            assert platform.counted("AsyncEventsDropped") == 0

    run(main)


def test_throttles_are_no_attempts(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.refusals["a"], platform.errors["a"], platform.targets = 5, 9, ["queue"]
            await put(queue, "a")
            await drained(database, clock)
            assert [moment for _id, moment in platform.runs] == [31, 91, 211]
            assert ends(platform) == [("a", "queue", "RetriesExhausted", 3)]

    run(main)


def test_an_event_that_is_throttled_for_its_whole_age_is_given_up_then(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.policy, platform.targets = Retries(max_age_s=60), ["queue"]
            platform.refusals["a"] = 10**6
            await put(queue, "a")
            await drained(database, clock)
            assert [moment for _id, moment in platform.tries] == [0, 1, 3, 7, 15, 31, 60]
            assert ends(platform) == [("a", "queue", "EventAgeExceeded", 0)]
            _, _, event = platform.delivered[0]
            assert event.response is not None
            assert event.response.refusal == ("TooManyRequestsException", "Rate Exceeded.")

    run(main)


def test_an_event_is_kept_for_six_hours(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.refusals["a"], platform.targets = 10**6, ["queue"]
            await put(queue, "a")
            await drained(database, clock, every_s=600)
            assert platform.tries[-1] == ("a", 6 * 3600)
            assert ends(platform) == [("a", "queue", "EventAgeExceeded", 0)]

    run(main)


def test_an_error_that_leaves_no_time_for_a_retry_is_the_end_with_its_answer(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.policy, platform.targets, platform.takes_s = Retries(max_age_s=60), ["queue"], 1.0
            platform.errors["a"] = 9
            await put(queue, "a")
            await drained(database, clock)
            assert platform.runs == [("a", 0)]
            assert ends(platform) == [("a", "queue", "EventAgeExceeded", 1)]
            assert platform.delivered[0][2].response is not None

    run(main)


def test_a_function_without_concurrency_runs_nothing(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.policy, platform.targets = Retries(is_allowed=False), ["queue", "topic"]
            await put(queue, "a")
            await drained(database, clock)
            assert platform.tries == []
            assert ends(platform) == [(("a"), each, "ZeroReservedConcurrency", 0) for each in ("queue", "topic")]
            assert platform.delivered[0][2].response is None
            assert platform.counted("AsyncEventAge") == 0

    run(main)


def test_an_event_that_runs_in_a_loop_is_not_tried_again(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.refusal = ApiError("RecursiveInvocationException", "Stopped.")
            platform.refusals["a"], platform.targets = 9, ["queue"]
            await put(queue, "a")
            await drained(database, clock)
            assert platform.tries == [("a", 0)]
            assert ends(platform) == [("a", "queue", "RetriesExhausted", 0)]

    run(main)


def test_a_delivery_that_fails_is_repeated_and_each_failure_counts(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.targets, platform.undelivered["queue"] = ["queue", "topic"], 2
            await put(queue, "a")
            await drained(database, clock)
            assert platform.delivery_tries == [("queue", 0), ("topic", 0), ("queue", 1), ("queue", 3)]
            assert [(target, event.condition) for _, target, event in platform.delivered] == [
                ("topic", "Success"),
                ("queue", "Success"),
            ]
            assert platform.counted("queueErrors") == 2 * platform.counted("AsyncEventsReceived")
            assert platform.counted("topicErrors") == 0

    run(main)


@pytest.mark.parametrize(("code", "tries"), [("NotImplemented", 3), ("ServiceUnavailable", 15)])
def test_a_delivery_that_never_succeeds_is_given_up(tmp_path: Path, code: str, tries: int) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.targets, platform.undelivered["queue"], platform.delivery_error = ["queue"], 10**6, code
            await put(queue, "a")
            await drained(database, clock)
            assert len(platform.delivery_tries) == tries
            assert platform.delivered == []
            assert len(platform.runs) == 1

    run(main)


def test_a_bug_of_ours_is_one_events_alone(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.bugs["a"], platform.takes_s = 3, 1.0
            await put(queue, "a")
            await put(queue, "b")
            await drained(database, clock)
            assert [request_id for request_id, _moment in platform.runs] == ["b", "a"]

    run(main)


@pytest.mark.parametrize(
    ("point", "runs", "heard"),
    [
        ("event.responded", 2, ["queue", "topic"]),
        ("event.ended", 1, ["queue", "topic"]),
        ("event.delivered", 1, ["queue", "queue", "topic"]),
    ],
)
def test_a_crash_anywhere_loses_nothing_and_repeats_one_step(
    tmp_path: Path, point: str, runs: int, heard: list[str]
) -> None:
    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database):
            platform.targets = ["queue", "topic"]
            with crash_at(point), suppress(BaseExceptionGroup):
                async with running(queue, platform):
                    await put(queue, "a")
                    await pause()
            assert await kept(database, clock) == 1
            async with running(_another(queue), platform):
                await drained(database, clock)
            assert len(platform.runs) == runs
            assert [target for _, target, _ in platform.delivered] == heard

    run(main)


def _another(queue: EventQueue) -> EventQueue:
    """What a node starts on the same store after its end."""
    return EventQueue(database=queue.database, clock=queue.clock, log=queue.log, metrics=queue.metrics)


def test_hours_pass_at_once_and_everything_in_them_happens_in_order(tmp_path: Path) -> None:
    """On a loop that keeps real time, as a node's does."""

    async def main() -> None:
        clock = Clock()
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database), running(queue, platform):
            platform.errors["a"], platform.refusals["b"], platform.targets = 9, 10**6, ["queue"]
            await put(queue, "a")
            await put(queue, "b")
            await clock.advance(61)
            assert platform.runs == [("a", 0), ("a", 60)]
            await clock.advance(6 * 3600)
            assert platform.runs == [("a", 0), ("a", 60), ("a", 180)]
            assert ends(platform) == [("a", "queue", "RetriesExhausted", 3), ("b", "queue", "EventAgeExceeded", 0)]
            assert await kept(database, clock) == 0

    asyncio.run(main())


def test_a_hundred_thousand_events_take_no_more_memory_than_a_few(tmp_path: Path) -> None:
    count, payload = 100_000, b'"' + b"x" * 1_000 + b'"'

    async def main(clock: Clock) -> None:
        async with opened(tmp_path / "main.db", clock) as (queue, platform, database):
            platform.takes_s = 1.0
            now_ms = clock.now_ms()
            row = {"account": SCOPE.account, "region": SCOPE.region, "function_arn": ARN, "payload": payload}
            row |= {"arrived_ms": now_ms, "visible_ms": now_ms, "deferrals": 0}
            for first in range(0, count, 10_000):
                many = [row | {"request_id": str(number)} for number in range(first, first + 10_000)]
                await database.write(lambda tx, many=many: tx.execute(rows.EVENTS.insert(), many) and None)
            tracemalloc.start()
            try:
                async with running(queue, platform):
                    while len(platform.runs) < 2_000:
                        await pause()
                _now, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert platform.most_at_once <= queue.at_once
            assert most < 20 * 1_048_576  # all of them have 100 MB of payload

    run(main)


class Events(RuleBasedStateMachine):
    """Events come, fail, wait; time passes; the node dies anywhere and starts again. None is lost, none in two places.

    What outlives the node is the store and `platform`, the world outside.
    """

    folder: Path

    @initialize(number=st.integers(0, 10**12))
    def start(self, number: int) -> None:
        self.runner = asyncio.Runner(loop_factory=JumpingLoop)
        loop = self.runner.get_loop()
        assert isinstance(loop, JumpingLoop)
        self.clock = loop.clock
        self.platform = Platform(self.clock, self.clock.now(), targets=["queue", "topic"])
        self.platform.delivery_error = "ServiceUnavailable"
        self.acknowledged: list[str] = []
        self.crashes = 0
        self.opening = Database.open(self.folder / f"{number}-{id(self)}.db", metadata=MAIN, durable=False)
        self.database = self.runner.run(self.opening.__aenter__())
        self._start_node()

    def _start_node(self) -> None:
        metrics = FunctionMetrics(lambda _scope, _metric: None)
        self.queue = EventQueue(database=self.database, clock=self.clock, log=Log("off"), metrics=metrics)
        self.queue.stop_grace_s = 0.0
        self.queue.at_once = 3

        async def begin() -> "asyncio.Task[None]":
            return asyncio.get_running_loop().create_task(self.queue.run(self.platform))

        self.node = self.runner.run(begin())

    def _run(self, seconds: float) -> None:
        """Time passes; a node that died meanwhile starts again."""
        self.runner.run(asyncio.sleep(seconds))
        if self.node.done():
            assert isinstance(self.node.exception(), BaseExceptionGroup)
            self.crashes += 1
            self._start_node()

    @rule(errors=st.integers(0, 4), refusals=st.integers(0, 3))
    def event_comes(self, errors: int, refusals: int) -> None:
        key = str(len(self.acknowledged))
        self.platform.errors[key], self.platform.refusals[key] = errors, refusals
        self.runner.run(put(self.queue, key))
        self.acknowledged.append(key)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 59.0, 61.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self._run(seconds)

    @rule(who=st.sampled_from(["queue", "topic"]))
    def target_is_busy_once(self, who: str) -> None:
        self.platform.undelivered[who] = min(2, self.platform.undelivered[who] + 1)

    @rule(takes_s=st.sampled_from([0.0, 5.0, 100.0]))
    def functions_take(self, takes_s: float) -> None:
        self.platform.takes_s = takes_s

    @rule(point=st.sampled_from(POINTS), seconds=st.sampled_from([1.0, 70.0, 300.0]))
    def node_dies_at(self, point: str, seconds: float) -> None:
        with crash_at(point):
            self._run(seconds)

    @rule()
    def node_is_killed(self) -> None:
        self.node.cancel()
        with suppress(asyncio.CancelledError):
            self.runner.run(asyncio.sleep(0))
            self.runner.run(asyncio.wait_for(self.node, 1))
        self.crashes += 1
        self._start_node()

    def teardown(self) -> None:
        points.watch(None)
        if not hasattr(self, "runner"):
            return
        try:
            self.runner.run(drained(self.database, self.clock))
            self._check()
            assert not self.node.done()
            self.node.cancel()
            self._end(self.node)
            self.runner.run(self.opening.__aexit__(None, None, None))
        finally:
            self.runner.close()

    def _end(self, task: "asyncio.Task[None]") -> None:
        with suppress(asyncio.CancelledError):
            self.runner.run(asyncio.wait_for(task, 1))

    def _check(self) -> None:
        heard = [(key, target) for key, target, _event in self.platform.delivered]
        wanted = {(key, target) for key in self.acknowledged for target in ("queue", "topic")}
        assert set(heard) == wanted
        assert len(heard) - len(wanted) <= 3 * self.crashes  # each crash repeats at most what was under way
        for key, _target, event in self.platform.delivered:
            assert event.condition in ("Success", "RetriesExhausted")
            assert 1 <= event.attempts <= 3
            runs = [moment for ran, moment in self.platform.runs if ran == key]
            assert event.attempts <= len(runs) <= event.attempts + self.crashes


def test_whatever_happens_no_event_is_lost(tmp_path: Path) -> None:
    class Here(Events):
        folder = tmp_path

    run_state_machine_as_test(Here, settings=settings(max_examples=30, stateful_step_count=25))
