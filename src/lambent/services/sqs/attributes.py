"""Which attributes a queue may have. Pure.

Source: Amazon SQS API Reference, SetQueueAttributes; the words of errors as callers report them.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.aws import policy
from lambent.aws.errors import ApiError
from lambent.aws.quotas import MIB
from lambent.services.sqs.model import MAX_VISIBILITY_S, Queue, invalid, invalid_value, key_of_arn

_RANGES: Final = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1_024, MIB),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, MAX_VISIBILITY_S),
}
_CHOICES: Final = {
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoQueue": ("true",),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
    "SqsManagedSseEnabled": ("true", "false"),
}
_TEXTS: Final = ("KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "RedrivePolicy")
_FIFO_ONLY: Final = ("ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit")
READ_ONLY: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)
SETTABLE: Final = frozenset([*_RANGES, *_CHOICES, *_TEXTS])
NAMES: Final = SETTABLE | {*READ_ONLY, "All"}
MAX_RECEIVES: Final = 1_000
MAX_SOURCES: Final = 10
_PERMISSIONS: Final = ("allowAll", "denyAll", "byQueue")


def unknown(name: str) -> ApiError:
    """The error for an attribute that there is not."""
    return ApiError("InvalidAttributeName", f"Unknown Attribute {name}.")


def checked(given: Mapping[str, str], *, is_fifo: bool) -> dict[str, str]:
    """The attributes as they are kept.

    Raises:
        ApiError: InvalidAttributeName, InvalidAttributeValue, or InvalidParameterValue for a redrive policy.
    """
    kept = {}
    for name, value in given.items():
        if name not in SETTABLE or (name in _FIFO_ONLY and not is_fifo):
            raise unknown(name)
        kept[name] = value if value == "" and name in _TEXTS else _value(name, value)
    return kept


def _value(name: str, value: str) -> str:
    if name in _RANGES:
        low, high = _RANGES[name]
        if not (value.isascii() and value.isdecimal() and len(value) < 12 and low <= int(value) <= high):
            raise _wrong(name)
        return str(int(value))
    if name in _CHOICES:
        if value.lower() not in [choice.lower() for choice in _CHOICES[name]]:
            raise _wrong(name)
        return value.lower() if value.lower() in ("true", "false") else value
    if name == "Policy":
        return _policy(value)
    if name == "RedrivePolicy":
        return _redrive_policy(value)
    if name == "RedriveAllowPolicy":
        return _allow_policy(value)
    return value


def _wrong(name: str) -> ApiError:
    return ApiError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def _policy(value: str) -> str:
    try:
        policy.decode(value, "resource")
    except policy.MalformedPolicyError:
        raise _wrong("Policy") from None
    return value


def _map(name: str, value: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        words = "Redrive policy" if name == "RedrivePolicy" else "Redrive allow policy"
        raise invalid_value(value, name, f"{words} is not a valid JSON map.")
    return found


def _redrive_policy(value: str) -> str:
    found = _map("RedrivePolicy", value)
    for member in ("deadLetterTargetArn", "maxReceiveCount"):
        if found.get(member) is None:
            reason = f"Redrive policy does not contain mandatory attribute: {member}."
            raise invalid_value(value, "RedrivePolicy", reason)
    if surplus := found.keys() - {"deadLetterTargetArn", "maxReceiveCount"}:
        reason = f"Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount]: {sorted(surplus)}"
        raise invalid_value(value, "RedrivePolicy", reason)
    count = str(found["maxReceiveCount"])
    if not (count.isascii() and count.isdecimal() and len(count) < 9 and 1 <= int(count) <= MAX_RECEIVES):
        reason = (
            f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to {MAX_RECEIVES} both inclusive."
        )
        raise invalid_value(value, "RedrivePolicy", reason)
    if key_of_arn(str(found["deadLetterTargetArn"])) is None:
        raise invalid_value(value, "RedrivePolicy", "Invalid value for deadLetterTargetArn.")
    return value


def _allow_policy(value: str) -> str:
    found = _map("RedriveAllowPolicy", value)
    permission, sources = found.get("redrivePermission"), found.get("sourceQueueArns")
    if permission not in _PERMISSIONS:
        raise invalid_value(value, "RedriveAllowPolicy", f"redrivePermission must be one of {', '.join(_PERMISSIONS)}.")
    if permission == "byQueue":
        if not isinstance(sources, list) or not 1 <= len(sources) <= MAX_SOURCES:
            raise invalid_value(value, "RedriveAllowPolicy", f"sourceQueueArns must have 1 to {MAX_SOURCES} ARNs.")
        if any(key_of_arn(str(source)) is None for source in sources):
            raise invalid_value(value, "RedriveAllowPolicy", "sourceQueueArns must be ARNs of queues.")
    elif sources is not None:
        raise invalid_value(value, "RedriveAllowPolicy", "sourceQueueArns is allowed with byQueue only.")
    return value


def may_redrive(target: Queue, source_arn: str) -> bool:
    """Whether a queue lets another use it for dead letters."""
    allow = target.attributes.get("RedriveAllowPolicy")
    if not allow:
        return True
    found = msgspec.json.decode(allow)
    if found["redrivePermission"] == "byQueue":
        return source_arn in found["sourceQueueArns"]
    return bool(found["redrivePermission"] == "allowAll")


def check_redrive(source: Queue, target: Queue | None) -> None:
    """Raises ApiError InvalidParameterValue when the redrive policy names a queue that cannot be its target."""
    value = source.attributes["RedrivePolicy"]
    if target is None:
        raise invalid_value(value, "RedrivePolicy", "Dead letter target does not exist.")
    if target.scope != source.scope:
        raise invalid_value(value, "RedrivePolicy", "Dead-letter queue must be in the same account and Region.")
    if target.is_fifo != source.is_fifo:
        raise invalid_value(value, "RedrivePolicy", "Dead-letter queue must be same type of queue as the source.")
    if not may_redrive(target, source.arn):
        raise invalid_value(
            value, "RedrivePolicy", "Queue does not have permission to use the dead-letter queue as its redrive target."
        )


def check_together(queue: Queue) -> None:
    """Raises ApiError InvalidAttributeValue for attributes that exclude each other."""
    every = queue.all_attributes
    if every.get("FifoThroughputLimit") == "perMessageGroupId" and every["DeduplicationScope"] != "messageGroup":
        raise invalid("FifoThroughputLimit perMessageGroupId is allowed with DeduplicationScope messageGroup only.")
    if queue.attributes.get("KmsMasterKeyId") and queue.attributes.get("SqsManagedSseEnabled") == "true":
        raise invalid("You can use one type of server-side encryption at one time: either a KMS key or SQS's own keys.")


def same(name: str, one: str, other: str) -> bool:
    """Whether two values of an attribute mean the same."""
    if name in ("Policy", "RedriveAllowPolicy", "RedrivePolicy") and one and other:
        return bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    return one == other
