"""Events wait a moment for environments that are at work, before more are started for them.

A burst of short events is done sooner by the environments that there are than by new ones, whose starts would take the
processors from them. If the event at the front has waited for a whole tick, the function gets three times as many.
Whoever waits for an answer never waits for this.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from lambent.engine.spec import FunctionSpec

TICK_S: Final = 0.05
_GROWTH: Final = 2  # for each there is

Start = Callable[[FunctionSpec, int], None]


class Queues(Protocol):
    """What the pool knows of who waits."""

    def front(self, digest: str) -> object | None: ...
    def count(self, arn: str) -> int: ...


class Patience:
    """One timer for each function whose events wait."""

    def __init__(self, pool: Queues, start: Start) -> None:
        self._pool = pool
        self._start = start  # at most so many environments, as far as they are missing
        self._waiting: dict[str, object] = {}  # who was at the front at the last tick, by digest

    def wait(self, spec: FunctionSpec) -> None:
        """An event has begun to wait."""
        if spec.digest not in self._waiting:
            self._waiting[spec.digest] = None
            self._tick_later(spec)

    def is_waiting(self, spec: FunctionSpec) -> bool:
        """Whether events of the function wait, as far as was seen at the last tick."""
        return spec.digest in self._waiting

    def _tick_later(self, spec: FunctionSpec) -> None:
        asyncio.get_running_loop().call_later(TICK_S, self._tick, spec)

    def _tick(self, spec: FunctionSpec) -> None:
        front = self._pool.front(spec.digest)
        if front is None:
            del self._waiting[spec.digest]
            return
        if front is self._waiting[spec.digest]:
            self._start(spec, max(1, _GROWTH * self._pool.count(spec.arn)))
        self._waiting[spec.digest] = front
        self._tick_later(spec)
