"""DeleteMessage and DeleteMessageBatch."""

from typing import TYPE_CHECKING

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs import receipts, rows
from lambent.services.sqs.api import batches
from lambent.services.sqs.live import LiveQueue
from lambent.services.sqs.model import invalid_value
from lambent.services.sqs.receipts import Receipt

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs


async def delete_message(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """DeleteMessage: the message is gone for good when this answers."""
    live = await service.queue(caller, params)
    receipt = _receipt(live, params["ReceiptHandle"])
    if receipt is not None:
        await _delete(service, live, [receipt])
    service.count(live.queue, "NumberOfMessagesDeleted", 1)
    return {}


async def delete_message_batch(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """DeleteMessageBatch: what is in `Successful` is gone for good when this answers."""
    entries = params["Entries"]
    batches.check(entries, "DeleteMessageBatchRequestEntry")
    live = await service.queue(caller, params)
    wanted: list[Receipt] = []
    successful: list[Shape] = []
    failed: list[Shape] = []
    for entry in entries:
        try:
            receipt = _receipt(live, entry["ReceiptHandle"])
        except ApiError as error:
            failed.append(batches.failure(entry, _as_entry(error)))
            continue
        successful.append({"Id": entry["Id"]})
        if receipt is not None:
            wanted.append(receipt)
    if wanted:
        await _delete(service, live, wanted)
    service.count(live.queue, "NumberOfMessagesDeleted", len(successful))
    return batches.answer(successful, failed)


def _as_entry(error: ApiError) -> ApiError:
    if error.message.endswith("The receipt handle has expired."):
        return ApiError("ReceiptHandleIsInvalid", "The receipt handle has expired")
    return error


def _receipt(live: LiveQueue, handle: str) -> Receipt | None:
    """The receipt to delete by; None when its message was received again since, and stays."""
    receipt = receipts.read(handle, live.queue.id)
    if live.queue.is_fifo:
        entry = live.core.flying(receipt.seq, receipt.receives, live.now())
        if entry is None and receipt.seq in live.core.entries:
            raise invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
        return receipt
    known = live.core.entries.get(receipt.seq)
    return receipt if known is None or known.receives <= receipt.receives else None


async def _delete(service: "Sqs", live: LiveQueue, wanted: list[Receipt]) -> None:
    queue_id, receipts_ = live.queue.id, [(receipt.seq, receipt.receives) for receipt in wanted]
    await service.database.write(
        lambda tx: rows.delete_messages(tx, queue_id, receipts_),
        committed=lambda count: live.removed([receipt.seq for receipt in wanted], count),
    )
