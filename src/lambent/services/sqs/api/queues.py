"""Queues: made, found, changed, emptied and deleted."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.aws.caller import Caller, Scope
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs import attributes, rows
from lambent.services.sqs.live import LiveQueue
from lambent.services.sqs.model import Queue, QueueKey, check_name, check_tags, invalid, invalid_value, no_queue

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs

_PURGE_EVERY_MS: Final = 60_000
_MAX_LISTED: Final = 1_000


async def create_queue(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """CreateQueue: of a queue that is there already it answers the URL, if no attribute differs."""
    name, given = params["QueueName"], params.get("Attributes") or {}
    is_fifo = name.endswith(".fifo")
    if given.get("FifoQueue", "false").lower() == "true" and not is_fifo:
        check_name(name, is_fifo=True)
    check_name(name, is_fifo=is_fifo)
    if is_fifo and "FifoQueue" not in given:
        # Without the attribute a standard queue is asked for, whose name may have no period.
        check_name(name, is_fifo=False)
    kept = attributes.checked(given, is_fifo=is_fifo)
    check_tags(params.get("tags") or {}, name)
    key = QueueKey(caller.account, caller.region, name)
    async with service.changing:  # nobody makes the same one meanwhile
        there = service.by_key.get(key)
        if there is None:
            there = await _create(service, key, kept, params.get("tags") or {})
        else:
            _check_same(there.queue, kept)
    return {"QueueUrl": there.queue.url(caller)}


def _check_same(queue: Queue, asked: dict[str, str]) -> None:
    for name, value in asked.items():
        if not attributes.same(name, queue.all_attributes.get(name, ""), value):
            message = f"A queue already exists with the same name and a different value for attribute {name}"
            raise ApiError("QueueNameExists", message)


async def _create(service: "Sqs", key: QueueKey, kept: dict[str, str], tags: dict[str, str]) -> LiveQueue:
    now = service.ground.time.now()
    if now < service.deleted.get(key, -service.name_kept_s * 1000) + service.name_kept_s * 1000:
        raise ApiError(
            "QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        )
    queue = Queue(
        id=service.next_number(),
        scope=Scope(key.account, key.region),
        name=key.name,
        attributes={name: value for name, value in kept.items() if value},
        tags=tags,
        partition=service.next_number(),
        created_s=now // 1000,
        modified_s=now // 1000,
    )
    _check(service, queue)
    live = LiveQueue(queue, service.ground)
    await service.database.write(
        lambda tx: rows.insert_queue(tx, queue), committed=lambda _done: service.by_key.update({key: live})
    )
    return live


def _check(service: "Sqs", queue: Queue) -> None:
    attributes.check_together(queue)
    if queue.redrive is not None:
        target = service.of_arn(queue.redrive.target)
        attributes.check_redrive(queue, target.queue if target else None)


async def get_queue_url(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """GetQueueUrl."""
    account = params.get("QueueOwnerAWSAccountId") or caller.account
    live = service.by_key.get(QueueKey(account, caller.region, params["QueueName"]))
    if live is None:
        raise no_queue()
    return {"QueueUrl": live.queue.url(caller)}


async def list_queues(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """ListQueues, in the order of their names."""
    prefix = params.get("QueueNamePrefix") or ""
    found = sorted(
        live.queue.name
        for key, live in list(service.by_key.items())
        if (key.account, key.region) == caller.scope and key.name.startswith(prefix)
    )
    return page("QueueUrls", [service.by_key[QueueKey(*caller.scope, name)].queue for name in found], caller, params)


def page(member: str, queues: list[Queue], caller: Caller, params: Shape) -> Shape:
    """The URLs of some queues, in the order of their names; a token for the next when MaxResults was given."""
    most = params.get("MaxResults")
    if most is not None and not 1 <= most <= _MAX_LISTED:
        raise invalid_value(most, "MaxResults", f"MaxResults must be an integer between 1 and {_MAX_LISTED}.")
    after = _after(params["NextToken"]) if params.get("NextToken") else ""
    queues = [queue for queue in queues if queue.name > after]
    shown = queues[: most or _MAX_LISTED]
    answer: Shape = {member: [queue.url(caller) for queue in shown] or None}
    if most is not None and len(queues) > len(shown):
        answer["NextToken"] = base64.b64encode(shown[-1].name.encode()).decode()
    return answer


def _after(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("Invalid or expired next token.") from None


async def get_queue_attributes(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """GetQueueAttributes: those that are asked for, and nothing when none are."""
    names = params.get("AttributeNames") or []
    for name in names:
        if name not in attributes.NAMES:
            raise attributes.unknown(name)
    live = await service.queue(caller, params)
    if not names:
        return {}
    queue, counts = live.queue, live.counts()
    every = {
        **{name: value for name, value in queue.all_attributes.items() if value},
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        "ApproximateNumberOfMessagesNotVisible": str(counts.not_visible),
        "CreatedTimestamp": str(queue.created_s),
        "LastModifiedTimestamp": str(queue.modified_s),
        "QueueArn": queue.arn,
    }
    if "All" not in names:
        every = {name: every[name] for name in names if name in every}
    return {"Attributes": every or None}


async def set_queue_attributes(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """SetQueueAttributes: holds at once. An empty text takes a policy, a redrive policy or a key away."""
    live = await service.queue(caller, params)
    given = params["Attributes"]
    if "FifoQueue" in given and not (live.queue.is_fifo and given["FifoQueue"].lower() == "true"):
        raise attributes.unknown("FifoQueue")
    changed = attributes.checked(given, is_fifo=live.queue.is_fifo)
    await change(service, live, changed)
    return {}


async def change(service: "Sqs", live: LiveQueue, changed: dict[str, str]) -> None:
    """Gives a queue other values of some attributes."""
    before = live.queue

    def edit(queue: Queue) -> Queue:
        kept = {name: value for name, value in {**queue.attributes, **changed}.items() if value}
        edited = replace(queue, attributes=kept, modified_s=service.ground.time.now() // 1000)
        if "RedrivePolicy" in changed:
            _check(service, edited)
        else:
            attributes.check_together(edited)
        return edited

    await keep(service, live, edit)
    if live.queue.is_fifo and live.queue.delay_ms != before.delay_ms:
        await live.delay_again()


async def keep(service: "Sqs", live: LiveQueue, edit: Callable[[Queue], Queue]) -> None:
    """Makes a queue what `edit` makes of it, which may raise."""
    async with service.changing:
        if live.is_gone:
            raise no_queue()
        queue = edit(live.queue)

        def follow(_done: None) -> None:
            live.queue = queue
            live.nudge()

        await service.database.write(lambda tx: rows.update_queue(tx, queue), committed=follow)


async def purge_queue(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """PurgeQueue: every message is gone when this answers, those in flight and the delayed ones too."""
    live = await service.queue(caller, params)
    async with service.changing:
        before, now = live.queue, service.ground.time.now()
        if before.purged_ms and now < before.purged_ms + _PURGE_EVERY_MS:
            message = f"Only one PurgeQueue operation on {before.name} is allowed every 60 seconds."
            raise ApiError("PurgeQueueInProgress", message)
        queue = replace(before, partition=service.next_number(), purged_ms=now)

        def change_partition(tx: Connection) -> None:
            rows.update_queue(tx, queue)
            rows.discard(tx, before.partition)

        await service.database.write(change_partition, committed=lambda _done: live.purged(queue))
    return {}


async def delete_queue(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """DeleteQueue: the queue and its messages are gone when this answers."""
    async with service.changing:
        live = service.named(caller, params)
        queue = live.queue

        def gone(_done: None) -> None:
            service.by_key.pop(queue.key, None)
            service.deleted[queue.key] = service.ground.time.now()
            live.ended()

        await service.database.write(lambda tx: rows.delete_queue(tx, queue), committed=gone)
    return {}
