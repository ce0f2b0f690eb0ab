"""Publish and PublishBatch."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sns import messages, rows
from lambent.services.sns.live import LiveSubscription, LiveTopic
from lambent.services.sns.messages import Message
from lambent.services.sns.model import DEDUPLICATION_MS, MESSAGE_BODY, Topic, invalid
from lambent.services.sns.rows import Delivery

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

MAX_ENTRIES: Final = 10
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)


class _Published(NamedTuple):
    """How a message is known to who published it: a duplicate as the first one."""

    message_id: str
    seq: int
    is_new: bool


class _Outgoing(NamedTuple):
    """A message, its number, and who is to be told."""

    message: Message
    seq: int
    recipients: list[LiveSubscription]

    @property
    def deliveries(self) -> list[Delivery]:
        message = self.message
        return [
            Delivery(each.subscription.id, self.seq, message.published_ms, message.group) for each in self.recipients
        ]


async def publish(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """Publish: the message, and that it is to be delivered to each subscription, is on disk when this answers."""
    live = _topic(service, params)
    message = messages.draft(live.topic, caller, params, service.clock.now_ms())
    messages.check_size(live.topic, message.size)
    (published,) = await _keep(service, live, [message])
    return _shape(live.topic, published)


async def publish_batch(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """PublishBatch: the messages that are in `Successful` are on disk when this answers."""
    live, entries = service.topic(params["TopicArn"]), params["PublishBatchRequestEntries"]
    _check_entries(entries)
    good: list[tuple[Shape, Message]] = []
    failed: list[Shape] = []
    for entry in entries:
        try:
            good.append((entry, messages.draft(live.topic, caller, entry, service.clock.now_ms())))
        except ApiError as error:
            failed.append(messages.failure(entry, error))
    if sum(message.size for _entry, message in good) > live.topic.most_bytes:
        raise ApiError("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
    published = await _keep(service, live, [message for _entry, message in good]) if good else []
    successful = [
        {"Id": entry["Id"], **_shape(live.topic, each)} for (entry, _message), each in zip(good, published, strict=True)
    ]
    return {"Successful": successful, "Failed": failed}


def _topic(service: "Sns", params: Shape) -> LiveTopic:
    if params.get("PhoneNumber"):
        raise ApiError("NotImplemented", "Publish with PhoneNumber sends an SMS, which Lambent does not do.")
    arn = params.get("TopicArn") or params.get("TargetArn")
    if not arn:
        raise invalid("TopicArn or TargetArn Reason: no value for required parameter")
    if ":endpoint/" in arn or ":app/" in arn:
        raise ApiError("NotImplemented", "Publish to a mobile endpoint is a push, which Lambent does not do.")
    return service.topic(arn, "TopicArn" if params.get("TopicArn") else "TargetArn")


def _check_entries(entries: Sequence[Shape]) -> None:
    if not entries:
        raise ApiError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
    if len(entries) > MAX_ENTRIES:
        raise ApiError("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
    seen = set()
    for entry in entries:
        name = entry["Id"]
        if not _ID.fullmatch(name):
            raise ApiError(
                "InvalidBatchEntryId",
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            )
        if name in seen:
            raise ApiError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
        seen.add(name)


def _shape(topic: Topic, published: _Published) -> Shape:
    shape: Shape = {"MessageId": published.message_id}
    return shape | ({"SequenceNumber": messages.sequence_number(published.seq)} if topic.is_fifo else {})


async def _keep(service: "Sns", live: LiveTopic, drafts: Sequence[Message]) -> list[_Published]:
    topic = live.topic
    outgoing = [_Outgoing(message, service.next_number(), _recipients(service, live, message)) for message in drafts]
    if not topic.is_fifo and not any(each.recipients for each in outgoing):  # nobody is to be told, and nothing kept
        published = [_Published(each.message.message_id, each.seq, is_new=True) for each in outgoing]
    else:
        published = await _write(service, topic, outgoing)
    for message in drafts:
        service.count(topic, "NumberOfMessagesPublished")
        service.count(topic, "PublishSize", message.size, "Bytes")
    return published


async def _write(service: "Sns", topic: Topic, outgoing: Sequence[_Outgoing]) -> list[_Published]:
    kept = [(each, each.message.encoded(), each.deliveries) for each in outgoing]

    def change(tx: Connection) -> list[_Published]:
        published = [_deduplicated(tx, topic, each) for each in outgoing]
        for (each, content, deliveries), one in zip(kept, published, strict=True):
            if one.is_new and deliveries:
                rows.insert_message(tx, each.seq, content, deliveries)
            if one.is_new and topic.archive_days:
                rows.archive(tx, topic.arn, each.seq, each.message.published_ms, content)
        return published

    def committed(published: list[_Published]) -> None:
        for (each, _content, deliveries), one in zip(kept, published, strict=True):
            if one.is_new:
                _hand_over(service, each, deliveries)

    return await service.database.write(change, committed=committed)


def _hand_over(service: "Sns", outgoing: _Outgoing, deliveries: Sequence[Delivery]) -> None:
    for live, delivery in zip(outgoing.recipients, deliveries, strict=True):
        if live.is_gone:
            service.deliverer.over(live.lane, delivery.seq)
        else:
            live.lane.arrived(delivery, outgoing.message)


def _deduplicated(tx: Connection, topic: Topic, outgoing: _Outgoing) -> _Published:
    message = outgoing.message
    if not topic.is_fifo:
        return _Published(message.message_id, outgoing.seq, is_new=True)
    key = messages.deduplication_key(topic, message)
    first = rows.duplicate_of(tx, topic.arn, key, message.published_ms - DEDUPLICATION_MS)
    if first is not None:
        return _Published(*first, is_new=False)
    rows.remember(tx, topic.arn, key, message.message_id, outgoing.seq, message.published_ms)
    return _Published(message.message_id, outgoing.seq, is_new=True)


def _recipients(service: "Sns", live: LiveTopic, message: Message) -> list[LiveSubscription]:
    found = []
    for each in live.subscriptions.values():
        if not each.subscription.is_confirmed:
            continue
        if each.passes(message):
            found.append(each)
        else:
            service.count(live.topic, "NumberOfNotificationsFilteredOut")
            service.count(live.topic, f"NumberOfNotificationsFilteredOut-{_why(each, message)}")
    return found


def _why(live: LiveSubscription, message: Message) -> str:
    if live.subscription.filter_scope == MESSAGE_BODY:
        return "MessageBody"
    return "MessageAttributes" if message.attributes else "NoMessageAttributes"
