"""What is published: its checks, and a message as it is kept. Pure.

Source: Amazon SNS API Reference, Publish; Developer Guide, "Message deduplication for FIFO topics".
"""

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sns import message_attributes
from lambent.services.sns.model import Topic, invalid

MAX_SUBJECT: Final = 100
_ID: Final = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}", re.ASCII)
_SUBJECT: Final = re.compile(r"[^\x00-\x1f\x7f]+")
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_SEQUENCE_BASE: Final = 10**19  # growing, and 20 digits long, whatever our own numbers are
_DEFAULT: Final = "default"
_PROTOCOLS: Final = frozenset([_DEFAULT, "sqs", "lambda", "http", "https", "email", "email-json", "sms", "firehose"])


class Message(msgspec.Struct, frozen=True, array_like=True):
    """A message as it is kept. Attributes have the API's shape. `bodies` are those of single protocols."""

    message_id: str
    topic_arn: str
    body: str
    published_ms: int
    subject: str | None = None
    bodies: dict[str, str] = {}
    attributes: dict[str, dict[str, Any]] = {}
    group: str | None = None
    deduplication_id: str | None = None
    trace_header: str | None = None
    size: int = 0
    is_replayed: bool = False

    def encoded(self) -> bytes:
        return _ENCODER.encode(self)

    def body_for(self, protocol: str) -> str:
        """What the endpoints of a protocol are told."""
        return self.bodies.get(protocol, self.body)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Message)


def decoded(content: bytes) -> Message:
    """The message that `Message.encoded` made."""
    return _DECODER.decode(content)


def sequence_number(seq: int) -> str:
    """As FIFO topics show it."""
    return str(_SEQUENCE_BASE + seq)


def draft(topic: Topic, caller: Caller, params: Shape, now_ms: int) -> Message:
    """The message that Publish, or an entry of its batch, asks for. Its size is not checked yet.

    Raises:
        ApiError: InvalidParameter, ParameterValueInvalid.
    """
    text: str = params.get("Message") or ""
    if not text:
        raise invalid("Empty message")
    for name, value in (("Message", text), ("Subject", params.get("Subject") or "")):
        if _NOT_XML.search(value):
            raise invalid(f"{name} Reason: it has a character that XML cannot have")
    body, bodies = _bodies(params.get("MessageStructure"), text)
    subject = params.get("Subject")
    if subject is not None:
        _check_subject(subject)
    attributes = message_attributes.checked(params.get("MessageAttributes") or {})
    group, deduplication_id = _ids(topic, params, body)
    return Message(
        message_id=str(uuid.uuid4()),
        topic_arn=topic.arn,
        body=body,
        published_ms=now_ms,
        subject=subject,
        bodies=bodies,
        attributes=attributes,
        group=group,
        deduplication_id=deduplication_id,
        trace_header=caller.trace_header,
        size=len(text.encode()) + sum(message_attributes.size(*each) for each in attributes.items()),
    )


def check_size(topic: Topic, size: int) -> None:
    """Raises ApiError InvalidParameter for a message that is longer than its topic's may be."""
    if size > topic.most_bytes:
        raise invalid("Message too long")


def _check_subject(subject: str) -> None:
    if not 1 <= len(subject) <= MAX_SUBJECT or not _SUBJECT.fullmatch(subject):
        raise invalid("Subject")


def _bodies(structure: str | None, text: str) -> tuple[str, dict[str, str]]:
    """What everybody is told, and what single protocols are told instead."""
    if structure is None:
        return text, {}
    if structure != "json":
        raise invalid("MessageStructure")
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid("Message Structure - JSON message body failed to parse")
    if not isinstance(found.get(_DEFAULT), str):
        raise invalid("Message Structure - No default entry in JSON message body")
    bodies = {name: value for name, value in found.items() if name in _PROTOCOLS}
    for name, value in bodies.items():
        if not isinstance(value, str):
            raise invalid(f"Message Structure - The value of {name} in JSON message body is not a string")
    return bodies.pop(_DEFAULT), bodies


def _ids(topic: Topic, params: Shape, body: str) -> tuple[str | None, str | None]:
    group, deduplication_id = params.get("MessageGroupId"), params.get("MessageDeduplicationId")
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", deduplication_id)):
        if value is not None and not _ID.fullmatch(value):
            raise invalid(
                f"{name} Reason: {name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            )
    if not topic.is_fifo:
        if deduplication_id is not None:
            raise invalid(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not "
                "valid for this topic type"
            )
        return group, None
    if group is None:
        raise invalid("The MessageGroupId parameter is required for FIFO topics")
    if deduplication_id is None:
        if not topic.deduplicates_by_content:
            raise invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
                "explicitly"
            )
        deduplication_id = hashlib.sha256(body.encode()).hexdigest()
    return group, deduplication_id


def deduplication_key(topic: Topic, message: Message) -> str:
    """By what a message is known to have been published before."""
    return (
        f"{message.group}\n{message.deduplication_id}"
        if topic.deduplicates_per_group
        else str(message.deduplication_id)
    )


def failure(entry: Mapping[str, Any], error: ApiError) -> Shape:
    """One entry of a batch that was not published."""
    return {"Id": entry["Id"], "Code": error.code, "Message": error.message, "SenderFault": True}
