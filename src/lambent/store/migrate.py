"""Brings a database file to the schema of this version, before a node opens it.

Each service keeps its Alembic revisions in `migrations/main` and `migrations/bulk`, one line of revisions for each
(`logs_main_0001`, `logs_main_0002`, ...). A fresh file gets its tables from their definitions and is stamped with the
newest revisions; an older one is upgraded by Alembic in a process of its own (`python -m lambent.store.migrate`), in
one transaction, because a node does not import Alembic; a newer one is refused. A test proves that both ways give the
same schema.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from lambent.store.database import writing_engine

_VERSIONS: Final = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
_REVISION: Final = re.compile(r'^revision(?:: str)? = "(\w+)"$', re.MULTILINE)


class NewerSchemaError(Exception):
    """The file was written by a newer version of Lambent; the text says what to do."""


def revision_folders(database: Literal["main", "bulk"]) -> list[Path]:
    """The folders of all revisions of a database, in the installed package. Imports nothing."""
    package = Path(__file__).parent.parent
    return sorted(path for path in package.glob(f"**/migrations/{database}") if any(path.glob("[0-9]*.py")))


def prepare(path: Path, metadata: MetaData, folders: Sequence[Path]) -> None:
    """The file at `path` has the tables of `metadata` afterwards. Blocks; to be called before the file is opened.

    Raises:
        NewerSchemaError: the file knows revisions that `folders` do not hold.
    """
    lines = [_revisions(folder) for folder in folders]
    heads = {line[-1] for line in lines}
    engine = writing_engine(path, durable=True)
    try:
        with engine.begin() as connection:
            found = _stamps(connection)
            if found is None:
                metadata.create_all(connection, checkfirst=False)
                _stamp(connection, heads)
                return
    finally:
        engine.dispose()
    unknown = found - {revision for line in lines for revision in line}
    if unknown:
        raise NewerSchemaError(
            f"{path} was written by a newer version of Lambent (it knows {', '.join(sorted(unknown))}). "
            "Start that version, or name another folder with --data-dir."
        )
    if found != heads:
        command = [sys.executable, "-m", "lambent.store.migrate", str(path), *map(str, folders)]
        subprocess.run(command, check=True)


def upgrade(path: Path, folders: Sequence[Path]) -> None:
    """Run every revision that the file lacks, in one transaction. Imports Alembic."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(folders[0]), version_locations=[str(folder) for folder in folders])
    engine = writing_engine(path, durable=True)
    try:
        with engine.begin() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"fn": lambda revision, _context: script._upgrade_revs("heads", revision)},
            )
            with Operations.context(context):
                context.run_migrations()
    finally:
        engine.dispose()


def _revisions(folder: Path) -> list[str]:
    """The revisions of a folder, oldest first: files are named NNNN_what.py."""
    found = []
    for file in sorted(folder.glob("[0-9]*.py")):
        match = _REVISION.search(file.read_text())
        assert match is not None, f"{file} names no revision"
        found.append(match[1])
    return found


def _stamps(connection: Connection) -> set[str] | None:
    """The newest revisions that the file has; None for a file without tables."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    return set(connection.execute(select(_VERSIONS.c.version_num)).scalars())


def _stamp(connection: Connection, heads: set[str]) -> None:
    _VERSIONS.create(connection)
    for head in sorted(heads):
        connection.execute(_VERSIONS.insert().values(version_num=head))


if __name__ == "__main__":
    upgrade(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
