"""A process that crashes at a named point of the store, and what is found afterwards."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lambent.store.blobs import Blobs

WRITES = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import Column, Integer, MetaData, Table, insert
from lambent.store.database import Database
from lambent.testing import faults

TABLES = MetaData()
NOTES = Table("notes", TABLES, Column("id", Integer, primary_key=True))

async def note(database, number):
    await database.write(lambda tx: tx.execute(insert(NOTES), {"id": number}) and None)
    print(number, flush=True)

async def main():
    async with Database.open(Path(sys.argv[1]), metadata=TABLES, durable=True) as database:
        await note(database, 1)
        faults.crash_at(sys.argv[2])
        await note(database, 2)
        async with asyncio.TaskGroup() as tasks:
            for number in (3, 4, 5):
                tasks.create_task(note(database, number))
        print("end", flush=True)

asyncio.run(main())
"""
PUTS = """
import sys
from pathlib import Path
from lambent.store.blobs import Blobs
from lambent.testing import faults

faults.crash_at("blobs.written")
Blobs(Path(sys.argv[1])).put(b"code")
"""
PREPARES = """
import sys
from pathlib import Path
from sqlalchemy import Column, Integer, MetaData, Table
from lambent.store.migrate import prepare
from lambent.testing import faults

if sys.argv[2] == "crash":
    faults.crash_at("migrate.created")
metadata = MetaData()
Table("notes", metadata, Column("id", Integer, primary_key=True))
prepare(Path(sys.argv[1]), metadata, [])
"""


def ran(script: str, *arguments: object) -> tuple[int, list[str]]:
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.split()


def notes(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM notes ORDER BY id")]


@pytest.mark.parametrize(
    ("point", "told", "kept"),
    [
        ("store.written", ["1"], [1]),
        ("store.committed", ["1"], [1, 2]),
        ("store.written:3", ["1", "2"], [1, 2, 3]),
        ("store.committed:3", ["1", "2"], [1, 2, 3, 4, 5]),
    ],
)
def test_what_was_acknowledged_is_kept_and_a_transaction_is_kept_whole_or_not_at_all(tmp_path, point, told, kept):
    code, heard = ran(WRITES, tmp_path / "test.db", point)
    assert code == -signal.SIGKILL
    # The next transaction may reach its point before the caller of the last one, which is committed, has said so.
    assert heard in (told, [*told, "3"])
    assert set(map(int, heard)) <= set(kept)
    assert notes(tmp_path / "test.db") == kept


def test_a_point_that_is_not_reached_ends_nothing(tmp_path):
    code, told = ran(WRITES, tmp_path / "test.db", "elsewhere")
    assert code == 0
    assert set(told) == {"1", "2", "3", "4", "5", "end"}


def test_a_half_written_blob_does_not_exist(tmp_path):
    assert ran(PUTS, tmp_path) == (-signal.SIGKILL, [])
    assert len(list(tmp_path.iterdir())) == 1
    assert list(Blobs(tmp_path).digests()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_first_start_that_dies_half_way_is_started_again(tmp_path):
    path = tmp_path / "main.db"
    assert ran(PREPARES, path, "crash") == (-signal.SIGKILL, [])
    assert ran(PREPARES, path, "again") == (0, [])
    assert notes(path) == []
