"""Delivers what a bucket has to tell: to functions, queues, topics and the event bus, at least once.

A notification is a row from the transaction on in which it happened. It is deleted when its target has acknowledged it,
so that a node that was killed in between tells it again.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Row

from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Call
from lambent.observe import points
from lambent.services.s3 import rows

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_AT_ONCE: Final = 64  # further ones wait in the store
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 300.0
_MOST_ATTEMPTS: Final = 300  # with these waits about a day
# The target is not there any more, or was never: trying again would not help.
_FINAL: Final = frozenset(
    [
        "AccessDeniedException",
        "AuthorizationError",
        "InvalidParameterValueException",
        "NotFound",
        "NotFoundException",
        "NotImplemented",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    ]
)


async def deliver_all(service: "S3") -> None:
    """Deliver what is due, until cancelled."""
    while True:
        service.has_notifications.clear()
        now = service.clock.now_ms()
        due = await service.database.read(lambda tx: rows.due_notifications(tx, now, _AT_ONCE))  # noqa: B023
        if due:
            await _deliver(service, due)
            continue
        later = await service.database.read(rows.next_due)
        wait_s = None if later is None else max(later - service.clock.now_ms(), 0) / 1000
        await service.clock.wait(service.has_notifications, wait_s)


async def _deliver(service: "S3", due: "list[Row[Any]] | Any") -> None:
    delivered: list[int] = []

    async def one(row: "Row[Any]") -> None:
        if await _is_settled(service, row):
            delivered.append(row.id)

    async with asyncio.TaskGroup() as tasks:
        for row in due:
            tasks.create_task(one(row), name="s3.delivery")
    points.reached("s3.delivered")
    if delivered:
        await service.database.write(lambda tx: rows.delete_notifications(tx, delivered))


async def _is_settled(service: "S3", row: "Row[Any]") -> bool:
    """Whether the target has it, or never will."""
    caller = _caller(row)
    try:
        await tell(service.call, row.target, row.body, caller)
    except ApiError as error:
        attempts = row.attempts + 1
        if error.code in _FINAL or attempts >= _MOST_ATTEMPTS:
            service.log.warning("s3.notification_dropped", target=row.target, bucket=row.source, code=error.code)
            return True
        wait_s = min(_FIRST_WAIT_S * 2 ** min(attempts - 1, 20), _LONGEST_WAIT_S)
        due_ms = service.clock.now_ms() + int(wait_s * 1000)
        await service.database.write(lambda tx: rows.defer_notification(tx, row.id, attempts, due_ms))
        return False
    return True


def _caller(row: "Row[Any]") -> Caller:
    principal = "s3.amazonaws.com"
    return Caller(account=row.account, region=Arn.parse(row.target).region, principal=principal, user_id=principal)


async def tell(call: Call, target: str, body: bytes, caller: Caller) -> None:
    """Hands one message to what the ARN names.

    Raises:
        ApiError: what the target's service says.
    """
    arn = Arn.parse(target)
    if arn.service == "lambda":
        invoke = {"FunctionName": target, "InvocationType": "Event", "Payload": body}
        await call("lambda", "Invoke", invoke, caller=caller)
    elif arn.service == "sqs":
        url = f"https://sqs.{arn.region}.amazonaws.com/{arn.account}/{arn.resource}"
        await call("sqs", "SendMessage", {"QueueUrl": url, "MessageBody": body.decode()}, caller=caller)
    elif arn.service == "sns":
        publish = {"TopicArn": target, "Message": body.decode(), "Subject": "Amazon S3 Notification"}
        await call("sns", "Publish", publish, caller=caller)
    else:
        await call("events", "PutEvents", {"Entries": [msgspec.json.decode(body)]}, caller=caller)
