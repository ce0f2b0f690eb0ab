"""Runs what must not bring its siblings down: a failure is logged, counted, and followed by another try."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from lambent.observe.log import Log

FAILURES: Final[Counter[str]] = Counter()
"""Failures by name since the process began."""

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 30.0
# Having run this long, it was well: the next failure waits the shortest time again.
_WELL_S: Final = 60.0


async def supervise(name: str, run: Callable[[], Awaitable[None]], log: Log) -> None:
    """Awaits `run()` until it returns. When it raises, logs that once and runs it again after a growing pause.

    Cancelling it cancels `run()` and ends the supervision.
    """
    loop, wait_s = asyncio.get_running_loop(), _FIRST_WAIT_S
    while True:
        started = loop.time()
        try:
            await run()
        except Exception:
            FAILURES[name] += 1
            log.error("supervise.failed", child=name, failures=FAILURES[name], again_in_s=wait_s)
        else:
            return
        if loop.time() - started >= _WELL_S:
            wait_s = _FIRST_WAIT_S
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
