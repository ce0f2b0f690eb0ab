"""Time that can be moved: who waits is woken in order, at its moment, and is waited for."""

import asyncio
import contextlib
import itertools

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.clock import Clock
from lambent.testing.loop import START, JumpingLoop, run

NEAR = 0.005  # a loop's own rounding; hours are what is moved
HOUR = 3600.0

seconds = st.floats(0.01, 10 * HOUR)


async def finished(task):
    """Waits for a task without the clock."""
    await asyncio.wait([task])


# Properties: generated sleepers, advances and passing time


@given(sleeps=st.lists(seconds, min_size=1, max_size=30), steps=st.lists(seconds, max_size=5))
def test_waits_end_in_order_each_at_its_moment_and_never_early(sleeps, steps):
    async def main(clock):
        ended = []

        async def sleeper(due):
            await clock.sleep(due)
            assert clock.now() >= START + due - 1e-6
            ended.append((due, clock.now()))

        async with asyncio.TaskGroup() as tasks:
            for due in sleeps:
                tasks.create_task(sleeper(due))
            await asyncio.sleep(0)
            for step in steps:
                before = clock.now()
                await clock.advance(step)
                assert before + step <= clock.now() + 1e-6
                # Nothing that is due has been passed over.
                due = [s for s in sleeps if START + s <= clock.now()]
                assert len(ended) == len(due)
        # Equal ones in any order, as a loop's own timers.
        assert all(due <= later + 1e-6 for (due, _at), (later, _too) in itertools.pairwise(ended))
        assert all(abs(at - START - due) < NEAR for due, at in ended)
        return ended

    assert len(run(main)) == len(sleeps)


@given(
    waits=st.lists(st.tuples(seconds, seconds | st.none()), min_size=1, max_size=20),
    steps=st.lists(seconds, max_size=5),
)
def test_a_wait_ends_with_its_event_or_its_time_whichever_comes_first(waits, steps):
    """Each: a limit, and when its event is set, by somebody who waits on the clock too."""

    async def main(clock):
        async def setter(event, at):
            await clock.sleep(at)
            event.set()

        async def waiter(event, limit, at):
            is_set = await clock.wait(event, limit)
            took = clock.now() - START
            assert took == pytest.approx(limit if at is None else min(limit, at), abs=NEAR)
            if at is None or abs(limit - at) > NEAR:
                assert is_set == (at is not None and at < limit)

        async with asyncio.TaskGroup() as tasks:
            for limit, at in waits:
                event = asyncio.Event()
                tasks.create_task(waiter(event, limit, at))
                if at is not None:
                    tasks.create_task(setter(event, at))
            await asyncio.sleep(0)
            for step in steps:
                await clock.advance(step)

    run(main)


@given(period=st.floats(1, HOUR), step=st.floats(1, 20 * HOUR), working=st.sampled_from(["nothing", "loop", "thread"]))
@settings(max_examples=50)
def test_whoever_is_woken_again_and_again_misses_no_time(period, step, working):
    step = min(step, period * 200)

    async def main(clock):
        moments = []

        async def ticker():
            while True:
                await clock.sleep(period)
                if working == "loop":
                    for _turn in range(20):
                        await asyncio.sleep(0)
                elif working == "thread":
                    await asyncio.to_thread(lambda: None)
                moments.append(clock.now())

        task = asyncio.ensure_future(ticker())
        await asyncio.sleep(0)
        await clock.advance(step)
        task.cancel()
        await finished(task)
        # Float sums may make the last one fall on either side.
        assert abs(len(moments) - step / period) <= 1 + 1e-6
        assert all(abs(at - START - (n + 1) * period) < NEAR for n, at in enumerate(moments))

    run(main)


@given(
    sleeps=st.lists(st.tuples(seconds, st.booleans()), min_size=1, max_size=20),
    first=seconds,
    second=seconds,
)
def test_cancelled_waits_disturb_nobody(sleeps, first, second):
    async def main(clock):
        ended = []

        async def sleeper(number, due):
            await clock.sleep(due)
            ended.append(number)

        tasks = [asyncio.ensure_future(sleeper(number, due)) for number, (due, _cancel) in enumerate(sleeps)]
        await asyncio.sleep(0)
        await clock.advance(first)
        before = set(ended)
        assert before == {n for n, (due, _cancel) in enumerate(sleeps) if START + due <= clock.now()}
        for task, (_due, is_cancelled) in zip(tasks, sleeps, strict=True):
            if is_cancelled:
                task.cancel()
        await clock.advance(second)
        now = clock.now()
        expected = {n for n, (due, cancelled) in enumerate(sleeps) if START + due <= now and not cancelled}
        assert set(ended) - before == expected - before
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main)


@given(sleeps=st.lists(seconds, min_size=1, max_size=10), step=seconds)
def test_time_goes_on_by_itself_after_an_advance(sleeps, step):
    """On the loop's own time, the rest of each wait is waited for: no more, no less."""

    async def main(clock):
        async def sleeper(due):
            await clock.sleep(due)
            assert clock.now() == pytest.approx(START + due, abs=NEAR)

        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            for due in sleeps:
                tasks.create_task(sleeper(due))
            await asyncio.sleep(0)
            await clock.advance(step)
            began = loop.time()
        assert loop.time() - began == pytest.approx(max(0.0, max(sleeps) - step), abs=NEAR * (len(sleeps) + 1))

    run(main)


# Who holds the time


def test_the_time_stands_while_the_woken_one_works():
    async def main(clock):
        seen = []

        async def worker():
            await clock.sleep(60)
            await asyncio.to_thread(lambda: None)
            await asyncio.sleep(1)  # the loop's own time: a function that runs, say
            seen.append(clock.now())
            await clock.sleep(60)
            seen.append(clock.now())

        task = asyncio.ensure_future(worker())
        await asyncio.sleep(0)
        await clock.advance(HOUR)
        assert seen == [pytest.approx(START + 61), pytest.approx(START + 121)]
        await task

    run(main)


def test_the_time_stands_while_somebody_holds_it():
    async def main(clock):
        seen = []

        async def child():
            with clock.holding():
                await asyncio.to_thread(lambda: None)
                await asyncio.sleep(1)
                seen.append(clock.now())
            await clock.sleep(60)
            seen.append(clock.now())

        async def parent():
            async with asyncio.TaskGroup() as tasks:
                while len(seen) < 4:
                    await clock.sleep(600)
                    tasks.create_task(child())

        task = asyncio.ensure_future(parent())
        await asyncio.sleep(0)
        await clock.advance(HOUR)
        assert seen[:4] == [pytest.approx(START + s) for s in (601, 661, 1201, 1261)]
        task.cancel()
        await finished(task)

    run(main)


def test_the_time_that_passes_is_counted_from_the_end_of_what_is_at_work():
    async def main(clock):
        tried = []

        async def retries():
            while True:
                with clock.holding():
                    await asyncio.sleep(5)  # a function that runs
                    tried.append(clock.now() - START)
                await clock.sleep(60)

        task = asyncio.ensure_future(retries())
        await asyncio.sleep(1)
        await clock.advance(60)
        assert tried == [pytest.approx(5), pytest.approx(70)]
        task.cancel()
        await finished(task)

    run(main)


def test_a_hold_does_not_hold_its_own_wait():
    async def main(clock):
        async def worker():
            with clock.holding():
                await clock.sleep(60)
                await asyncio.sleep(1)
                return clock.now()

        task = asyncio.ensure_future(worker())
        await asyncio.sleep(0)
        await clock.advance(HOUR)
        assert task.done()
        assert task.result() == pytest.approx(START + 61)

    run(main)


def test_a_hold_that_fails_lets_go():
    async def main(clock):
        with contextlib.suppress(ValueError), clock.holding():
            with clock.holding():
                raise ValueError
        await clock.advance(HOUR)
        assert clock.now() == pytest.approx(START + HOUR)

    run(main)


def test_whoever_is_woken_by_an_event_during_an_advance_is_waited_for_too():
    async def main(clock):
        wake, seen = asyncio.Event(), []

        async def first():
            await clock.sleep(60)
            wake.set()

        async def second():
            await clock.wait(wake, None)
            await asyncio.to_thread(lambda: None)
            await asyncio.sleep(1)
            seen.append(clock.now())
            await clock.sleep(30)
            seen.append(clock.now())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(first())
            tasks.create_task(second())
            await asyncio.sleep(0)
            await clock.advance(HOUR)
            assert seen == [pytest.approx(START + 61), pytest.approx(START + 91)]

    run(main)


def test_whoever_is_woken_and_waits_for_something_else_does_not_stop_the_time_for_ever():
    async def main(clock):
        other = asyncio.Event()

        async def waits_elsewhere():
            await clock.sleep(60)
            await other.wait()

        async def sets():
            await clock.sleep(120)
            other.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(waits_elsewhere())
            tasks.create_task(sets())
            await asyncio.sleep(0)
            await clock.advance(HOUR)
            assert other.is_set()

    run(main)


def test_a_wait_for_no_time_at_the_end_of_an_advance_belongs_to_it():
    async def main(clock):
        left = 5

        async def worker():
            nonlocal left
            await clock.sleep(HOUR)
            while left:
                await asyncio.to_thread(lambda: None)
                left -= 1
                await clock.wait(asyncio.Event(), 0.0)
            await clock.sleep(HOUR)

        task = asyncio.ensure_future(worker())
        await asyncio.sleep(0)
        await clock.advance(HOUR)
        assert left == 0
        task.cancel()
        await finished(task)

    run(main)


def test_what_only_tidies_is_woken_once():
    async def main(clock):
        order = []

        async def works(name, period, tidying):
            while True:
                await clock.sleep(period, tidying=tidying)
                order.append((name, clock.now() - START))

        tasks = [asyncio.ensure_future(works("tidy", 60, True)), asyncio.ensure_future(works("tick", 1000, False))]
        await asyncio.sleep(0)
        await clock.advance(3500)
        assert [name for name, _at in order] == ["tick", "tick", "tick", "tidy"]
        assert order[-1][1] == pytest.approx(3500)
        await clock.advance(30)
        assert len(order) == 4
        await asyncio.sleep(31)  # and by itself, as ever
        assert order[-1] == ("tidy", pytest.approx(3560, abs=0.1))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main)


def test_a_wait_that_only_tidies_ends_at_once_with_its_event():
    async def main(clock):
        event, ended = asyncio.Event(), []

        async def looks_up():
            while not await clock.wait(event, 20, tidying=True):
                ended.append(clock.now() - START)

        task = asyncio.ensure_future(looks_up())
        await asyncio.sleep(0)
        await clock.advance(3600)
        assert ended == [pytest.approx(3600)]
        event.set()
        await task
        assert len(ended) == 1

    run(main)


# Advances


def test_two_advances_at_once_are_one_after_the_other():
    async def main(clock):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(clock.advance(HOUR))
            tasks.create_task(clock.advance(HOUR))
        assert clock.now() == pytest.approx(START + 2 * HOUR)
        assert clock.ahead_s == pytest.approx(2 * HOUR)
        assert clock.machine_now() == pytest.approx(START)

    run(main)


@pytest.mark.parametrize("nothing", [0.0, -5.0])
def test_an_advance_by_nothing_moves_nothing(nothing):
    async def main(clock):
        await clock.advance(nothing)
        assert clock.now() == pytest.approx(START)

    run(main)


def test_an_advance_that_is_cancelled_leaves_every_wait_on_time():
    async def main(clock):
        hold = asyncio.Event()
        seen = []

        async def holds():
            await clock.sleep(60)
            with clock.holding():
                await hold.wait()

        async def sleeper():
            await clock.sleep(600)
            seen.append(clock.now())

        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(holds())
            sleeping = tasks.create_task(sleeper())
            await asyncio.sleep(0)
            advance = asyncio.ensure_future(clock.advance(HOUR))
            await asyncio.sleep(1)
            advance.cancel()
            await finished(advance)
            began = loop.time()
            await sleeping
            assert loop.time() - began == pytest.approx(539, abs=0.1)
            hold.set()
        assert seen == [pytest.approx(START + 600, abs=0.1)]
        await clock.advance(HOUR)  # and the next one goes all the way
        assert clock.now() >= START + 600 + HOUR - 1

    run(main)


def test_a_wait_is_not_early_and_not_longer_when_the_machines_clock_is_set_back():
    set_back = 0.0

    async def main():
        nonlocal set_back
        loop = asyncio.get_running_loop()
        clock = Clock(read=lambda: START + loop.time() - set_back)
        task = asyncio.ensure_future(clock.sleep(60))
        await asyncio.sleep(30)
        set_back = HOUR
        await task
        assert loop.time() == pytest.approx(60, abs=0.1)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


# Real loops


@pytest.mark.parametrize("factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_no_wait_is_early_on_a_real_loop(factory):
    async def main():
        clock = Clock()

        async def sleeper(period):
            before = clock.now()
            await clock.sleep(period)
            assert clock.now() - before >= period - 1e-6

        async with asyncio.TaskGroup() as tasks:
            for number in range(100):
                tasks.create_task(sleeper(number * 0.00037))

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_waits_that_end_by_themselves_while_time_is_moved(factory):
    """The loop's timer and an advance may both end a wait, in the same turn even."""

    async def main():
        clock = Clock()
        ended = 0

        async def sleeper(period):
            nonlocal ended
            for _again in range(20):
                before = clock.now()
                await clock.sleep(period)
                assert clock.now() - before >= period - 1e-6
                ended += 1

        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(sleeper(0.001 + number * 0.0001))
            while ended < 1000:
                await clock.advance(0.0007)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_thousands_of_waits():
    async def main():
        clock = Clock()
        async with asyncio.TaskGroup() as tasks:
            sleepers = [tasks.create_task(clock.sleep(HOUR + HOUR * number)) for number in range(10_000)]
            await asyncio.sleep(0)
            await clock.advance(HOUR + HOUR * 5_000)
            assert sum(task.done() for task in sleepers) == 5_001
            for task in sleepers:
                task.cancel()
        return clock

    clock = asyncio.run(main())
    assert len(clock._timers._heap) < 200
    assert clock._watched == set()


def test_waits_that_are_over_are_forgotten():
    async def main(clock):
        event = asyncio.Event()
        event.set()
        for _one in range(10_000):
            await clock.wait(event, HOUR)
        assert len(clock._timers._heap) < 200
        for _one in range(100):
            await clock.advance(1)
        assert clock._watched == set()
        assert clock._woken == set()

    run(main)
