"""An event loop whose time jumps: when nothing can run and no thread is busy, it goes on to the next timer.

A six-hour retry window passes in milliseconds, and a test never sleeps. For code that waits on timers, futures
and threads only; a real socket's answer would come "hours" late.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lambent.clock import Clock

T = TypeVar("T")

START = 1_790_000_000.0  # the time of day when a test begins: 2026-09-21T14:13:20Z
_THREAD_POLL_S = 0.01


class JumpingLoop(asyncio.SelectorEventLoop):
    """Keeps its own time; `clock` follows it."""

    def __init__(self) -> None:
        self._jumped_s = 0.0
        self._busy_threads = 0
        super().__init__(_JumpingSelector(self))
        # A nanosecond, as asyncio has it, is lost in the seconds of a hundred days, and their timers would never end.
        self._clock_resolution: float = 1e-6
        self.clock = Clock(read=lambda: START + self._jumped_s)

    def time(self) -> float:
        return self._jumped_s

    def jump(self, seconds: float) -> None:
        self._jumped_s += seconds

    @property
    def threads_are_busy(self) -> bool:
        return self._busy_threads > 0

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._busy_threads += 1
        future.add_done_callback(self._thread_is_free)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Waits for the threads without `timeout`, which would be over at once: it is on this loop's time."""
        await super().shutdown_default_executor()

    def _thread_is_free(self, _future: Any) -> None:
        self._busy_threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Answers at once, and moves the loop's time instead of waiting."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no timer at all: only a thread can wake us
            return super().select(None)
        ready = super().select(0)
        if timeout <= 0:  # something is ready to run, perhaps what a thread that still counts as busy has handed back
            return ready
        deadline = time.monotonic() + 60
        while not ready and self._loop.threads_are_busy and time.monotonic() < deadline:
            ready = super().select(_THREAD_POLL_S)
        if not ready:
            self._loop.jump(timeout)
        return ready


def run(main: Callable[[Clock], Coroutine[Any, Any, T]]) -> T:
    """What the coroutine function returns, run on a loop of its own; it is given that loop's clock."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, JumpingLoop)
        return runner.run(main(loop.clock))
