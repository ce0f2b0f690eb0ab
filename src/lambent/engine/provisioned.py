"""Provisioned concurrency's books: which environments are kept initialised, for which qualifier. No I/O.

An allocation belongs to one qualifier and one function version: a version has one, an alias one for each version that
it stands for. None of its environments serves before all of them are initialised; afterwards one that ended is
replaced while the others go on.

Source: AWS Lambda Developer Guide, "Configuring provisioned concurrency for a function", "Understanding concurrency
and requests per second"; facts sheet section 23.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from lambent.engine.admission import REQUESTS_PER_SLOT, TokenBucket, requests_bucket
from lambent.engine.spec import FunctionSpec

INIT_LIMIT_S: Final = 130.0
"""How long Init of a provisioned environment may take, or the function's timeout if that is longer."""

INIT_FAILURE: Final = "FUNCTION_ERROR_INIT_FAILURE"
"""The StatusReason of a function that cannot be initialised."""


def init_limit_s(timeout_s: int) -> float:
    """How long Init may take outside an invocation. Source: the guide, "Init phase"."""
    return max(INIT_LIMIT_S, float(timeout_s))


class Status(Enum):
    """ProvisionedConcurrencyStatusEnum."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


class Aged(Protocol):
    """What the books need to know of an environment."""

    born: float


E = TypeVar("E", bound=Aged)


class Key(NamedTuple):
    """Which allocation: a version's environments, kept for those who ask by this qualifier."""

    digest: str
    qualifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many environments of a version are to be kept for a qualifier, since they were asked for at `asked_ms`."""

    spec: FunctionSpec
    qualifier: str
    count: int
    asked_ms: int = 0

    @property
    def key(self) -> Key:
        return Key(self.spec.digest, self.qualifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an allocation is. `allocated` are initialised, `available` of them may serve."""

    status: Status
    allocated: int
    available: int
    reason: str | None = None


@dataclass(slots=True, eq=False)
class Allocation(Generic[E]):
    """The environments of one `Plan`. Each is in one place: starting (a count), `joining`, `idle` or `busy`."""

    plan: Plan
    starting: int = 0
    joining: list[E] = field(default_factory=list)  # initialised, and waiting for the others
    idle: list[E] = field(default_factory=list)  # the newest is last
    busy: set[E] = field(default_factory=set)
    is_complete: bool = False  # all were initialised, once, since the amount was last raised
    failure: str | None = None
    failures: int = 0  # of replacements, one after the other
    waits_for_retry: bool = False
    requests: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self.requests = requests_bucket(self.plan.count)

    @property
    def serving(self) -> int:
        """Environments that take invocations, running ones too."""
        return len(self.idle) + len(self.busy)

    @property
    def is_short(self) -> bool:
        """Whether one more environment has a place here."""
        return self.serving + len(self.joining) < self.plan.count and not self.failure

    @property
    def progress(self) -> Progress:
        status = Status.FAILED if self.failure else Status.READY if self.is_complete else Status.IN_PROGRESS
        available = min(self.serving, self.plan.count)
        allocated = min(self.serving + len(self.joining), self.plan.count)
        return Progress(status=status, allocated=allocated, available=available, reason=self.failure)

    def missing(self) -> int:
        """How many more to start now."""
        if self.failure or self.waits_for_retry:
            return 0
        return max(0, self.plan.count - self.serving - len(self.joining) - self.starting)

    def may_take(self, now: float, *, is_event: bool) -> bool:
        """Whether one is free, and not asked for more often than ten times a second for each."""
        return bool(self.idle) and (is_event or self.requests.take(now))

    def take(self) -> E:
        """The one that became idle last, for an invocation."""
        environment = self.idle.pop()
        self.busy.add(environment)
        return environment

    def is_free(self, environment: E) -> bool:
        """It is initialised, or has answered. False: it is one too many, and is to be ended."""
        is_new = environment not in self.busy
        if is_new:
            self.failures = 0
        else:
            self.busy.remove(environment)
        if not (self.is_short if is_new else self.serving + len(self.joining) < self.plan.count):
            return False
        (self.joining if is_new and not self.is_complete else self.idle).append(environment)
        self._complete()
        return True

    def lose(self, environment: E) -> None:
        """It has ended."""
        self.busy.discard(environment)
        for place in (self.joining, self.idle):
            if environment in place:
                place.remove(environment)

    def fail(self, reason: str) -> list[E]:
        """One could not be initialised: those to be ended now, which wait for it in vain.

        Where all were there once, the others go on and it is tried again: then there are none.
        """
        if self.is_complete:
            self.failures += 1
            return []
        self.failure = reason
        waiting, self.joining = self.joining, []
        return waiting

    def become(self, plan: Plan) -> list[E]:
        """Another amount: those to be ended now. Where it is asked for anew, a failure is forgotten."""
        before, self.plan = self.plan, plan
        if (plan.count, plan.asked_ms) == (before.count, before.asked_ms):
            return []
        rate = float(plan.count * REQUESTS_PER_SLOT)
        self.requests.become(rate, rate)
        self.is_complete = self.is_complete and plan.count <= before.count
        self.failure = None
        surplus = max(0, self.serving + len(self.joining) - plan.count)
        leaving = [*self.joining, *self.idle][:surplus]
        for environment in leaving:
            self.lose(environment)
        self._complete()
        return leaving

    def _complete(self) -> None:
        if self.serving + len(self.joining) >= self.plan.count and not self.failure:
            self.is_complete = True
            self.idle += self.joining
            self.joining = []


class Provisioned(Generic[E]):
    """Every allocation of a node, and whose each environment is."""

    def __init__(self) -> None:
        self._allocations: dict[Key, Allocation[E]] = {}
        self._by_function: dict[str, set[Key]] = {}
        self._whose: dict[E, Allocation[E]] = {}
        self._starting: set[E] = set()  # not initialised yet

    def __bool__(self) -> bool:
        return bool(self._allocations)

    def plan(self, arn: str, plans: Sequence[Plan]) -> tuple[list[Allocation[E]], list[E]]:
        """What a function is to have, all of it. Its allocations now, and the idle environments to be ended.

        Busy ones that are not wanted end with their invocation.
        """
        leaving: list[E] = []
        wanted = {plan.key: plan for plan in plans if plan.count}
        for key in self._by_function.get(arn, set()) - wanted.keys():
            gone = self._allocations.pop(key)
            leaving += gone.become(Plan(spec=gone.plan.spec, qualifier=key.qualifier, count=0))
        for key, plan in wanted.items():
            if key not in self._allocations:
                self._allocations[key] = Allocation(plan)
            else:
                leaving += self._allocations[key].become(plan)
        if wanted:
            self._by_function[arn] = set(wanted)
        else:
            self._by_function.pop(arn, None)
        return [self._allocations[key] for key in wanted], leaving

    def find(self, digest: str, qualifier: str | None, version: str) -> Allocation[E] | None:
        """The allocation that an invocation may use: its qualifier's, else its version's."""
        found = self._allocations.get(Key(digest, qualifier)) if qualifier else None
        return found or self._allocations.get(Key(digest, version))

    def get(self, key: Key) -> Allocation[E] | None:
        return self._allocations.get(key)

    def belongs(self, environment: E, allocation: Allocation[E]) -> None:
        """A new environment, not initialised yet."""
        self._whose[environment] = allocation
        self._starting.add(environment)

    def whose(self, environment: E) -> Allocation[E] | None:
        """The allocation of an environment; None for an on-demand one."""
        return self._whose.get(environment)

    def is_started(self, environment: E) -> bool:
        """Whether it has been initialised just now: True once."""
        is_new = environment in self._starting
        self._starting.discard(environment)
        return is_new

    def lose(self, environment: E) -> Allocation[E] | None:
        """The environment has ended: whose it was."""
        allocation = self._whose.pop(environment, None)
        if allocation:
            if self.is_started(environment):
                allocation.starting -= 1
            allocation.lose(environment)
        return allocation

    def allocations(self) -> Iterable[Allocation[E]]:
        return list(self._allocations.values())

    def idle(self) -> list[E]:
        """Environments that run nothing, also those that wait for others."""
        return [e for allocation in self._allocations.values() for e in (*allocation.joining, *allocation.idle)]

    def __len__(self) -> int:
        return len(self._whose)
