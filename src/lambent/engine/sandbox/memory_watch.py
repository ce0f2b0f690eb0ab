"""Holds a running environment to its function's memory, without its files in /tmp.

On AWS /tmp is a disk; here it is a tmpfs, whose pages the kernel counts as memory of whoever wrote them. So the
kernel's limit has room for both, and what is the function's own, anonymous and kernel memory, is looked at while the
environment runs: as often as it takes to fill the gap at the speed of memory, so that a function is ended at about
its limit. Without cgroups the same is done with what /proc says of its processes. Rejected: the kernel's own alarm (a
threshold's eventfd), which costs 8 ms to set.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from lambent.engine.sandbox import processes

_BYTES_PER_S: Final = 2e9  # how quickly one process touches fresh pages
_SHORTEST_S: Final = 0.005
_LONGEST_S: Final = 0.5  # several processes may be quicker; the kernel's limit stands behind this one
_REST: Final = 20  # a look at a thousand processes takes 50 ms: never more than a twentieth of the node's time


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


class Memory(Protocol):
    """Where an environment's use of memory is read. Each may raise OSError once it has ended."""

    def in_use(self) -> int:
        """Bytes in use, own or not, read quickly."""
        ...

    def own(self) -> int:
        """Bytes that are the function's own."""
        ...

    def peak(self) -> int:
        """The most bytes that were in use; 0 where nobody can say."""
        ...


class CgroupMemory:
    """Read from the environment's cgroup."""

    def __init__(self, version: int, files: Mapping[str, int]) -> None:
        """`files` holds descriptors: `usage`, the file with the memory in use, and `memory`, the group's folder."""
        self._version = version
        self._files = files

    def in_use(self) -> int:
        return int(os.pread(self._files["usage"], 32, 0))

    def own(self) -> int:
        kernel = self._read("memory.kmem.usage_in_bytes") if self._version == 1 else "0"
        return own_bytes(self._version, self._read("memory.stat"), int(kernel))

    def peak(self) -> int:
        try:
            return int(self._read("memory.max_usage_in_bytes" if self._version == 1 else "memory.peak"))
        except OSError:  # before Linux 5.19, version 2 does not keep it
            return 0

    def _read(self, name: str) -> str:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._files["memory"])
        try:
            return os.read(fd, 16384).decode()
        finally:
            os.close(fd)


class ProcessMemory:
    """Read from the environment's processes, where there are no cgroups."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def in_use(self) -> int:
        return sum(processes.status_bytes(pid, "RssAnon") for pid in processes.tree(self._pid))

    def own(self) -> int:
        return sum(processes.share_bytes(pid) for pid in processes.tree(self._pid))

    def peak(self) -> int:
        return sum(processes.status_bytes(pid, "VmHWM") for pid in processes.tree(self._pid))


class MemoryWatch:
    """Looks after one environment while it runs; calls `on_beyond` once if it goes beyond its memory."""

    def __init__(self, memory: Memory, limit_bytes: int, on_beyond: Callable[[], None]) -> None:
        self._memory = memory
        self._limit = limit_bytes
        self._on_beyond = on_beyond
        self._timer: asyncio.TimerHandle | None = None
        self._most = 0.0  # bytes that it may use by now: those that were seen, and what it could add while it ran
        self._since = 0.0  # when it was seen, or went on

    def start(self) -> None:
        """It runs from now on. An invocation that is short is not looked at: it cannot have filled the gap."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._since = loop.time()
            self._timer = loop.call_later(pause_s(self._limit - int(self._most)), self._look)

    def stop(self) -> None:
        """It is frozen, or gone."""
        if self._timer:
            self._most += (asyncio.get_running_loop().time() - self._since) * _BYTES_PER_S
            self._timer.cancel()
            self._timer = None

    def peak(self) -> int:
        """The most bytes that were in use, files in /tmp included where cgroups count."""
        return self._memory.peak()

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            used = self._memory.in_use()
            if used >= self._limit:
                used = self._memory.own()
        except OSError:  # it has ended, and we have not heard yet
            return
        if used >= self._limit:
            self._on_beyond()
            return
        self._most, self._since = used, began
        pause = max(pause_s(self._limit - used), _REST * (loop.time() - began))
        self._timer = loop.call_later(pause, self._look)
