"""All SQL of layers. A row is the thing's key and the thing itself as JSON."""

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, String, Table, Text, bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from lambent.services.lambda_.layers.model import Layer, LayerKey, LayerVersion
from lambent.store.schema import MAIN


def _key_columns() -> list[Column[Any]]:
    return [
        Column("account", String(12), primary_key=True),
        Column("region", String(32), primary_key=True),
        Column("name", String(140), primary_key=True),
    ]


LAYERS = Table("lambda_layers", MAIN, *_key_columns(), Column("document", Text, nullable=False))
VERSIONS = Table(
    "lambda_layer_versions",
    MAIN,
    *_key_columns(),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
)


def _of(table: Table) -> list[Any]:
    return [table.c[name] == bindparam(f"its_{name}") for name in ("account", "region", "name")]


_NUMBER = VERSIONS.c.number == bindparam("its_number")
_DOCUMENT: dict[str, Any] = {"document": bindparam("new_document")}

SELECT_LAYER = select(LAYERS.c.document).where(*_of(LAYERS))
SELECT_VERSION = select(VERSIONS.c.document).where(*_of(VERSIONS), _NUMBER)
SELECT_ALL_VERSIONS = select(VERSIONS.c.document)
INSERT_LAYER = insert(LAYERS)
INSERT_VERSION = insert(VERSIONS)
UPDATE_LAYER = update(LAYERS).where(*_of(LAYERS)).values(_DOCUMENT)
UPDATE_VERSION = update(VERSIONS).where(*_of(VERSIONS), _NUMBER).values(_DOCUMENT)
DELETE_VERSION = delete(VERSIONS).where(*_of(VERSIONS), _NUMBER)


def layer(tx: Connection, key: LayerKey) -> Layer | None:
    """The layer, if a version of it was ever published."""
    document = tx.execute(SELECT_LAYER, _where(key)).scalar()
    return None if document is None else msgspec.json.decode(document, type=Layer)


def version(tx: Connection, key: LayerKey, number: int) -> LayerVersion | None:
    """A version by its number, if it exists."""
    document = tx.execute(SELECT_VERSION, _where(key, number=number)).scalar()
    return None if document is None else msgspec.json.decode(document, type=LayerVersion)


def everything(tx: Connection) -> list[LayerVersion]:
    """All versions: what the catalogue is built from at start."""
    return [msgspec.json.decode(row, type=LayerVersion) for row in tx.execute(SELECT_ALL_VERSIONS).scalars()]


def insert_layer(tx: Connection, row: Layer) -> None:
    """Adds a layer; it must not exist."""
    tx.execute(INSERT_LAYER, {**row.key._asdict(), "document": _document(row)})


def update_layer(tx: Connection, row: Layer) -> None:
    """Replaces a layer."""
    tx.execute(UPDATE_LAYER, _where(row.key) | {"new_document": _document(row)})


def insert_version(tx: Connection, row: LayerVersion) -> None:
    """Adds a version; it must not exist."""
    tx.execute(INSERT_VERSION, {**row.key._asdict(), "number": row.number, "document": _document(row)})


def update_version(tx: Connection, row: LayerVersion) -> None:
    """Replaces a version."""
    tx.execute(UPDATE_VERSION, _where(row.key, number=row.number) | {"new_document": _document(row)})


def delete_version(tx: Connection, key: LayerKey, number: int) -> None:
    """Removes a version, if it is there. The layer stays: its numbers are never used again."""
    tx.execute(DELETE_VERSION, _where(key, number=number))


def _where(key: LayerKey, **more: Any) -> dict[str, Any]:
    return {f"its_{name}": value for name, value in {**key._asdict(), **more}.items()}


def _document(row: Layer | LayerVersion) -> str:
    return msgspec.json.encode(row).decode()
