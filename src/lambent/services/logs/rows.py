"""All SQL of CloudWatch Logs.

Groups and streams are in the main database: an acknowledged change of them survives a power cut. Events, and what
they add up to per stream, are in the bulk database, and refer to streams by ids that are never used again. What a
deletion leaves behind there is named by a tombstone, written with the deletion, until the worker has removed it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from lambent.aws.caller import Scope
from lambent.services.logs.model import Event, Group, Stats, Stream, split_position
from lambent.store.schema import BULK, MAIN

_ID: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only
_TOP: Final = "\U0010ffff"  # sorts behind any continuation of a prefix
_FETCH: Final = 100
_IN_CHUNK: Final = 500

GROUPS: Final = Table(
    "logs_groups",
    MAIN,
    Column("id", _ID, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("name", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("retention_days", Integer),
    Column("log_class", String, nullable=False),
    Column("kms_key_id", String),
    Column("is_protected", Boolean, nullable=False),
    Column("tags", JSON, nullable=False),
    UniqueConstraint("account", "region", "name"),
    sqlite_autoincrement=True,
)
STREAMS: Final = Table(
    "logs_streams",
    MAIN,
    Column("id", _ID, primary_key=True),
    Column("group_id", BigInteger, nullable=False),
    Column("name", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("group_id", "name"),
    sqlite_autoincrement=True,
)
TOMBSTONES: Final = Table(
    "logs_tombstones",
    MAIN,
    Column("id", _ID, primary_key=True),
    Column("group_id", BigInteger, nullable=False),
    Column("stream_id", BigInteger),  # null: the whole group
    Column("deleted_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
EVENTS: Final = Table(
    "logs_events",
    BULK,
    Column("id", _ID, primary_key=True),
    Column("group_id", BigInteger, nullable=False),
    Column("stream_id", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("ingested_at", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Index("logs_events_of_group", "group_id", "timestamp", "id"),
    Index("logs_events_of_stream", "stream_id", "timestamp", "id"),
    sqlite_autoincrement=True,
)
STATS: Final = Table(
    "logs_stream_stats",
    BULK,
    Column("stream_id", BigInteger, primary_key=True, autoincrement=False),
    Column("group_id", BigInteger, nullable=False),
    Column("first_timestamp", BigInteger, nullable=False),
    Column("last_timestamp", BigInteger, nullable=False),
    Column("last_ingested_at", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Index("logs_stream_stats_of_group", "group_id"),
)

# --- groups

# A new environment's first line asks for its group and its stream, and makes them.
_INSERT_GROUP: Final = insert(GROUPS).returning(GROUPS.c.id)
_GROUP: Final = select(GROUPS).where(
    GROUPS.c.account == bindparam("account"), GROUPS.c.region == bindparam("region"), GROUPS.c.name == bindparam("name")
)


def insert_group(tx: Connection, scope: Scope, group: Group) -> int:
    """Stores a group and answers its id."""
    values = {
        "account": scope.account,
        "region": scope.region,
        "name": group.name,
        "created_at": group.created_at,
        "retention_days": group.retention_days,
        "log_class": group.log_class,
        "kms_key_id": group.kms_key_id,
        "is_protected": group.is_protected,
        "tags": group.tags,
    }
    return int(tx.execute(_INSERT_GROUP, values).scalar_one())


def group(tx: Connection, scope: Scope, name: str) -> Group | None:
    """The group of that name."""
    row = tx.execute(_GROUP, {"account": scope.account, "region": scope.region, "name": name}).first()
    return None if row is None else _group(row)


def groups(
    tx: Connection, scope: Scope, *, prefix: str = "", after: str = "", limit: int, **filters: Any
) -> list[Group]:
    """Groups in the order of their names. Filters: `pattern` (part of the name), `log_class`, `names`."""
    query = _groups(scope).where(GROUPS.c.name > after).order_by(GROUPS.c.name).limit(limit)
    if prefix:
        query = query.where(GROUPS.c.name >= prefix, GROUPS.c.name < prefix + _TOP)
    if filters.get("pattern"):  # LIKE would not tell upper case from lower on SQLite
        query = query.where(func.replace(GROUPS.c.name, filters["pattern"], "") != GROUPS.c.name)
    if filters.get("log_class"):
        query = query.where(GROUPS.c.log_class == filters["log_class"])
    if filters.get("names"):
        query = query.where(GROUPS.c.name.in_(filters["names"]))
    return [_group(row) for row in tx.execute(query)]


def groups_with_retention(tx: Connection) -> list[Group]:
    """Every group of every account whose events expire."""
    return [_group(row) for row in tx.execute(select(GROUPS).where(GROUPS.c.retention_days.is_not(None)))]


def update_group(tx: Connection, group_id: int, **values: Any) -> None:
    """Changes some columns of a group."""
    tx.execute(update(GROUPS).where(GROUPS.c.id == group_id).values(values))


def delete_group(tx: Connection, group_id: int, now_ms: int) -> None:
    """Deletes the group and its streams, and leaves a tombstone for its events."""
    tx.execute(delete(STREAMS).where(STREAMS.c.group_id == group_id))
    tx.execute(delete(GROUPS).where(GROUPS.c.id == group_id))
    tx.execute(insert(TOMBSTONES).values(group_id=group_id, deleted_at=now_ms))


def _groups(scope: Scope) -> Select[Any]:
    return select(GROUPS).where(GROUPS.c.account == scope.account, GROUPS.c.region == scope.region)


def _group(row: Row[Any]) -> Group:
    return Group(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        retention_days=row.retention_days,
        log_class=row.log_class,
        kms_key_id=row.kms_key_id,
        is_protected=row.is_protected,
        tags=row.tags,
    )


# --- streams

_STREAM: Final = (STREAMS.c.id, STREAMS.c.name, STREAMS.c.created_at)
_INSERT_STREAM: Final = insert(STREAMS).returning(STREAMS.c.id)
_GET_STREAM: Final = select(*_STREAM).where(
    STREAMS.c.group_id == bindparam("group_id"), STREAMS.c.name == bindparam("name")
)


def insert_stream(tx: Connection, group_id: int, name: str, created_at: int) -> int:
    """Stores a stream and answers its id."""
    values = {"group_id": group_id, "name": name, "created_at": created_at}
    return int(tx.execute(_INSERT_STREAM, values).scalar_one())


def stream(tx: Connection, group_id: int, name: str) -> Stream | None:
    """The stream of that name."""
    row = tx.execute(_GET_STREAM, {"group_id": group_id, "name": name}).first()
    return None if row is None else Stream(*row)


def streams(tx: Connection, group_id: int, *, prefix: str = "") -> list[Stream]:
    """All streams of a group whose names begin so, in no order."""
    query = select(*_STREAM).where(STREAMS.c.group_id == group_id)
    if prefix:
        query = query.where(STREAMS.c.name >= prefix, STREAMS.c.name < prefix + _TOP)
    return [Stream(*row) for row in tx.execute(query)]


def streams_by_name(
    tx: Connection, group_id: int, *, prefix: str, after: str | None, descending: bool, limit: int
) -> list[Stream]:
    """Streams in the order of their names, those behind `after`."""
    name = STREAMS.c.name
    query = select(*_STREAM).where(STREAMS.c.group_id == group_id).limit(limit)
    query = query.order_by(name.desc() if descending else name)
    if prefix:
        query = query.where(name >= prefix, name < prefix + _TOP)
    if after is not None:
        query = query.where(name < after if descending else name > after)
    return [Stream(*row) for row in tx.execute(query)]


def stream_names(tx: Connection, stream_ids: Sequence[int]) -> dict[int, str]:
    """The names of those streams that still exist, by id."""
    names: dict[int, str] = {}
    for start in range(0, len(stream_ids), _IN_CHUNK):
        chunk = stream_ids[start : start + _IN_CHUNK]
        names |= {row.id: row.name for row in tx.execute(select(*_STREAM).where(STREAMS.c.id.in_(chunk)))}
    return names


def delete_stream(tx: Connection, group_id: int, stream_id: int, now_ms: int) -> None:
    """Deletes the stream and leaves a tombstone for its events."""
    tx.execute(delete(STREAMS).where(STREAMS.c.id == stream_id))
    tx.execute(insert(TOMBSTONES).values(group_id=group_id, stream_id=stream_id, deleted_at=now_ms))


# --- tombstones


def tombstones(tx: Connection, deleted_before: int) -> list[tuple[int, int, int | None]]:
    """(id, group id, stream id or None for the whole group) of deletions before a moment."""
    columns = (TOMBSTONES.c.id, TOMBSTONES.c.group_id, TOMBSTONES.c.stream_id)
    return [tuple(row) for row in tx.execute(select(*columns).where(TOMBSTONES.c.deleted_at < deleted_before))]


def delete_tombstone(tx: Connection, tombstone_id: int) -> None:
    """Forgets a deletion that was carried out."""
    tx.execute(delete(TOMBSTONES).where(TOMBSTONES.c.id == tombstone_id))


# --- events


# One statement for a whole batch, and one step of it: sqlite3 gives up the interpreter lock for each step, and on a
# busy node gets it back only after a while. Rows are arrays in the order of the columns.
_INSERT_BATCH: Final = {
    "sqlite": text(
        "INSERT INTO logs_events (group_id, stream_id, timestamp, ingested_at, size, message) "
        "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
        "json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]') "
        "FROM json_each(:batch)"
    ),
    "postgresql": text(
        "INSERT INTO logs_events (group_id, stream_id, timestamp, ingested_at, size, message) "
        "SELECT CAST(value ->> 0 AS bigint), CAST(value ->> 1 AS bigint), CAST(value ->> 2 AS bigint), "
        "CAST(value ->> 3 AS bigint), CAST(value ->> 4 AS integer), value ->> 5 "
        "FROM json_array_elements(CAST(:batch AS json))"
    ),
}
_COLUMNS: Final = ("group_id", "stream_id", "timestamp", "ingested_at", "size", "message")

NewEvent = tuple[int, int, int, int, int, str]
"""Group id, stream id, timestamp, ingestion time, size, message."""


_INSERT_ONE: Final = insert(EVENTS)


def insert_events(tx: Connection, events: Sequence[NewEvent]) -> None:
    """Stores events in their order, and counts them in their streams' stats."""
    batch = msgspec.json.encode(events)
    has_nul = b"\\u0000" in batch  # SQLite's JSON functions end a string there
    one_by_one = [dict(zip(_COLUMNS, event, strict=True)) for event in events] if has_nul else []
    tx.execute(
        _INSERT_ONE if has_nul else _INSERT_BATCH[tx.dialect.name], one_by_one if has_nul else {"batch": batch.decode()}
    )
    tx.execute(_ADD_STATS[tx.dialect.name], _added(events))


def _added(events: Sequence[NewEvent]) -> list[dict[str, int]]:
    """What a batch adds to the stats of each of its streams."""
    added: dict[int, dict[str, int]] = {}
    for group_id, stream_id, timestamp, ingested_at, size, _ in events:
        stats = added.get(stream_id)
        if stats is None:
            added[stream_id] = {
                "group_id": group_id,
                "stream_id": stream_id,
                "first_timestamp": timestamp,
                "last_timestamp": timestamp,
                "last_ingested_at": ingested_at,
                "stored_bytes": size,
            }
            continue
        stats["first_timestamp"] = min(stats["first_timestamp"], timestamp)
        stats["last_timestamp"] = max(stats["last_timestamp"], timestamp)
        stats["last_ingested_at"] = max(stats["last_ingested_at"], ingested_at)
        stats["stored_bytes"] += size
    return list(added.values())


_ADD_STATS_TEXT: Final = (
    "INSERT INTO logs_stream_stats "
    "(stream_id, group_id, first_timestamp, last_timestamp, last_ingested_at, stored_bytes) "
    "VALUES (:stream_id, :group_id, :first_timestamp, :last_timestamp, :last_ingested_at, :stored_bytes) "
    "ON CONFLICT (stream_id) DO UPDATE SET "
    "first_timestamp = {least}(logs_stream_stats.first_timestamp, excluded.first_timestamp), "
    "last_timestamp = {greatest}(logs_stream_stats.last_timestamp, excluded.last_timestamp), "
    "last_ingested_at = {greatest}(logs_stream_stats.last_ingested_at, excluded.last_ingested_at), "
    "stored_bytes = logs_stream_stats.stored_bytes + excluded.stored_bytes"
)
_ADD_STATS: Final = {
    "sqlite": text(_ADD_STATS_TEXT.format(least="min", greatest="max")),
    "postgresql": text(_ADD_STATS_TEXT.format(least="least", greatest="greatest")),
}
_EVENT: Final = tuple(EVENTS.c[name] for name in ("id", "stream_id", "timestamp", "ingested_at", "size", "message"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which events to read, and in which order."""

    group_id: int
    stream_ids: Sequence[int] | None = None
    """None: all of the group."""
    start: int = 0
    """The least timestamp."""
    end: int | None = None
    """The greatest timestamp."""
    descending: bool = False
    beyond: int | None = None
    """The position to go on from, itself not included, in the direction of reading."""


def events(tx: Connection, wanted: Range) -> Iterator[Event]:
    """Events in the order of (timestamp, id), read as they are asked for."""
    with tx.execute(events_query(wanted), execution_options={"yield_per": _FETCH}) as result:
        for row in result:
            yield Event(*row)


def events_query(wanted: Range) -> Select[Any]:
    """The statement behind `events`: along one of the two indexes, with nothing to sort."""
    columns = EVENTS.c
    ids = wanted.stream_ids
    if ids is not None and len(ids) == 1:
        query = select(*_EVENT).where(columns.stream_id == ids[0])
    else:
        query = select(*_EVENT).where(columns.group_id == wanted.group_id)
        query = query if ids is None else query.where(columns.stream_id.in_(ids))
    query = query.where(columns.timestamp >= wanted.start)
    if wanted.end is not None:
        query = query.where(columns.timestamp <= wanted.end)
    if wanted.beyond is not None:
        here, there = tuple_(columns.timestamp, columns.id), tuple_(*split_position(wanted.beyond))
        query = query.where(here < there if wanted.descending else here > there)
    order = (columns.timestamp, columns.id)
    return query.order_by(*(column.desc() for column in order) if wanted.descending else order)


def stats(tx: Connection, group_id: int) -> dict[int, Stats]:
    """The stats of a group's streams that ever had events, by stream id."""
    columns = (STATS.c.first_timestamp, STATS.c.last_timestamp, STATS.c.last_ingested_at, STATS.c.stored_bytes)
    rows = tx.execute(select(STATS.c.stream_id, *columns).where(STATS.c.group_id == group_id))
    return {stream_id: Stats(*values) for stream_id, *values in rows}


def stored_bytes(tx: Connection, group_ids: Sequence[int]) -> dict[int, int]:
    """The bytes of those groups that have events, by group id."""
    total = func.sum(STATS.c.stored_bytes)
    query = select(STATS.c.group_id, total).where(STATS.c.group_id.in_(group_ids)).group_by(STATS.c.group_id)
    return {group_id: int(total) for group_id, total in tx.execute(query)}


# --- removal, in batches so that the writer is free in between


def remove_expired(tx: Connection, group_id: int, before: int, limit: int) -> int:
    """Removes at most `limit` events with earlier timestamps, the oldest first; how many there were."""
    oldest = (
        select(EVENTS.c.id)
        .where(EVENTS.c.group_id == group_id, EVENTS.c.timestamp < before)
        .order_by(EVENTS.c.timestamp, EVENTS.c.id)
        .limit(limit)
    )
    return _remove(tx, [row.id for row in tx.execute(oldest)])


def remove_orphans(tx: Connection, group_id: int, stream_id: int | None, limit: int) -> int:
    """Removes at most `limit` events of a deleted group or stream; their stats go with the last of them."""
    key, stats_key, value = EVENTS.c.group_id, STATS.c.group_id, group_id
    if stream_id is not None:
        key, stats_key, value = EVENTS.c.stream_id, STATS.c.stream_id, stream_id
    found = [row.id for row in tx.execute(select(EVENTS.c.id).where(key == value).limit(limit))]
    if found:
        tx.execute(delete(EVENTS).where(EVENTS.c.id.in_(found)))
    if len(found) < limit:
        tx.execute(delete(STATS).where(stats_key == value))
    return len(found)


def _remove(tx: Connection, event_ids: list[int]) -> int:
    if not event_ids:
        return 0
    size = func.sum(EVENTS.c.size)
    query = select(EVENTS.c.stream_id, size).where(EVENTS.c.id.in_(event_ids)).group_by(EVENTS.c.stream_id)
    removed = [(stream_id, int(total)) for stream_id, total in tx.execute(query)]
    tx.execute(delete(EVENTS).where(EVENTS.c.id.in_(event_ids)))
    for stream_id, total in removed:
        first = select(func.min(EVENTS.c.timestamp)).where(EVENTS.c.stream_id == stream_id).scalar_subquery()
        tx.execute(
            update(STATS)
            .where(STATS.c.stream_id == stream_id)
            .values(
                stored_bytes=STATS.c.stored_bytes - total,
                first_timestamp=func.coalesce(first, STATS.c.last_timestamp),
            )
        )
    return len(event_ids)
