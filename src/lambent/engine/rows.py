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
    text,
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


class Event(msgspec.Struct, frozen=True, kw_only=True):
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
# One statement for a whole group, and one step of it, as for log lines. Rows are arrays in the order of these columns.
_ASKED: Final = (
    "account, region, function_arn, qualifier, request_id, arrived_ms, visible_ms, trace_header, payload, deferrals"
)
_INSERT_GROUP: Final = {
    "sqlite": text(
        f"INSERT INTO engine_events ({_ASKED}) SELECT "
        + ", ".join(f"json_extract(value, '$[{at}]')" for at in range(8))
        + ", CAST(json_extract(value, '$[8]') AS BLOB), 0 FROM json_each(:group)"
    ),
    "postgresql": text(
        f"INSERT INTO engine_events ({_ASKED}) SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, "
        "CAST(value ->> 5 AS bigint), CAST(value ->> 6 AS bigint), value ->> 7, convert_to(value ->> 8, 'UTF8'), 0 "
        "FROM json_array_elements(CAST(:group AS json)) RETURNING id"
    ),
}
_LONGEST_IN_GROUP: Final = 65_536  # bytes of a payload: JSON within JSON is read twice
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
_DELETE_GROUP: Final = {
    "sqlite": text("DELETE FROM engine_events WHERE id IN (SELECT value FROM json_each(:ids))"),
    "postgresql": text(
        "DELETE FROM engine_events "
        "WHERE id IN (SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json)))"
    ),
}


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


def insert_events(tx: Connection, events: Sequence[Event]) -> Sequence[int]:
    """Keeps a group of events, each of which has not run yet; their ids, in the same order."""
    texts = [_text(event.payload) for event in events]
    if len(events) == 1 or None in texts:
        return [insert_event(tx, event) for event in events]
    group = [
        (
            *event.scope,
            event.function_arn,
            event.qualifier,
            event.request_id,
            event.arrived_ms,
            event.visible_ms,
            event.trace_header,
            payload,
        )
        for event, payload in zip(events, texts, strict=True)
    ]
    result = tx.execute(_INSERT_GROUP[tx.dialect.name], {"group": msgspec.json.encode(group).decode()})
    if tx.dialect.name != "sqlite":
        return [row[0] for row in result]
    last = result.lastrowid  # nobody else writes between these rows
    return range(last - len(events) + 1, last + 1)


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


def delete_events(tx: Connection, event_ids: Sequence[int]) -> None:
    """Forgets a group of events."""
    tx.execute(_DELETE_GROUP[tx.dialect.name], {"ids": msgspec.json.encode(list(event_ids)).decode()})


def _text(payload: bytes) -> str | None:
    """A payload that can stand in JSON as a string, as payloads can that are JSON themselves; None where it cannot."""
    if len(payload) > _LONGEST_IN_GROUP or b"\0" in payload:  # where SQLite's JSON functions end a string
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def _written(value: Any) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _read(document: bytes | None, kind: type[T]) -> T | None:
    return None if document is None else msgspec.json.decode(document, type=kind)
