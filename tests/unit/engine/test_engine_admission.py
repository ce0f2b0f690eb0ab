"""Concurrency and request-rate limits, as rules and as books: no slot beyond a limit, none lost."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.engine.admission import (
    ACCOUNT_IS_FAST,
    ACCOUNT_IS_FULL,
    FUNCTION_IS_FAST,
    FUNCTION_IS_FULL,
    STARTS,
    Admission,
    Allotment,
    TokenBucket,
    claimed,
    refusal,
    throttled,
)

SCOPE = Scope("000000000000", "us-east-1")
OTHER = Scope("111111111111", "us-east-1")
LIMIT = 10
FUNCTIONS = ["f", "g", "h"]


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def refused(take: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ApiError) as caught:
        take()
    assert caught.value.code == "TooManyRequestsException"
    assert caught.value.message == "Rate Exceeded."
    assert caught.value.members["Type"] == "User"
    return caught.value.members["Reason"], caught.value.members["retryAfterSeconds"]


# Rules


def test_the_limit_is_the_last_slot() -> None:
    assert refusal(None, 9, 9, 10) is None
    assert refusal(None, 10, 10, 10) == ACCOUNT_IS_FULL


def test_what_is_reserved_is_a_cap_and_a_guarantee() -> None:
    assert refusal(3, 2, 10, 10) is None
    assert refusal(3, 3, 0, 10) == FUNCTION_IS_FULL
    assert refusal(0, 0, 0, 10) == FUNCTION_IS_FULL


@given(*[st.integers(0, 100)] * 3)
def test_what_is_provisioned_is_taken_up_whether_it_runs_or_not(on_demand: int, running: int, provisioned: int) -> None:
    taken = claimed(on_demand=on_demand, in_provisioned=running, provisioned=provisioned)
    assert taken >= on_demand + provisioned
    assert taken >= on_demand + running
    assert taken in (on_demand + provisioned, on_demand + running)


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 1_000),
    st.lists(st.floats(0, 100) | st.just(0.0), max_size=200),
)
def test_a_bucket_gives_no_more_than_its_burst_and_its_rate(rate: float, capacity: int, waits: list[float]) -> None:
    bucket, now, given_out = TokenBucket(rate, capacity), 50.0, 0
    for wait in waits:
        now += wait
        given_out += bucket.take(now)
    assert given_out <= capacity + sum(waits) * rate + 1e-6
    assert 0 <= bucket.tokens <= capacity


@given(st.floats(0.1, 1_000), st.integers(1, 1_000))
def test_an_empty_bucket_says_when_it_has_one_again(rate: float, capacity: int) -> None:
    bucket, now = TokenBucket(rate, capacity), 50.0
    while bucket.take(now):
        pass
    after = bucket.wait_s()
    assert not bucket.take(now + after * 0.9)
    assert bucket.take(now + after * 0.9 + bucket.wait_s() * 1.001 + 1e-9)


def test_a_clock_that_is_set_back_gives_nothing_and_breaks_nothing() -> None:
    bucket = TokenBucket(10.0, 2.0)
    assert [bucket.take(50.0) for _one in range(3)] == [True, True, False]
    assert not bucket.take(10.0)
    assert bucket.take(10.2)


def test_retry_after_is_in_whole_seconds_and_never_zero() -> None:
    seconds = [throttled("CallerRateLimitExceeded", after).members["retryAfterSeconds"] for after in (0, 0.01, 1, 1.2)]
    assert seconds == ["1", "1", "1", "2"]


# Books


def test_ten_requests_a_second_for_each_slot_of_the_account() -> None:
    time = Time()
    admission = Admission(2, time)
    for _one in range(20):
        admission.take(SCOPE, "f")()
    assert refused(lambda: admission.take(SCOPE, "g")) == (ACCOUNT_IS_FAST, "1")
    admission.take(OTHER, "f2")()  # each account has its own
    admission.take(SCOPE, "f", is_event=True)()  # asynchronous invocations have no such limit
    time.now += 0.06  # one more, and not two
    admission.take(SCOPE, "g")()
    assert refused(lambda: admission.take(SCOPE, "g")) == (ACCOUNT_IS_FAST, "1")


def test_ten_requests_a_second_for_each_slot_that_a_function_reserves() -> None:
    time = Time()
    admission = Admission(1_000, time)
    admission.allot(SCOPE, "f", Allotment(reserved=1))
    for _one in range(10):
        admission.take(SCOPE, "f")()
    assert refused(lambda: admission.take(SCOPE, "f")) == (FUNCTION_IS_FAST, "1")
    assert refused(lambda: admission.take_provisioned(SCOPE, "f")) == (FUNCTION_IS_FAST, "1")
    admission.take(SCOPE, "g")()
    admission.allot(SCOPE, "f", Allotment(reserved=2))  # what was used up stays used up
    for _one in range(10):
        admission.take(SCOPE, "f")()
    assert refused(lambda: admission.take(SCOPE, "f")) == (FUNCTION_IS_FAST, "1")


def test_a_thousand_environments_at_once_and_then_a_hundred_a_second() -> None:
    time = Time()
    admission = Admission(10_000, time)
    for _one in range(STARTS):
        admission.start(SCOPE, "f")
    assert refused(lambda: admission.start(SCOPE, "f")) == (ACCOUNT_IS_FAST, "1")
    admission.start(SCOPE, "g")  # each function has its own
    time.now += 1.0
    for _one in range(100):
        admission.start(SCOPE, "f")
    assert refused(lambda: admission.start(SCOPE, "f")) == (ACCOUNT_IS_FAST, "1")
    time.now += 3600
    for _one in range(STARTS):
        admission.start(SCOPE, "f")
    assert refused(lambda: admission.start(SCOPE, "f")) == (ACCOUNT_IS_FAST, "1")


def test_an_environment_that_was_not_needed_after_all_counts_for_nothing() -> None:
    admission = Admission(10_000, Time())
    for _one in range(STARTS):
        admission.start(SCOPE, "f")
    admission.not_started("f")
    admission.start(SCOPE, "f")
    assert refused(lambda: admission.start(SCOPE, "f")) == (ACCOUNT_IS_FAST, "1")
    admission.not_started("deleted meanwhile")


def test_everything_that_is_reserved_and_provisioned_throttles_the_rest_of_the_function() -> None:
    admission = Admission(1_000)
    admission.allot(SCOPE, "f", Allotment(reserved=2, provisioned=2))
    assert refused(lambda: admission.take(SCOPE, "f"))[0] == FUNCTION_IS_FULL
    releases = [admission.take_provisioned(SCOPE, "f") for _one in range(2)]
    assert refused(lambda: admission.take(SCOPE, "f"))[0] == FUNCTION_IS_FULL
    admission.allot(SCOPE, "f", Allotment(reserved=2, provisioned=1))  # both still run
    assert refused(lambda: admission.take(SCOPE, "f"))[0] == FUNCTION_IS_FULL
    releases[0]()
    admission.take(SCOPE, "f")()


def test_a_deleted_function_takes_up_what_still_runs_and_then_nothing() -> None:
    admission = Admission(10)
    admission.allot(SCOPE, "f", Allotment(reserved=9))
    release = admission.take(SCOPE, "f")
    admission.take(SCOPE, "g")
    assert refused(lambda: admission.take(SCOPE, "g"))[0] == ACCOUNT_IS_FULL
    admission.forget(SCOPE, "f")
    assert admission.allotted(SCOPE) == 0
    more = [admission.take(SCOPE, "g") for _one in range(8)]
    assert refused(lambda: admission.take(SCOPE, "g"))[0] == ACCOUNT_IS_FULL
    release()
    assert admission.function_in_use("f") == 0
    more.append(admission.take(SCOPE, "g"))
    assert refused(lambda: admission.take(SCOPE, "g"))[0] == ACCOUNT_IS_FULL


class Model:
    """A function as it should be."""

    def __init__(self) -> None:
        self.reserved: int | None = None
        self.provisioned = 0
        self.on_demand = 0
        self.in_provisioned = 0

    @property
    def claims(self) -> int:
        return self.on_demand + max(self.provisioned, self.in_provisioned)


class Slots(RuleBasedStateMachine):
    """Functions reserve, provision, run and are deleted, beside a model that adds everything up anew each time."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(LIMIT)
        self.functions = {name: Model() for name in FUNCTIONS}

    @property
    def unreserved(self) -> int:
        return LIMIT - sum(each.reserved or 0 for each in self.functions.values())

    @property
    def shared(self) -> int:
        return sum(each.claims for each in self.functions.values() if each.reserved is None)

    @rule(name=st.sampled_from(FUNCTIONS), reserved=st.none() | st.integers(0, 6), provisioned=st.integers(0, 4))
    def allot(self, name: str, reserved: int | None, provisioned: int) -> None:
        model = self.functions[name]
        model.reserved = reserved
        model.provisioned = provisioned if reserved is None else min(provisioned, reserved)
        self.admission.allot(SCOPE, name, Allotment(reserved=reserved, provisioned=model.provisioned))

    @rule(name=st.sampled_from(FUNCTIONS))
    def delete(self, name: str) -> None:
        self.functions[name].reserved, self.functions[name].provisioned = None, 0
        self.admission.forget(SCOPE, name)

    @rule(target=runs, name=st.sampled_from(FUNCTIONS))
    def invoke(self, name: str) -> tuple[str, bool, Callable[[], None]] | None:
        model = self.functions[name]
        if model.reserved is not None:
            reason = None if model.claims < model.reserved else FUNCTION_IS_FULL
        else:
            reason = None if self.shared < self.unreserved else ACCOUNT_IS_FULL
        if reason:
            assert refused(lambda: self.admission.take(SCOPE, name, is_event=True)) == (reason, "1")
            return None
        model.on_demand += 1
        return name, False, self.admission.take(SCOPE, name, is_event=True)

    @precondition(lambda self: any(each.in_provisioned < each.provisioned for each in self.functions.values()))
    @rule(target=runs, data=st.data())
    def invoke_provisioned(self, data: st.DataObject) -> tuple[str, bool, Callable[[], None]]:
        names = [name for name, each in self.functions.items() if each.in_provisioned < each.provisioned]
        name = data.draw(st.sampled_from(names))
        self.functions[name].in_provisioned += 1
        return name, True, self.admission.take_provisioned(SCOPE, name, is_event=True)

    @rule(run=consumes(runs))
    def ends(self, run: tuple[str, bool, Callable[[], None]] | None) -> None:
        if run:
            name, is_provisioned, release = run
            release()
            release()  # twice is once
            if is_provisioned:
                self.functions[name].in_provisioned -= 1
            else:
                self.functions[name].on_demand -= 1

    @invariant()
    def books_are_the_models(self) -> None:
        running = {name: each.on_demand + each.in_provisioned for name, each in self.functions.items()}
        assert {name: self.admission.function_in_use(name) for name in FUNCTIONS} == running
        assert self.admission.in_use(SCOPE) == self.admission.total == sum(running.values())
        shared = [each for each in self.functions.values() if each.reserved is None]
        assert self.admission.in_unreserved(SCOPE) == sum(each.on_demand for each in shared)
        assert self.admission.is_empty.is_set() == (self.admission.total == 0)
        alone = sum(each.provisioned for each in shared)
        assert self.admission.allotted(SCOPE) == LIMIT - self.unreserved + alone


TestSlots = Slots.TestCase
