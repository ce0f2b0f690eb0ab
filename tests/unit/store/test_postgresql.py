"""Every statement of every rows.py compiles for PostgreSQL, too.

Statements are met where they are executed: each function of a rows.py is called with made-up arguments on SQLite until
every place that executes something did so, and what arrives there is compiled. What only PostgreSQL would execute is a
statement of the module, in a dict by dialect.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import random
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import ClauseElement, Table, create_engine, event
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

import lambent
from lambent.store.schema import BULK, MAIN

_PACKAGE = Path(lambent.__file__).parent
MODULES = sorted(
    ".".join(("lambent", *path.relative_to(_PACKAGE).with_suffix("").parts)) for path in _PACKAGE.rglob("rows.py")
)
_DIALECT = psycopg.dialect()
_EXECUTES = {"execute", "scalar", "scalars"}
_MOST_ROUNDS = 2_000
# What functions take as **keywords, which no signature tells.
_KEYWORDS = {
    ("lambent.services.logs.rows", "groups"): {"pattern": str | None, "log_class": str | None, "names": list[str]},
    ("lambent.services.logs.rows", "update_group"): {"retention_days": int | None, "is_protected": bool},
}


@pytest.mark.parametrize("name", MODULES)
def test_every_executed_statement_compiles_for_postgresql(name):
    module, rng = importlib.import_module(name), random.Random(4711)
    missing = set(_places(module))
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "before_execute")
    def _compile(_connection, statement, many, one, _options):
        if isinstance(statement, ClauseElement) and (line := _line_in(module)):
            columns = list((many[0] if many else one) or {})
            statement.compile(dialect=_DIALECT, column_keys=columns or None)
            missing.difference_update([place for place in missing if place[0] <= line <= place[1]])

    with engine.connect() as tx:
        MAIN.create_all(tx)
        BULK.create_all(tx)
        calls = itertools.cycle(_functions(module))
        for _ in range(_MOST_ROUNDS * len(_functions(module))):
            if not missing:
                break
            _call(next(calls), tx, rng)
    assert missing == set(), f"{name}: nothing was executed in these lines"


@pytest.mark.parametrize("name", MODULES)
def test_every_statement_of_a_module_compiles_for_postgresql(name):
    for statement in _statements(vars(importlib.import_module(name)).values()):
        assert str(statement.compile(dialect=_DIALECT))


@pytest.mark.parametrize("name", MODULES)
def test_statements_are_sqlalchemys_or_in_a_dict_by_dialect(name):
    """SQL as a bare string would go past us."""
    module = importlib.import_module(name)
    text = inspect.getsource(module)
    assert "exec_driver_sql" not in text
    dialects = [set(value) for value in vars(module).values() if _is_by_dialect(value)]
    assert all(found == {"sqlite", "postgresql"} for found in dialects)
    assert text.count(" text(") <= 2 * len(dialects)


def test_every_table_can_be_made_on_postgresql():
    for name in MODULES:
        importlib.import_module(name)
    for table in [*MAIN.tables.values(), *BULK.tables.values()]:
        assert str(CreateTable(table).compile(dialect=_DIALECT))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=_DIALECT))


def test_there_are_modules_to_look_at():
    assert {"lambent.engine.rows", "lambent.services.lambda_.rows", "lambent.services.logs.rows"} <= set(MODULES)


# Where a module executes


def _places(module):
    """(first line, last line) of each call that executes a statement."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _EXECUTES:
            yield node.lineno, node.end_lineno


def _line_in(module):
    """The line of the module that is being executed now."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename != module.__file__:
        frame = frame.f_back
    return frame.f_lineno if frame is not None else None


def _statements(values):
    for value in values:
        if isinstance(value, ClauseElement) and not isinstance(value, Table):
            yield value
        elif _is_by_dialect(value):
            yield value["postgresql"]
        elif isinstance(value, tuple | list):
            yield from _statements(value)


def _is_by_dialect(value):
    return (
        isinstance(value, dict) and "sqlite" in value and any(isinstance(one, ClauseElement) for one in value.values())
    )


# Calling its functions


def _functions(module):
    """Those that are given a transaction."""
    functions = [one for one in vars(module).values() if inspect.isfunction(one) and one.__module__ == module.__name__]
    return [one for one in functions if next(iter(inspect.signature(one).parameters), "") == "tx"]


def _call(function, tx, rng):
    hints = typing.get_type_hints(function)
    arguments, keywords = [], {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            known = _KEYWORDS[function.__module__, function.__name__]
            keywords |= {name: _made_up(kind, rng) for name, kind in known.items()}
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = _made_up(hints[parameter.name], rng)
        else:
            arguments.append(_made_up(hints[parameter.name], rng))
    savepoint = tx.begin_nested()
    try:
        result = function(tx, *arguments, **keywords)
        if isinstance(result, Iterator):
            list(result)
    except IntegrityError:
        savepoint.rollback()
    else:
        savepoint.commit()


_SIMPLE = {
    str: lambda rng: rng.choice(["1", "2"]),  # some columns hold numbers
    int: lambda rng: rng.randrange(4),
    float: lambda rng: rng.random(),
    bool: lambda rng: rng.random() < 0.5,
    bytes: lambda rng: rng.randbytes(2),
    types.NoneType: lambda rng: None,
    typing.Any: lambda rng: rng.randrange(4),
}


def _made_up(kind, rng):
    """A value of a type: from so few that rows are found, and found to be there already."""
    if kind in _SIMPLE:
        return _SIMPLE[kind](rng)
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _made_up(rng.choice(of), rng)
    if origin is typing.Literal:
        return rng.choice(of)
    if origin is tuple and of[-1] is not Ellipsis:
        return tuple(_made_up(one, rng) for one in of)
    if origin in (list, tuple, set, frozenset, Sequence):
        made = [_made_up(of[0], rng) for _ in range(rng.randrange(1, 4))]
        return made if origin is Sequence else origin(made)
    if origin in (dict, Mapping):
        return {_made_up(of[0], rng): _made_up(of[1], rng) for _ in range(rng.randrange(3))}
    return _made_up_record(kind, rng)


def _made_up_record(kind, rng):
    assert dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"), f"say how to make a {kind}"
    names = [one.name for one in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    hints = typing.get_type_hints(kind)
    return kind(**{name: _made_up(hints[name], rng) for name in names})
