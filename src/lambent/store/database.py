"""One database file: one writer that commits for all who wait, and readers beside it.

`await database.write(change)` runs `change(connection)`, plain synchronous code, in the writer's thread, together with
every other change that waits, in one transaction, and returns its value after the commit. If one of them raises, the
transaction is rolled back and they run again, apart from each other. So a change may run more than once: it reads and
writes rows and does nothing else. The same holds for `read`, on a connection that cannot write.

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

# Far more than a node takes requests at once: a healthy disk works this off in about a second, and who meets the bound
# on a sick one is told so (a 500, which AWS's clients try again) instead of waiting in memory without end.
_MOST_WAITING: Final = 20_000


class DatabaseBusyError(Exception):
    """More wait for the database than it could serve in time; nothing was done."""


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
    _reading: int = 0
    _closed: bool = False

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, metadata: MetaData, durable: bool) -> "AsyncIterator[Database]":
        """The database in a file, with the tables of `metadata` where they are missing.

        `durable` syncs the disk at each commit; without it a power cut may take the last commits, a kill never.
        Leaving the block waits for the changes that were handed in, and closes.
        """
        database = cls(
            path=path,
            _writer=writing_engine(path, durable=durable),
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
        Whatever `committed` raises comes to this caller too, though the change is kept.

        Raises:
            DatabaseBusyError: too many changes wait already.
        """
        if self._closed:
            raise RuntimeError(f"{self.path.name} is closed")
        if len(self._waiting) >= _MOST_WAITING:
            raise DatabaseBusyError(f"{len(self._waiting)} changes wait for {self.path.name}")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Change(change, done, cast("Callable[[Any], None] | None", committed)))
        if self._writing is None:
            self._start_batch()
        return await done

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What the query returns, from one moment: that of the last commit, or a later one.

        A caller that is cancelled stops waiting; the query runs to its end.

        Raises:
            DatabaseBusyError: too many queries wait already.
        """
        if self._reading >= _MOST_WAITING:
            raise DatabaseBusyError(f"{self._reading} queries wait for {self.path.name}")
        future = asyncio.get_running_loop().run_in_executor(self._read_threads, _query, self._readers, query)
        self._reading += 1
        future.add_done_callback(self._has_read)
        return await future

    def _has_read(self, _future: "asyncio.Future[Any]") -> None:
        self._reading -= 1

    def _start_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._write_thread, _run, self._writer, batch)
        self._writing.add_done_callback(lambda future: self._deliver(batch, future))

    def _deliver(self, batch: list[_Change], future: "asyncio.Future[None]") -> None:
        """Tell the batch's callers how it went, then go on with those who came meanwhile."""
        future.result()  # _run raises nothing
        for change in batch:
            if change.error is None and change.committed is not None:
                try:
                    change.committed(change.value)
                except BaseException as error:  # its caller hears of it; the others go on
                    change.error = error
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
        try:
            while self._writing is not None:
                await asyncio.wait([self._writing])  # its callback, which takes the next batch, is older than ours
        finally:  # should we be cancelled, at most a transaction is still running: wait for it
            self._write_thread.shutdown()
            self._read_threads.shutdown()
            self._writer.dispose()
            self._readers.dispose()


# In the writer's and the readers' threads


def _run(engine: Engine, batch: list[_Change]) -> None:
    """Every change has its value or its error afterwards.

    The cheapest way first. All share a transaction. If that fails, they share one with a savepoint around each, which
    costs four times as much, but still a single fsync. If even that one cannot be committed, each has its own.
    """
    if len(batch) > 1 and (_run_together(engine, batch) or _run_with_savepoints(engine, batch)):
        return
    for change in batch:
        change.value, change.error = None, None
        try:
            with engine.begin() as transaction:
                change.value = change.run(transaction)
        except BaseException as error:
            change.error = _presentable(error)


def _run_together(engine: Engine, batch: list[_Change]) -> bool:
    """Whether all was committed; else nothing is."""
    try:
        with engine.begin() as transaction:
            for change in batch:
                change.value = change.run(transaction)
    except BaseException:  # whose error this is, and whether it stays one, shows when they are apart
        return False
    return True


def _run_with_savepoints(engine: Engine, batch: list[_Change]) -> bool:
    """Whether those that did not raise were committed; else nothing is."""
    try:
        with engine.begin() as transaction:
            for change in batch:
                _run_in_savepoint(transaction, change)
    except BaseException:  # the commit failed, or SQLite gave up the whole transaction (a full disk)
        return False
    return True


def _run_in_savepoint(transaction: Connection, change: _Change) -> None:
    change.value, change.error = None, None
    savepoint = transaction.begin_nested()
    try:
        change.value = change.run(transaction)
    except BaseException as error:
        change.error = _presentable(error)
        savepoint.rollback()
    else:
        savepoint.commit()


def _query(engine: Engine, query: Callable[[Connection], T]) -> T:
    try:
        with engine.connect() as connection:
            return query(connection)
    except StopIteration as error:
        raise _presentable(error) from error


def _presentable(error: BaseException) -> BaseException:
    """The error, or what stands for it: a future does not take StopIteration, which `next` raises."""
    if not isinstance(error, StopIteration):
        return error
    stand_in = RuntimeError("a change or query raised StopIteration")
    stand_in.__cause__ = error
    return stand_in


def writing_engine(path: Path, *, durable: bool) -> Engine:
    """Connections whose transactions take the write lock at their beginning. Makes the file, for its owner alone."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # the log and its index inherit the mode
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are ours: see _begin
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reading_engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # one snapshot for the whole query

    return engine
