"""All SQL of SNS: topics, subscriptions, published messages and their deliveries, deduplication, and archives.

A message is there as long as one of its deliveries is. A delivery is one message on its way to one subscription; it is
deleted when it has arrived. `dead` says of one that could not arrive what is to be told to its dead-letter queue.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from lambent.aws.caller import Scope
from lambent.services.sns.model import Subscription, Topic
from lambent.store.schema import MAIN

_ID: Final = BigInteger().with_variant(Integer, "sqlite")
TOPICS: Final = Table(
    "sns_topics",
    MAIN,
    Column("arn", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("attributes", Text, nullable=False),  # those that were set, as JSON
    Column("tags", Text, nullable=False),  # as JSON
    Column("data_protection", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("deleted_subscriptions", BigInteger, nullable=False),
)
SUBSCRIPTIONS: Final = Table(
    "sns_subscriptions",
    MAIN,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("arn", String, nullable=False, unique=True),
    Column("topic_arn", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("protocol", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("attributes", Text, nullable=False),  # those that were set, as JSON
    Column("is_confirmed", Boolean, nullable=False),
    Column("was_authenticated", Boolean, nullable=False),
    Column("is_private", Boolean, nullable=False),
    Column("token", String, nullable=False),
    Column("base_url", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("replayed_seq", BigInteger, nullable=False),
    Column("replay_status", String, nullable=False),
    Index("sns_subscriptions_by_topic", "topic_arn"),
)
MESSAGES: Final = Table(
    "sns_messages",
    MAIN,
    Column("seq", _ID, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),  # messages.Message as MessagePack
)
DELIVERIES: Final = Table(
    "sns_deliveries",
    MAIN,
    Column("subscription_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # the message's
    Column("due_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("group_id", String),
    Column("dead", Text),  # code and message of the error, as JSON
    Index("sns_deliveries_by_message", "seq"),
)
DEDUPLICATION: Final = Table(
    "sns_deduplication",
    MAIN,
    Column("topic_arn", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("message_id", String, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("sns_deduplication_by_age", "at_ms"),
)
ARCHIVE: Final = Table(
    "sns_archive",
    MAIN,
    Column("topic_arn", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("published_ms", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("sns_archive_by_age", "topic_arn", "published_ms"),
)
EPOCHS: Final = Table(
    "sns_epochs",
    MAIN,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)


class Delivery(NamedTuple):
    """A message on its way to a subscription. `dead` is the code and the message of what it failed with for good."""

    subscription_id: int
    seq: int
    due_ms: int
    group: str | None = None
    attempts: int = 0
    dead: tuple[str, str] | None = None


# --- topics and subscriptions


def next_epoch(tx: Connection) -> int:
    """A number that no other start of a node has had: sequence numbers begin with it."""
    found = tx.execute(select(EPOCHS.c.epoch).where(EPOCHS.c.id == 1)).scalar_one_or_none()
    if found is None:
        tx.execute(insert(EPOCHS), {"id": 1, "epoch": 1})
        return 1
    tx.execute(update(EPOCHS).where(EPOCHS.c.id == 1).values(epoch=found + 1))
    return int(found) + 1


def all_topics(tx: Connection) -> list[Topic]:
    """Every topic of the node."""
    return [
        Topic(
            scope=Scope(row.account, row.region),
            name=row.name,
            attributes=msgspec.json.decode(row.attributes),
            tags=msgspec.json.decode(row.tags),
            data_protection=row.data_protection,
            created_ms=row.created_ms,
            deleted_subscriptions=row.deleted_subscriptions,
        )
        for row in tx.execute(select(TOPICS))
    ]


def insert_topic(tx: Connection, topic: Topic) -> None:
    """Keeps a new topic."""
    scope = {"arn": topic.arn, "account": topic.scope.account, "region": topic.scope.region, "name": topic.name}
    tx.execute(insert(TOPICS), {**scope, **_of_topic(topic)})


def update_topic(tx: Connection, topic: Topic) -> None:
    """Its attributes, tags and policies."""
    tx.execute(update(TOPICS).where(TOPICS.c.arn == topic.arn).values(_of_topic(topic)))


def delete_topic(tx: Connection, topic_arn: str) -> None:
    """Forgets a topic, its subscriptions and what it knew. Deliveries on their way are nobody's then."""
    mine = select(SUBSCRIPTIONS.c.id).where(SUBSCRIPTIONS.c.topic_arn == topic_arn)
    tx.execute(delete(DELIVERIES).where(DELIVERIES.c.subscription_id.in_(mine)))
    for table in (SUBSCRIPTIONS, DEDUPLICATION, ARCHIVE):
        tx.execute(delete(table).where(table.c.topic_arn == topic_arn))
    tx.execute(delete(TOPICS).where(TOPICS.c.arn == topic_arn))


def _of_topic(topic: Topic) -> dict[str, Any]:
    return {
        "attributes": msgspec.json.encode(topic.attributes).decode(),
        "tags": msgspec.json.encode(topic.tags).decode(),
        "data_protection": topic.data_protection,
        "created_ms": topic.created_ms,
        "deleted_subscriptions": topic.deleted_subscriptions,
    }


_SAME: Final = tuple(column.name for column in SUBSCRIPTIONS.columns if column.name != "attributes")


def all_subscriptions(tx: Connection) -> list[Subscription]:
    """Every subscription of the node."""
    return [_subscription(row) for row in tx.execute(select(SUBSCRIPTIONS).order_by(SUBSCRIPTIONS.c.id))]


def insert_subscription(tx: Connection, subscription: Subscription) -> None:
    """Keeps a new subscription."""
    tx.execute(insert(SUBSCRIPTIONS), _of_subscription(subscription))


def update_subscription(tx: Connection, subscription: Subscription) -> None:
    """Its attributes, and whether it is confirmed."""
    tx.execute(
        update(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.id == subscription.id).values(_of_subscription(subscription))
    )


def delete_subscription(tx: Connection, subscription_id: int) -> None:
    """Forgets a subscription, and what was on its way to it."""
    tx.execute(delete(DELIVERIES).where(DELIVERIES.c.subscription_id == subscription_id))
    tx.execute(delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.id == subscription_id))


def _of_subscription(subscription: Subscription) -> dict[str, Any]:
    attributes = msgspec.json.encode(subscription.attributes).decode()
    return {name: getattr(subscription, name) for name in _SAME} | {"attributes": attributes}


def _subscription(row: Row[Any]) -> Subscription:
    known = {name: getattr(row, name) for name in _SAME}
    return Subscription(attributes=msgspec.json.decode(row.attributes), **known)


# --- messages and their deliveries

_INSERT_MESSAGE: Final = insert(MESSAGES)
_INSERT_DELIVERY: Final = insert(DELIVERIES)
_CONTENT: Final = select(MESSAGES.c.content).where(MESSAGES.c.seq == bindparam("of_seq"))
_ARRIVED: Final = delete(DELIVERIES).where(
    DELIVERIES.c.subscription_id == bindparam("of_subscription"), DELIVERIES.c.seq == bindparam("of_seq")
)
_UNNEEDED: Final = delete(MESSAGES).where(
    MESSAGES.c.seq == bindparam("of_seq"),
    ~select(DELIVERIES.c.seq).where(DELIVERIES.c.seq == bindparam("of_seq")).exists(),
)
_DEFER: Final = (
    update(DELIVERIES)
    .where(DELIVERIES.c.subscription_id == bindparam("of_subscription"), DELIVERIES.c.seq == bindparam("of_seq"))
    .values(due_ms=bindparam("new_due_ms"), attempts=bindparam("new_attempts"), dead=bindparam("new_dead"))
)
_MINE: Final = DELIVERIES.c.subscription_id == bindparam("of_subscription")
_DUE: Final = (
    select(DELIVERIES)
    .where(_MINE, DELIVERIES.c.seq > bindparam("after"), DELIVERIES.c.due_ms <= bindparam("now_ms"))
    .order_by(DELIVERIES.c.seq)
    .limit(bindparam("most"))
)
_NEXT_DUE: Final = select(func.min(DELIVERIES.c.due_ms)).where(_MINE, DELIVERIES.c.due_ms > bindparam("now_ms"))


def insert_message(tx: Connection, seq: int, content: bytes, deliveries: Sequence[Delivery]) -> None:
    """Keeps a message, and to whom it is to be delivered."""
    tx.execute(_INSERT_MESSAGE, {"seq": seq, "content": content})
    tx.execute(
        _INSERT_DELIVERY,
        [
            {"subscription_id": one.subscription_id, "seq": seq, "due_ms": one.due_ms, "attempts": 0}
            | {"group_id": one.group, "dead": None}
            for one in deliveries
        ],
    )


def content(tx: Connection, seq: int) -> bytes | None:
    """What a message says; None when it is not there any more."""
    found: bytes | None = tx.execute(_CONTENT, {"of_seq": seq}).scalar_one_or_none()
    return found


def delete_deliveries(tx: Connection, arrived: Sequence[tuple[int, int]]) -> None:
    """These (subscription, message) have arrived; messages without a delivery go."""
    tx.execute(_ARRIVED, [{"of_subscription": subscription, "of_seq": seq} for subscription, seq in arrived])
    tx.execute(_UNNEEDED, [{"of_seq": seq} for seq in sorted({seq for _subscription, seq in arrived})])


def defer(tx: Connection, delivery: Delivery) -> None:
    """It is tried again, and when."""
    dead = None if delivery.dead is None else msgspec.json.encode(delivery.dead).decode()
    values = {"new_due_ms": delivery.due_ms, "new_attempts": delivery.attempts, "new_dead": dead}
    tx.execute(_DEFER, {"of_subscription": delivery.subscription_id, "of_seq": delivery.seq, **values})


def due(tx: Connection, subscription_id: int, now_ms: int, after: int, most: int) -> list[Delivery]:
    """The first deliveries of a subscription that are due, behind a message, in the order of messages."""
    values = {"of_subscription": subscription_id, "after": after, "now_ms": now_ms, "most": most}
    return [_delivery(row) for row in tx.execute(_DUE, values)]


def next_due_ms(tx: Connection, subscription_id: int, now_ms: int) -> int | None:
    """When the next of them is due that is not due yet."""
    found: int | None = tx.execute(_NEXT_DUE, {"of_subscription": subscription_id, "now_ms": now_ms}).scalar_one()
    return found


def waited_for(tx: Connection) -> list[int]:
    """The subscriptions that have deliveries."""
    return list(tx.execute(select(DELIVERIES.c.subscription_id).distinct()).scalars())


def collect(tx: Connection) -> None:
    """Removes deliveries to nobody, and messages that nobody waits for."""
    there = select(SUBSCRIPTIONS.c.id)
    tx.execute(delete(DELIVERIES).where(DELIVERIES.c.subscription_id.not_in(there)))
    wanted = select(DELIVERIES.c.seq)
    tx.execute(delete(MESSAGES).where(MESSAGES.c.seq.not_in(wanted)))


def _delivery(row: Row[Any]) -> Delivery:
    dead = None if row.dead is None else msgspec.json.decode(row.dead, type=tuple[str, str])
    return Delivery(row.subscription_id, row.seq, row.due_ms, row.group_id, row.attempts, dead)


# --- deduplication

_KNOWN: Final = select(DEDUPLICATION.c.message_id, DEDUPLICATION.c.seq, DEDUPLICATION.c.at_ms).where(
    DEDUPLICATION.c.topic_arn == bindparam("of_topic"), DEDUPLICATION.c.key == bindparam("of_key")
)
_FORGET: Final = delete(DEDUPLICATION).where(
    DEDUPLICATION.c.topic_arn == bindparam("of_topic"), DEDUPLICATION.c.key == bindparam("of_key")
)


def duplicate_of(tx: Connection, topic_arn: str, key: str, since_ms: int) -> tuple[str, int] | None:
    """The id and number of the message that was published with this key since then."""
    found = tx.execute(_KNOWN, {"of_topic": topic_arn, "of_key": key}).one_or_none()
    return None if found is None or found.at_ms <= since_ms else (found.message_id, found.seq)


def remember(tx: Connection, topic_arn: str, key: str, message_id: str, seq: int, at_ms: int) -> None:
    """A message was published with this key."""
    tx.execute(_FORGET, {"of_topic": topic_arn, "of_key": key})
    row = {"topic_arn": topic_arn, "key": key, "message_id": message_id, "seq": seq, "at_ms": at_ms}
    tx.execute(insert(DEDUPLICATION), row)


def forget_published(tx: Connection, before_ms: int) -> None:
    """Forgets what was published then or before."""
    tx.execute(delete(DEDUPLICATION).where(DEDUPLICATION.c.at_ms <= before_ms))


# --- archives


def archive(tx: Connection, topic_arn: str, seq: int, published_ms: int, content: bytes) -> None:
    """Keeps a message to be replayed."""
    tx.execute(insert(ARCHIVE), {"topic_arn": topic_arn, "seq": seq, "published_ms": published_ms, "content": content})


def archived(tx: Connection, topic_arn: str, after: int, between_ms: tuple[int, int], most: int) -> list[Row[Any]]:
    """The first messages (seq, published_ms, content) behind one, of a time, in order."""
    there = (
        ARCHIVE.c.topic_arn == topic_arn,
        ARCHIVE.c.seq > after,
        ARCHIVE.c.published_ms >= between_ms[0],
        ARCHIVE.c.published_ms <= between_ms[1],
    )
    query = select(ARCHIVE.c.seq, ARCHIVE.c.published_ms, ARCHIVE.c.content).where(*there)
    return list(tx.execute(query.order_by(ARCHIVE.c.seq).limit(most)))


def oldest_archived(tx: Connection, topic_arn: str) -> int | None:
    """When the oldest message of an archive was published."""
    query = select(func.min(ARCHIVE.c.published_ms)).where(ARCHIVE.c.topic_arn == topic_arn)
    found: int | None = tx.execute(query).scalar_one()
    return found


def forget_archived(tx: Connection, topic_arn: str, before_ms: int) -> None:
    """Removes what was published then or before."""
    tx.execute(delete(ARCHIVE).where(ARCHIVE.c.topic_arn == topic_arn, ARCHIVE.c.published_ms <= before_ms))
