"""What a message says: its content, its checks and its digests. Pure.

Source: Amazon SQS API Reference, SendMessage and ReceiveMessage; Developer Guide, "Amazon SQS message metadata".
"""

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs import message_attributes
from lambent.services.sqs.entries import Entry
from lambent.services.sqs.message_attributes import unfit_character
from lambent.services.sqs.model import Queue, invalid, invalid_value

MAX_DELAY_S: Final = 900
OTHER_TYPE: Final = "The request include parameter that is not valid for this queue type."
_MAX_ID: Final = 128
_ID: Final = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}", re.ASCII)
_TRACE: Final = "AWSTraceHeader"
SYSTEM: Final = frozenset(
    [
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "AWSTraceHeader",
        "All",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
    ]
)
"""What a receiver may ask for of a message's attributes."""
# Growing, and 20 digits long, whatever our own numbers are.
_SEQUENCE_BASE: Final = 10**19


class Content(msgspec.Struct, frozen=True, array_like=True):
    """A message as it is stored. Attributes have AWS's shape."""

    message_id: str
    body: str
    md5: str
    sender: str
    attributes: dict[str, dict[str, Any]] = {}
    attributes_md5: str = ""
    trace_header: str | None = None
    deduplication_id: str | None = None
    size: int = 0

    def encoded(self) -> bytes:
        return _ENCODER.encode(self)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Content)


def decoded(content: bytes) -> Content:
    """The content that `Content.encoded` made."""
    return _DECODER.decode(content)


class Draft(msgspec.Struct, frozen=True):
    """A message that may be sent: what it says, and where it is to stand."""

    content: Content
    delay_ms: int
    group: str | None
    deduplication_key: str | None  # of a FIFO queue


def draft(queue: Queue, caller: Caller, params: Shape) -> Draft:
    """The message that SendMessage, or an entry of its batch, asks for.

    Raises:
        ApiError: InvalidParameterValue, MissingParameter, InvalidMessageContents.
    """
    body: str = params["MessageBody"]
    if not body:
        raise ApiError("MissingParameter", "The request must contain the parameter MessageBody.")
    if unfit := unfit_character(body, "message body"):
        raise ApiError("InvalidMessageContents", unfit)
    attributes = message_attributes.checked(params.get("MessageAttributes") or {})
    raw = body.encode()
    group, deduplication_id = _ids(queue, params)
    content = Content(
        message_id=str(uuid.uuid4()),
        body=body,
        md5=_md5(raw),
        sender=caller.user_id,
        attributes=attributes,
        attributes_md5=message_attributes.digest(attributes) if attributes else "",
        trace_header=_trace_header(params.get("MessageSystemAttributes") or {}, caller),
        deduplication_id=deduplication_id,
        size=len(raw) + sum(message_attributes.size(name, value) for name, value in attributes.items()),
    )
    key = None
    if queue.is_fifo:
        key = deduplication_id or hashlib.sha256(raw).hexdigest()
        if queue.all_attributes["DeduplicationScope"] == "messageGroup":
            key = f"{group}\n{key}"
        if deduplication_id is None:
            content = msgspec.structs.replace(content, deduplication_id=hashlib.sha256(raw).hexdigest())
    return Draft(content, _delay_ms(queue, params), group, key)


def check_size(queue: Queue, content: Content) -> None:
    """Raises ApiError InvalidParameterValue for a message that is longer than its queue's may be."""
    most = queue.number("MaximumMessageSize")
    if content.size > most:
        raise invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {most} bytes.")


def _delay_ms(queue: Queue, params: Shape) -> int:
    delay = params.get("DelaySeconds")
    if delay is None:
        return queue.delay_ms
    if not 0 <= delay <= MAX_DELAY_S:
        raise invalid_value(delay, "DelaySeconds", f"DelaySeconds must be >= 0 and <= {MAX_DELAY_S}.")
    if queue.is_fifo:
        if delay:
            raise invalid_value(delay, "DelaySeconds", OTHER_TYPE)
        return queue.delay_ms
    return int(delay) * 1000


def check_id(name: str, value: str) -> None:
    """Raises ApiError InvalidParameterValue for what cannot be an id of a group, a message or an attempt."""
    if not _ID.fullmatch(value):
        reason = f"{name} can only include alphanumeric and punctuation characters. 1 to {_MAX_ID} in length."
        raise invalid_value(value, name, reason)


def _ids(queue: Queue, params: Shape) -> tuple[str | None, str | None]:
    group, deduplication_id = params.get("MessageGroupId"), params.get("MessageDeduplicationId")
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", deduplication_id)):
        if value is not None:
            check_id(name, value)
    if not queue.is_fifo:
        if deduplication_id is not None:
            raise invalid_value(deduplication_id, "MessageDeduplicationId", OTHER_TYPE)
        return group, None
    if group is None:
        raise ApiError("MissingParameter", "The request must contain the parameter MessageGroupId.")
    if deduplication_id is None and not queue.is_on("ContentBasedDeduplication"):
        raise invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly"
        )
    return group, deduplication_id


def _trace_header(system: Mapping[str, Shape], caller: Caller) -> str | None:
    for name, value in system.items():
        if name != _TRACE:
            raise invalid(f"Message system attribute name '{name}' is invalid.")
        if value.get("DataType") != "String":
            raise invalid(f"The message system attribute '{name}' must use the type 'String'.")
        if not value.get("StringValue"):
            raise invalid(f"The message system attribute '{name}' must contain a non-empty string value.")
        return str(value["StringValue"])
    return caller.trace_header


def _md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


# --- as answers show it


def sent_shape(content: Content, message_id: str, seq: int | None) -> Shape:
    """What SendMessage answers; `seq` of a FIFO queue's message."""
    shape: Shape = {"MD5OfMessageBody": content.md5, "MessageId": message_id}
    if content.attributes_md5:
        shape["MD5OfMessageAttributes"] = content.attributes_md5
    if seq is not None:
        shape["SequenceNumber"] = sequence_number(seq)
    return shape


def system_md5(params: Shape) -> Shape:
    """The digest of the system attributes, if there were any."""
    given = params.get("MessageSystemAttributes")
    return {"MD5OfMessageSystemAttributes": message_attributes.digest(given)} if given else {}


def sequence_number(seq: int) -> str:
    """As FIFO queues show it."""
    return str(_SEQUENCE_BASE + seq)


class Wanted(msgspec.Struct, frozen=True):
    """What a receiver wants to know of each message beside its body."""

    system: frozenset[str]
    attributes: Sequence[str]

    @classmethod
    def of(cls, params: Shape) -> "Wanted":
        system = [*(params.get("AttributeNames") or ()), *(params.get("MessageSystemAttributeNames") or ())]
        return cls(frozenset(system), params.get("MessageAttributeNames") or ())


def received_shape(
    entry: Entry, content: Content, source: str | None, handle: str, wanted: Wanted, *, is_fifo: bool
) -> Shape:
    """A message as ReceiveMessage answers it."""
    shape: Shape = {
        "MessageId": content.message_id,
        "ReceiptHandle": handle,
        "MD5OfBody": content.md5,
        "Body": content.body,
    }
    if wanted.system:
        every = _system_attributes(entry, content, source, is_fifo=is_fifo)
        shape["Attributes"] = every if "All" in wanted.system else _picked(every, wanted.system)
        if not shape["Attributes"]:
            del shape["Attributes"]
    if wanted.attributes and content.attributes:
        chosen = {name: value for name, value in content.attributes.items() if _is_wanted(name, wanted.attributes)}
        if chosen:
            shape["MessageAttributes"] = chosen
            is_whole = len(chosen) == len(content.attributes)
            shape["MD5OfMessageAttributes"] = content.attributes_md5 if is_whole else message_attributes.digest(chosen)
    return shape


def _picked(every: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: value for name, value in every.items() if name in names}


def _system_attributes(entry: Entry, content: Content, source: str | None, *, is_fifo: bool) -> dict[str, str]:
    every = {
        "SenderId": content.sender,
        "ApproximateFirstReceiveTimestamp": str(entry.first_ms),
        "ApproximateReceiveCount": str(entry.receives),
        "SentTimestamp": str(entry.sent_ms),
    }
    if is_fifo:
        every["SequenceNumber"] = sequence_number(entry.seq)
        # Moved to another queue, two messages with the same id must both survive.
        every["MessageDeduplicationId"] = content.message_id if source else str(content.deduplication_id)
    if entry.group is not None:
        every["MessageGroupId"] = entry.group
    if content.trace_header:
        every["AWSTraceHeader"] = content.trace_header
    if source:
        every["DeadLetterQueueSourceArn"] = source
    return every


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return any(
        pattern in ("All", ".*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))
        for pattern in patterns
    )
