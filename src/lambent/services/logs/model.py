"""Log groups, streams and events, and the rules for them. Pure.

Source: CloudWatch Logs API Reference and User Guide, "CloudWatch Logs quotas".
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError

RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MAX_BATCH_BYTES: Final = 1_048_576
EVENT_OVERHEAD_BYTES: Final = 26
MAX_AGE_MS: Final = 14 * DAY_MS
MAX_AHEAD_MS: Final = 2 * HOUR_MS
MAX_SPAN_MS: Final = 24 * HOUR_MS
MAX_TAGS: Final = 50
MAX_PAGE_EVENTS: Final = 10_000
MAX_PAGE_BYTES: Final = 1_048_576
# How much of a group one FilterLogEvents call looks through before it answers with what it has and a token, as AWS
# does: about a tenth of a second with a simple pattern.
MAX_SCANNED_EVENTS: Final = 20_000
MAX_SCANNED_BYTES: Final = 4 * 1024 * 1024

_GROUP_ARN: Final = re.compile(r"arn:aws[a-z-]*:logs:([a-z0-9-]+):(\d{12}):log-group:([^:*]+)(:\*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A log group. Its `id` is never used again, not even for a group of the same name."""

    id: int = 0
    name: str
    created_at: int
    """Milliseconds since the epoch, as all times of this service."""
    retention_days: int | None = None
    log_class: str = "STANDARD"
    kms_key_id: str | None = None
    is_protected: bool = False
    """Deletion protection."""
    tags: dict[str, str] = field(default_factory=dict)

    def arn(self, scope: Scope) -> str:
        return f"arn:aws:logs:{scope.region}:{scope.account}:log-group:{self.name}"

    def oldest(self, now_ms: int) -> int:
        """The earliest timestamp that the retention period still covers."""
        return 0 if self.retention_days is None else now_ms - self.retention_days * DAY_MS

    def to_shape(self, scope: Scope, stored_bytes: int) -> dict[str, Any]:
        arn = self.arn(scope)
        shape: dict[str, Any] = {
            "logGroupName": self.name,
            "creationTime": self.created_at,
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "storedBytes": stored_bytes,
            "logGroupClass": self.log_class,
            "logGroupArn": arn,
            "deletionProtectionEnabled": self.is_protected,
        }
        if self.retention_days is not None:
            shape["retentionInDays"] = self.retention_days
        if self.kms_key_id is not None:
            shape["kmsKeyId"] = self.kms_key_id
        return shape


@dataclass(frozen=True, slots=True)
class Stream:
    """A log stream. Its `id` is never used again."""

    id: int
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a stream's events add up to."""

    first_timestamp: int
    last_timestamp: int
    last_ingested_at: int
    stored_bytes: int


def stream_shape(stream: Stream, stats: Stats | None, group_arn: str) -> dict[str, Any]:
    """A stream as DescribeLogStreams shows it. One without events has no times."""
    shape: dict[str, Any] = {
        "logStreamName": stream.name,
        "creationTime": stream.created_at,
        "arn": f"{group_arn}:log-stream:{stream.name}",
        "storedBytes": stats.stored_bytes if stats else 0,
    }
    if stats:
        shape |= {
            "firstEventTimestamp": stats.first_timestamp,
            "lastEventTimestamp": stats.last_timestamp,
            "lastIngestionTime": stats.last_ingested_at,
            "uploadSequenceToken": sequence_token(stats.last_ingested_at),
        }
    return shape


@dataclass(frozen=True, slots=True)
class Event:
    """A stored log event. Events are ordered by (timestamp, id); ids grow as events arrive."""

    id: int
    stream_id: int
    timestamp: int
    ingested_at: int
    size: int
    """The message's bytes in UTF-8, and the overhead that AWS counts."""
    message: str

    @property
    def position(self) -> int:
        """A number that orders events as they are shown, and is never another event's."""
        return position(self.timestamp, self.id)


_ID_BITS: Final = 144  # so that a position has 56 digits, as AWS's event ids have


def position(timestamp: int, event_id: int) -> int:
    """What orders an event among all others."""
    return timestamp << _ID_BITS | event_id


def split_position(number: int) -> tuple[int, int]:
    """The (timestamp, id) of a position."""
    return number >> _ID_BITS, number & (1 << _ID_BITS) - 1


def sequence_token(ingested_at: int) -> str:
    """A sequence token of AWS's form. AWS ignores what callers send back."""
    return f"496{ingested_at:053d}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What of a PutLogEvents call is stored: `events[start:end]`, and what AWS says of the rest."""

    start: int
    end: int
    rejected: dict[str, int]


def message_bytes(message: str) -> int:
    """The size of a message in UTF-8."""
    return len(message) if message.isascii() else len(message.encode("utf-8", "replace"))


def accept(events: Sequence[tuple[int, str]], *, now_ms: int, group: Group) -> Accepted:
    """Which of a call's (timestamp, message) are stored.

    Raises:
        ApiError: InvalidParameterException, when the batch is too large, spans more than a day, or is not in order.
    """
    size = sum(message_bytes(message) + EVENT_OVERHEAD_BYTES for _, message in events)
    if size > MAX_BATCH_BYTES:
        raise _invalid(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH_BYTES}")
    if any(later[0] < earlier[0] for earlier, later in pairwise(events)):
        raise _invalid("Log events in a single PutLogEvents request must be in chronological order.")
    too_old = sum(timestamp < now_ms - MAX_AGE_MS for timestamp, _ in events)
    expired = sum(timestamp < group.oldest(now_ms) for timestamp, _ in events)
    end = sum(timestamp <= now_ms + MAX_AHEAD_MS for timestamp, _ in events)
    start = min(max(too_old, expired), end)
    if start < end and events[end - 1][0] - events[start][0] > MAX_SPAN_MS:
        raise _invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    rejected = {}
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired > too_old:
        rejected["expiredLogEventEndIndex"] = expired
    if end < len(events):
        rejected["tooNewLogEventStartIndex"] = end
    return Accepted(start, end, rejected)


def check_retention(days: int) -> None:
    """Refuses a retention period that AWS does not offer."""
    if days not in RETENTION_DAYS:
        offered = ", ".join(map(str, RETENTION_DAYS))
        raise _invalid(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{offered}]"
        )


def with_tags(group: Group, tags: dict[str, str]) -> dict[str, str]:
    """The group's tags after these were added.

    Raises:
        ApiError: TooManyTagsException beyond 50; InvalidParameterException for a key that AWS reserves.
    """
    reserved = next((key for key in tags if key.lower().startswith("aws:")), None)
    if reserved is not None:
        raise _invalid(f"System tags cannot be added/updated by requester: {reserved}")
    merged = group.tags | tags
    if len(merged) > MAX_TAGS:
        raise ApiError("TooManyTagsException", f"The resource would have {len(merged)} tags; {MAX_TAGS} are allowed.")
    return merged


def group_name(identifier: str, scope: Scope) -> str:
    """The name in a log group's name or ARN.

    Raises:
        ApiError: ResourceNotFoundException, when the ARN is of another account or region.
    """
    if not identifier.startswith("arn:"):
        return identifier
    match = _GROUP_ARN.fullmatch(identifier)
    if match is None:
        raise _invalid("Invalid ARN: the resource is not a log group.")
    if (match[2], match[1]) != scope:
        raise no_group()
    return match[3]


def no_group() -> ApiError:
    """AWS's words for a group that is not there."""
    return ApiError("ResourceNotFoundException", "The specified log group does not exist.")


def no_stream() -> ApiError:
    """AWS's words for a stream that is not there."""
    return ApiError("ResourceNotFoundException", "The specified log stream does not exist.")


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterException", message)


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the order they were read, and where reading stopped."""

    events: list[Event]
    stopped_at: int | None
    """The position of the last event looked at when there are more; None at the end."""


def take_page(
    events: Iterable[Event], *, limit: int, matches: Callable[[str], bool] | None = None, max_scanned: int
) -> Page:
    """As many events as one answer holds, at least one step further than where it began."""
    taken: list[Event] = []
    last = None
    scanned_bytes = page_bytes = 0
    for scanned, event in enumerate(events):
        is_match = matches is None or matches(event.message)
        is_full = len(taken) == limit or (taken and is_match and page_bytes + event.size > MAX_PAGE_BYTES)
        if is_full or scanned == max_scanned or scanned_bytes > MAX_SCANNED_BYTES:
            return Page(taken, last)
        scanned_bytes += event.size
        last = event.position
        if is_match:
            taken.append(event)
            page_bytes += event.size
    return Page(taken, None)
