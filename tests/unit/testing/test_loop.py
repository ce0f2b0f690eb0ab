"""The loop whose time jumps."""

import asyncio
import threading
import time

import pytest

from lambent.testing.loop import START, run


def test_hours_pass_at_once_and_the_clock_follows():
    async def main(clock):
        assert clock.now() == START
        await asyncio.sleep(6 * 3600)
        assert asyncio.get_running_loop().time() == 6 * 3600
        return clock.now()

    began = time.monotonic()
    assert run(main) == START + 6 * 3600
    assert time.monotonic() - began < 60


def test_timers_run_in_their_order():
    async def main(_clock):
        seen = []

        async def wait(seconds):
            await asyncio.sleep(seconds)
            seen.append(seconds)

        async with asyncio.TaskGroup() as tasks:
            for seconds in (30, 10, 3600, 20):
                tasks.create_task(wait(seconds))
        return seen

    assert run(main) == [10, 20, 30, 3600]


def test_time_stands_still_while_a_thread_is_busy():
    async def main(clock):
        release = threading.Event()

        async def wait_in_a_thread():
            await asyncio.to_thread(release.wait)
            return clock.now() - START

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(100))
            waited = tasks.create_task(wait_in_a_thread())
            await asyncio.sleep(0)
            threading.Timer(0.05, release.set).start()
        return waited.result()

    assert run(main) == 0


def test_a_timeout_that_no_thread_delays_passes_at_once():
    async def main(_clock):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(900):
                await asyncio.get_running_loop().create_future()

    run(main)


def test_what_the_function_raises_is_raised():
    async def main(_clock):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(main)


def test_the_end_waits_for_threads_without_a_jump():
    """Runner.close gives the threads five minutes on the loop's own time from Python 3.12 on, and would warn."""
    release = threading.Event()

    async def main(_clock):
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(asyncio.to_thread(release.wait))
            await asyncio.sleep(0)
            waiting.cancel()
        threading.Timer(0.05, release.set).start()

    run(main)
    assert release.is_set()
