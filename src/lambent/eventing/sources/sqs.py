"""A queue as a source: what a function's execution role may receive and delete, in the form of Lambda's event.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS"; sample events that AWS publishes; facts sheet
section 28 and A9.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Call, Shape
from lambent.eventing.source import Record

DATA_KEY: Final = "body"
_MOST: Final = 10  # messages in one call
_VISIBILITY_S: Final = 30.0
_VISIBILITY_AGE_S: Final = 60.0  # how often the queue's timeout is asked for
_DELETES_AT_ONCE: Final = 8

# In AWS's order.
_ATTRIBUTES: Final = (
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "SentTimestamp",
    "SequenceNumber",
    "MessageGroupId",
    "SenderId",
    "MessageDeduplicationId",
    "ApproximateFirstReceiveTimestamp",
    "DeadLetterQueueSourceArn",
)


def queue_url(queue: Arn) -> str:
    """A URL that names the queue to SQS, whatever host clients use."""
    return f"https://sqs.{queue.region}.amazonaws.com/{queue.account}/{queue.resource}"


def is_fifo(queue: Arn) -> bool:
    """Whether its messages are in order, group by group."""
    return queue.resource.endswith(".fifo")


@dataclass(slots=True, kw_only=True, eq=False)
class SqsSource:
    """A queue. `caller` is the execution role as it is now."""

    queue: Arn
    call: Call
    caller: Callable[[], Caller]
    clock: Clock
    most: int = _MOST
    _visibility_s: float = field(init=False, default=_VISIBILITY_S)
    _asked_at: float | None = field(init=False, default=None)

    async def receive(self, most: int, wait_s: int) -> list[Record]:
        """As `Source`."""
        await self._ask_visibility()
        params: Shape = {
            "QueueUrl": queue_url(self.queue),
            "MaxNumberOfMessages": most,
            "WaitTimeSeconds": wait_s,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        answer = await self.call("sqs", "ReceiveMessage", params, caller=self.caller())
        expires_at = self.clock.now() + self._visibility_s
        return [self._record(message, expires_at) for message in answer.get("Messages") or ()]

    async def settle(self, records: Sequence[Record]) -> list[Record]:
        """As `Source`: deletes."""
        chunks = [records[at : at + _MOST] for at in range(0, len(records), _MOST)]
        if len(chunks) == 1:
            return await self._delete(chunks[0])
        left: list[Record] = []
        limit = asyncio.Semaphore(_DELETES_AT_ONCE)

        async def delete(chunk: Sequence[Record]) -> None:
            async with limit:
                try:
                    left.extend(await self._delete(chunk))
                except ApiError:
                    left.extend(chunk)

        async with asyncio.TaskGroup() as tasks:
            for chunk in chunks:
                tasks.create_task(delete(chunk), name="sqs.delete")
        return left

    async def _delete(self, records: Sequence[Record]) -> list[Record]:
        """Those that SQS could not delete through a fault of its own; a handle that is too old is no use again."""
        entries = [{"Id": str(number), "ReceiptHandle": record.handle} for number, record in enumerate(records)]
        params: Shape = {"QueueUrl": queue_url(self.queue), "Entries": entries}
        answer = await self.call("sqs", "DeleteMessageBatch", params, caller=self.caller())
        failed = [entry for entry in answer.get("Failed") or () if not entry.get("SenderFault")]
        return [records[int(entry["Id"])] for entry in failed]

    async def _ask_visibility(self) -> None:
        now = self.clock.elapsed()
        if self._asked_at is not None and now - self._asked_at < _VISIBILITY_AGE_S:
            return
        attributes = await queue_attributes(self.call, self.queue, self.caller())
        self._visibility_s = float(attributes.get("VisibilityTimeout", _VISIBILITY_S))
        self._asked_at = now

    def _record(self, message: Shape, expires_at: float) -> Record:
        attributes = message.get("Attributes", {})
        return Record(
            id=message["MessageId"],
            event=msgspec.json.encode(record_of(message, self.queue)),
            handle=message["ReceiptHandle"],
            group=attributes.get("MessageGroupId") if is_fifo(self.queue) else None,
            expires_at=expires_at,
            trace_header=attributes.get("AWSTraceHeader"),
        )


async def queue_attributes(call: Call, queue: Arn, caller: Caller) -> Mapping[str, str]:
    """The queue's attributes, as SQS gives them to this caller.

    Raises:
        ApiError: as GetQueueAttributes.
    """
    params: Shape = {"QueueUrl": queue_url(queue), "AttributeNames": ["All"]}
    attributes: Mapping[str, str] = (await call("sqs", "GetQueueAttributes", params, caller=caller))["Attributes"]
    return attributes


def record_of(message: Shape, queue: Arn) -> dict[str, Any]:
    """A message of ReceiveMessage as a record of Lambda's event."""
    attributes = message.get("Attributes", {})
    named = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message.get("Body", ""),
        "attributes": {name: attributes[name] for name in _ATTRIBUTES if name in attributes},
        "messageAttributes": {name: _attribute(value) for name, value in named.items()},
        "md5OfBody": message.get("MD5OfBody", ""),
        "md5OfMessageAttributes": message.get("MD5OfMessageAttributes"),
        "eventSource": "aws:sqs",
        "eventSourceARN": str(queue),
        "awsRegion": queue.region,
    }


def _attribute(value: Shape) -> dict[str, Any]:
    """Lists are in Lambda's event though SQS has none. A binary value becomes base64 when it is written as JSON."""
    content: dict[str, Any] = (
        {"binaryValue": value["BinaryValue"]} if "BinaryValue" in value else {"stringValue": value.get("StringValue")}
    )
    return content | {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
