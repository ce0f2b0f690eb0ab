"""All SQL of SQS: queues, their messages, what was sent lately, and tasks that move messages.

A queue's messages are those of its partition: purging gives the queue another one, and deleting it leaves it to the
worker, so that neither costs more for a million messages. `position` is what a queue is read by: the moment of a
message's visibility in a standard queue, its sequence number in a FIFO queue.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    tuple_,
    update,
)

from lambent.aws.caller import Scope
from lambent.services.sqs.entries import Entry
from lambent.services.sqs.model import MoveTask, Queue
from lambent.store.many import Many
from lambent.store.schema import MAIN

QUEUES: Final = Table(
    "sqs_queues",
    MAIN,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("attributes", Text, nullable=False),  # those that were set, as JSON
    Column("tags", Text, nullable=False),  # as JSON
    Column("partition", BigInteger, nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("modified_s", BigInteger, nullable=False),
    Column("purged_ms", BigInteger, nullable=False),
    UniqueConstraint("account", "region", "name"),
)
MESSAGES: Final = Table(
    "sqs_messages",
    MAIN,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("partition", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("visible_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger, nullable=False),
    Column("receives", Integer, nullable=False),
    Column("first_ms", BigInteger),
    Column("group_id", String),
    Column("source", String),  # the ARN of the queue that a dead letter comes from
    Column("content", LargeBinary, nullable=False),  # messages.Content as MessagePack; last, as it may be large
    Index("sqs_messages_in_order", "partition", "position", "seq"),
    Index("sqs_messages_by_age", "partition", "sent_ms"),
)
DEDUPLICATION: Final = Table(
    "sqs_deduplication",
    MAIN,
    Column("queue_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String, primary_key=True),
    Column("message_id", String, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("sqs_deduplication_by_age", "at_ms"),
)
GARBAGE: Final = Table(
    "sqs_garbage",
    MAIN,
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
)
MOVE_TASKS: Final = Table(
    "sqs_move_tasks",
    MAIN,
    Column("id", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("source", String, nullable=False),
    Column("destination", String),
    Column("per_second", Integer),
    Column("status", String, nullable=False),
    Column("moved", BigInteger, nullable=False),
    Column("to_move", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("reason", Text),
)
EPOCHS: Final = Table(
    "sqs_epochs",
    MAIN,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("now_ms", BigInteger, nullable=False),  # of the node's own time, not much later
)

_FEW: Final = 500  # rows in one statement
_SMALL: Final = 4_096  # bytes of a content that is read ahead: no more than a page beside the row's own


class Fetched(NamedTuple):
    """What a receive needs of a message beside its entry."""

    content: bytes
    source: str | None


class Receive(NamedTuple):
    """What is kept of a message that was received; or of one that is visible again at another moment."""

    seq: int
    position: int
    visible_ms: int
    receives: int
    first_ms: int | None


# --- queues


def all_queues(tx: Connection) -> list[Queue]:
    """Every queue of the node."""
    return [_queue(row) for row in tx.execute(select(QUEUES))]


def insert_queue(tx: Connection, queue: Queue) -> None:
    """Keeps a new queue."""
    tx.execute(insert(QUEUES), {"account": queue.scope.account, "region": queue.scope.region, **_columns(queue)})


def update_queue(tx: Connection, queue: Queue) -> None:
    """Its attributes, tags, partition and moments."""
    tx.execute(update(QUEUES).where(QUEUES.c.id == queue.id).values(_columns(queue)))


def delete_queue(tx: Connection, queue: Queue) -> None:
    """Forgets a queue; its messages become garbage."""
    tx.execute(delete(QUEUES).where(QUEUES.c.id == queue.id))
    discard(tx, queue.partition)


def next_epoch(tx: Connection, now_ms: int) -> int:
    """A number that no other start of a node has had: sequence numbers begin with it.

    Should the clock be behind what it was, all moments that are kept go back with it.
    """
    found = tx.execute(select(EPOCHS).where(EPOCHS.c.id == 1)).one_or_none()
    if found is None:
        tx.execute(insert(EPOCHS), {"id": 1, "epoch": 1, "now_ms": now_ms})
        return 1
    if found.now_ms > now_ms:
        _go_back(tx, found.now_ms - now_ms)
    tx.execute(update(EPOCHS).where(EPOCHS.c.id == 1).values(epoch=found.epoch + 1, now_ms=now_ms))
    return int(found.epoch) + 1


def keep_time(tx: Connection, now_ms: int) -> None:
    """Keeps what the time is."""
    tx.execute(update(EPOCHS).where(EPOCHS.c.id == 1).values(now_ms=now_ms))


def _go_back(tx: Connection, by_ms: int) -> None:
    for queue in all_queues(tx):
        columns = [MESSAGES.c.visible_ms, MESSAGES.c.sent_ms, *([] if queue.is_fifo else [MESSAGES.c.position])]
        earlier = {column.name: column - by_ms for column in columns}
        tx.execute(update(MESSAGES).where(MESSAGES.c.partition == queue.partition).values(earlier))
        if queue.purged_ms:
            tx.execute(update(QUEUES).where(QUEUES.c.id == queue.id).values(purged_ms=queue.purged_ms - by_ms))
    tx.execute(update(DEDUPLICATION).values(at_ms=DEDUPLICATION.c.at_ms - by_ms))


def _columns(queue: Queue) -> dict[str, Any]:
    return {
        "id": queue.id,
        "name": queue.name,
        "attributes": msgspec.json.encode(queue.attributes).decode(),
        "tags": msgspec.json.encode(queue.tags).decode(),
        "partition": queue.partition,
        "created_s": queue.created_s,
        "modified_s": queue.modified_s,
        "purged_ms": queue.purged_ms,
    }


def _queue(row: Row[Any]) -> Queue:
    return Queue(
        id=row.id,
        scope=Scope(row.account, row.region),
        name=row.name,
        attributes=msgspec.json.decode(row.attributes),
        tags=msgspec.json.decode(row.tags),
        partition=row.partition,
        created_s=row.created_s,
        modified_s=row.modified_s,
        purged_ms=row.purged_ms,
    )


# --- messages

_PARTITION: Final = select(QUEUES.c.partition).where(QUEUES.c.id == bindparam("queue_id")).scalar_subquery()
_INSERT: Final = Many(
    insert(MESSAGES).values(
        seq=bindparam("new_seq"),
        partition=_PARTITION,  # NULL, which is refused, when the queue was deleted meanwhile
        position=bindparam("new_position"),
        visible_ms=bindparam("new_visible_ms"),
        sent_ms=bindparam("new_sent_ms"),
        receives=literal_column("0"),
        group_id=bindparam("new_group_id"),
        content=bindparam("new_content"),
    ),
    *("new_seq", "queue_id", "new_position", "new_visible_ms", "new_sent_ms", "new_group_id", "new_content"),
)
_ENTRY: Final = (
    MESSAGES.c.seq,
    MESSAGES.c.sent_ms,
    MESSAGES.c.visible_ms,
    MESSAGES.c.receives,
    MESSAGES.c.first_ms,
    MESSAGES.c.group_id,
)
_NEXT: Final = (
    select(*_ENTRY)
    .where(
        MESSAGES.c.partition == bindparam("in_partition"),
        tuple_(MESSAGES.c.position, MESSAGES.c.seq) > tuple_(bindparam("after"), bindparam("after_seq")),
    )
    .order_by(MESSAGES.c.position, MESSAGES.c.seq)
    .limit(bindparam("most"))
)
_AHEAD: Final = (
    select(
        MESSAGES.c.seq,
        case((func.length(MESSAGES.c.content) <= _SMALL, MESSAGES.c.content)).label("content"),
        MESSAGES.c.source,
    )
    .where(
        MESSAGES.c.partition == bindparam("in_partition"),
        tuple_(MESSAGES.c.position, MESSAGES.c.seq) > tuple_(bindparam("after"), bindparam("after_seq")),
    )
    .order_by(MESSAGES.c.position, MESSAGES.c.seq)
    .limit(bindparam("most"))
)
_CONTENT: Final = select(MESSAGES.c.seq, MESSAGES.c.content, MESSAGES.c.source).where(
    MESSAGES.c.seq.in_(bindparam("seqs", expanding=True))
)
_RECEIVED: Final = Many(
    update(MESSAGES)
    .where(MESSAGES.c.seq == bindparam("of_seq"), MESSAGES.c.partition == bindparam("in_partition"))
    .values(
        position=bindparam("new_position"),
        visible_ms=bindparam("new_visible_ms"),
        receives=bindparam("new_receives"),
        first_ms=bindparam("new_first_ms"),
    ),
    *("in_partition", "of_seq", "new_position", "new_visible_ms", "new_receives", "new_first_ms"),
)
_DELETE: Final = Many(
    delete(MESSAGES).where(
        MESSAGES.c.seq == bindparam("of_seq"),
        MESSAGES.c.partition == _PARTITION,
        MESSAGES.c.receives <= bindparam("most_receives"),
    ),
    *("queue_id", "of_seq", "most_receives"),
)


def partition_of(tx: Connection, queue_id: int) -> int:
    """The partition of a queue; one that there is not, when the queue is not there any more."""
    return tx.execute(select(QUEUES.c.partition).where(QUEUES.c.id == queue_id)).scalar_one_or_none() or 0


def insert_messages(tx: Connection, queue_id: int, messages: Sequence[tuple[Entry, int, bytes]]) -> None:
    """Keeps messages: each with its position and its content.

    Raises IntegrityError when the queue is not there any more.
    """
    values = [
        (entry.seq, queue_id, position, entry.visible_ms, entry.sent_ms, entry.group, content)
        for entry, position, content in messages
    ]
    _INSERT.execute(tx, values)


def entries_after(tx: Connection, partition: int, after: tuple[int, int], most: int) -> list[Entry]:
    """The first messages behind a position and a sequence number, in order."""
    values = {"in_partition": partition, "after": after[0], "after_seq": after[1], "most": most}
    return [Entry(*row) for row in tx.execute(_NEXT, values)]


def contents_after(tx: Connection, partition: int, after: tuple[int, int], most: int) -> dict[int, Fetched]:
    """What is there of the messages that `entries_after` tells of, without those that are large."""
    values = {"in_partition": partition, "after": after[0], "after_seq": after[1], "most": most}
    rows = tx.execute(_AHEAD, values)
    return {seq: Fetched(content, source) for seq, content, source in rows if content is not None}


def in_flight(tx: Connection, partition: int, now_ms: int) -> list[Entry]:
    """The messages of a standard queue that were received and are not visible yet."""
    there = (MESSAGES.c.partition == partition, MESSAGES.c.position > now_ms, MESSAGES.c.receives > 0)
    return [Entry(*row) for row in tx.execute(select(*_ENTRY).where(*there))]


def delays(tx: Connection, partition: int, now_ms: int, longest_ms: int) -> list[tuple[int, int]]:
    """How many messages become visible for the first time at which moment after now; no delay is longer than that."""
    recent = (MESSAGES.c.partition == partition, MESSAGES.c.sent_ms > now_ms - longest_ms)
    there = (*recent, MESSAGES.c.visible_ms > now_ms, MESSAGES.c.receives == 0)
    query = select(MESSAGES.c.visible_ms, func.count()).where(*there).group_by(MESSAGES.c.visible_ms)
    return [(at, count) for at, count in tx.execute(query)]


def count_messages(tx: Connection, partition: int) -> int:
    """How many messages a partition has."""
    return tx.execute(select(func.count()).where(MESSAGES.c.partition == partition)).scalar_one()


def oldest_sent(tx: Connection, partition: int) -> int | None:
    """When the oldest message was sent; None when there is none."""
    query = select(func.min(MESSAGES.c.sent_ms)).where(MESSAGES.c.partition == partition)
    oldest: int | None = tx.execute(query).scalar_one()
    return oldest


def contents(tx: Connection, seqs: Sequence[int]) -> dict[int, Fetched]:
    """What is there of these messages, by sequence number."""
    return {row.seq: Fetched(row.content, row.source) for row in tx.execute(_CONTENT, {"seqs": list(seqs)})}


def keep_receives(tx: Connection, partition: int, receives: Sequence[Receive]) -> None:
    """How often messages were received and when they are visible again."""
    _RECEIVED.execute(tx, [(partition, *one) for one in receives])


def delay_again(tx: Connection, partition: int, delay_ms: int) -> None:
    """Gives what was never received another delay."""
    there = (MESSAGES.c.partition == partition, MESSAGES.c.receives == 0)
    tx.execute(update(MESSAGES).where(*there).values(visible_ms=MESSAGES.c.sent_ms + delay_ms))


def delete_messages(tx: Connection, queue_id: int, receipts: Sequence[tuple[int, int]]) -> int:
    """Deletes messages that were not received more often than each receipt says; how many were there."""
    return _DELETE.execute(tx, [(queue_id, seq, receives) for seq, receives in receipts])


def remove_messages(tx: Connection, partition: int, seqs: Sequence[int]) -> int:
    """Deletes messages; how many were there."""
    there = (MESSAGES.c.partition == partition, MESSAGES.c.seq.in_(seqs))
    return tx.execute(delete(MESSAGES).where(*there)).rowcount


def move_message(tx: Connection, seq: int, to: Entry, position: int, queue_id: int, source: str) -> bool:
    """Makes a message one of another queue, under another number; whether it was there.

    Raises IntegrityError when the other queue is not there any more.
    """
    kept = select(
        literal(to.seq),
        select(QUEUES.c.partition).where(QUEUES.c.id == queue_id).scalar_subquery(),
        literal(position),
        literal(to.visible_ms),
        literal(to.sent_ms),
        literal(to.receives),
        MESSAGES.c.first_ms,
        MESSAGES.c.group_id,
        literal(source),
        MESSAGES.c.content,
    ).where(MESSAGES.c.seq == seq)
    names = [column.name for column in MESSAGES.columns]
    if not tx.execute(insert(MESSAGES).from_select(names, kept)).rowcount:
        return False
    tx.execute(delete(MESSAGES).where(MESSAGES.c.seq == seq))
    return True


def sent_before(tx: Connection, partition: int, before_ms: int, most: int) -> list[int]:
    """The numbers of the oldest messages that were sent then or before."""
    there = (MESSAGES.c.partition == partition, MESSAGES.c.sent_ms <= before_ms)
    query = select(MESSAGES.c.seq).where(*there).order_by(MESSAGES.c.sent_ms).limit(most)
    return list(tx.execute(query).scalars())


# --- deduplication

_KNOWN: Final = select(DEDUPLICATION.c.message_id, DEDUPLICATION.c.seq, DEDUPLICATION.c.at_ms).where(
    DEDUPLICATION.c.queue_id == bindparam("of_queue"), DEDUPLICATION.c.key == bindparam("of_key")
)
_FORGET: Final = delete(DEDUPLICATION).where(
    DEDUPLICATION.c.queue_id == bindparam("of_queue"), DEDUPLICATION.c.key == bindparam("of_key")
)


def duplicate_of(tx: Connection, queue_id: int, key: str, since_ms: int) -> tuple[str, int] | None:
    """The id and number of the message that was sent with this key since then."""
    found = tx.execute(_KNOWN, {"of_queue": queue_id, "of_key": key}).one_or_none()
    return None if found is None or found.at_ms <= since_ms else (found.message_id, found.seq)


def remember(tx: Connection, queue_id: int, key: str, message_id: str, entry: Entry) -> None:
    """Keeps that a message was sent with this key."""
    tx.execute(_FORGET, {"of_queue": queue_id, "of_key": key})
    values = {"queue_id": queue_id, "key": key, "message_id": message_id, "seq": entry.seq, "at_ms": entry.sent_ms}
    tx.execute(insert(DEDUPLICATION), values)


def forget_sent(tx: Connection, before_ms: int, most: int) -> int:
    """Forgets keys of messages that were sent before; how many."""
    old = select(DEDUPLICATION.c.queue_id, DEDUPLICATION.c.key).where(DEDUPLICATION.c.at_ms <= before_ms).limit(most)
    rows = tx.execute(old).all()
    if rows:
        tx.execute(_FORGET, [{"of_queue": row.queue_id, "of_key": row.key} for row in rows])
    return len(rows)


# --- garbage


def discard(tx: Connection, partition: int) -> None:
    """The messages of a partition are nobody's any more."""
    tx.execute(insert(GARBAGE), {"partition": partition})


def collect(tx: Connection) -> bool:
    """Deletes some messages that are nobody's; whether there may be more."""
    partition = tx.execute(select(GARBAGE.c.partition).limit(1)).scalar_one_or_none()
    if partition is None:
        return False
    some = select(MESSAGES.c.seq).where(MESSAGES.c.partition == partition).limit(_FEW)
    if not tx.execute(delete(MESSAGES).where(MESSAGES.c.seq.in_(some))).rowcount:
        tx.execute(delete(GARBAGE).where(GARBAGE.c.partition == partition))
    return True


# --- tasks that move messages


def move_tasks(tx: Connection) -> list[MoveTask]:
    """Every task that is under way, and those that ended lately."""
    found = []
    for row in tx.execute(select(MOVE_TASKS)):
        values = dict(row._mapping)
        scope = Scope(values.pop("account"), values.pop("region"))
        found.append(MoveTask(scope=scope, **values))
    return found


def keep_move_task(tx: Connection, task: MoveTask) -> None:
    """Keeps a task as it is now."""
    values = {name: getattr(task, name) for name in ("number", "source", "destination", "per_second", "status")}
    values |= {name: getattr(task, name) for name in ("moved", "to_move", "started_ms", "reason")}
    values |= {"account": task.scope.account, "region": task.scope.region}
    if not tx.execute(update(MOVE_TASKS).where(MOVE_TASKS.c.id == task.id).values(values)).rowcount:
        tx.execute(insert(MOVE_TASKS), {"id": task.id, **values})


def keep_progress(tx: Connection, task: MoveTask) -> None:
    """Keeps how many messages a task has moved."""
    tx.execute(update(MOVE_TASKS).where(MOVE_TASKS.c.id == task.id).values(moved=task.moved))


def delete_move_tasks(tx: Connection, ids: Sequence[str]) -> None:
    """Forgets tasks."""
    tx.execute(delete(MOVE_TASKS).where(MOVE_TASKS.c.id.in_(ids)))
