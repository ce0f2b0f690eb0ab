"""What endpoints are told: the JSON envelope, Lambda's event, and what is signed of them. Pure.

Source: Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format" and "Verifying the signatures of Amazon SNS
messages"; AWS Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS notifications"; facts sheet B4.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from lambent.services.sns.messages import Message, sequence_number
from lambent.services.sns.model import Subscription

Sign = Callable[[str, str], str]
"""The signature, in base64, of a signature version and a text."""

NOTIFICATION: Final = "Notification"
_NOTIFICATION_SIGNED: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION_SIGNED: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """How what is told is signed: the version, who signs, and where the certificate is."""

    version: str
    sign: Sign
    certificate_url: str


def timestamp(moment_ms: int) -> str:
    """As SNS writes moments."""
    moment = datetime.fromtimestamp(moment_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment_ms % 1000:03}Z"


def string_to_sign(said: Mapping[str, Any]) -> str:
    """What the signature of a notification or of a (un)subscription's confirmation is of."""
    names = _NOTIFICATION_SIGNED if said["Type"] == NOTIFICATION else _CONFIRMATION_SIGNED
    return "".join(f"{name}\n{said[name]}\n" for name in names if said.get(name) is not None)


@dataclass(slots=True, eq=False)
class Beginnings:
    """How envelopes begin, of the last messages: up to the address to unsubscribe at, they are the same for many."""

    most: int = 64
    most_bytes: int = 16_384
    _known: dict[tuple[int, str, str, bool], str] = field(default_factory=dict)

    def of(self, message: Message, seq: int, protocol: str, seal: Seal) -> str:
        """The beginning of a message's envelope."""
        if message.size > self.most_bytes or protocol in message.bodies:
            return _beginning(message, seq, protocol, seal)
        key = (seq, seal.version, seal.certificate_url, message.is_replayed)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _beginning(message, seq, protocol, seal)
            if len(self._known) > self.most:
                del self._known[next(iter(self._known))]
        return found


def notification(message: Message, beginning: str, subscription: Subscription, base_url: str) -> str:
    """The envelope that queues and HTTP endpoints are given."""
    said: dict[str, Any] = {"UnsubscribeURL": unsubscribe_url(base_url, subscription.arn)}
    if message.is_replayed:
        said["Replayed"] = "true"
    if message.attributes:
        said["MessageAttributes"] = _attributes(message)
    return f"{{\n{beginning},\n{_lines(said)}\n}}"


def _beginning(message: Message, seq: int, protocol: str, seal: Seal) -> str:
    said: dict[str, Any] = {"Type": NOTIFICATION, "MessageId": message.message_id}
    if message.deduplication_id is not None:
        said["SequenceNumber"] = sequence_number(seq)
    said["TopicArn"] = message.topic_arn
    if message.subject is not None:
        said["Subject"] = message.subject
    said["Message"] = message.body_for(protocol)
    said["Timestamp"] = timestamp(message.published_ms)
    _seal(said, seal)
    return _lines(said)


def confirmation(kind: str, topic_arn: str, token: str, said: Mapping[str, str], seal: Seal) -> str:
    """A confirmation of either kind. `said` has MessageId, Message, SubscribeURL and Timestamp."""
    every: dict[str, Any] = {
        "Type": kind,
        "MessageId": said["MessageId"],
        "Token": token,
        "TopicArn": topic_arn,
        "Message": said["Message"],
        "SubscribeURL": said["SubscribeURL"],
        "Timestamp": said["Timestamp"],
    }
    _seal(every, seal)
    return f"{{\n{_lines(every)}\n}}"


def event(message: Message, subscription: Subscription, base_url: str, seal: Seal) -> bytes:
    """The event that a function is given."""
    said = {
        "Type": NOTIFICATION,
        "MessageId": message.message_id,
        "TopicArn": message.topic_arn,
        "Subject": message.subject,
        "Message": message.body_for(subscription.protocol),
        "Timestamp": timestamp(message.published_ms),
    }
    _seal(said, seal)
    sns = {
        "SignatureVersion": said["SignatureVersion"],
        "Timestamp": said["Timestamp"],
        "Signature": said["Signature"],
        "SigningCertUrl": said["SigningCertURL"],
        "MessageId": said["MessageId"],
        "Message": said["Message"],
        "MessageAttributes": _attributes(message),
        "Type": said["Type"],
        "UnsubscribeUrl": unsubscribe_url(base_url, subscription.arn),
        "TopicArn": said["TopicArn"],
        "Subject": said["Subject"],
    }
    record = {
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "EventSource": "aws:sns",
        "Sns": sns,
    }
    return msgspec.json.encode({"Records": [record]})


def unsubscribe_url(base_url: str, subscription_arn: str) -> str:
    """Where whoever reads a message unsubscribes its endpoint."""
    return f"{base_url}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}"


def subscribe_url(base_url: str, topic_arn: str, token: str) -> str:
    """Where an endpoint confirms its subscription."""
    return (
        f"{base_url}/?{urlencode({'Action': 'ConfirmSubscription', 'TopicArn': topic_arn, 'Token': token}, safe=':')}"
    )


def _seal(said: dict[str, Any], seal: Seal) -> None:
    said["SignatureVersion"] = seal.version
    said["Signature"] = seal.sign(seal.version, string_to_sign(said))
    said["SigningCertURL"] = seal.certificate_url


def _attributes(message: Message) -> dict[str, dict[str, str]]:
    return {
        name: {
            "Type": value["DataType"],
            "Value": base64.b64encode(value["BinaryValue"]).decode()
            if "BinaryValue" in value
            else value["StringValue"],
        }
        for name, value in message.attributes.items()
    }


def _lines(said: Mapping[str, Any]) -> str:
    """With AWS's line breaks and blanks."""
    lines = []
    for name, value in said.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"    {_json(key)} : {_json(below)}" for key, below in value.items())
            lines.append(f"  {_json(name)} : {{\n{inner}\n  }}")
        else:
            lines.append(f"  {_json(name)} : {_json(value)}")
    return ",\n".join(lines)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
