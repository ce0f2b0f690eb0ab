"""Which environments there are, which are free, and who waits for one. No I/O: it keeps books.

Environments are kept by the digest of their `FunctionSpec`. The newest idle one is used first, so that the others
grow old and can go.
"""

from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar


class Pooled(Protocol):
    """What the pool needs to know of an environment."""

    idle_since: float

    @property
    def digest(self) -> str: ...


E = TypeVar("E", bound=Pooled)
R = TypeVar("R")


class Pool(Generic[E, R]):
    """The books of one node: idle and busy environments, runs that wait, environments that are being started."""

    def __init__(self) -> None:
        self._idle: dict[str, list[E]] = {}  # oldest first
        self._in_life: set[E] = set()  # every environment that was added and has not ended, idle ones too
        self._queue: dict[str, deque[R]] = {}
        self.queue_length = 0  # runs that wait, of all digests
        self._starting: dict[str, int] = {}

    def take_idle(self, digest: str) -> E | None:
        """The environment that became idle last, no longer idle now."""
        stack = self._idle.get(digest)
        if not stack:
            return None
        environment = stack.pop()
        if not stack:
            del self._idle[digest]
        return environment

    def enqueue(self, digest: str, run: R) -> None:
        """Lets a run wait for the next free environment of its digest."""
        self._queue.setdefault(digest, deque()).append(run)
        self.queue_length += 1

    def take_waiting(self, digest: str) -> R | None:
        """The run that has waited longest."""
        queue = self._queue.get(digest)
        if not queue:
            return None
        run = queue.popleft()
        self.queue_length -= 1
        if not queue:
            del self._queue[digest]
        return run

    def has_waiting(self, digest: str) -> bool:
        return digest in self._queue

    def missing(self, digest: str) -> int:
        """How many more environments to start: one for each run that waits, less those already on their way."""
        return max(0, len(self._queue.get(digest, ())) - self._starting.get(digest, 0))

    def is_one_short(self, digest: str) -> bool:
        """Whether one more run that waits needs one more environment."""
        return len(self._queue.get(digest, ())) >= self._starting.get(digest, 0)

    def start_begins(self, digest: str) -> None:
        self._starting[digest] = self._starting.get(digest, 0) + 1

    def start_ends(self, digest: str) -> None:
        left = self._starting[digest] - 1
        assert left >= 0
        if left:
            self._starting[digest] = left
        else:
            del self._starting[digest]

    def add(self, environment: E) -> None:
        """A new environment, not idle."""
        assert environment not in self._in_life
        self._in_life.add(environment)

    def put_idle(self, environment: E) -> None:
        assert environment in self._in_life
        self._idle.setdefault(environment.digest, []).append(environment)

    def remove(self, environment: E) -> None:
        """It has ended, or is about to: it is never handed out again."""
        self._in_life.discard(environment)
        stack = self._idle.get(environment.digest)
        if stack and environment in stack:
            stack.remove(environment)
            if not stack:
                del self._idle[environment.digest]

    def idle(self) -> list[E]:
        """All idle environments, the longest idle first."""
        return sorted((e for stack in self._idle.values() for e in stack), key=lambda e: e.idle_since)

    def in_life(self) -> Iterable[E]:
        return list(self._in_life)

    def waiting(self) -> list[R]:
        return [run for queue in self._queue.values() for run in queue]

    @property
    def starting(self) -> int:
        return sum(self._starting.values())


def too_old(environments: Iterable[E], now: float, limit_s: float) -> list[E]:
    """The idle environments that nobody needed for `limit_s`."""
    return [e for e in environments if now - e.idle_since >= limit_s]


def until_too_old(environments: Iterable[E], now: float, limit_s: float) -> float:
    """In how many seconds the next idle environment may be too old. One that becomes idle later is not older."""
    ages = [now - e.idle_since for e in environments]
    return min((limit_s - age for age in ages if age < limit_s), default=limit_s)


def to_relieve(idle: list[E], free_bytes: int, wanted_free_bytes: int) -> list[E]:
    """Which idle environments to give up when memory is short: the longest idle half, at least one."""
    if free_bytes >= wanted_free_bytes or not idle:
        return []
    return idle[: max(1, len(idle) // 2)]
