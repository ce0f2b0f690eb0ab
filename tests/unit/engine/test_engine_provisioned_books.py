"""Provisioned concurrency's books: nothing serves before all are there, none is lost, none is one too many."""

from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.engine.provisioned import INIT_LIMIT_S, Allocation, Plan, Provisioned, Status, init_limit_s
from lambent.testing.plain_engine import function

SPEC = function(Path("/code"), version="1", digest="d1")
OTHER = function(Path("/code"), version="2", digest="d2")
FAILED = "FUNCTION_ERROR_INIT_FAILURE"


class Kept:
    """An environment as the books see it."""

    born = 0.0


def plan(count: int, *, asked_ms: int = 0, qualifier: str = "live") -> Plan:
    return Plan(spec=SPEC, qualifier=qualifier, count=count, asked_ms=asked_ms)


class Books(RuleBasedStateMachine):
    """One allocation: environments start, fail, serve, end, and the amount changes."""

    def __init__(self) -> None:
        super().__init__()
        self.provisioned: Provisioned[Kept] = Provisioned()
        self.starting: list[tuple[Allocation[Kept], Kept]] = []
        self.alive: set[Kept] = set()
        self.running: set[Kept] = set()
        self.asked_ms = 0
        self.count = 0

    @property
    def allocation(self) -> Allocation[Kept] | None:
        return self.provisioned.find("d1", "live", "1")

    def end(self, environments: list[Kept]) -> None:
        for environment in environments:
            assert environment not in self.running
            self.lose(environment)

    def lose(self, environment: Kept) -> None:
        self.alive.discard(environment)
        self.running.discard(environment)
        self.provisioned.lose(environment)

    def fill(self) -> None:
        allocation = self.allocation
        for _one in range(allocation.missing() if allocation else 0):
            assert allocation is not None
            environment = Kept()
            allocation.starting += 1
            self.provisioned.belongs(environment, allocation)
            self.alive.add(environment)
            self.starting.append((allocation, environment))

    @rule(count=st.integers(0, 4), again=st.booleans())
    def put(self, count: int, again: bool) -> None:
        self.asked_ms += again
        self.count = count
        _allocations, leaving = self.provisioned.plan("f", [plan(count, asked_ms=self.asked_ms)])
        self.end(leaving)
        self.fill()

    @precondition(lambda self: self.starting)
    @rule(data=st.data())
    def gets_ready(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.starting))
        self.starting.remove(chosen)
        allocation, environment = chosen
        assert self.provisioned.is_started(environment)
        assert not self.provisioned.is_started(environment)
        allocation.starting -= 1
        if not allocation.is_free(environment):
            self.end([environment])
        self.fill()

    @precondition(lambda self: self.starting)
    @rule(data=st.data())
    def cannot_be_initialised(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.starting))
        self.starting.remove(chosen)
        allocation, environment = chosen
        self.lose(environment)
        self.end(allocation.fail(FAILED))

    @precondition(lambda self: self.allocation and self.allocation.may_take(0.0, is_event=True))
    @rule()
    def invoke(self) -> None:
        assert self.allocation is not None
        environment = self.allocation.take()
        assert environment in self.alive - self.running
        self.running.add(environment)

    @precondition(lambda self: self.running)
    @rule(dies=st.booleans())
    def answers(self, dies: bool) -> None:
        environment = next(iter(self.running))
        allocation = self.provisioned.whose(environment)
        assert allocation is not None
        self.running.remove(environment)
        if dies or not allocation.is_free(environment):
            self.lose(environment)
        self.fill()

    @invariant()
    def each_environment_is_in_one_place(self) -> None:
        allocation = self.allocation
        if allocation is None:
            assert self.alive == {e for _where, e in self.starting} | self.running
            return
        starting = [environment for where, environment in self.starting if where is allocation]
        assert allocation.starting == len(starting)
        places = [*starting, *allocation.joining, *allocation.idle, *allocation.busy]
        assert len(places) == len(set(places))
        assert set(places) <= self.alive
        assert set(allocation.busy) <= self.running
        assert not set(allocation.idle) & self.running
        assert len(self.provisioned) == len(self.alive)

    @invariant()
    def none_is_one_too_many(self) -> None:
        allocation = self.allocation
        assert (allocation is None) == (self.count == 0)
        if allocation:
            ready = len(allocation.joining) + len(allocation.idle)
            assert ready == 0 or ready + len(allocation.busy) <= self.count

    @invariant()
    def what_is_told_is_true(self) -> None:
        if self.allocation is None:
            return
        progress = self.allocation.progress
        assert progress.available <= progress.allocated <= self.count
        if progress.status is Status.FAILED:
            assert progress.reason == FAILED
            assert self.allocation.missing() == 0
        if progress.status is not Status.READY:
            assert not self.allocation.is_complete


TestBooks = Books.TestCase


def test_nothing_serves_before_all_are_initialised() -> None:
    allocation: Allocation[Kept] = Allocation(plan(2))
    first, second = Kept(), Kept()
    assert allocation.is_free(first)
    assert not allocation.may_take(0.0, is_event=False)
    assert (allocation.progress.status, allocation.progress.allocated) == (Status.IN_PROGRESS, 1)
    assert allocation.progress.available == 0
    assert allocation.is_free(second)
    assert (allocation.progress.status, allocation.progress.available) == (Status.READY, 2)
    assert allocation.may_take(0.0, is_event=False)


def test_what_is_there_serves_on_while_more_is_asked_for() -> None:
    allocation: Allocation[Kept] = Allocation(plan(1))
    allocation.is_free(Kept())
    allocation.become(plan(3, asked_ms=1))
    assert allocation.is_free(Kept())
    assert (allocation.progress.status, allocation.progress.available) == (Status.IN_PROGRESS, 1)
    assert allocation.progress.allocated == 2
    assert allocation.may_take(0.0, is_event=True)


def test_ten_requests_a_second_for_each_and_then_one_spills_over() -> None:
    allocation: Allocation[Kept] = Allocation(plan(2))
    allocation.is_free(Kept())
    allocation.is_free(Kept())
    for _one in range(20):
        assert allocation.may_take(100.0, is_event=False)
        allocation.is_free(allocation.take())
    assert not allocation.may_take(100.0, is_event=False)
    assert allocation.may_take(100.0, is_event=True)
    assert allocation.may_take(100.06, is_event=False)


def test_a_failure_lasts_until_it_is_asked_for_anew() -> None:
    allocation: Allocation[Kept] = Allocation(plan(2))
    waits = Kept()
    allocation.is_free(waits)
    assert allocation.fail(FAILED) == [waits]
    assert (allocation.progress.status, allocation.progress.reason) == (Status.FAILED, FAILED)
    assert allocation.missing() == 0
    allocation.become(plan(2))  # something else of the function changed
    assert allocation.progress.status is Status.FAILED
    allocation.become(plan(2, asked_ms=1))
    assert allocation.progress.status is Status.IN_PROGRESS
    assert allocation.missing() == 2


def test_a_qualifiers_environments_are_its_own_and_a_versions_are_its_aliases_too() -> None:
    provisioned: Provisioned[Kept] = Provisioned()
    provisioned.plan("f", [plan(1, qualifier="live"), Plan(spec=OTHER, qualifier="2", count=1)])
    live = provisioned.find("d1", "live", "1")
    assert live is not None
    assert provisioned.find("d1", "1", "1") is None
    assert provisioned.find("d1", None, "1") is None
    assert provisioned.find("d1", "other", "1") is None
    two = provisioned.find("d2", "2", "2")
    assert two is not None
    assert provisioned.find("d2", "any-alias", "2") is two
    assert provisioned.find("d2", "live", "2") is two


def test_init_may_take_as_long_as_the_timeout_if_that_is_longer() -> None:
    assert init_limit_s(3) == init_limit_s(130) == INIT_LIMIT_S == 130.0
    assert init_limit_s(131) == 131.0
