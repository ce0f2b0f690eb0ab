"""What SQS does in the background: what was received is stored, what is old goes."""

import asyncio
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.services.sqs import rows
from lambent.services.sqs.live import LiveQueue
from lambent.services.sqs.model import DEDUPLICATION_MS

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs

FLUSH_S: Final = 0.25
"""How long a standard queue's receive may be unknown to the store. A message deleted until then is never updated."""
_EVERY_S: Final = 60.0
_SOME: Final = 500  # rows of a transaction, so that other writers get their turn


async def flush_receives(service: "Sqs") -> None:
    """Store what was received, until cancelled."""
    while True:
        await service.ground.marked.wait()
        await asyncio.sleep(FLUSH_S)
        service.ground.marked.clear()
        await flush(service)


async def flush(service: "Sqs") -> None:
    """Returns when the store knows what was received."""
    for live in list(service.by_key.values()):
        if live.dirty:
            await live.flush()


async def clear_away(service: "Sqs") -> None:
    """Remove what is too old, and what is nobody's, every minute, until cancelled."""
    while True:
        for live in list(service.by_key.values()):
            await expire(live)
        await _forget(service)
        while await service.database.write(rows.collect):
            pass
        await measure(service)
        await keep_time(service)
        await service.clock.sleep(_EVERY_S, tidying=True)


async def keep_time(service: "Sqs") -> None:
    """Store what the time is, so that the next start knows whether the clock was set back meanwhile."""
    if service.by_key:
        now = service.ground.time.now()
        await service.database.write(lambda tx: rows.keep_time(tx, now))


async def expire(live: LiveQueue) -> None:
    """Removes messages that are older than their queue keeps them."""
    before = live.now() - live.queue.retention_ms

    def remove(tx: Connection) -> list[int]:
        partition = rows.partition_of(tx, live.queue.id)
        old = rows.sent_before(tx, partition, before, _SOME)
        if old:
            rows.remove_messages(tx, partition, old)
        return old

    found = [0] * _SOME
    while len(found) == _SOME and not live.is_gone:
        found = await live.ground.database.write(remove, committed=lambda gone: live.removed(gone, len(gone)))


async def _forget(service: "Sqs") -> None:
    found = _SOME
    while found == _SOME:
        before = service.ground.time.now() - DEDUPLICATION_MS
        found = await service.database.write(lambda tx: rows.forget_sent(tx, before, _SOME))  # noqa: B023


async def measure(service: "Sqs") -> None:
    """Record how full each queue is that was used since the start."""
    for live in list(service.by_key.values()):
        if not live.is_open:
            continue
        counts, oldest = live.counts(), await service.database.read(live.oldest)
        service.count(live.queue, "ApproximateNumberOfMessagesVisible", counts.visible)
        service.count(live.queue, "ApproximateNumberOfMessagesNotVisible", counts.not_visible)
        service.count(live.queue, "ApproximateNumberOfMessagesDelayed", counts.delayed)
        age_s = 0 if oldest is None else max(0, live.now() - oldest) // 1000
        service.count(live.queue, "ApproximateAgeOfOldestMessage", age_s, "Seconds")
