"""When idle environments are frozen: none of their processes runs until the next invocation.

Not at once, since freezing and thawing are system calls on the way of an invocation, and slow ones on a busy machine.
An environment that was needed again right after it had been frozen is given more time, until that helps no more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from lambent.engine.states import Phase

SOON_S: Final = 0.01
LATE_S: Final = 0.1


class Freezable(Protocol):
    """An environment, as far as it matters here."""

    phase: Phase
    idle_since: float
    is_hot: bool  # it was frozen for less than LATE_S the last time

    def freeze(self) -> None: ...


class Freezer:
    """Freezes what has been idle for 10 to 20 ms, or, where it is hot, for 100 to 110 ms."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        # In the order in which they became idle; those that are busy again leave when it is their turn.
        self._soon: OrderedDict[Freezable, None] = OrderedDict()
        self._late: OrderedDict[Freezable, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, environment: Freezable) -> None:
        """It is idle since now."""
        queue = self._late if environment.is_hot else self._soon
        queue[environment] = None
        queue.move_to_end(environment)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SOON_S, self._look)

    def _look(self) -> None:
        now = self._elapsed()
        _freeze_first(self._soon, now - SOON_S)
        _freeze_first(self._late, now - LATE_S)
        has_more = self._soon or self._late
        self._timer = asyncio.get_running_loop().call_later(SOON_S, self._look) if has_more else None


def _freeze_first(queue: OrderedDict[Freezable, None], due: float) -> None:
    while queue:
        environment = next(iter(queue))
        is_idle = environment.phase is Phase.IDLE
        if is_idle and environment.idle_since > due:
            return
        del queue[environment]
        if is_idle:
            environment.freeze()
