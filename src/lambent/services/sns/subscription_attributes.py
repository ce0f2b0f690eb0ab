"""Attributes of subscriptions: which may be set, and how they are shown. Pure.

Source: Amazon SNS API Reference, Subscribe, SetSubscriptionAttributes and GetSubscriptionAttributes; facts sheet B5.
"""

from datetime import datetime
from typing import Any, Final

import msgspec

from lambent.aws.arn import Arn
from lambent.aws.errors import ApiError
from lambent.services.sns import delivery_policy, filters
from lambent.services.sns.model import FIFO_SUFFIX, MESSAGE_ATTRIBUTES, Subscription, Topic, invalid

NAMES: Final = (
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "ReplayPolicy",
    "SubscriptionRoleArn",
)
_RAW: Final = ("sqs", "http", "https", "firehose")


def checked(topic: Topic, protocol: str, given: dict[str, str]) -> dict[str, str]:
    """The attributes of a subscription to a topic, as they are kept.

    Raises:
        ApiError: InvalidParameter.
    """
    for name in given:
        if name not in NAMES:
            raise invalid(f"Attributes Reason: Unknown attribute {name}")
    scope = given.get("FilterPolicyScope") or MESSAGE_ATTRIBUTES
    return {name: _check(topic, protocol, name, value, scope) for name, value in given.items()}


def changed(topic: Topic, subscription: Subscription, name: str, value: str) -> dict[str, str]:
    """A subscription's attributes with another value of one; an empty text takes it away.

    Raises:
        ApiError: InvalidParameter.
    """
    if name not in NAMES:
        raise invalid("AttributeName")
    scope = value or MESSAGE_ATTRIBUTES if name == "FilterPolicyScope" else subscription.filter_scope
    kept = _check(topic, subscription.protocol, name, value, scope)
    if name == "FilterPolicyScope" and subscription.filter_policy:
        filters.check(subscription.filter_policy, scope)
    return {each: text for each, text in {**subscription.attributes, name: kept}.items() if text}


def _check(topic: Topic, protocol: str, name: str, value: str, scope: str) -> str:
    if not value:
        return value
    match name:
        case "FilterPolicy":
            filters.check(value, scope)
        case "FilterPolicyScope":
            filters.check_scope(value)
        case "RawMessageDelivery":
            return _raw(protocol, value)
        case "RedrivePolicy":
            return _redrive(topic, value)
        case "DeliveryPolicy":
            if protocol not in ("http", "https"):
                raise invalid("DeliveryPolicy: Only HTTP subscriptions are supported")
            delivery_policy.check(value, of_topic=False)
        case "ReplayPolicy":
            return _replay(topic, protocol, value)
    return value


def _raw(protocol: str, value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise invalid(f"Attributes Reason: RawMessageDelivery: Invalid value [{value}]. Must be true or false.")
    if protocol not in _RAW and value.lower() == "true":
        raise invalid(f"Attributes Reason: RawMessageDelivery: {protocol} endpoints do not support raw delivery")
    return value.lower()


def _map(name: str, value: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid(f"{name}: failed to parse JSON.")
    return found


def _redrive(topic: Topic, value: str) -> str:
    found = _map("RedrivePolicy", value)
    if not found:
        return ""
    target = found.get("deadLetterTargetArn")
    if not isinstance(target, str) or found.keys() - {"deadLetterTargetArn"}:
        raise invalid("RedrivePolicy: deadLetterTargetArn is the one member that there must be")
    try:
        arn = Arn.parse(target)
    except ValueError:
        raise invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn") from None
    if arn.service != "sqs" or not arn.resource:
        raise invalid("RedrivePolicy: deadLetterTargetArn must be an SQS queue")
    if (arn.account, arn.region) != topic.scope:
        raise invalid("RedrivePolicy: deadLetterTargetArn must be in the account and Region of the topic")
    if topic.is_fifo != arn.resource.endswith(FIFO_SUFFIX):
        kind = "a FIFO" if topic.is_fifo else "a standard"
        raise invalid(f"RedrivePolicy: must use {kind} queue as DLQ for this topic")
    return value


def _replay(topic: Topic, protocol: str, value: str) -> str:
    found = _map("ReplayPolicy", value)
    if not found:
        return ""
    if not topic.archive_days:
        raise invalid("ReplayPolicy: the topic has no ArchivePolicy")
    if protocol != "sqs":
        raise invalid("ReplayPolicy: only SQS endpoints support replays")
    if found.get("PointType") != "Timestamp" or found.keys() - {"PointType", "StartingPoint", "EndingPoint"}:
        raise invalid("ReplayPolicy: PointType must be Timestamp, with StartingPoint and EndingPoint")
    start = moment_ms(found.get("StartingPoint"))
    end = moment_ms(found.get("EndingPoint")) if "EndingPoint" in found else None
    if start is None or ("EndingPoint" in found and end is None):
        raise invalid("ReplayPolicy: StartingPoint and EndingPoint must be timestamps such as 2026-01-01T00:00:00.000Z")
    if end is not None and end < start:
        raise invalid("ReplayPolicy: EndingPoint must be after StartingPoint")
    return value


def moment_ms(text: Any) -> int | None:
    """A timestamp in milliseconds since the epoch; None when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)


def shown(topic: Topic, subscription: Subscription) -> dict[str, str]:
    """GetSubscriptionAttributes' answer."""
    found = {
        "SubscriptionArn": subscription.arn,
        "TopicArn": subscription.topic_arn,
        "Protocol": subscription.protocol,
        "Endpoint": subscription.endpoint,
        "Owner": subscription.owner,
        "ConfirmationWasAuthenticated": _word(subscription.was_authenticated),
        "PendingConfirmation": _word(not subscription.is_confirmed),
        "RawMessageDelivery": _word(subscription.is_raw),
        "SubscriptionPrincipal": f"arn:aws:iam::{subscription.owner}:root",
    }
    if subscription.filter_policy:
        found["FilterPolicyScope"] = subscription.filter_scope
    if subscription.is_http:
        found["EffectiveDeliveryPolicy"] = delivery_policy.effective_of_subscription(topic, subscription)
    if subscription.attributes.get("ReplayPolicy"):
        found["ReplayStatus"] = subscription.replay_status
    kept = {name: value for name, value in subscription.attributes.items() if value}
    if not subscription.filter_policy:
        kept.pop("FilterPolicyScope", None)
        kept.pop("FilterPolicy", None)
    return found | kept


def same(subscription: Subscription, asked: dict[str, str]) -> bool:
    """Whether who subscribes once more asks for what is there."""
    defaults = {"RawMessageDelivery": "false", "FilterPolicyScope": MESSAGE_ATTRIBUTES}
    return all(
        _meaning(subscription.attributes.get(name) or defaults.get(name, "")) == _meaning(value)
        for name, value in asked.items()
    )


def _meaning(value: str) -> Any:
    try:
        return msgspec.json.decode(value) or ""
    except msgspec.DecodeError:
        return value


def _word(value: bool) -> str:
    return "true" if value else "false"


def no_more_filters() -> ApiError:
    """The error for one filter policy too many."""
    return ApiError("FilterPolicyLimitExceeded", "Filter policy limit exceeded for this topic or account")
