"""All of Lambda's SQL. A row is the thing's key and the thing itself as JSON."""

from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, Integer, String, Table, Text, bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from lambent.aws.caller import Scope
from lambent.services.lambda_.attached import KINDS, Attached
from lambent.services.lambda_.model import Alias, Function, FunctionKey, FunctionVersion
from lambent.store.schema import MAIN

T = TypeVar("T")
A = TypeVar("A", bound=Attached)


def _key_columns() -> list[Column[Any]]:
    return [
        Column("account", String(12), primary_key=True),
        Column("region", String(32), primary_key=True),
        Column("name", String(64), primary_key=True),
    ]


FUNCTIONS = Table("lambda_functions", MAIN, *_key_columns(), Column("document", Text, nullable=False))
VERSIONS = Table(
    "lambda_versions",
    MAIN,
    *_key_columns(),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 0 is $LATEST
    Column("document", Text, nullable=False),
)
ALIASES = Table(
    "lambda_aliases",
    MAIN,
    *_key_columns(),
    Column("alias", String(128), primary_key=True),
    Column("document", Text, nullable=False),
)
ATTACHED = Table(
    "lambda_attached",
    MAIN,
    *_key_columns(),
    Column("kind", String(32), primary_key=True),
    Column("qualifier", String(128), primary_key=True),
    Column("document", Text, nullable=False),
)


def _of(table: Table) -> list[Any]:
    return [table.c[name] == bindparam(f"its_{name}") for name in ("account", "region", "name")]


_NUMBER = VERSIONS.c.number == bindparam("its_number")
_ALIAS = ALIASES.c.alias == bindparam("its_alias")
_KIND = ATTACHED.c.kind == bindparam("its_kind")
_QUALIFIER = ATTACHED.c.qualifier == bindparam("its_qualifier")
_DOCUMENT: dict[str, Any] = {"document": bindparam("new_document")}

SELECT_FUNCTION = select(FUNCTIONS.c.document).where(*_of(FUNCTIONS))
SELECT_VERSION = select(VERSIONS.c.document).where(*_of(VERSIONS), _NUMBER)
SELECT_ALIAS = select(ALIASES.c.document).where(*_of(ALIASES), _ALIAS)
SELECT_ALIASES = select(ALIASES.c.document).where(*_of(ALIASES))
SELECT_ATTACHED = select(ATTACHED.c.document).where(*_of(ATTACHED), _KIND, _QUALIFIER)
SELECT_ATTACHED_OF_KIND = select(ATTACHED.c.document).where(*_of(ATTACHED), _KIND)
SELECT_ATTACHED_OF_ACCOUNT = select(ATTACHED.c.document).where(
    ATTACHED.c.account == bindparam("its_account"), ATTACHED.c.region == bindparam("its_region"), _KIND
)
SELECT_ALL_FUNCTIONS = select(FUNCTIONS.c.document)
SELECT_ALL_VERSIONS = select(VERSIONS.c.document)
SELECT_ALL_ALIASES = select(ALIASES.c.document)
SELECT_ALL_ATTACHED = select(ATTACHED.c.kind, ATTACHED.c.document)
INSERT_FUNCTION = insert(FUNCTIONS)
INSERT_VERSION = insert(VERSIONS)
INSERT_ALIAS = insert(ALIASES)
INSERT_ATTACHED = insert(ATTACHED)
UPDATE_FUNCTION = update(FUNCTIONS).where(*_of(FUNCTIONS)).values(_DOCUMENT)
UPDATE_VERSION = update(VERSIONS).where(*_of(VERSIONS), _NUMBER).values(_DOCUMENT)
UPDATE_ALIAS = update(ALIASES).where(*_of(ALIASES), _ALIAS).values(_DOCUMENT)
DELETE_VERSION = delete(VERSIONS).where(*_of(VERSIONS), _NUMBER)
DELETE_ALIAS = delete(ALIASES).where(*_of(ALIASES), _ALIAS)
DELETE_ATTACHED = delete(ATTACHED).where(*_of(ATTACHED), _KIND, _QUALIFIER)
DELETE_ATTACHED_OF_QUALIFIER = delete(ATTACHED).where(*_of(ATTACHED), _QUALIFIER)
DELETE_ALL_OF_A_FUNCTION = tuple(delete(table).where(*_of(table)) for table in (ATTACHED, ALIASES, VERSIONS, FUNCTIONS))


def function(tx: Connection, key: FunctionKey) -> Function | None:
    """The function, if it exists."""
    return _one(tx.execute(SELECT_FUNCTION, _where(key)).scalar(), Function)


def version(tx: Connection, key: FunctionKey, number: int) -> FunctionVersion | None:
    """A version by its number (0 is `$LATEST`), if it exists."""
    return _one(tx.execute(SELECT_VERSION, _where(key, number=number)).scalar(), FunctionVersion)


def alias(tx: Connection, key: FunctionKey, name: str) -> Alias | None:
    """An alias, if it exists."""
    return _one(tx.execute(SELECT_ALIAS, _where(key, alias=name)).scalar(), Alias)


def aliases(tx: Connection, key: FunctionKey) -> list[Alias]:
    """The aliases of a function."""
    return [msgspec.json.decode(row, type=Alias) for row in tx.execute(SELECT_ALIASES, _where(key)).scalars()]


def attached(tx: Connection, key: FunctionKey, kind: type[A], qualifier: str = "") -> A | None:
    """What of this kind is attached to a qualifier, if anything is."""
    parameters = _where(key, kind=kind.__name__, qualifier=qualifier)
    return _one(tx.execute(SELECT_ATTACHED, parameters).scalar(), kind)


def attached_of_kind(tx: Connection, key: FunctionKey, kind: type[A]) -> list[A]:
    """What of this kind is attached to the function or any qualifier of it."""
    found = tx.execute(SELECT_ATTACHED_OF_KIND, _where(key, kind=kind.__name__)).scalars()
    return [msgspec.json.decode(row, type=kind) for row in found]


def attached_of_account(tx: Connection, scope: Scope, kind: type[A]) -> list[A]:
    """What of this kind is attached to any function of an account in a region."""
    parameters = {"its_account": scope.account, "its_region": scope.region, "its_kind": kind.__name__}
    found = tx.execute(SELECT_ATTACHED_OF_ACCOUNT, parameters).scalars()
    return [msgspec.json.decode(row, type=kind) for row in found]


def put_attached(tx: Connection, row: Attached) -> None:
    """Attaches it, in the place of what was there."""
    delete_attached(tx, row.key, type(row), row.qualifier)
    kind = type(row).__name__
    values = {**row.key._asdict(), "kind": kind, "qualifier": row.qualifier, "document": _document(row)}
    tx.execute(INSERT_ATTACHED, values)


def delete_attached(tx: Connection, key: FunctionKey, kind: type[Attached], qualifier: str = "") -> None:
    """Removes it, if it is there."""
    tx.execute(DELETE_ATTACHED, _where(key, kind=kind.__name__, qualifier=qualifier))


def everything(tx: Connection) -> list[Function | FunctionVersion | Alias | Attached]:
    """All there is, functions first: what the catalogue is built from at start."""
    found: list[Function | FunctionVersion | Alias | Attached] = []
    found += [msgspec.json.decode(row, type=Function) for row in tx.execute(SELECT_ALL_FUNCTIONS).scalars()]
    found += [msgspec.json.decode(row, type=FunctionVersion) for row in tx.execute(SELECT_ALL_VERSIONS).scalars()]
    found += [msgspec.json.decode(row, type=Alias) for row in tx.execute(SELECT_ALL_ALIASES).scalars()]
    found += [msgspec.json.decode(row.document, type=KINDS[row.kind]) for row in tx.execute(SELECT_ALL_ATTACHED)]
    return found


def insert_function(tx: Connection, row: Function) -> None:
    """Adds a function; it must not exist."""
    tx.execute(INSERT_FUNCTION, {**row.key._asdict(), "document": _document(row)})


def insert_version(tx: Connection, row: FunctionVersion) -> None:
    """Adds a version; it must not exist."""
    tx.execute(INSERT_VERSION, {**row.key._asdict(), "number": row.number, "document": _document(row)})


def insert_alias(tx: Connection, row: Alias) -> None:
    """Adds an alias; it must not exist."""
    tx.execute(INSERT_ALIAS, {**row.key._asdict(), "alias": row.name, "document": _document(row)})


def update_function(tx: Connection, row: Function) -> None:
    """Replaces a function."""
    tx.execute(UPDATE_FUNCTION, _where(row.key) | {"new_document": _document(row)})


def update_version(tx: Connection, row: FunctionVersion) -> None:
    """Replaces a version."""
    tx.execute(UPDATE_VERSION, _where(row.key, number=row.number) | {"new_document": _document(row)})


def update_alias(tx: Connection, row: Alias) -> None:
    """Replaces an alias."""
    tx.execute(UPDATE_ALIAS, _where(row.key, alias=row.name) | {"new_document": _document(row)})


def delete_function(tx: Connection, key: FunctionKey) -> None:
    """Removes the function with its versions, its aliases and what is attached to them."""
    for statement in DELETE_ALL_OF_A_FUNCTION:
        tx.execute(statement, _where(key))


def delete_version(tx: Connection, key: FunctionKey, number: int) -> None:
    """Removes a version and what is attached to it, if it is there."""
    tx.execute(DELETE_ATTACHED_OF_QUALIFIER, _where(key, qualifier=str(number)))
    tx.execute(DELETE_VERSION, _where(key, number=number))


def delete_alias(tx: Connection, key: FunctionKey, name: str) -> None:
    """Removes an alias and what is attached to it, if it is there."""
    tx.execute(DELETE_ATTACHED_OF_QUALIFIER, _where(key, qualifier=name))
    tx.execute(DELETE_ALIAS, _where(key, alias=name))


def _where(key: FunctionKey, **more: Any) -> dict[str, Any]:
    return {f"its_{name}": value for name, value in {**key._asdict(), **more}.items()}


def _document(row: Function | FunctionVersion | Alias | Attached) -> str:
    return msgspec.json.encode(row).decode()


def _one(document: str | None, kind: type[T]) -> T | None:
    return None if document is None else msgspec.json.decode(document, type=kind)
