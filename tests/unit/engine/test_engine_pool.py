"""Pool and admission as one state machine: no slot is lost, no environment is in two places."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.engine.admission import Admission
from lambent.engine.pool import Pool, to_relieve

SCOPES = [Scope("000000000000", "us-east-1"), Scope("111111111111", "us-east-1")]
DIGESTS = ["a", "b"]
LIMIT = 4


class Warm:
    """An environment as the pool sees it."""

    def __init__(self, digest: str, idle_since: float = 0.0) -> None:
        self.digest = digest
        self.arn = f"arn:{digest}"
        self.idle_since = self.born = idle_since


class Waiting:
    """A run that has a slot."""

    def __init__(self, digest: str, release: Callable[[], None]) -> None:
        self.digest = digest
        self.release = release


class Concurrency(RuleBasedStateMachine):
    """Invocations come and go; environments start, serve, fail and retire."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(LIMIT)
        self.pool: Pool[Warm, Waiting] = Pool()
        self.slots = dict.fromkeys(SCOPES, 0)
        self.queued = dict.fromkeys(DIGESTS, 0)
        self.starts = dict.fromkeys(DIGESTS, 0)
        self.idle: list[Warm] = []
        self.busy: list[Warm] = []
        self.now = 0.0

    runs = Bundle("runs")

    @rule(target=runs, scope=st.sampled_from(SCOPES), digest=st.sampled_from(DIGESTS))
    def invoke(self, scope: Scope, digest: str) -> tuple[Scope, Callable[[], None]] | None:
        if self.slots[scope] == LIMIT:
            with pytest.raises(ApiError) as caught:
                self.admission.take(scope, f"{scope}:f", is_event=True)
            assert caught.value.code == "TooManyRequestsException"
            assert caught.value.message == "Rate Exceeded."
            assert caught.value.members["Reason"] == "ConcurrentInvocationLimitExceeded"
            return None
        release = self.admission.take(scope, f"{scope}:f", is_event=True)
        self.slots[scope] += 1
        warm = self.pool.take_idle(digest)
        newest = [one for one in self.idle if one.digest == digest]
        assert warm is (newest[-1] if newest else None)
        if warm:
            self.idle.remove(warm)
            self.busy.append(warm)
        else:
            is_one_short = self.pool.is_one_short(digest)
            self.pool.enqueue(digest, Waiting(digest, release))
            self.queued[digest] += 1
            assert (self.pool.missing(digest) > 0) == is_one_short
            for _one in range(self.pool.missing(digest)):
                self.pool.start_begins(digest)
                self.starts[digest] += 1
        return scope, release

    @rule(digest=st.sampled_from(DIGESTS), works=st.booleans())
    def start_ends(self, digest: str, works: bool) -> None:
        if not self.starts[digest]:
            return
        self.starts[digest] -= 1
        self.pool.start_ends(digest)
        if works:
            warm = Warm(digest)
            self.pool.add(warm)
            self.busy.append(warm)
            self.becomes_idle(warm)
        elif self.pool.take_waiting(digest):
            self.queued[digest] -= 1

    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        if self.busy:
            self.becomes_idle(data.draw(st.sampled_from(self.busy)))

    def becomes_idle(self, warm: Warm) -> None:
        self.now += 1
        run = self.pool.take_waiting(warm.digest)
        assert (run is not None) == (self.queued[warm.digest] > 0)
        if run:
            self.queued[warm.digest] -= 1
            return
        warm.idle_since = self.now
        self.pool.put_idle(warm)
        self.busy.remove(warm)
        self.idle.append(warm)

    @rule(data=st.data())
    def dies(self, data: st.DataObject) -> None:
        if self.busy + self.idle:
            warm = data.draw(st.sampled_from(self.busy + self.idle))
            self.pool.remove(warm)
            (self.busy if warm in self.busy else self.idle).remove(warm)

    @rule(run=consumes(runs))
    def ends(self, run: tuple[Scope, Callable[[], None]] | None) -> None:
        if run:
            scope, release = run
            release()
            release()  # twice is once
            self.slots[scope] -= 1

    @invariant()
    def slots_add_up(self) -> None:
        assert {scope: self.admission.in_use(scope) for scope in SCOPES} == self.slots
        assert self.admission.total == sum(self.slots.values())
        assert self.admission.is_empty.is_set() == (self.admission.total == 0)

    @invariant()
    def environments_are_in_one_place(self) -> None:
        assert self.pool.longest_idle(self.pool.idle) == self.idle
        assert set(self.pool.in_life()) == {*self.idle, *self.busy}
        assert self.pool.size == len(self.idle) + len(self.busy)
        for digest in DIGESTS:
            assert set(self.pool.of(f"arn:{digest}")) == {e for e in (*self.idle, *self.busy) if e.digest == digest}
        assert not set(self.idle) & set(self.busy)

    @invariant()
    def whoever_waits_has_a_start_or_a_busy_environment_or_failed(self) -> None:
        assert self.pool.starting == sum(self.starts.values())
        assert len(self.pool.waiting()) == self.pool.queue_length == sum(self.queued.values())
        for digest in DIGESTS:
            assert self.pool.has_waiting(digest) == (self.queued[digest] > 0)


TestConcurrency = Concurrency.TestCase


def filled(*environments: Warm) -> Pool[Warm, Waiting]:
    """A pool in which these are idle."""
    pool: Pool[Warm, Waiting] = Pool()
    for one in environments:
        pool.add(one)
        pool.put_idle(one)
    return pool


def test_old_environments_go() -> None:
    idle = [Warm("a", 0.0), Warm("a", 50.0), Warm("b", 100.0)]
    assert filled(*idle).idle_too_long(600.0, 550.0) == idle[:2]


def test_environments_that_lived_too_long_are_told_once() -> None:
    pool = filled(Warm("a", 20.0), Warm("a", 10.0), Warm("b", 30.0))
    assert pool.until_lived_too_long(50.0, 100.0) == 60.0
    assert [one.born for one in pool.lived_too_long(120.0, 100.0)] == [10.0, 20.0]
    assert pool.lived_too_long(120.0, 100.0) == []
    assert pool.until_lived_too_long(120.0, 100.0) == 10.0


def test_what_has_ended_is_not_kept() -> None:
    pool = filled()
    for number in range(10_000):
        one = Warm("a", float(number))
        pool.add(one)
        pool.remove(one)
    assert len(pool._births) <= 65
    assert pool.size == 0
    assert pool.lived_too_long(1e9, 1.0) == []


def test_short_memory_takes_the_longest_idle_half() -> None:
    assert to_relieve(5, 100, 100) == 0
    assert to_relieve(5, 99, 100) == 2
    assert to_relieve(1, 99, 100) == 1
    assert to_relieve(0, 0, 100) == 0
    idle = [Warm("a", float(n)) for n in range(5)]
    assert filled(*idle).longest_idle(2) == idle[:2]


def steps(work: Callable[[], object]) -> int:
    """How many lines of the pool's code this runs: what a scan would make many of."""
    count = 0

    def trace(_frame: object, event: str, _arg: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_no_step_is_longer_with_ten_thousand_environments() -> None:
    def life(pool: Pool[Warm, Waiting]) -> None:
        one = Warm("new", 1e6)
        pool.add(one)
        pool.put_idle(one)
        assert pool.take_idle("new") is one
        assert pool.take_idle("none") is None
        pool.put_idle(one)
        assert pool.idle_too_long(1e6, 1e6) == []
        assert pool.lived_too_long(1e6, 1e6 + 1) == []
        assert pool.until_idle_too_long(1e6, 2e6) > 0
        assert pool.until_lived_too_long(1e6, 2e6) > 0
        assert pool.of("arn:new") == [one]
        pool.remove(pool.longest_idle(1)[0])
        pool.remove(one)

    few, many = (filled(*(Warm(f"{n % 1000}", float(n + 1)) for n in range(count))) for count in (10, 10_000))
    assert steps(lambda: life(many)) <= steps(lambda: life(few)) + 10  # a scan would take thousands
