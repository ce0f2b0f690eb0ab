"""Brings a database file to the schema of this version, before a node opens it.

Each service keeps its Alembic revisions in `migrations/main` and `migrations/bulk`, one line of revisions for each:
`0001_functions.py` holds `lambda_main_0001`, and so on. A fresh file gets its tables from their definitions and is
stamped with the newest revisions; an older one is upgraded by Alembic in a process of its own
(`python -m lambent.store.migrate`), in one transaction, because a node does not import Alembic; a newer one is refused.
A test proves that both ways give the same schema.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select

from lambent.observe import points
from lambent.store.database import writing_engine
from lambent.store.schema import NAMING

# As Alembic makes it, but with room for the longest name of a service.
_VERSIONS: Final = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(64), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_REVISION: Final = re.compile(r'^revision(?:: str)? = "(\w+)"$', re.MULTILINE)


class SchemaError(Exception):
    """The file cannot be brought to this version's schema; the text says why, and what to do. It is as it was."""


def revision_folders(database: Literal["main", "bulk"]) -> list[Path]:
    """The folders of all revisions of a database, in the installed package. Imports nothing."""
    package = Path(__file__).parent.parent
    return sorted(path for path in package.glob(f"**/migrations/{database}") if any(path.glob("[0-9]*.py")))


def prepare(path: Path, metadata: MetaData, folders: Sequence[Path]) -> None:
    """The file at `path` has the tables of `metadata` afterwards. Blocks; to be called before the file is opened.

    Raises:
        SchemaError: the file knows revisions that `folders` do not hold, has tables of unknown origin, or an upgrade
            failed.
    """
    lines = [_revisions(folder) for folder in folders]
    heads = {line[-1] for line in lines}
    engine = writing_engine(path, durable=True)
    try:
        with engine.begin() as connection:
            found = _stamps(connection, path)
            if found is None:
                metadata.create_all(connection, checkfirst=False)
                points.reached("migrate.created")
                _stamp(connection, heads)
                return
    finally:
        engine.dispose()
    unknown = found - {revision for line in lines for revision in line}
    if unknown:
        raise SchemaError(
            f"{path} was written by a newer version of Lambent (it knows {', '.join(sorted(unknown))}). "
            "Start that version, or name another folder with --data-dir."
        )
    if found != heads:
        _upgrade_elsewhere(path, folders)


def upgrade(path: Path, folders: Sequence[Path]) -> None:
    """Run every revision that the file lacks, in one transaction. Imports Alembic."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(folders[0]), version_locations=[str(folder) for folder in folders])
    engine = writing_engine(path, durable=True)
    try:
        with engine.begin() as connection:
            _VERSIONS.create(connection, checkfirst=True)
            context = MigrationContext.configure(
                connection,
                opts={
                    # What `alembic upgrade heads` does, without its env.py.
                    "fn": lambda revision, _context: script._upgrade_revs("heads", revision),
                    "target_metadata": MetaData(naming_convention=NAMING),
                },
            )
            with Operations.context(context):
                context.run_migrations()
            points.reached("migrate.upgraded")
    finally:
        engine.dispose()


def _upgrade_elsewhere(path: Path, folders: Sequence[Path]) -> None:
    command = [sys.executable, "-m", "lambent.store.migrate", str(path), *map(str, folders)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise SchemaError(f"{path} could not be upgraded and is as it was: {why}")


def _revisions(folder: Path) -> list[str]:
    """The revisions of a folder, oldest first: files are named NNNN_what.py."""
    found = []
    for file in sorted(folder.glob("[0-9]*.py")):
        match = _REVISION.search(file.read_text())
        assert match is not None, f"{file} names no revision"
        found.append(match[1])
    return found


def _stamps(connection: Connection, path: Path) -> set[str] | None:
    """The newest revisions that the file has; None for a file without tables."""
    tables = inspect(connection).get_table_names()
    if _VERSIONS.name in tables:
        return set(connection.execute(select(_VERSIONS.c.version_num)).scalars())
    if tables:
        raise SchemaError(
            f"{path} has tables, but does not say of which version of Lambent. "
            "Move it away, or name another folder with --data-dir."
        )
    return None


def _stamp(connection: Connection, heads: set[str]) -> None:
    _VERSIONS.create(connection)
    for head in sorted(heads):
        connection.execute(_VERSIONS.insert().values(version_num=head))


if __name__ == "__main__":
    upgrade(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
