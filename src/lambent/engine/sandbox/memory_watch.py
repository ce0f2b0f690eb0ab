"""Holds a running environment to its function's memory, without its files in /tmp.

On AWS /tmp is a disk; here it is a tmpfs, whose pages the kernel counts as memory of whoever wrote them. So the
kernel's limit has room for both, and what is the function's own, anonymous and kernel memory, is looked at while the
environment runs: as often as it takes to fill the gap at the speed of memory, so that a function is ended at about
its limit. Rejected: the kernel's own alarm (a threshold's eventfd), which costs 8 ms to set.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final

_BYTES_PER_S: Final = 2e9  # how quickly one process touches fresh pages
_SHORTEST_S: Final = 0.005
_LONGEST_S: Final = 0.1


def own_bytes(version: int, stat: str, kernel_bytes: int = 0) -> int:
    """What is the function's own, from memory.stat. Version 1 counts kernel memory in a file of its own."""
    rows = (line.split() for line in stat.splitlines())
    counters = {row[0]: int(row[1]) for row in rows if len(row) == 2}
    if version == 1:
        return counters.get("rss", 0) + kernel_bytes
    older = sum(counters.get(name, 0) for name in ("slab", "kernel_stack", "pagetables"))  # before Linux 5.18
    return counters.get("anon", 0) + counters.get("kernel", older)


def pause_s(gap_bytes: int) -> float:
    """How long the function needs at least to use that much more."""
    return min(max(gap_bytes / _BYTES_PER_S, _SHORTEST_S), _LONGEST_S)


class MemoryWatch:
    """Looks after one environment while it runs; calls `on_beyond` once if it goes beyond its memory."""

    def __init__(self, version: int, files: dict[str, int], limit_bytes: int, on_beyond: Callable[[], None]) -> None:
        """`files` holds descriptors: `usage`, the file with the memory in use, and `memory`, the group's folder."""
        self._version = version
        self._files = files
        self._limit = limit_bytes
        self._on_beyond = on_beyond
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """It runs from now on."""
        if self._timer is None:
            self._look()

    def stop(self) -> None:
        """It is frozen, or gone."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def peak_bytes(self) -> int:
        """The most memory that was in use, with files in /tmp."""
        return int(self._read("memory.max_usage_in_bytes" if self._version == 1 else "memory.peak") or 0)

    def _look(self) -> None:
        self._timer = None
        try:
            used = int(os.pread(self._files["usage"], 32, 0))
            if used >= self._limit:
                kernel = self._read("memory.kmem.usage_in_bytes") if self._version == 1 else "0"
                used = own_bytes(self._version, self._read("memory.stat"), int(kernel or 0))
        except OSError:  # it has ended, and we have not heard yet
            return
        if used >= self._limit:
            self._on_beyond()
            return
        self._timer = asyncio.get_running_loop().call_later(pause_s(self._limit - used), self._look)

    def _read(self, name: str) -> str:
        with contextlib.suppress(OSError):
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._files["memory"])
            try:
                return os.read(fd, 16384).decode()
            finally:
                os.close(fd)
        return ""
