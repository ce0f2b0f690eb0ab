"""Asynchronous invocations: acknowledged, run once each, within a bound."""

import asyncio
import itertools
import uuid
from pathlib import Path

import pytest
from event_platform import ARN, drained, kept, opened, pause, put, running
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.clock import Clock
from lambent.testing.loop import run


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


@settings(max_examples=25)
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
            await pause()  # the last task sees its deletion committed
            assert not queue._running

    run(main)
