"""What becomes of an asynchronous invocation after each attempt: run again, and when, or ended, and why. Pure.

A function's error is an attempt: there are up to two more, a minute and two minutes later. A throttle or an error of
the platform is none: the event waits (1 s, doubling to 5 min) until it is too old.

Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_RETRIES: Final = 2
MAX_AGE_S: Final = 21_600

SUCCESS: Final = "Success"
RETRIES_EXHAUSTED: Final = "RetriesExhausted"
EVENT_AGE_EXCEEDED: Final = "EventAgeExceeded"
ZERO_RESERVED_CONCURRENCY: Final = "ZeroReservedConcurrency"

_AFTER_AN_ERROR_MS: Final = 60_000  # times the number of attempts
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 300.0

# How often AWS tries to deliver to a destination is not documented. A target that refuses (no such queue, no
# permission) is given a few seconds, as permissions take a moment everywhere; one that is busy more than half an hour.
_DELIVERIES_REFUSED: Final = 3
_DELIVERIES_BUSY: Final = 15
_BUSY: Final = frozenset(
    [
        "InternalError",
        "InternalException",
        "InternalFailure",
        "ServiceException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ]
)


class Outcome(Enum):
    """What one attempt came to."""

    SUCCEEDED = "the function answered"
    FAILED = "the function answered with an error"
    DEFERRED = "it did not run: throttled, not ready, or the platform failed"
    STOPPED = "it was refused for good: it runs in a loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How the events of a function, a version or an alias are treated. `is_allowed` is whether it may run at all."""

    max_retries: int = MAX_RETRIES
    max_age_s: int = MAX_AGE_S
    is_allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SoFar:
    """What an event has behind it: `attempts` ran the function, `deferrals` did not."""

    arrived_ms: int
    attempts: int = 0
    deferrals: int = 0


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Not before this moment."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The event is over: Success, or the condition that its record names."""

    condition: str


def before(so_far: SoFar, now_ms: int, retries: Retries) -> Ended | None:
    """Why an event must not be tried (again), or None."""
    if not retries.is_allowed:
        return Ended(ZERO_RESERVED_CONCURRENCY)
    if now_ms > _oldest_ms(so_far, retries):
        return Ended(EVENT_AGE_EXCEEDED)
    return None


def after(outcome: Outcome, so_far: SoFar, now_ms: int, retries: Retries) -> RunAgain | Ended:
    """What follows an attempt, which `so_far` counts.

    A retry that would come too late is given up at once. An event that waits for room is tried a last time at the
    very end of its age.
    """
    oldest_ms = _oldest_ms(so_far, retries)
    match outcome:
        case Outcome.SUCCEEDED:
            return Ended(SUCCESS)
        case Outcome.STOPPED:
            # AWS sends these to the queue or destination too. Which condition it reports is not documented; of those
            # that are, this is the one for events that were tried and will not be tried again.
            return Ended(RETRIES_EXHAUSTED)
        case Outcome.FAILED:
            if so_far.attempts > retries.max_retries:
                return Ended(RETRIES_EXHAUSTED)
            at_ms = now_ms + _AFTER_AN_ERROR_MS * so_far.attempts
            return RunAgain(at_ms) if at_ms <= oldest_ms else Ended(EVENT_AGE_EXCEEDED)
        case Outcome.DEFERRED:
            if now_ms >= oldest_ms:
                return Ended(EVENT_AGE_EXCEEDED)
            return RunAgain(min(now_ms + _wait_ms(so_far.deferrals - 1), oldest_ms))


def after_delivery(code: str, tries: int, now_ms: int) -> RunAgain | None:
    """When to deliver again after so many tries, the last of which failed with this error; None is never."""
    if tries >= (_DELIVERIES_BUSY if code in _BUSY else _DELIVERIES_REFUSED):
        return None
    return RunAgain(now_ms + _wait_ms(tries - 1))


def wait_s(deferrals: int) -> float:
    """How long an event waits that already had to wait so often: 1 s, 2 s, 4 s, ... 5 min."""
    return float(min(_FIRST_WAIT_S * 2 ** min(deferrals, 20), _LONGEST_WAIT_S))


def _wait_ms(deferrals: int) -> int:
    return int(wait_s(deferrals) * 1000)


def _oldest_ms(so_far: SoFar, retries: Retries) -> int:
    return so_far.arrived_ms + retries.max_age_s * 1000
