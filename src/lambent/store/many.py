"""A statement for many rows at once: compiled once, while SQLAlchemy would look into the parameters of each row anew.

That costs more than SQLite takes for the row itself, so rows.py uses it where rows come by the thousand:

    _DELETE = Many(delete(EVENTS).where(EVENTS.c.id == bindparam("of_id")), "of_id")

    def delete_events(tx: Connection, ids: Sequence[str]) -> int:
        return _DELETE.execute(tx, [(each,) for each in ids])

It is for columns whose values the driver takes as they are: numbers, texts, bytes.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, Delete, Dialect, Insert, Update

_Row = tuple[Any, ...]


class Many:
    """`names` are those of the statement's bindparams, in the order in which rows have their values."""

    def __init__(self, statement: Insert | Update | Delete, *names: str) -> None:
        self.statement: Final = statement
        self._names = names
        self._compiled: dict[str, tuple[str, Callable[[_Row], Any]]] = {}

    def execute(self, tx: Connection, rows: Sequence[_Row]) -> int:
        """Executes it for each row; how many rows of the table that changed."""
        if not rows:
            return 0
        text, arranged = self._compiled.get(tx.dialect.name) or self._compile(tx.dialect)
        return tx.exec_driver_sql(text, [arranged(row) for row in rows]).rowcount

    def _compile(self, dialect: Dialect) -> tuple[str, Callable[[_Row], Any]]:
        compiled = self.statement.compile(dialect=dialect)
        names = compiled.positiontup  # None where they are named
        assert set(compiled.params) == set(self._names), compiled.params
        arranged = _in_order(self._names, names) if names is not None else self._named
        return self._compiled.setdefault(dialect.name, (str(compiled), arranged))

    def _named(self, row: _Row) -> dict[str, Any]:
        return dict(zip(self._names, row, strict=True))


def _in_order(given: Sequence[str], wanted: Sequence[str]) -> Callable[[_Row], Any]:
    if len(wanted) == 1:
        return lambda row: row
    return itemgetter(*(given.index(name) for name in wanted))
