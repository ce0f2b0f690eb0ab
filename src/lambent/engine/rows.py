"""All SQL of the engine: the events that wait to be run, or for their record to be delivered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
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

T = TypeVar("T")

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
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("trace_header", String),
    Column("response", LargeBinary),  # Response as JSON
    Column("condition", String),
    Column("ended_ms", BigInteger),
    Column("pending", LargeBinary),  # Deliveries as JSON
    Index("engine_events_visible", "visible_ms", "id"),
    sqlite_autoincrement=True,  # an id is never used again: the queue knows by it which events run
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the last attempt came to: the function's answer, or the error that kept the function from running."""

    executed_version: str = ""
    payload: bytes = b""
    function_error: str | None = None
    refusal: tuple[str, str] | None = None  # code and message


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where something about an ended event is to go. Whoever knows the functions made it, and knows what it means."""

    kind: str
    target: str
    role: str
    failure_metric: str  # counts each try that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An asynchronous invocation that was acknowledged: it is to run, or it has ended and somebody is to hear of it."""

    id: int = 0
    scope: Scope
    function_arn: str
    qualifier: str | None
    request_id: str
    payload: bytes
    arrived_ms: int
    visible_ms: int  # not before this moment
    deferrals: int = 0  # how often it had to wait: throttled, or not ready; once ended, how often a delivery failed
    attempts: int = 0  # how often the function ran
    trace_header: str | None = None  # as it came
    response: Response | None = None  # of the last attempt
    condition: str | None = None  # once it has ended
    ended_ms: int | None = None
    pending: tuple[Delivery, ...] = ()  # once it has ended


_INSERT: Final = insert(EVENTS)
_DUE: Final = (
    select(EVENTS.c.id)
    .where(EVENTS.c.visible_ms <= bindparam("now_ms"))
    .order_by(EVENTS.c.visible_ms, EVENTS.c.id)
    .limit(bindparam("limit"))
)
_GET: Final = select(EVENTS).where(EVENTS.c.id == bindparam("event_id"))
_NEXT: Final = select(func.min(EVENTS.c.visible_ms)).where(EVENTS.c.visible_ms > bindparam("now_ms"))
_UPDATE: Final = (
    update(EVENTS)
    .where(EVENTS.c.id == bindparam("event_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("visible_ms", "deferrals", "attempts", "response", "condition", "ended_ms", "pending")
        }
    )
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
            "attempts": event.attempts,
            "trace_header": event.trace_header,
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
        attempts=row.attempts,
        trace_header=row.trace_header,
        response=_read(row.response, Response),
        condition=row.condition,
        ended_ms=row.ended_ms,
        pending=_read(row.pending, tuple[Delivery, ...]) or (),
    )


def next_visible_ms(tx: Connection, now_ms: int) -> int | None:
    """When the next event that must wait may run."""
    moment = tx.execute(_NEXT, {"now_ms": now_ms}).scalar_one()
    return None if moment is None else int(moment)


def update_event(tx: Connection, event: Event) -> None:
    """Keeps what has become of an event; what it asks for never changes."""
    tx.execute(
        _UPDATE,
        {
            "event_id": event.id,
            "new_visible_ms": event.visible_ms,
            "new_deferrals": event.deferrals,
            "new_attempts": event.attempts,
            "new_response": _written(event.response),
            "new_condition": event.condition,
            "new_ended_ms": event.ended_ms,
            "new_pending": _written(event.pending or None),
        },
    )


def delete_event(tx: Connection, event_id: int) -> None:
    """Forgets an event."""
    tx.execute(_DELETE, {"event_id": event_id})


def _written(value: Any) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _read(document: bytes | None, kind: type[T]) -> T | None:
    return None if document is None else msgspec.json.decode(document, type=kind)
