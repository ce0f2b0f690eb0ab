"""How many environments are kept parked: few when nobody asks, as many as were asked for at once of late. Pure.

Standard library only: the launcher's process imports it.
"""

from __future__ import annotations

import collections

_WINDOW_S = 1.0
_MEMORY_S = 60.0
_MOST = 64  # 2.6 MiB each


class Demand:
    """The claims of the last minute, by second."""

    def __init__(self, least: int) -> None:
        self.least = least
        self._most = max(least, _MOST) if least else 0
        self._peaks: collections.deque[tuple[float, int]] = collections.deque()  # (when, claims), the largest first
        self._second = 0.0
        self._claims = 0

    def claimed(self, now: float) -> None:
        """An environment was asked for."""
        if now - self._second >= _WINDOW_S:
            self._second, self._claims = now, 0
        self._claims += 1
        while self._peaks and self._peaks[-1][1] <= self._claims:
            self._peaks.pop()
        self._peaks.append((now, self._claims))

    def wanted(self, now: float) -> int:
        """How many are to be parked."""
        while self._peaks and now - self._peaks[0][0] >= _MEMORY_S:
            self._peaks.popleft()
        peak = self._peaks[0][1] if self._peaks else 0
        return max(self.least, min(self._most, peak))

    def changes_in(self, now: float) -> float | None:
        """In how many seconds fewer may be wanted; None when as few are as ever will be."""
        return max(0.0, _MEMORY_S - (now - self._peaks[0][0])) if self._peaks else None
