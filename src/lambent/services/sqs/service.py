"""SQS: durable queues."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.clock import Clock
from lambent.dispatch import Handler, Shape
from lambent.observe.log import Log
from lambent.observe.metrics import Metric, Record, record_nothing
from lambent.observe.supervise import supervise
from lambent.services.sqs import peek, rows, worker
from lambent.services.sqs.api import delete, permissions, queues, receive, redrive, send, tags, visibility
from lambent.services.sqs.live import Contents, Ground, LiveQueue, SteadyTime
from lambent.services.sqs.model import MoveTask, Queue, QueueKey, key_of_arn, key_of_url, no_queue
from lambent.services.sqs.moves import Moves
from lambent.store.database import Database

_CONTENTS_BYTES: Final = 64 * 1_048_576  # what lately sent messages may take in memory, of all queues together
# Numbers of messages begin with the node's start, which is counted in the store: whatever the clocks say, a number
# that was used once is never used again, and later ones are higher.
_NUMBERS: Final = 40  # bits of a start

_HANDLERS: Final = {
    "AddPermission": permissions.add_permission,
    "CancelMessageMoveTask": redrive.cancel_message_move_task,
    "ChangeMessageVisibility": visibility.change_message_visibility,
    "ChangeMessageVisibilityBatch": visibility.change_message_visibility_batch,
    "CreateQueue": queues.create_queue,
    "DeleteMessage": delete.delete_message,
    "DeleteMessageBatch": delete.delete_message_batch,
    "DeleteQueue": queues.delete_queue,
    "GetQueueAttributes": queues.get_queue_attributes,
    "GetQueueUrl": queues.get_queue_url,
    "ListDeadLetterSourceQueues": redrive.list_dead_letter_source_queues,
    "ListMessageMoveTasks": redrive.list_message_move_tasks,
    "ListQueueTags": tags.list_queue_tags,
    "ListQueues": queues.list_queues,
    "PurgeQueue": queues.purge_queue,
    "ReceiveMessage": receive.receive_message,
    "RemovePermission": permissions.remove_permission,
    "SendMessage": send.send_message,
    "SendMessageBatch": send.send_message_batch,
    "SetQueueAttributes": queues.set_queue_attributes,
    "StartMessageMoveTask": redrive.start_message_move_task,
    "TagQueue": tags.tag_queue,
    "UntagQueue": tags.untag_queue,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sqs:
    """The service. `load` it before anything else; its `run` must be awaited by whoever made it."""

    database: Database
    clock: Clock
    log: Log
    record: Record = record_nothing
    name_kept_s: int = 0
    """For how long the name of a deleted queue is taken, in seconds."""
    ground: Ground = field(init=False)
    moves: Moves = field(init=False)
    by_key: dict[QueueKey, LiveQueue] = field(default_factory=dict, init=False)
    deleted: dict[QueueKey, int] = field(default_factory=dict, init=False)
    """When queues were deleted, in milliseconds, for as long as that matters."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Queues are made, changed and deleted one after the other."""
    _numbers: list[int] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        ground = Ground(
            database=self.database,
            clock=self.clock,
            time=SteadyTime(self.clock),
            contents=Contents(_CONTENTS_BYTES),
            next_number=self.next_number,
            find=self.of_arn,
        )
        object.__setattr__(self, "ground", ground)
        object.__setattr__(self, "moves", Moves(ground, self.log))

    def operations(self) -> Mapping[str, Handler]:
        return {name: partial(handler, self) for name, handler in _HANDLERS.items()}

    async def load(self) -> None:
        """Learns which queues there are. Their messages are looked at when somebody asks for them."""
        now = self.ground.time.now()

        def change(tx: Connection) -> tuple[int, list[Queue], list[MoveTask]]:
            return rows.next_epoch(tx, now), rows.all_queues(tx), rows.move_tasks(tx)

        epoch, found, tasks = await self.database.write(change)
        self._numbers.append(epoch << _NUMBERS)
        for queue in found:
            self.by_key[queue.key] = LiveQueue(queue, self.ground)
        self.moves.loaded(tasks)

    def next_number(self) -> int:
        """A number that is higher than all before."""
        self._numbers[0] += 1
        return self._numbers[0]

    def of_arn(self, arn: str) -> LiveQueue | None:
        key = key_of_arn(arn)
        return self.by_key.get(key) if key else None

    def named(self, caller: Caller, params: Shape) -> LiveQueue:
        """The queue of QueueUrl.

        Raises:
            ApiError: InvalidAddress, QueueDoesNotExist.
        """
        found = self.by_key.get(key_of_url(params["QueueUrl"], caller))
        if found is None:
            raise no_queue()
        return found

    async def queue(self, caller: Caller, params: Shape) -> LiveQueue:
        """The queue of QueueUrl, at work.

        Raises:
            ApiError: InvalidAddress, QueueDoesNotExist.
        """
        return await self.named(caller, params).open()

    async def peek(self, arn: str, most: int) -> list[Shape] | None:
        """The first messages of a queue, as they are: see `peek.peek`. None when there is no such queue."""
        live = self.of_arn(arn)
        return None if live is None else await peek.peek(live, most)

    def count(self, queue: Queue, name: str, value: float, unit: str = "Count") -> None:
        """Records a value of a queue's metric."""
        dimensions = ((("QueueName", queue.name),),)
        self.record(queue.scope, Metric(name, value, dimensions, unit, None, "AWS/SQS"))

    async def run(self) -> None:
        """Store what was received, move what is to be moved, clear away what is old, until cancelled."""
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "sqs.receives": partial(worker.flush_receives, self),
            "sqs.moves": self.moves.run,
            "sqs.clear_away": partial(worker.clear_away, self),
        }
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, run in work.items():
                    tasks.create_task(supervise(name, run, self.log), name=name)
        finally:
            await worker.flush(self)
            await worker.keep_time(self)
