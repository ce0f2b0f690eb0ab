"""Every statement of every rows.py compiles for PostgreSQL, too.

Statements are met where they are executed: each function of a rows.py is called with made-up arguments on SQLite until
every place that executes something did so, and what arrives there is compiled. What only PostgreSQL would execute is a
statement of the module, in a dict by dialect.
"""

import inspect
import itertools
import random

import pytest
from sqlalchemy import ClauseElement, Table, create_engine, event
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.schema import CreateIndex, CreateTable
from tests.unit.store.rows_modules import MODULES, NAMES, call, frame_in, functions, places

from lambent.store.many import Many
from lambent.store.schema import BULK, MAIN

_DIALECT = psycopg.dialect()
_MOST_ROUNDS = 2_000


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_every_executed_statement_compiles_for_postgresql(module):
    rng = random.Random(4711)
    missing = set(places(module))
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "before_execute")
    def _compile(_connection, statement, many, one, _options):
        if isinstance(statement, ClauseElement) and frame_in(module):
            columns = list((many[0] if many else one) or {})
            statement.compile(dialect=_DIALECT, column_keys=columns or None)

    @event.listens_for(engine, "before_cursor_execute")
    def _note(*_):
        if frame := frame_in(module):
            missing.difference_update([place for place in missing if place[0] <= frame.f_lineno <= place[1]])

    with engine.connect() as tx:
        MAIN.create_all(tx)
        BULK.create_all(tx)
        calls = itertools.cycle(functions(module))
        for _ in range(_MOST_ROUNDS * len(functions(module))):
            if not missing:
                break
            call(next(calls), tx, rng)
    engine.dispose()
    assert missing == set(), f"{module.__name__}: nothing was executed in these lines"


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_every_statement_of_a_module_compiles_for_postgresql(module):
    for statement in _statements(vars(module).values()):
        assert str(statement.compile(dialect=_DIALECT))


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_statements_are_sqlalchemys_or_in_a_dict_by_dialect(module):
    """SQL as a bare string would go past us."""
    text = inspect.getsource(module)
    assert "exec_driver_sql" not in text
    dialects = [set(value) for value in vars(module).values() if _is_by_dialect(value)]
    assert all(found == {"sqlite", "postgresql"} for found in dialects)
    assert text.count(" text(") <= 2 * len(dialects)


def test_every_table_can_be_made_on_postgresql():
    for table in [*MAIN.tables.values(), *BULK.tables.values()]:
        assert str(CreateTable(table).compile(dialect=_DIALECT))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=_DIALECT))


def test_there_are_modules_to_look_at():
    assert {"lambent.engine.rows", "lambent.services.lambda_.rows", "lambent.services.logs.rows"} <= set(NAMES)


def _statements(values):
    for value in values:
        if isinstance(value, ClauseElement) and not isinstance(value, Table):
            yield value
        elif isinstance(value, Many):
            yield value.statement
        elif _is_by_dialect(value):
            yield value["postgresql"]
        elif isinstance(value, tuple | list):
            yield from _statements(value)


def _is_by_dialect(value):
    return (
        isinstance(value, dict) and "sqlite" in value and any(isinstance(one, ClauseElement) for one in value.values())
    )
