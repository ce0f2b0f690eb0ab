"""What becomes of an event after each attempt: thousands of generated histories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.retries import (
    EVENT_AGE_EXCEEDED,
    RETRIES_EXHAUSTED,
    SUCCESS,
    ZERO_RESERVED_CONCURRENCY,
    Ended,
    Outcome,
    Retries,
    RunAgain,
    SoFar,
    after,
    after_delivery,
    before,
    wait_s,
)

ARRIVED = 1_000_000
policies = st.builds(Retries, max_retries=st.integers(0, 2), max_age_s=st.integers(60, 21_600))
outcomes = st.lists(st.sampled_from([Outcome.FAILED, Outcome.DEFERRED, Outcome.SUCCEEDED]), max_size=400)


def so_far(*, attempts: int = 0, deferrals: int = 0) -> SoFar:
    return SoFar(arrived_ms=ARRIVED, attempts=attempts, deferrals=deferrals)


def at(seconds: float) -> int:
    return ARRIVED + int(seconds * 1000)


def test_waits_double_up_to_five_minutes() -> None:
    assert [wait_s(n) for n in (0, 1, 2, 3, 8, 9, 1000)] == [1, 2, 4, 8, 256, 300, 300]


def test_a_success_is_the_end() -> None:
    assert after(Outcome.SUCCEEDED, so_far(attempts=3), at(90_000), Retries()) == Ended(SUCCESS)


def test_errors_are_followed_by_a_minute_then_by_two_then_by_the_end() -> None:
    assert after(Outcome.FAILED, so_far(attempts=1), at(5), Retries()) == RunAgain(at(65))
    assert after(Outcome.FAILED, so_far(attempts=2), at(70), Retries()) == RunAgain(at(190))
    assert after(Outcome.FAILED, so_far(attempts=3), at(191), Retries()) == Ended(RETRIES_EXHAUSTED)


@pytest.mark.parametrize("most", [0, 1, 2])
def test_there_are_as_many_retries_as_are_allowed(most: int) -> None:
    policy = Retries(max_retries=most)
    steps = [after(Outcome.FAILED, so_far(attempts=number), at(1), policy) for number in range(1, most + 2)]
    assert [isinstance(step, RunAgain) for step in steps] == [True] * most + [False]
    assert steps[-1] == Ended(RETRIES_EXHAUSTED)


def test_a_retry_that_would_come_too_late_is_given_up_at_once() -> None:
    policy = Retries(max_age_s=60)
    assert after(Outcome.FAILED, so_far(attempts=1), at(0), policy) == RunAgain(at(60))
    assert after(Outcome.FAILED, so_far(attempts=1), at(0) + 1, policy) == Ended(EVENT_AGE_EXCEEDED)


def test_a_throttled_event_is_tried_a_last_time_at_the_end_of_its_age() -> None:
    policy = Retries(max_age_s=60)
    assert after(Outcome.DEFERRED, so_far(deferrals=6), at(31), policy) == RunAgain(at(60))
    assert before(so_far(deferrals=6), at(60), policy) is None
    assert after(Outcome.DEFERRED, so_far(deferrals=7), at(60), policy) == Ended(EVENT_AGE_EXCEEDED)
    assert before(so_far(), at(60) + 1, policy) == Ended(EVENT_AGE_EXCEEDED)


def test_a_function_that_may_not_run_ends_its_events_whatever_their_age() -> None:
    for seconds in (0, 100_000):
        assert before(so_far(), at(seconds), Retries(is_allowed=False)) == Ended(ZERO_RESERVED_CONCURRENCY)


def test_an_event_in_a_loop_is_not_tried_again() -> None:
    assert after(Outcome.STOPPED, so_far(), at(0), Retries()) == Ended(RETRIES_EXHAUSTED)


@given(policies, outcomes, st.integers(0, 900_000))
def test_every_history_ends_and_none_is_given_up_early_or_tried_late(
    policy: Retries, happened: list[Outcome], takes_ms: int
) -> None:
    now, attempts, deferrals = ARRIVED, 0, 0
    oldest = ARRIVED + policy.max_age_s * 1000
    end: Ended | None = None
    outcome = Outcome.DEFERRED
    for outcome in [*happened, *[Outcome.DEFERRED] * 400]:
        end = before(so_far(attempts=attempts, deferrals=deferrals), now, policy)
        if end:
            break
        assert now <= oldest
        attempts += outcome is not Outcome.DEFERRED
        deferrals += outcome is Outcome.DEFERRED
        now += 0 if outcome is Outcome.DEFERRED else takes_ms
        step = after(outcome, so_far(attempts=attempts, deferrals=deferrals), now, policy)
        if isinstance(step, Ended):
            end = step
            break
        assert step.at_ms > now  # nobody spins
        now = step.at_ms
    assert end is not None
    assert attempts <= policy.max_retries + 1
    match end.condition:
        case "RetriesExhausted":
            assert (outcome, attempts) == (Outcome.FAILED, policy.max_retries + 1)
        case "EventAgeExceeded":
            late = now if outcome is Outcome.DEFERRED else now + 60_000 * attempts
            assert late >= oldest
        case "Success":
            assert outcome is Outcome.SUCCEEDED
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize(("code", "tries"), [("AccessDeniedException", 3), ("NotImplemented", 3), ("Throttling", 15)])
def test_deliveries_are_repeated_within_a_limit(code: str, tries: int) -> None:
    assert after_delivery(code, 1, at(0)) == RunAgain(at(1))
    assert after_delivery(code, 2, at(0)) == RunAgain(at(2))
    assert after_delivery(code, tries - 1, at(0)) is not None
    assert after_delivery(code, tries, at(0)) is None
