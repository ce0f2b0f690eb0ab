"""Migrations: both ways to a schema give the same one; what cannot be upgraded is refused and left alone."""

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, Table, Text

import lambent.engine
import lambent.services
from lambent.store import migrate
from lambent.store.database import Database
from lambent.store.migrate import SchemaError, prepare, revision_folders, upgrade
from lambent.store.schema import BULK, MAIN
from lambent.testing.loop import run

for package in (lambent.services, lambent.engine):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith(".rows"):
            importlib.import_module(module.name)

DATABASES = pytest.mark.parametrize(("name", "metadata"), [("main", MAIN), ("bulk", BULK)])

FIRST = '''"""A note."""
import sqlalchemy as sa
from alembic import op

revision = "notes_main_0001"
down_revision = None


def upgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))
'''
SECOND = '''"""A note has an author."""
import sqlalchemy as sa
from alembic import op

revision = "notes_main_0002"
down_revision = "notes_main_0001"


def upgrade() -> None:
    op.add_column("notes", sa.Column("author", sa.Text))
    op.execute("UPDATE notes SET author = 'unknown'")
'''
BROKEN = SECOND.replace("'unknown'", "'unknown' WHERE nonsense").replace("0002", "0003").replace("0001", "0002")


def notes(*more: str) -> MetaData:
    metadata = MetaData()
    columns = [Column(name, Text) for name in ("text", *more)]
    Table("notes", metadata, Column("id", Integer, primary_key=True), *columns)
    return metadata


@pytest.fixture
def revisions(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations" / "main"
    folder.mkdir(parents=True)
    (folder / "0001_notes.py").write_text(FIRST)
    return folder


def asked(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def schema(path: Path) -> set[tuple[object, ...]]:
    """Everything that the file has, but for how its definition was spaced."""
    found = asked(path, "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master")
    return {(*row[:3], re.sub(r" (?=[),])", "", re.sub(r"\s+", " ", str(row[3])))) for row in found}


@DATABASES
def test_migrating_from_nothing_gives_the_schema_of_a_fresh_start(tmp_path, name, metadata):
    folders = revision_folders(name)
    prepare(tmp_path / "fresh.db", metadata, folders)
    upgrade(tmp_path / "migrated.db", folders)
    assert schema(tmp_path / "migrated.db") == schema(tmp_path / "fresh.db")
    versions = "SELECT version_num FROM alembic_version ORDER BY 1"
    assert asked(tmp_path / "migrated.db", versions) == asked(tmp_path / "fresh.db", versions)


@DATABASES
def test_every_table_has_a_service_with_revisions(name, metadata):
    prefixes = {folder.parts[-3].rstrip("_") for folder in revision_folders(name)}
    assert {table.split("_")[0] for table in metadata.tables} == prefixes


@pytest.mark.parametrize("name", ["main", "bulk"])
def test_each_service_has_one_line_of_revisions_named_by_their_files(name):
    folders = revision_folders(name)
    script = ScriptDirectory(str(folders[0]), version_locations=[str(folder) for folder in folders])
    heads = set(script.get_heads())
    assert heads == {migrate._revisions(folder)[-1] for folder in folders}
    for folder in folders:
        service = folder.parts[-3].rstrip("_")
        numbers = [file.name[:4] for file in sorted(folder.glob("[0-9]*.py"))]
        assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
        assert migrate._revisions(folder) == [f"{service}_{name}_{number}" for number in numbers]
        assert all(len(revision) <= 64 for revision in migrate._revisions(folder))


@DATABASES
def test_a_prepared_file_is_prepared_again_without_a_change(tmp_path, name, metadata):
    path = tmp_path / "main.db"
    prepare(path, metadata, revision_folders(name))
    before = schema(path)
    prepare(path, metadata, revision_folders(name))
    assert schema(path) == before


def test_opening_a_prepared_file_adds_nothing(tmp_path):
    path = tmp_path / "main.db"
    prepare(path, MAIN, revision_folders("main"))
    before = schema(path)

    async def main(_clock):
        async with Database.open(path, metadata=MAIN, durable=True):
            pass

    run(main)
    assert schema(path) == before


def test_an_older_file_is_upgraded_and_keeps_its_rows(tmp_path, revisions):
    path = tmp_path / "main.db"
    prepare(path, notes(), [revisions])
    _fill(path)
    (revisions / "0002_author.py").write_text(SECOND)
    prepare(path, notes("author"), [revisions])
    assert asked(path, "SELECT text, author FROM notes") == [("kept", "unknown")]
    assert asked(path, "SELECT version_num FROM alembic_version") == [("notes_main_0002",)]


def test_a_service_that_is_new_gets_its_tables(tmp_path, revisions):
    path = tmp_path / "main.db"
    prepare(path, notes(), [revisions])
    other = tmp_path / "other"
    other.mkdir()
    (other / "0001_notes.py").write_text(FIRST.replace("notes", "letters"))
    prepare(path, notes(), [revisions, other])
    assert asked(path, "SELECT count(*) FROM letters") == [(0,)]
    assert asked(path, "SELECT version_num FROM alembic_version ORDER BY 1") == [
        ("letters_main_0001",),
        ("notes_main_0001",),
    ]


def test_a_newer_file_is_refused(tmp_path, revisions):
    path = tmp_path / "main.db"
    (revisions / "0002_author.py").write_text(SECOND)
    prepare(path, notes("author"), [revisions])
    (revisions / "0002_author.py").unlink()
    with pytest.raises(SchemaError) as error:
        prepare(path, notes(), [revisions])
    assert str(error.value) == (
        f"{path} was written by a newer version of Lambent (it knows notes_main_0002). "
        "Start that version, or name another folder with --data-dir."
    )


def test_an_upgrade_that_fails_changes_nothing(tmp_path, revisions):
    path = tmp_path / "main.db"
    prepare(path, notes(), [revisions])
    _fill(path)
    before = schema(path)
    (revisions / "0002_author.py").write_text(SECOND)
    (revisions / "0003_broken.py").write_text(BROKEN)
    with pytest.raises(SchemaError, match="could not be upgraded and is as it was"):
        prepare(path, notes("author"), [revisions])
    assert schema(path) == before
    assert asked(path, "SELECT text FROM notes") == [("kept",)]
    assert asked(path, "SELECT version_num FROM alembic_version") == [("notes_main_0001",)]


def test_tables_of_unknown_origin_are_left_alone(tmp_path, revisions):
    path = tmp_path / "main.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
        connection.commit()
    before = schema(path)
    with pytest.raises(SchemaError, match="does not say of which version"):
        prepare(path, notes(), [revisions])
    assert schema(path) == before


def _fill(path: Path, rows: Sequence[str] = ("kept",)) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO notes (text) VALUES (?)", [(row,) for row in rows])
        connection.commit()
