"""One database file: one writer that commits for all who wait, and readers beside it.

`await database.write(change)` runs `change(connection)`, plain synchronous code, in the writer's thread, together with
every other change that waits, in one transaction, and returns its value after the commit. If one of them raises, the
transaction is rolled back and each runs alone. So a change may run more than once: it reads and writes rows and does
nothing else. The same holds for `read`, on a connection that cannot write.

How rows.py writes its statements: as module-level objects with `bindparam`, so that SQLAlchemy finds their compiled
form in its cache and a call costs only the execution:

    _GET = select(FUNCTIONS).where(FUNCTIONS.c.arn == bindparam("arn"))

    def function(tx: Connection, arn: str) -> Row | None:
        return tx.execute(_GET, {"arn": arn}).one_or_none()
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.pool import QueuePool

T = TypeVar("T")

# A batch is one transaction and one fsync. Beyond this size the callers at its front would wait for those at its end.
_BATCH: Final = 512
_READERS: Final = 4
_BUSY_TIMEOUT_MS: Final = 10_000


@dataclass(slots=True, eq=False)
class _Change:
    """A change that waits for the writer, and the caller who waits for it."""

    run: Callable[[Connection], Any]
    done: "asyncio.Future[Any]"
    committed: Callable[[Any], None] | None
    value: Any = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class Database:
    """Use `Database.open`. All methods belong to the event loop that opened it."""

    path: Path
    _writer: Engine
    _readers: Engine
    _write_thread: ThreadPoolExecutor
    _read_threads: ThreadPoolExecutor
    _waiting: "deque[_Change]" = field(default_factory=deque)
    _writing: "asyncio.Future[None] | None" = None
    _closed: bool = False

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, metadata: MetaData, durable: bool) -> "AsyncIterator[Database]":
        """The database in a file, with the tables of `metadata` where they are missing.

        `durable` syncs the disk at each commit; without it a power cut may take the last commits, a kill never.
        Leaving the block waits for the changes that were handed in, and closes.
        """
        writer = writing_engine(path, durable=durable)
        database = cls(
            path=path,
            _writer=writer,
            _readers=_reading_engine(path),
            _write_thread=ThreadPoolExecutor(1, thread_name_prefix=f"{path.stem}-writer"),
            _read_threads=ThreadPoolExecutor(_READERS, thread_name_prefix=f"{path.stem}-reader"),
        )
        try:
            await database.write(lambda tx: metadata.create_all(tx, checkfirst=True))
            yield database
        finally:
            await database._close()

    async def write(self, change: Callable[[Connection], T], *, committed: Callable[[T], None] | None = None) -> T:
        """What the change returns, once it is committed.

        `committed(value)` runs on the event loop, in commit order, before any caller of the same transaction goes
        on: catalogues in memory follow the store through it. A caller that is cancelled stops waiting; its change is
        committed all the same, and `committed` runs.

        Raises whatever the change raises, and the database's own error if the commit fails; then nothing is kept.
        """
        if self._closed:
            raise RuntimeError(f"{self.path.name} is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Change(change, done, cast("Callable[[Any], None] | None", committed)))
        if self._writing is None:
            self._start_batch()
        return await done

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What the query returns, from the last commit."""

        def run() -> T:
            with self._readers.connect() as connection:
                return query(connection)

        return await asyncio.get_running_loop().run_in_executor(self._read_threads, run)

    def _start_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._write_thread, _run, self._writer, batch)
        self._writing.add_done_callback(lambda future: self._deliver(batch, future))

    def _deliver(self, batch: list[_Change], future: "asyncio.Future[None]") -> None:
        """Tell the batch's callers how it went, then go on with those who came meanwhile."""
        failure = future.exception()
        for change in batch:
            change.error = change.error or failure
            if change.error is None and change.committed is not None:
                change.committed(change.value)
        for change in batch:
            if change.done.done():
                continue  # its caller was cancelled
            if change.error is not None:
                change.done.set_exception(change.error)
            else:
                change.done.set_result(change.value)
        self._writing = None
        if self._waiting:
            self._start_batch()

    async def _close(self) -> None:
        self._closed = True
        while self._writing is not None:
            await asyncio.wait([self._writing])
            await asyncio.sleep(0)  # its callback runs before ours, or right after
        await asyncio.get_running_loop().run_in_executor(self._write_thread, self._writer.dispose)
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        self._readers.dispose()


def _run(engine: Engine, batch: list[_Change]) -> None:
    """The writer's thread: all in one transaction, or, if one of them raises, each in its own."""
    if len(batch) > 1:
        try:
            with engine.begin() as transaction:
                for change in batch:
                    change.value = change.run(transaction)
        except Exception:
            pass
        else:
            return
    for change in batch:
        change.value = None
        try:
            with engine.begin() as transaction:
                change.value = change.run(transaction)
        except BaseException as error:
            change.error = error


def writing_engine(path: Path, *, durable: bool) -> Engine:
    """The writer's: one connection, transactions that take the write lock at their first statement."""
    engine = create_engine(
        f"sqlite:///{path}", poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are ours: see _begin
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reading_engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=_READERS,
        max_overflow=0,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # one snapshot for the whole query

    return engine
