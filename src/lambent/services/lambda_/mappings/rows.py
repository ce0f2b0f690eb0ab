"""All SQL of event source mappings. A row is what a mapping is looked for by, and the mapping itself as JSON."""

import msgspec
from sqlalchemy import Column, Index, String, Table, Text, bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from lambent.services.lambda_.mappings.model import EventSourceMapping
from lambent.store.schema import MAIN

MAPPINGS = Table(
    "lambda_event_source_mappings",
    MAIN,
    Column("uuid", String(36), primary_key=True),
    Column("source", String(512), nullable=False),
    Column("function_arn", String(256), nullable=False),
    Column("document", Text, nullable=False),
    Index("lambda_event_source_mappings_pair", "source", "function_arn", unique=True),
)

_UUID = MAPPINGS.c.uuid == bindparam("its_uuid")
SELECT_MAPPING = select(MAPPINGS.c.document).where(_UUID)
SELECT_PAIR = select(MAPPINGS.c.document).where(
    MAPPINGS.c.source == bindparam("its_source"), MAPPINGS.c.function_arn == bindparam("its_function")
)
SELECT_ALL = select(MAPPINGS.c.document)
INSERT_MAPPING = insert(MAPPINGS)
UPDATE_MAPPING = (
    update(MAPPINGS)
    .where(_UUID)
    .values({"function_arn": bindparam("new_function"), "document": bindparam("new_document")})
)
DELETE_MAPPING = delete(MAPPINGS).where(_UUID)


def mapping(tx: Connection, uuid: str) -> EventSourceMapping | None:
    """The mapping, if it exists."""
    return _read(tx.execute(SELECT_MAPPING, {"its_uuid": uuid}).scalar())


def between(tx: Connection, source: str, function_arn: str) -> EventSourceMapping | None:
    """The mapping from a source to a function, a version or an alias, if there is one."""
    return _read(tx.execute(SELECT_PAIR, {"its_source": source, "its_function": function_arn}).scalar())


def everything(tx: Connection) -> list[EventSourceMapping]:
    """All mappings: what the catalogue is built from at start."""
    return [msgspec.json.decode(row, type=EventSourceMapping) for row in tx.execute(SELECT_ALL).scalars()]


def insert_mapping(tx: Connection, row: EventSourceMapping) -> None:
    """Adds a mapping; it must not exist."""
    values = {"uuid": row.uuid, "source": row.queue, "function_arn": row.function_arn, "document": _document(row)}
    tx.execute(INSERT_MAPPING, values)


def update_mapping(tx: Connection, row: EventSourceMapping) -> None:
    """Replaces a mapping. Its source stays."""
    values = {"its_uuid": row.uuid, "new_function": row.function_arn, "new_document": _document(row)}
    tx.execute(UPDATE_MAPPING, values)


def delete_mapping(tx: Connection, uuid: str) -> None:
    """Removes a mapping, if it is there."""
    tx.execute(DELETE_MAPPING, {"its_uuid": uuid})


def _read(document: str | None) -> EventSourceMapping | None:
    return None if document is None else msgspec.json.decode(document, type=EventSourceMapping)


def _document(row: EventSourceMapping) -> str:
    return msgspec.json.encode(row).decode()
