"""All SQL of the engine: the events that wait to be run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from lambent.aws.caller import Scope
from lambent.store.schema import MAIN

EVENTS: Final = Table(
    "engine_events",
    MAIN,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("function_arn", String, nullable=False),
    Column("qualifier", String),
    Column("request_id", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("arrived_ms", BigInteger, nullable=False),
    Column("visible_ms", BigInteger, nullable=False),
    Column("deferrals", Integer, nullable=False),
    Index("engine_events_visible", "visible_ms", "id"),
    sqlite_autoincrement=True,  # an id is never used again: the queue knows by it which events run
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An asynchronous invocation that was acknowledged and has not run yet."""

    id: int = 0
    scope: Scope
    function_arn: str
    qualifier: str | None
    request_id: str
    payload: bytes
    arrived_ms: int
    visible_ms: int  # not before this moment
    deferrals: int = 0  # how often it had to wait: throttled, or the function was not ready


_INSERT: Final = insert(EVENTS)
_DUE: Final = (
    select(EVENTS.c.id)
    .where(EVENTS.c.visible_ms <= bindparam("now_ms"))
    .order_by(EVENTS.c.visible_ms, EVENTS.c.id)
    .limit(bindparam("limit"))
)
_GET: Final = select(EVENTS).where(EVENTS.c.id == bindparam("event_id"))
_NEXT: Final = select(func.min(EVENTS.c.visible_ms)).where(EVENTS.c.visible_ms > bindparam("now_ms"))
_DEFER: Final = (
    update(EVENTS)
    .where(EVENTS.c.id == bindparam("event_id"))
    .values(visible_ms=bindparam("until_ms"), deferrals=EVENTS.c.deferrals + 1)
)
_DELETE: Final = delete(EVENTS).where(EVENTS.c.id == bindparam("event_id"))


def insert_event(tx: Connection, event: Event) -> int:
    """Keeps an event; its id."""
    result = tx.execute(
        _INSERT,
        {
            "account": event.scope.account,
            "region": event.scope.region,
            "function_arn": event.function_arn,
            "qualifier": event.qualifier,
            "request_id": event.request_id,
            "payload": event.payload,
            "arrived_ms": event.arrived_ms,
            "visible_ms": event.visible_ms,
            "deferrals": event.deferrals,
        },
    )
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def due_ids(tx: Connection, now_ms: int, limit: int) -> Sequence[int]:
    """The events that may run now, those that have waited longest first."""
    return tx.execute(_DUE, {"now_ms": now_ms, "limit": limit}).scalars().all()


def event(tx: Connection, event_id: int) -> Event | None:
    """The event with this id, unless it is gone."""
    row = tx.execute(_GET, {"event_id": event_id}).one_or_none()
    if row is None:
        return None
    return Event(
        id=row.id,
        scope=Scope(row.account, row.region),
        function_arn=row.function_arn,
        qualifier=row.qualifier,
        request_id=row.request_id,
        payload=row.payload,
        arrived_ms=row.arrived_ms,
        visible_ms=row.visible_ms,
        deferrals=row.deferrals,
    )


def next_visible_ms(tx: Connection, now_ms: int) -> int | None:
    """When the next event that must wait may run."""
    moment = tx.execute(_NEXT, {"now_ms": now_ms}).scalar_one()
    return None if moment is None else int(moment)


def defer_event(tx: Connection, event_id: int, until_ms: int) -> None:
    """Lets an event wait until a moment."""
    tx.execute(_DEFER, {"event_id": event_id, "until_ms": until_ms})


def delete_event(tx: Connection, event_id: int) -> None:
    """Forgets an event that ran."""
    tx.execute(_DELETE, {"event_id": event_id})
