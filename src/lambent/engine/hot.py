"""Whoever runs briefly waits a moment for an environment at work, rather than that one be woken which has rested.

What a resting environment needs has left the processors' caches; waking a dozen of them costs more than a dozen
invocations of a fraction of a millisecond. So while a function has as many environments at work as the processors can
use, its next invocation waits for one of these. If the one at the front has waited for a whole tick, the others are
woken for all who wait, and nobody of the function waits again for a second, doubling to a minute.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final, Protocol

from lambent.engine.spec import FunctionSpec

TICK_S: Final = 0.008  # many times what a brief invocation takes, on a busy machine too
AT_WORK: Final = 4 * (os.cpu_count() or 1)
_FIRST_IN_VAIN_S: Final = 1.0
_LONGEST_IN_VAIN_S: Final = 60.0
_NEVER: Final = (0.0, 0.0)
_MOST_REMEMBERED: Final = 10_000  # functions; all are forgotten when there are more


class Queues(Protocol):
    """What the pool knows of who waits."""

    def front(self, digest: str) -> object | None: ...
    def waiting_for(self, digest: str) -> int: ...


class Hot:
    """One timer for each function whose invocations wait. `wake` gives all who wait an environment."""

    def __init__(self, pool: Queues, wake: Callable[[FunctionSpec], None]) -> None:
        self._pool = pool
        self._wake = wake
        self._waiting: dict[str, object] = {}  # who was at the front at the last tick, by digest
        self._in_vain: dict[str, tuple[float, float]] = {}  # until when (loop time), and for how long

    def is_better(self, spec: FunctionSpec, in_use: int) -> bool:
        """Whether to wait, now that so many invocations of the function run or wait, this one too."""
        if in_use - self._pool.waiting_for(spec.digest) <= AT_WORK:
            return False
        return asyncio.get_running_loop().time() >= self._in_vain.get(spec.digest, _NEVER)[0]

    def wait(self, spec: FunctionSpec) -> None:
        """An invocation has begun to wait."""
        if spec.digest not in self._waiting:
            self._waiting[spec.digest] = None
            self._tick_later(spec)

    def _tick_later(self, spec: FunctionSpec) -> None:
        asyncio.get_running_loop().call_later(TICK_S, self._tick, spec)

    def _tick(self, spec: FunctionSpec) -> None:
        digest, now = spec.digest, asyncio.get_running_loop().time()
        front = self._pool.front(digest)
        if front is not None and front is self._waiting[digest]:
            self._was_in_vain(digest, now)
            self._wake(spec)
            front = self._pool.front(digest)
        elif self._waiting[digest] is not None and now >= self._in_vain.get(digest, _NEVER)[0]:
            self._in_vain.pop(digest, None)  # who was at the front has got what it waited for
        if front is None:
            del self._waiting[digest]
            return
        self._waiting[digest] = front
        self._tick_later(spec)

    def _was_in_vain(self, digest: str, now: float) -> None:
        until_s, length_s = self._in_vain.get(digest, _NEVER)
        if now < until_s:
            return  # all are awake, and it waits still
        if len(self._in_vain) >= _MOST_REMEMBERED:
            self._in_vain.clear()
        length_s = min(2 * length_s, _LONGEST_IN_VAIN_S) or _FIRST_IN_VAIN_S
        self._in_vain[digest] = now + length_s, length_s
