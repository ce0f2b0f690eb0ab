"""ReceiveMessage."""

from typing import TYPE_CHECKING, Final

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs import attributes
from lambent.services.sqs.live import LiveQueue, Received
from lambent.services.sqs.messages import OTHER_TYPE, SYSTEM, Wanted, check_id, received_shape
from lambent.services.sqs.model import MAX_VISIBILITY_S, invalid_value
from lambent.services.sqs.receipts import Receipt
from lambent.services.sqs.standard import MAX_IN_FLIGHT

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs

_MOST: Final = 10
_LONGEST_WAIT_S: Final = 20


async def receive_message(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """ReceiveMessage: waits, where it is asked to, until there is a message, and not longer."""
    live = await service.queue(caller, params)
    most = params.get("MaxNumberOfMessages")
    most = 1 if most is None else most
    if not 1 <= most <= _MOST:
        raise invalid_value(most, "MaxNumberOfMessages", f"Must be between 1 and {_MOST}, if provided.")
    wait_s = params.get("WaitTimeSeconds")
    if wait_s is not None and not 0 <= wait_s <= _LONGEST_WAIT_S:
        raise invalid_value(wait_s, "WaitTimeSeconds", f"Must be >= 0 and <= {_LONGEST_WAIT_S}, if provided.")
    wait_s = live.queue.number("ReceiveMessageWaitTimeSeconds") if wait_s is None else wait_s
    visibility_s = params.get("VisibilityTimeout")
    if visibility_s is not None and not 0 <= visibility_s <= MAX_VISIBILITY_S:
        reason = f"VisibilityTimeout must be an integer between 0 and {MAX_VISIBILITY_S}"
        raise invalid_value(visibility_s, "VisibilityTimeout", reason)
    visibility_ms = live.queue.visibility_ms if visibility_s is None else visibility_s * 1000
    wanted = _wanted(params)
    if not wait_s and not live.queue.is_fifo and live.core.in_flight >= MAX_IN_FLIGHT:
        raise ApiError("OverLimit", f"Too many messages in flight: {MAX_IN_FLIGHT} is the most.")
    attempt_id = _attempt_id(live, params)
    found = await live.receive_again(attempt_id, visibility_ms) if attempt_id else []
    if not found:
        found = await live.receive(most, visibility_ms, wait_s * 1000)
        if attempt_id and found:
            live.keep_attempt(attempt_id, found)
    _count(service, live, found)
    if not found:
        return {}
    return {"Messages": [_shape(live, each, wanted) for each in found]}


def _attempt_id(live: LiveQueue, params: Shape) -> str | None:
    attempt_id: str | None = params.get("ReceiveRequestAttemptId")
    if attempt_id is None:
        return None
    check_id("ReceiveRequestAttemptId", attempt_id)
    if not live.queue.is_fifo:
        raise invalid_value(attempt_id, "ReceiveRequestAttemptId", OTHER_TYPE)
    return attempt_id


def _wanted(params: Shape) -> Wanted:
    wanted = Wanted.of(params)
    for name in wanted.system:
        if name not in SYSTEM:
            raise attributes.unknown(name)
    return wanted


def _shape(live: LiveQueue, received: Received, wanted: Wanted) -> Shape:
    entry, content, source = received
    handle = Receipt(live.queue.id, entry.seq, entry.receives).handle
    return received_shape(entry, content, source, handle, wanted, is_fifo=live.queue.is_fifo)


def _count(service: "Sqs", live: LiveQueue, found: list[Received]) -> None:
    if found:
        service.count(live.queue, "NumberOfMessagesReceived", len(found))
    else:
        service.count(live.queue, "NumberOfEmptyReceives", 1)
