"""ChangeMessageVisibility and its batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs import receipts
from lambent.services.sqs.api import batches
from lambent.services.sqs.entries import Entry
from lambent.services.sqs.live import LiveQueue
from lambent.services.sqs.model import MAX_VISIBILITY_S, invalid_value

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs


async def change_message_visibility(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """ChangeMessageVisibility: counts from now."""
    live = await service.queue(caller, params)
    await _store(live, [_change(live, params["ReceiptHandle"], params["VisibilityTimeout"])])
    return {}


async def change_message_visibility_batch(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """ChangeMessageVisibilityBatch."""
    entries = params["Entries"]
    batches.check(entries, "ChangeMessageVisibilityBatchRequestEntry")
    live = await service.queue(caller, params)
    changed: list[Entry] = []
    successful: list[Shape] = []
    failed: list[Shape] = []
    for entry in entries:
        try:
            changed.append(_change(live, entry["ReceiptHandle"], entry.get("VisibilityTimeout")))
            successful.append({"Id": entry["Id"]})
        except ApiError as error:
            failed.append(batches.failure(entry, error))
    await _store(live, changed)
    return batches.answer(successful, failed)


def _change(live: LiveQueue, handle: str, timeout_s: int | None) -> Entry:
    timeout_s = live.queue.visibility_ms // 1000 if timeout_s is None else timeout_s
    if not 0 <= timeout_s <= MAX_VISIBILITY_S:
        reason = f"VisibilityTimeout must be an integer between 0 and {MAX_VISIBILITY_S}"
        raise invalid_value(timeout_s, "VisibilityTimeout", reason)
    receipt, now = receipts.read(handle, live.queue.id), live.now()
    entry = live.core.flying(receipt.seq, receipt.receives, now)
    if entry is None:
        reason = "Message does not exist or is not available for visibility timeout change."
        raise invalid_value(handle, "ReceiptHandle", reason)
    if now + timeout_s * 1000 > (entry.received_ms or now) + MAX_VISIBILITY_S * 1000:
        reason = f"Total VisibilityTimeout for the message is beyond the limit [{MAX_VISIBILITY_S} seconds]"
        raise invalid_value(timeout_s, "VisibilityTimeout", reason)
    live.core.change(entry, now + timeout_s * 1000, now)
    live.mark([entry])
    live.nudge()
    return entry


async def _store(live: LiveQueue, changed: Sequence[Entry]) -> None:
    """A FIFO queue's is stored at once: else a message could come twice after a crash."""
    if live.queue.is_fifo:
        await live.flush()
