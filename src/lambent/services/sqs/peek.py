"""What is in a queue, for a person who looks: it counts as no receive, and hides nothing."""

from sqlalchemy import Connection

from lambent.dispatch import Shape
from lambent.services.sqs import rows
from lambent.services.sqs.entries import Entry
from lambent.services.sqs.live import LiveQueue
from lambent.services.sqs.messages import Wanted, decoded, received_shape

_EVERYTHING = Wanted(frozenset(["All"]), ["All"])


async def peek(live: LiveQueue, most: int) -> list[Shape]:
    """The first messages in the order in which they may be received, each with `State`: visible, in flight, delayed."""
    await live.open()
    if live.dirty:
        await live.flush()
    partition, now = live.queue.partition, live.now()

    def look(tx: Connection) -> list[tuple[Entry, rows.Fetched]]:
        entries = rows.entries_after(tx, partition, (-1, -1), most)
        fetched = rows.contents(tx, [entry.seq for entry in entries])
        return [(entry, fetched[entry.seq]) for entry in entries]

    return [_shape(live, entry, fetched, now) for entry, fetched in await live.ground.database.read(look)]


def _shape(live: LiveQueue, entry: Entry, fetched: rows.Fetched, now: int) -> Shape:
    content = decoded(fetched.content)
    shape = received_shape(entry, content, fetched.source, "", _EVERYTHING, is_fifo=live.queue.is_fifo)
    del shape["ReceiptHandle"]
    if entry.first_ms is None:
        del shape["Attributes"]["ApproximateFirstReceiveTimestamp"]
    hidden = "in flight" if entry.receives else "delayed"
    return {**shape, "State": "visible" if entry.visible_ms <= now else hidden}
