"""Wall time as a parameter.

Product code reads the time of day from a `Clock` alone, and waits with `asyncio`. A test hands in a
clock that follows a loop whose time jumps (`lambent.testing.loop`), so hours pass at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day, in seconds since the epoch (UTC)."""

    now: Callable[[], float] = time.time

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as CloudWatch Logs and the Runtime API count them."""
        return int(self.now() * 1000)

    def utc(self) -> datetime:
        """The same moment as an aware datetime."""
        return datetime.fromtimestamp(self.now(), UTC)
