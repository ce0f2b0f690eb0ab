"""Whatever comes, in whatever mixture: the database does what one change after the other would have done."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, Table, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from lambent.store.database import Database
from lambent.testing.loop import run

TABLES = MetaData()
ACCOUNTS = Table(
    "accounts",
    TABLES,
    Column("name", Integer, primary_key=True, autoincrement=False),
    Column("balance", Integer, nullable=False),
)
BALANCE = select(ACCOUNTS.c.balance).where(ACCOUNTS.c.name == bindparam("its_name"))
SET = update(ACCOUNTS).where(ACCOUNTS.c.name == bindparam("its_name")).values(balance=bindparam("new_balance"))
ALL = select(ACCOUNTS.c.name, ACCOUNTS.c.balance)

type_of_change = st.sampled_from(["open", "close", "move", "overdraw", "refuse"])
names = st.integers(0, 3)


@dataclass(frozen=True)
class Step:
    """A change that somebody asks for, whether he then waits for it, and who comes before the loop turns."""

    kind: str
    first: int
    second: int
    is_cancelled: bool
    turns: int

    def change(self, tx: Connection) -> Any:
        """The real one."""
        return getattr(self, f"_{self.kind}")(_Rows(tx))

    def model(self, balances: dict[int, int]) -> Any:
        """The same on a dictionary, all or nothing."""
        copy = dict(balances)
        value = getattr(self, f"_{self.kind}")(_Dict(copy))
        balances.clear()
        balances.update(copy)
        return value

    def _open(self, on: Any) -> Any:
        on.insert(self.first)
        return self.first

    def _close(self, on: Any) -> Any:
        return on.delete(self.first)

    def _move(self, on: Any) -> Any:
        """Writes the first row before it finds that the second is missing."""
        on.set(self.first, on.get(self.first) - 1)
        on.set(self.second, on.get(self.second) + 1)
        return on.get(self.first)

    def _overdraw(self, on: Any) -> Any:
        on.set(self.first, on.get(self.first) - 5)
        if on.get(self.first) < 0:
            raise ValueError("overdrawn")
        return on.get(self.first)

    def _refuse(self, on: Any) -> Any:
        raise KeyError(on.get(self.first))


class _Rows:
    def __init__(self, tx: Connection) -> None:
        self.tx = tx

    def get(self, name: int) -> int:
        found = self.tx.execute(BALANCE, {"its_name": name}).scalar()
        if found is None:
            raise LookupError(name)
        return int(found)

    def set(self, name: int, balance: int) -> None:
        self.tx.execute(SET, {"its_name": name, "new_balance": balance})

    def insert(self, name: int) -> None:
        self.tx.execute(insert(ACCOUNTS), {"name": name, "balance": 7})

    def delete(self, name: int) -> int:
        return self.tx.execute(delete(ACCOUNTS).where(ACCOUNTS.c.name == name)).rowcount


class _Dict:
    def __init__(self, balances: dict[int, int]) -> None:
        self.balances = balances

    def get(self, name: int) -> int:
        if name not in self.balances:
            raise LookupError(name)
        return self.balances[name]

    def set(self, name: int, balance: int) -> None:
        self.balances[name] = balance

    def insert(self, name: int) -> None:
        if name in self.balances:
            raise IntegrityError(None, None, ValueError())
        self.balances[name] = 7

    def delete(self, name: int) -> int:
        return 0 if self.balances.pop(name, None) is None else 1


@settings(max_examples=60)
@given(st.lists(st.builds(Step, type_of_change, names, names, st.booleans(), st.integers(0, 2)), max_size=25))
def test_each_caller_is_told_what_happened_and_only_that_is_kept(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("model") / "test.db"
    committed: list[tuple[int, Any]] = []

    async def main(_clock: Any) -> list[Any]:
        async with Database.open(path, metadata=TABLES, durable=False) as database:
            async with asyncio.TaskGroup() as tasks:
                outcomes = []
                for number, step in enumerate(steps):
                    outcomes.append(tasks.create_task(_outcome(database, step, _noting(committed, number))))
                    await asyncio.sleep(0)  # it is handed in
                    if step.is_cancelled:
                        outcomes[-1].cancel()
                    for _ in range(step.turns):
                        await asyncio.sleep(0)
            await database.write(lambda tx: None)  # what nobody waits for any more is committed before this
            rows = await database.read(lambda tx: {row.name: row.balance for row in tx.execute(ALL)})
        return [rows, *(None if task.cancelled() else task.result() for task in outcomes)]

    rows, *outcomes = run(main)
    balances: dict[int, int] = {}
    expected = [_modelled(step, balances) for step in steps]
    for step, outcome, wanted in zip(steps, outcomes, expected, strict=True):
        if outcome is None:
            assert step.is_cancelled
        else:
            assert outcome == wanted
    assert committed == [(number, value) for number, (kind, value) in enumerate(expected) if kind == "done"]
    assert rows == balances


def _noting(committed: list[tuple[int, Any]], number: int) -> Callable[[Any], None]:
    return lambda value: committed.append((number, value))


async def _outcome(database: Database, step: Step, committed: Callable[[Any], None]) -> tuple[str, Any]:
    try:
        return "done", await database.write(step.change, committed=committed)
    except (LookupError, ValueError, IntegrityError) as error:
        return "failed", type(error)


def _modelled(step: Step, balances: dict[int, int]) -> tuple[str, Any]:
    try:
        return "done", step.model(balances)
    except (LookupError, ValueError, IntegrityError) as error:
        return "failed", type(error)


FULL_DISK = """
import asyncio, os, resource, sys
from pathlib import Path
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select
from sqlalchemy.exc import DBAPIError
from lambent.store.database import Database

TABLES = MetaData()
NOTES = Table("notes", TABLES, Column("id", Integer, primary_key=True), Column("text", Text, nullable=False))
told = []

async def note(database, number):
    try:
        await database.write(lambda tx: tx.execute(insert(NOTES), {"id": number, "text": "x" * 3000}) and number,
                             committed=told.append)
    except DBAPIError:
        return 0
    return 1

async def main():
    path = Path(sys.argv[1])
    async with Database.open(path, metadata=TABLES, durable=True) as database:
        await note(database, 1)
        limit = max(file.stat().st_size for file in path.parent.iterdir()) + 40_000
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        async with asyncio.TaskGroup() as tasks:
            written = [tasks.create_task(note(database, number)) for number in range(2, 60)]
        done = sum(task.result() for task in written)
        assert 0 < done < 58, done
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert await note(database, 100) == 1
        assert told == [1, *(number for number, task in enumerate(written, 2) if task.result()), 100]
        assert await database.read(lambda tx: tx.execute(select(NOTES.c.id)).scalars().all()) == told
    async with Database.open(path, metadata=TABLES, durable=True) as database:
        assert await database.read(lambda tx: tx.execute(select(NOTES.c.id)).scalars().all()) == told

asyncio.run(main())
"""


def test_when_the_disk_takes_no_more_nothing_is_acknowledged_that_is_not_kept(tmp_path):
    """A real write that fails, at the commit: the limit of a file's size ends it as a full disk does."""
    subprocess.run([sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path / "test.db")], check=True, timeout=60)
