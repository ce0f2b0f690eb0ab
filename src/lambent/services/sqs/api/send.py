"""SendMessage and SendMessageBatch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.aws.quotas import MIB
from lambent.dispatch import Shape
from lambent.services.sqs import messages, rows
from lambent.services.sqs.api import batches
from lambent.services.sqs.entries import Entry
from lambent.services.sqs.live import LiveQueue
from lambent.services.sqs.messages import Draft
from lambent.services.sqs.model import DEDUPLICATION_MS, no_queue

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs

MAX_BATCH_BYTES: Final = MIB


class _Sent(NamedTuple):
    """How a message is known to who sent it: a duplicate as the first one."""

    message_id: str
    seq: int
    is_new: bool


async def send_message(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """SendMessage: the message is on disk when this answers."""
    live = await service.queue(caller, params)
    draft = messages.draft(live.queue, caller, params)
    messages.check_size(live.queue, draft.content)
    (sent,) = await _store(service, live, [draft])
    return _shape(live, draft, sent, params)


async def send_message_batch(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """SendMessageBatch: the messages that are in `Successful` are on disk when this answers."""
    entries = params["Entries"]
    batches.check(entries, "SendMessageBatchRequestEntry")
    live = await service.queue(caller, params)
    good: list[tuple[Shape, Draft]] = []
    failed: list[Shape] = []
    for entry in entries:
        try:
            good.append((entry, messages.draft(live.queue, caller, entry)))
        except ApiError as error:
            failed.append(batches.failure(entry, error))
    size = sum(draft.content.size for _entry, draft in good)
    if size > MAX_BATCH_BYTES:
        raise ApiError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {MAX_BATCH_BYTES} bytes. You have sent {size} bytes.",
        )
    fit: list[tuple[Shape, Draft]] = []
    for entry, draft in good:
        try:
            messages.check_size(live.queue, draft.content)
            fit.append((entry, draft))
        except ApiError as error:
            failed.append(batches.failure(entry, error))
    all_sent = await _store(service, live, [draft for _entry, draft in fit]) if fit else []
    successful = [
        {"Id": entry["Id"], **_shape(live, draft, sent, entry)}
        for (entry, draft), sent in zip(fit, all_sent, strict=True)
    ]
    return batches.answer(successful, failed)


def _shape(live: LiveQueue, draft: Draft, sent: _Sent, params: Shape) -> Shape:
    seq = sent.seq if live.queue.is_fifo else None
    return messages.sent_shape(draft.content, sent.message_id, seq) | messages.system_md5(params)


async def _store(service: "Sqs", live: LiveQueue, drafts: Sequence[Draft]) -> list[_Sent]:
    now, queue = live.now(), live.queue
    numbered = [(Entry(service.next_number(), now, now + draft.delay_ms, group=draft.group), draft) for draft in drafts]
    stored = [(entry, live.position(entry), draft.content.encoded()) for entry, draft in numbered]

    def change(tx: Connection) -> list[_Sent]:
        new = [
            _deduplicated(tx, queue.id, entry, draft, now - DEDUPLICATION_MS)
            if draft.deduplication_key is not None
            else _Sent(draft.content.message_id, entry.seq, is_new=True)
            for entry, draft in numbered
        ]
        fresh = [row for row, sent in zip(stored, new, strict=True) if sent.is_new]
        if fresh:
            rows.insert_messages(tx, queue.id, fresh)
        return new

    def committed(sent: list[_Sent]) -> None:
        live.sent([(entry, draft.content) for (entry, draft), each in zip(numbered, sent, strict=True) if each.is_new])

    try:
        sent = await service.database.write(change, committed=committed)
    except IntegrityError:
        if not live.is_gone:
            raise
        raise no_queue() from None
    for draft in drafts:
        service.count(queue, "NumberOfMessagesSent", 1)
        service.count(queue, "SentMessageSize", draft.content.size, "Bytes")
    return sent


def _deduplicated(tx: Connection, queue_id: int, entry: Entry, draft: Draft, since_ms: int) -> _Sent:
    key, content = str(draft.deduplication_key), draft.content
    first = rows.duplicate_of(tx, queue_id, key, since_ms)
    if first is not None:
        return _Sent(*first, is_new=False)
    rows.remember(tx, queue_id, key, content.message_id, entry)
    return _Sent(content.message_id, entry.seq, is_new=True)
