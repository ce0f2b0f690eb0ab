"""A failing child is tried again, and does not bring its siblings down."""

import asyncio
import io
import json

from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.testing.loop import JumpingLoop


def on_jumping_loop(main):
    loop = JumpingLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


def test_a_child_that_fails_is_run_again_after_a_growing_pause():
    stream, runs = io.StringIO(), []

    async def main(loop):
        async def child():
            runs.append(round(loop.time(), 1))
            if len(runs) < 4:
                raise ValueError(f"run {len(runs)}")

        await supervise("child", child, Log("error", stream))

    on_jumping_loop(main)
    assert runs == [0.0, 0.1, 0.3, 0.7]
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["failures"] for entry in entries] == [1, 2, 3]
    assert "ValueError: run 1" in entries[0]["traceback"]


def test_cancelling_it_ends_the_child():
    ended = []

    async def main(loop):
        async def child():
            try:
                await loop.create_future()
            finally:
                ended.append(True)

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(supervise("child", child, Log("error", io.StringIO())))
            await asyncio.sleep(1)
            task.cancel()

    on_jumping_loop(main)
    assert ended == [True]
