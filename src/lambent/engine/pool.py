"""Which environments there are, which are free, and who waits for one. No I/O: it keeps books.

Environments are kept by the digest of their `FunctionSpec`. The newest idle one is used first, so that the others
grow old and can go. No step looks at all environments, however many there are.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Pooled(Protocol):
    """What the pool needs to know of an environment. Moments are on one clock, in seconds."""

    idle_since: float
    born: float

    @property
    def digest(self) -> str: ...
    @property
    def arn(self) -> str: ...


E = TypeVar("E", bound=Pooled)
R = TypeVar("R")


class Pool(Generic[E, R]):
    """The books of one node: idle and busy environments, runs that wait, environments that are being started."""

    def __init__(self) -> None:
        self._stacks: dict[str, dict[E, None]] = {}  # idle ones by digest, the newest last
        self._idle: OrderedDict[E, None] = OrderedDict()  # all of them, the longest idle first
        self._in_life: dict[str, set[E]] = {}  # all that were added and have not ended, by function
        self._births: list[tuple[float, int, E]] = []  # a heap; those that have ended stay in it for a while
        self._added = 0
        self.size = 0
        """How many environments there are, idle ones too."""
        self._queue: dict[str, deque[R]] = {}
        self.queue_length = 0  # runs that wait, of all digests
        self._starting: dict[str, int] = {}

    def take_idle(self, digest: str) -> E | None:
        """The environment that became idle last, no longer idle now."""
        stack = self._stacks.get(digest)
        if not stack:
            return None
        environment, _none = stack.popitem()
        if not stack:
            del self._stacks[digest]
        del self._idle[environment]
        return environment

    def has_idle(self, digest: str) -> bool:
        return digest in self._stacks

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

    def front(self, digest: str) -> R | None:
        """The run that has waited longest, and waits on."""
        queue = self._queue.get(digest)
        return queue[0] if queue else None

    def has_waiting(self, digest: str) -> bool:
        return digest in self._queue

    def waiting_for(self, digest: str) -> int:
        """How many runs wait for an environment of this digest."""
        return len(self._queue.get(digest, ()))

    def missing(self, digest: str) -> int:
        """How many more environments to start: one for each run that waits, less those already on their way."""
        return max(0, len(self._queue.get(digest, ())) - self._starting.get(digest, 0))

    def is_one_short(self, digest: str) -> bool:
        """Whether one more run that waits needs one more environment."""
        return len(self._queue.get(digest, ())) >= self._starting.get(digest, 0)

    def will_have(self, digest: str, arn: str) -> bool:
        """Whether the function has an environment, or one on its way."""
        return digest in self._starting or arn in self._in_life

    def count(self, arn: str) -> int:
        """How many environments a function has."""
        return len(self._in_life.get(arn, ()))

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
        its = self._in_life.setdefault(environment.arn, set())
        assert environment not in its
        its.add(environment)
        self.size += 1
        self._added += 1
        heapq.heappush(self._births, (environment.born, self._added, environment))

    def put_idle(self, environment: E) -> None:
        """It is free since now: `idle_since` is not before any other's."""
        assert self._is_in_life(environment)
        self._stacks.setdefault(environment.digest, {})[environment] = None
        self._idle[environment] = None

    def remove(self, environment: E) -> None:
        """It has ended, or is about to: it is never handed out again."""
        if not self._is_in_life(environment):
            return
        its = self._in_life[environment.arn]
        its.remove(environment)
        if not its:
            del self._in_life[environment.arn]
        self.size -= 1
        if environment in self._idle:
            del self._idle[environment]
            stack = self._stacks[environment.digest]
            del stack[environment]
            if not stack:
                del self._stacks[environment.digest]
        if len(self._births) > 2 * self.size + 64:  # as many steps as ended since the last time
            self._births = [birth for birth in self._births if self._is_in_life(birth[2])]
            heapq.heapify(self._births)

    def idle_too_long(self, now: float, limit_s: float) -> list[E]:
        """The idle environments that nobody needed for `limit_s`."""
        found = []
        for environment in self._idle:
            if now - environment.idle_since < limit_s:
                break
            found.append(environment)
        return found

    def until_idle_too_long(self, now: float, limit_s: float) -> float:
        """In how many seconds the next idle environment may be. One that becomes idle later is not older."""
        oldest = next(iter(self._idle), None)
        return limit_s if oldest is None else limit_s - (now - oldest.idle_since)

    def lived_too_long(self, now: float, limit_s: float) -> list[E]:
        """The environments, free or not, that were born so long ago. Each is told once."""
        found = []
        while self._births and now - self._births[0][0] >= limit_s:
            environment = heapq.heappop(self._births)[2]
            if self._is_in_life(environment):
                found.append(environment)
        return found

    def until_lived_too_long(self, now: float, limit_s: float) -> float:
        """In how many seconds to look again."""
        return limit_s if not self._births else limit_s - (now - self._births[0][0])

    def longest_idle(self, count: int) -> list[E]:
        """So many idle environments, the longest idle first."""
        return list(islice(self._idle, count))

    @property
    def idle(self) -> int:
        """How many environments are idle."""
        return len(self._idle)

    def of(self, arn: str) -> Iterable[E]:
        """The environments of a function."""
        return list(self._in_life.get(arn, ()))

    def in_life(self) -> Iterable[E]:
        return [environment for its in self._in_life.values() for environment in its]

    def _is_in_life(self, environment: E) -> bool:
        return environment in self._in_life.get(environment.arn, ())

    def waiting(self) -> list[R]:
        return [run for queue in self._queue.values() for run in queue]

    @property
    def starting(self) -> int:
        return sum(self._starting.values())


def to_relieve(idle: int, free_bytes: int, wanted_free_bytes: int) -> int:
    """How many idle environments to give up when memory is short: half of them, at least one."""
    if free_bytes >= wanted_free_bytes or not idle:
        return 0
    return max(1, idle // 2)
