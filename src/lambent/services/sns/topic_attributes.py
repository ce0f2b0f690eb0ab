"""Attributes of topics: which may be set, and how they are shown. Pure.

Source: Amazon SNS API Reference, CreateTopic, SetTopicAttributes and GetTopicAttributes; facts sheet B3.
"""

from typing import Any, Final

import msgspec

from lambent.aws import policy
from lambent.aws.errors import ApiError
from lambent.services.sns import delivery_policy, status
from lambent.services.sns.model import Topic, invalid

MAX_DISPLAY_NAME: Final = 100
MAX_ARCHIVE_DAYS: Final = 365
MAX_POLICY_BYTES: Final = 30_720
MIN_MESSAGE_BYTES: Final = 1_024
MAX_MESSAGE_BYTES: Final = 1_048_576
_BOOLEANS: Final = frozenset(["FifoTopic", "ContentBasedDeduplication"])
_OF_FIFO: Final = frozenset(["ContentBasedDeduplication", "FifoThroughputScope", "ArchivePolicy"])
_CHOICES: Final = {
    "SignatureVersion": ("1", "2"),
    "TracingConfig": ("PassThrough", "Active"),
    "FifoThroughputScope": ("Topic", "MessageGroup"),
}
_ROLES: Final = frozenset(f"{name}{kind}FeedbackRoleArn" for name in status.NAMES for kind in ("Success", "Failure"))
_RATES: Final = frozenset(f"{name}SuccessFeedbackSampleRate" for name in status.NAMES)
_PLAIN: Final = frozenset(["DeliveryPolicy", "DisplayName", "KmsMasterKeyId", "Policy", "MaximumMessageSize"])
NAMES: Final = _BOOLEANS | _OF_FIFO | frozenset(_CHOICES) | _ROLES | _RATES | _PLAIN
"""Those that may be set."""
_ACTIONS: Final = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)


def checked(given: dict[str, str], *, is_fifo: bool) -> dict[str, str]:
    """The attributes as they are kept.

    Raises:
        ApiError: InvalidParameter.
    """
    return {name: check(name, value, is_fifo=is_fifo) for name, value in given.items()}


def check(name: str, value: str, *, is_fifo: bool) -> str:
    """One attribute as it is kept; an empty text takes it away.

    Raises:
        ApiError: InvalidParameter.
    """
    if name not in NAMES:
        raise invalid("AttributeName")
    if name in _OF_FIFO and not is_fifo:
        if name == "ArchivePolicy":
            raise invalid("ArchivePolicy is only supported for FIFO topics")
        raise _reason(name, f"{name} is valid for FIFO topics only")
    if not value:
        return value
    if name in _BOOLEANS:
        return _boolean(name, value)
    _check_value(name, value)
    return _archive_policy(value) if name == "ArchivePolicy" else value


def _boolean(name: str, value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise _reason(name, "must be true or false")
    return value.lower()


def _check_value(name: str, value: str) -> None:
    if name in _CHOICES and value not in _CHOICES[name]:
        raise _reason(name, f"must be one of {', '.join(_CHOICES[name])}")
    if name in _RATES:
        _check_number(name, value, 0, 100)
    if name == "MaximumMessageSize":
        _check_number(name, value, MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES)
    if name == "DisplayName" and len(value) > MAX_DISPLAY_NAME:
        raise _reason(name, f"must be at most {MAX_DISPLAY_NAME} characters long")
    if name == "Policy":
        _check_policy(value)
    if name == "DeliveryPolicy":
        delivery_policy.check(value, of_topic=True)


def _check_number(name: str, value: str, least: int, most: int) -> None:
    if not (value.isascii() and value.isdecimal() and len(value) < 9 and least <= int(value) <= most):
        raise _reason(name, f"must be a number from {least} to {most}")


def _check_policy(value: str) -> None:
    if len(value.encode()) > MAX_POLICY_BYTES:
        raise invalid("Policy Error: too long")
    try:
        policy.decode(value, "resource")
    except policy.MalformedPolicyError as error:
        raise invalid("Policy Error: null" if not str(error) else f"Policy Error: {error}") from None


def _archive_policy(value: str) -> str:
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError:
        found = None
    if found == {}:
        return ""
    days = str(found.get("MessageRetentionPeriod", "")) if isinstance(found, dict) else ""
    if not (days.isascii() and days.isdecimal() and len(days) < 9 and 1 <= int(days) <= MAX_ARCHIVE_DAYS):
        raise invalid(f"ArchivePolicy: MessageRetentionPeriod must be from 1 to {MAX_ARCHIVE_DAYS} days")
    return value


def shown(topic: Topic, counts: tuple[int, int]) -> dict[str, str]:
    """GetTopicAttributes' answer. `counts` are the confirmed and the pending subscriptions."""
    confirmed, pending = counts
    found = {
        "TopicArn": topic.arn,
        "Owner": topic.scope.account,
        "DisplayName": topic.attributes.get("DisplayName", ""),
        "Policy": topic.attributes.get("Policy") or default_policy(topic),
        "EffectiveDeliveryPolicy": delivery_policy.effective_of_topic(topic),
        "SubscriptionsConfirmed": str(confirmed),
        "SubscriptionsPending": str(pending),
        "SubscriptionsDeleted": str(topic.deleted_subscriptions),
    }
    if topic.is_fifo:
        found |= {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
    return found | {name: value for name, value in topic.attributes.items() if value}


def effective(topic: Topic) -> dict[str, str]:
    """What of a topic is compared when it is created once more."""
    defaults = {"FifoTopic": "true" if topic.is_fifo else "false", "ContentBasedDeduplication": "false"}
    own = {"DisplayName": "", "Policy": default_policy(topic), "SignatureVersion": "1", "FifoThroughputScope": "Topic"}
    return {**defaults, **own, "MaximumMessageSize": str(topic.most_bytes), **topic.attributes}


def same(name: str, one: str, other: str) -> bool:
    """Whether two values of an attribute mean the same."""
    if name in ("Policy", "DeliveryPolicy", "ArchivePolicy") and one and other:
        return bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    return one == other


def default_policy(topic: Topic) -> str:
    """The policy of a topic that was given none: its account may do everything."""
    document: dict[str, Any] = {
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [
            {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [f"SNS:{action}" for action in _ACTIONS],
                "Resource": topic.arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": topic.scope.account}},
            }
        ],
    }
    return msgspec.json.encode(document).decode()


def _reason(name: str, reason: str) -> ApiError:
    return invalid(f"Attributes Reason: {name} {reason}")
