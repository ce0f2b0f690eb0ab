"""Whoever runs briefly waits a moment for an environment at work; whoever waits in vain gets one that rests."""

import asyncio
import contextlib
import os
from pathlib import Path

from lambent.clock import Clock
from lambent.engine.hot import AT_WORK, TICK_S, Hot
from lambent.engine.spec import FunctionSpec
from lambent.testing.loop import run
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

CODE = """
import os


def wait_for(event, context):
    with open(event["began"], "w") as began:
        began.write("x")
    with open(event["go_on"]) as go_on:
        go_on.read()
    return os.getpid()
"""


class Books:
    """Who waits, as the pool tells it; `wake` gives them all what they wait for."""

    def __init__(self) -> None:
        self.queue: list[object] = []
        self.woken_at: list[float] = []

    def front(self, digest: str) -> object | None:
        return self.queue[0] if self.queue else None

    def waiting_for(self, digest: str) -> int:
        return len(self.queue)

    def wake(self, spec: FunctionSpec) -> None:
        self.woken_at.append(asyncio.get_running_loop().time())
        self.queue.clear()


def test_it_is_waited_only_while_the_processors_have_enough_to_do(tmp_path: Path) -> None:
    async def main(_clock: Clock) -> None:
        books, spec = Books(), function(tmp_path)
        hot = Hot(books, books.wake)
        assert not hot.is_better(spec, AT_WORK)
        assert hot.is_better(spec, AT_WORK + 1)
        books.queue = [object(), object()]
        assert not hot.is_better(spec, AT_WORK + 2)  # two of these wait themselves
        assert hot.is_better(spec, AT_WORK + 3)

    run(main)


def test_who_waited_in_vain_is_woken_for_and_nobody_waits_for_ever_longer(tmp_path: Path) -> None:
    async def main(_clock: Clock) -> None:
        books, spec, loop = Books(), function(tmp_path), asyncio.get_running_loop()
        hot, pauses = Hot(books, books.wake), []
        for number in range(8):
            began = loop.time()
            await until(lambda: hot.is_better(spec, AT_WORK + 1), limit_s=100)
            pauses.append(round(loop.time() - began))
            books.queue.append(object())
            asked = loop.time()
            hot.wait(spec)
            hot.wait(spec)  # one timer for both
            await until(lambda: len(books.woken_at) > number)  # noqa: B023
            assert books.woken_at[-1] - asked <= 2 * TICK_S + 0.01
        assert pauses == [0, 1, 2, 4, 8, 16, 32, 60]

    run(main)


def test_whoever_waits_on_though_all_are_awake_counts_once(tmp_path: Path) -> None:
    async def main(_clock: Clock) -> None:
        books, spec, loop = Books(), function(tmp_path), asyncio.get_running_loop()
        began, woken = loop.time(), []
        hot = Hot(books, lambda _spec: woken.append(loop.time()))  # there is none
        books.queue = [object()]
        hot.wait(spec)
        await until(lambda: len(woken) >= 10)
        books.queue = []
        await until(lambda: hot.is_better(spec, AT_WORK + 1), limit_s=100)
        assert 1 <= loop.time() - began < 1.5

    run(main)


def test_while_the_queue_moves_nobody_is_woken(tmp_path: Path) -> None:
    async def main(_clock: Clock) -> None:
        books, spec = Books(), function(tmp_path)
        hot = Hot(books, books.wake)
        books.queue = [object() for _one in range(20)]
        hot.wait(spec)
        while books.queue:
            await asyncio.sleep(TICK_S / 2)
            books.queue.pop(0)
        await asyncio.sleep(3 * TICK_S)
        assert books.woken_at == []
        assert hot.is_better(spec, AT_WORK + 1)

    run(main)


def test_those_that_take_long_all_run_at_once(tmp_path: Path) -> None:
    """In new environments, then in the same ones again, however many there are."""
    count = AT_WORK + 4

    async def script(plain: PlainEngine, spec: FunctionSpec, folder: Path) -> set[bytes]:
        began, go_on = folder / "began", folder / "go_on"
        os.mkfifo(began)
        os.mkfifo(go_on)
        event = {"began": str(began), "go_on": str(go_on)}
        reader, writer = os.open(began, os.O_RDONLY | os.O_NONBLOCK), os.open(go_on, os.O_RDWR)
        seen = b""

        def all_have_begun() -> bool:
            nonlocal seen
            with contextlib.suppress(BlockingIOError):
                seen += os.read(reader, 100)
            return seen == b"x" * count

        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(plain.invoke(spec, event)) for _one in range(count)]
            await until(all_have_begun)
            os.close(writer)
        os.close(reader)
        began.unlink()
        go_on.unlink()
        return {one.result().payload for one in runs}

    async def main() -> None:
        (tmp_path / "app.py").write_text(CODE)
        async with plain_engine() as plain:
            spec = function(tmp_path, "app.wait_for", timeout_s=60)
            first = await script(plain, spec, tmp_path)
            assert len(first) == count
            assert await script(plain, spec, tmp_path) == first
        assert plain.engine.admission.total == 0

    asyncio.run(main())
