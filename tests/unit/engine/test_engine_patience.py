"""Events wait a moment for environments that are at work; whoever waits for an answer does not."""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from lambent.engine.patience import Patience
from lambent.engine.spec import FunctionSpec
from lambent.testing.plain_engine import PlainEngine, function, plain_engine, until

CODE = """
import os


def pid(event, context):
    return os.getpid()


def wait_for(event, context):
    with open(event["began"], "w") as began:
        began.write("x")
    with open(event["go_on"]) as go_on:
        go_on.read()
    return os.getpid()
"""


def play(script: Callable[[PlainEngine, Path], Awaitable[None]], folder: Path) -> None:
    (folder / "app.py").write_text(CODE)

    async def main() -> None:
        async with plain_engine() as plain:
            await script(plain, folder)
        assert plain.engine.admission.total == 0

    asyncio.run(main())


def test_a_burst_of_short_events_is_done_by_few_environments(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.pid")
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(plain.invoke(spec, is_event=True)) for _one in range(100)]
        assert len({run.result().payload for run in runs}) <= 50  # without patience a hundred were started

    play(script, tmp_path)


def test_events_that_take_long_all_run_at_once(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        began, go_on = folder / "began", folder / "go_on"
        os.mkfifo(began)
        os.mkfifo(go_on)
        spec, event = function(folder, "app.wait_for"), {"began": str(began), "go_on": str(go_on)}
        reader = os.open(began, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(go_on, os.O_RDWR)
        seen = b""

        def all_have_begun() -> bool:
            nonlocal seen
            with contextlib.suppress(BlockingIOError):
                seen += os.read(reader, 10)
            return seen == b"x" * 5

        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(plain.invoke(spec, event, is_event=True)) for _one in range(5)]
            await until(all_have_begun)
            os.close(writer)
        os.close(reader)
        assert len({run.result().payload for run in runs}) == 5

    play(script, tmp_path)


def test_who_waits_for_an_answer_gets_an_environment_beside_events_that_wait(tmp_path: Path) -> None:
    async def script(plain: PlainEngine, folder: Path) -> None:
        spec = function(folder, "app.pid")
        async with asyncio.TaskGroup() as tasks:
            events = [tasks.create_task(plain.invoke(spec, is_event=True)) for _one in range(20)]
            answers = [tasks.create_task(plain.invoke(spec)) for _one in range(3)]
        assert all(isinstance(json.loads(run.result().payload), int) for run in (*events, *answers))

    play(script, tmp_path)


class Books:
    """Who waits, as the pool tells it."""

    def __init__(self) -> None:
        self.waiting: list[object] = []
        self.environments = 1

    def front(self, digest: str) -> object | None:
        return self.waiting[0] if self.waiting else None

    def count(self, arn: str) -> int:
        return self.environments


def test_more_are_started_for_who_has_waited_a_tick_and_ever_more(tmp_path: Path) -> None:
    async def main() -> None:
        books, started = Books(), []

        def start(spec: FunctionSpec, most: int) -> None:
            started.append(most)
            books.environments += most
            if len(started) == 3:
                books.waiting.clear()

        books.waiting = [object()]
        patience, spec = Patience(books, start), function(tmp_path)
        patience.wait(spec)
        patience.wait(spec)  # one timer for both
        assert started == []
        await until(lambda: not books.waiting)
        assert started == [2, 6, 18]
        await until(lambda: not patience.is_waiting(spec))

    asyncio.run(main())


def test_none_are_started_while_the_queue_moves(tmp_path: Path) -> None:
    async def main() -> None:
        books, started = Books(), []
        looks = 0

        def front(digest: str) -> object | None:
            nonlocal looks
            looks += 1
            return object() if looks < 4 else None

        books.front = front  # type: ignore[method-assign]
        patience, spec = Patience(books, lambda spec, most: started.append(most)), function(tmp_path)
        patience.wait(spec)
        await until(lambda: not patience.is_waiting(spec))
        assert (looks, started) == (4, [])

    asyncio.run(main())
