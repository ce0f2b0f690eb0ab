"""Dead-letter queues: whose they are, and the tasks that move their messages."""

import base64
import binascii
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs.api.queues import page
from lambent.services.sqs.live import LiveQueue
from lambent.services.sqs.model import RUNNING, MoveTask, Queue, invalid, invalid_value

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs

MAX_PER_SECOND: Final = 500
MAX_ACTIVE: Final = 100
_MAX_LISTED: Final = 10


async def list_dead_letter_source_queues(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """ListDeadLetterSourceQueues, in the order of their names."""
    queue = service.named(caller, params).queue
    answer = page("queueUrls", sources(service, queue), caller, params)
    return {**answer, "queueUrls": answer["queueUrls"] or []}


def sources(service: "Sqs", target: Queue) -> list[Queue]:
    """The queues whose dead letters go to this one, in the order of their names."""
    every = [live.queue for live in service.by_key.values()]
    found = [queue for queue in every if queue.redrive is not None and queue.redrive.target == target.arn]
    return sorted(found, key=lambda queue: queue.name)


async def start_message_move_task(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """StartMessageMoveTask: the task is on disk when this answers, and goes on after a restart."""
    source = _source(service, params["SourceArn"])
    if not sources(service, source.queue):
        raise invalid("Source queue must be configured as a Dead Letter Queue.")
    rate = params.get("MaxNumberOfMessagesPerSecond")
    if rate is not None and not 1 <= rate <= MAX_PER_SECOND:
        reason = f"Must be between 1 and {MAX_PER_SECOND}, if provided."
        raise invalid_value(rate, "MaxNumberOfMessagesPerSecond", reason)
    _check_destination(service, source.queue, params.get("DestinationArn"))
    await source.open()
    active = service.moves.active()
    if any(task.source == source.queue.arn for task in active):
        raise ApiError(
            "UnsupportedOperation",
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        )
    if sum(task.scope == caller.scope for task in active) >= MAX_ACTIVE:
        raise ApiError("OverLimit", f"An account has at most {MAX_ACTIVE} active message movement tasks.")
    task = await service.moves.start(source, params.get("DestinationArn"), rate)
    return {"TaskHandle": _handle(task)}


def _source(service: "Sqs", arn: str) -> LiveQueue:
    found = service.of_arn(arn)
    if found is None:
        raise ApiError(
            "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist."
        )
    return found


def _check_destination(service: "Sqs", source: Queue, arn: str | None) -> None:
    if arn is None:
        return
    found = service.of_arn(arn)
    if found is None:
        raise ApiError(
            "ResourceNotFoundException",
            "The resource that you specified for the DestinationArn parameter doesn't exist.",
        )
    if found.queue.arn == source.arn:
        raise invalid("Source queue arn and destination queue arn cannot be the same.")
    if found.queue.is_fifo != source.is_fifo:
        raise invalid("Source queue and destination queue must be of the same type.")


def _handle(task: MoveTask) -> str:
    return base64.b64encode(msgspec.json.encode({"taskId": task.id, "sourceArn": task.source})).decode()


async def list_message_move_tasks(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """ListMessageMoveTasks, the newest first."""
    most = params.get("MaxResults")
    most = 1 if most is None else most
    if not 1 <= most <= _MAX_LISTED:
        raise invalid_value(most, "MaxResults", f"Must be between 1 and {_MAX_LISTED}, if provided.")
    source = _source(service, params["SourceArn"]).queue
    tasks = [task for task in service.moves.tasks.values() if task.source == source.arn]
    tasks.sort(key=lambda task: (task.started_ms, task.number), reverse=True)
    return {"Results": [_shape(task) for task in tasks[:most]] or None}


def _shape(task: MoveTask) -> Shape:
    return {
        "TaskHandle": _handle(task) if task.status == RUNNING else None,
        "Status": task.status,
        "SourceArn": task.source,
        "DestinationArn": task.destination,
        "MaxNumberOfMessagesPerSecond": task.per_second,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "FailureReason": task.reason,
        "StartedTimestamp": task.started_ms,
    }


async def cancel_message_move_task(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """CancelMessageMoveTask: what was moved stays where it is now."""
    task = service.moves.tasks.get(_task_id(params["TaskHandle"]))
    if task is None:
        raise ApiError("ResourceNotFoundException", "Task does not exist.")
    if task.status != RUNNING:
        raise ApiError("UnsupportedOperation", "Only active tasks can be cancelled.")
    await service.moves.cancel(task)
    return {"ApproximateNumberOfMessagesMoved": service.moves.tasks[task.id].moved}


def _task_id(handle: str) -> str:
    try:
        return str(msgspec.json.decode(base64.b64decode(handle, validate=True))["taskId"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise invalid_value(handle, "TaskHandle", "Invalid task handle.") from None
