"""What becomes of a batch: after each attempt, which records are done with, which stay, or when to try again. Pure.

A record that stays is not touched: its source shows it again in its own time, counts how often, and knows when enough
is enough. Records of a group stay in order: behind one that stays, the rest of its group stays too.

Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda"; facts sheet section 26.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from lambent.eventing.source import Answered, Failed, Outcome, Record, Refused

MOST_BYTES: Final = 6_291_456
"""The event of one invocation. Source: AWS Lambda Developer Guide, "Lambda quotas"."""

OK: Final = "OK"
FUNCTION_FAILED: Final = "PROBLEM: Function call failed"

# Nothing is wrong with the records, nor with the function: it did not run, and may soon.
_MAY_RUN_SOON: Final = frozenset(
    [
        "InternalFailure",
        "ResourceConflictException",
        "ResourceNotReadyException",
        "ServiceException",
        "ServiceUnavailable",
        "TooManyRequestsException",
    ]
)
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """`done` are to be ended, `stay` are left alone. `result` is what LastProcessingResult says.

    `is_failure` is for scaling: what a function reports of single records is no failure of it.
    """

    done: tuple[Record, ...] = ()
    stay: tuple[Record, ...] = ()
    result: str = OK
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class InvokeAgain:
    """Not before so many seconds."""

    after_s: float


def after(
    outcome: Outcome, batch: Sequence[Record], *, reports_failures: bool, tries: int, now: float
) -> Settled | InvokeAgain:
    """What follows the `tries`-th attempt to hand on a batch, which ended at `now`."""
    match outcome:
        case Answered(payload):
            failed = failures(payload, batch) if reports_failures else frozenset()
            if failed is None:
                return _nothing_done(batch, FUNCTION_FAILED)
            return _partly(batch, failed)
        case Failed():
            return _nothing_done(batch, FUNCTION_FAILED)
        case Refused(code, message):
            wait_s = min(_FIRST_WAIT_S * 2 ** min(tries - 1, 20), _LONGEST_WAIT_S)
            if code in _MAY_RUN_SOON and now + wait_s < min(record.expires_at for record in batch):
                return InvokeAgain(wait_s)
            return _nothing_done(batch, f"PROBLEM: {message or code}")


def failures(payload: bytes, batch: Sequence[Record]) -> frozenset[str] | None:
    """The ids that an answer reports as failed; None where the answer makes no sense: then the whole batch failed.

    An answer without a list, or with an empty one, reports nothing.
    """
    try:
        answer = msgspec.json.decode(payload) if payload else None
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    if answer is None or answer == "":
        return frozenset()
    items = answer.get("batchItemFailures") if isinstance(answer, dict) else answer
    if isinstance(answer, dict) and items is None:
        return frozenset()
    if not isinstance(answer, dict) or not isinstance(items, list):
        return None
    ids = [_identifier(item) for item in items]
    known = {record.id for record in batch}
    found = frozenset(each for each in ids if each in known)
    return found if all(each in known for each in ids) else None


def _identifier(item: Any) -> str | None:
    value = item.get("itemIdentifier") if isinstance(item, dict) else None
    return value if isinstance(value, str) else None


def _partly(batch: Sequence[Record], failed: frozenset[str]) -> Settled:
    done, stay = [], []
    blocked: set[str] = set()
    for record in batch:
        if record.id in failed or record.group in blocked:
            stay.append(record)
            if record.group is not None:
                blocked.add(record.group)
        else:
            done.append(record)
    return Settled(done=tuple(done), stay=tuple(stay))


def _nothing_done(batch: Sequence[Record], result: str) -> Settled:
    return Settled(stay=tuple(batch), result=result, is_failure=True)


# Putting together


def parts(records: Sequence[Record], most_bytes: int = MOST_BYTES) -> Iterator[list[Record]]:
    """Batches in order, none of whose events is larger than `most_bytes`, but for a record that is so by itself."""
    part: list[Record] = []
    size = len(event(()))
    for record in records:
        if part and size + len(record.event) + 1 > most_bytes:
            yield part
            part, size = [], len(event(()))
        part.append(record)
        size += len(record.event) + 1
    if part:
        yield part


def event(records: Sequence[Record]) -> bytes:
    """The event of a batch."""
    return b'{"Records":[' + b",".join(record.event for record in records) + b"]}"


def not_behind(records: Sequence[Record], stayed: Sequence[Record]) -> list[Record]:
    """The records without those whose group has one that stayed."""
    groups = {record.group for record in stayed if record.group is not None}
    return [record for record in records if record.group not in groups]
