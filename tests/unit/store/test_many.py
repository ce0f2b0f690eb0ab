"""Statements for many rows: what they do is what SQLAlchemy's own execution does."""

import pytest
from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import psycopg

from lambent.store.many import Many

THINGS = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String),
    Column("content", LargeBinary),
)
INSERT = Many(
    insert(THINGS).values(content=bindparam("c"), id=bindparam("i"), name=bindparam("n")),
    *("i", "n", "c"),  # in another order than the columns'
)
RENAME = Many(
    update(THINGS)
    .where(THINGS.c.name == bindparam("old"), THINGS.c.name != bindparam("new"))
    .values(name=bindparam("new")),
    *("old", "new"),
)
DELETE = Many(delete(THINGS).where(THINGS.c.id == bindparam("of_id")), "of_id")


@pytest.fixture
def tx():
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        THINGS.metadata.create_all(connection)
        yield connection
    engine.dispose()


def rows(tx):
    return [tuple(row) for row in tx.execute(select(THINGS).order_by(THINGS.c.id))]


def test_values_go_where_their_names_are(tx):
    assert INSERT.execute(tx, [(1, "a", b"\x00x"), (2, None, b"")]) == 2
    assert INSERT.execute(tx, [(3, "a", b"y")]) == 1
    assert rows(tx) == [(1, "a", b"\x00x"), (2, None, b""), (3, "a", b"y")]
    assert RENAME.execute(tx, [("a", "b"), ("nobody", "c")]) == 2, "a value that is used twice is given once"
    assert [name for _id, name, _content in rows(tx)] == ["b", None, "b"]
    assert DELETE.execute(tx, [(1,), (3,), (4,)]) == 2
    assert [each for each, _name, _content in rows(tx)] == [2]


def test_nothing_is_done_for_no_rows(tx):
    assert DELETE.execute(tx, []) == 0


def test_names_that_the_statement_does_not_have_are_our_bug(tx):
    with pytest.raises(AssertionError):
        Many(DELETE.statement, "another").execute(tx, [(1,)])


def test_where_parameters_are_named_each_row_names_them():
    text, arranged = RENAME._compile(psycopg.dialect())
    assert "%(old)s" in text
    assert arranged(("a", "b")) == {"old": "a", "new": "b"}
