"""Queues: names, addresses, and what their attributes mean. Pure.

Source: Amazon SQS API Reference, CreateQueue and SetQueueAttributes; Developer Guide, "Queue and message identifiers".
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from lambent.aws.arn import Arn
from lambent.aws.caller import Caller, Scope
from lambent.aws.errors import ApiError
from lambent.aws.quotas import MIB

MAX_VISIBILITY_S: Final = 43_200
MAX_TAGS: Final = 50
_MAX_TAG_KEY: Final = 128
_MAX_TAG_VALUE: Final = 256
DEDUPLICATION_MS: Final = 300_000
"""How long a message that is sent again is the same one, and a receive that is tried again too."""
DEFAULTS: Final = {
    "DelaySeconds": "0",
    "MaximumMessageSize": str(MIB),
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
FIFO_DEFAULTS: Final = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoQueue": "true",
    "FifoThroughputLimit": "perQueue",
}
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_PATH: Final = re.compile(r"/(?:.*/)?([0-9]{12})/([^/]+)/?", re.ASCII)
_HOST: Final = re.compile(r"(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com(?:\.cn)?", re.ASCII)


class QueueKey(NamedTuple):
    """Which queue is meant."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.name}"


class Redrive(NamedTuple):
    """Where messages go that were received too often."""

    target: str
    max_receives: int


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue. `attributes` are those that were set, as they are on the wire."""

    id: int
    scope: Scope
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    partition: int
    created_s: int
    modified_s: int
    purged_ms: int = 0

    @cached_property
    def key(self) -> QueueKey:
        return QueueKey(*self.scope, self.name)

    @cached_property
    def arn(self) -> str:
        return self.key.arn

    @cached_property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")

    @cached_property
    def all_attributes(self) -> dict[str, str]:
        """Those that were set, and the defaults of the others."""
        return DEFAULTS | (FIFO_DEFAULTS if self.is_fifo else {}) | self.attributes

    def number(self, name: str) -> int:
        return int(self.all_attributes[name])

    def is_on(self, name: str) -> bool:
        return self.all_attributes.get(name) == "true"

    @cached_property
    def retention_ms(self) -> int:
        return self.number("MessageRetentionPeriod") * 1000

    @cached_property
    def delay_ms(self) -> int:
        return self.number("DelaySeconds") * 1000

    @cached_property
    def visibility_ms(self) -> int:
        return self.number("VisibilityTimeout") * 1000

    @cached_property
    def redrive(self) -> Redrive | None:
        found = self.attributes.get("RedrivePolicy")
        if not found:
            return None
        policy = msgspec.json.decode(found)
        return Redrive(policy["deadLetterTargetArn"], int(policy["maxReceiveCount"]))

    def url(self, caller: Caller) -> str:
        """Where this caller reaches the queue: at the address that it used itself."""
        base = caller.base_url or f"https://sqs.{self.scope.region}.amazonaws.com"
        return f"{base}/{self.scope.account}/{self.name}"


RUNNING: Final = "RUNNING"
CANCELLING: Final = "CANCELLING"
CANCELLED: Final = "CANCELLED"
COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTask:
    """A task that moves messages out of a dead-letter queue."""

    id: str
    number: int  # later tasks have higher ones
    scope: Scope
    source: str
    destination: str | None
    per_second: int | None
    status: str = RUNNING
    moved: int = 0
    to_move: int
    started_ms: int
    reason: str | None = None

    @property
    def is_active(self) -> bool:
        return self.status in (RUNNING, CANCELLING)


def check_name(name: str, *, is_fifo: bool) -> None:
    """Raises ApiError InvalidParameterValue for what cannot be a queue's name."""
    if is_fifo:
        if not (name.endswith(".fifo") and len(name) <= 80 and _NAME.fullmatch(name[:-5])):
            raise invalid(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
                "must end with .fifo suffix and be 1 to 80 in length"
            )
    elif not _NAME.fullmatch(name):
        raise invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")


def check_tags(tags: dict[str, str], queue_name: str) -> None:
    """Raises ApiError InvalidParameterValue for tags that a queue cannot have."""
    if len(tags) > MAX_TAGS:
        raise invalid(f"Too many tags added for queue {queue_name}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= _MAX_TAG_KEY:
            raise invalid(f"Tag keys must be between 1 and {_MAX_TAG_KEY} characters in length.")
        if len(value) > _MAX_TAG_VALUE:
            raise invalid(f"Tag values must be between 0 and {_MAX_TAG_VALUE} characters in length.")


def key_of_url(url: str, caller: Caller) -> QueueKey:
    """The queue that a URL names, whatever its host is.

    Only a host of AWS's own says a region; else it is the caller's.

    Raises:
        ApiError: InvalidAddress, when the URL does not end in an account and a name.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    match = _PATH.fullmatch(parts.path)
    if match is None:
        raise ApiError("InvalidAddress", f"The address {url} is not valid for this endpoint.")
    host = _HOST.fullmatch(parts.hostname or "")
    region = (host[1] or host[2]) if host else caller.region
    return QueueKey(match[1], region, match[2])


def key_of_arn(text: str) -> QueueKey | None:
    """The queue that an ARN names; None when it is not a queue's."""
    try:
        arn = Arn.parse(text)
    except ValueError:
        return None
    return QueueKey(arn.account, arn.region, arn.resource) if arn.service == "sqs" and arn.resource else None


def invalid(message: str) -> ApiError:
    """The error for a parameter that cannot be."""
    return ApiError("InvalidParameterValue", message)


def invalid_value(value: object, parameter: str, reason: str) -> ApiError:
    """In the words that most of SQS's parameters have."""
    return invalid(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def no_queue() -> ApiError:
    """The error for a queue that is not there."""
    return ApiError("QueueDoesNotExist", "The specified queue does not exist.")
