"""One database file: one writer that commits for all who wait, and readers beside it.

`await database.write(change)` runs `change(connection)`, plain synchronous code, in the writer's thread, together with
every other change that waits, in one transaction, and returns its value after the commit. A change may run more than
once: it reads and writes rows and does nothing else. The same holds for `read`, on a connection that cannot write.

How rows.py writes its statements: as module-level objects with `bindparam`, so that SQLAlchemy finds their compiled
form in its cache and a call costs only the execution:

    _GET = select(FUNCTIONS).where(FUNCTIONS.c.arn == bindparam("arn"))

    def function(tx: Connection, arn: str) -> Row | None:
        return tx.execute(_GET, {"arn": arn}).one_or_none()

A change that finds its caller to be wrong raises before it writes: then its neighbours do not notice. If it raises
after it wrote, the whole transaction is taken back, and each change of it runs again, alone, with an fsync of its own.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, inspect
from sqlalchemy.pool import NullPool

from lambent.observe import points

T = TypeVar("T")

# A batch is one transaction and one fsync. Beyond this size the callers at its front would wait for those at its end.
_BATCH: Final = 512
# About a second of work on a healthy disk. Whoever comes when so many wait is refused (a 500, which AWS's clients try
# again), since a queue that grows faster than it is worked off only turns every answer into a late one.
_MAX_WAITING: Final = 20_000
# SQLite reads from the page cache, so a few threads are enough; further readers wait for one of them.
_READERS: Final = 4
# Only a second process (a backup, `sqlite3` in a shell) ever holds the lock.
_BUSY_TIMEOUT_MS: Final = 10_000
# What a checkpoint leaves of the write-ahead log, after a long reader let it grow.
_WAL_LIMIT_BYTES: Final = 64 * 1_048_576


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
    _writer: "_Writer"
    _readers: "_Readers"
    _write_thread: ThreadPoolExecutor
    _read_threads: ThreadPoolExecutor
    _waiting: "deque[_Change]" = field(default_factory=deque)  # at most _MAX_WAITING
    _writing: "asyncio.Future[None] | None" = None
    _reading: int = 0  # at most _MAX_WAITING
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
            _writer=_Writer(writing_engine(path, durable=durable)),
            _readers=_Readers(_reading_engine(path)),
            _write_thread=ThreadPoolExecutor(1, thread_name_prefix=f"{path.stem}-writer"),
            _read_threads=ThreadPoolExecutor(_READERS, thread_name_prefix=f"{path.stem}-reader"),
        )
        try:
            await database.write(lambda tx: _create_missing(tx, metadata))
            yield database
        finally:
            await database._close()

    async def write(self, change: Callable[[Connection], T], *, committed: Callable[[T], None] | None = None) -> T:
        """What the change returns, once it is committed.

        `committed(value)` runs on the event loop, in commit order, before any caller of the same transaction goes
        on: catalogues in memory follow the store through it. A caller that is cancelled stops waiting; its change is
        committed all the same, and `committed` runs.

        Raises whatever the change raises, and the database's own error if the commit fails; then nothing is kept.
        What `committed` raises comes to this caller too, though the change is kept.

        Raises:
            DatabaseBusyError: the writer is over a second behind.
        """
        return await self.hand_in(change, committed=committed)

    def hand_in(
        self, change: Callable[[Connection], T], *, committed: Callable[[T], None] | None = None
    ) -> "asyncio.Future[T]":
        """`write` without waiting: the future has what it returns or raises.

        Raises:
            DatabaseBusyError: as `write`.
        """
        self._check_open()
        if len(self._waiting) >= _MAX_WAITING:
            raise DatabaseBusyError(f"{len(self._waiting)} changes wait for {self.path.name}; try again later")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Change(change, done, cast("Callable[[Any], None] | None", committed)))
        if self._writing is None:
            self._start_batch()
        return done

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What the query returns; all its statements see the same commit, the last one or a later.

        A caller that is cancelled stops waiting; the query runs to its end.

        Raises:
            DatabaseBusyError: too many queries wait already.
        """
        self._check_open()
        if self._reading >= _MAX_WAITING:
            raise DatabaseBusyError(f"{self._reading} queries wait for {self.path.name}; try again later")
        future = asyncio.get_running_loop().run_in_executor(self._read_threads, self._readers.run, query)
        self._reading += 1
        future.add_done_callback(self._has_read)
        return await future

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self.path.name} is closed")

    def _has_read(self, _future: "asyncio.Future[Any]") -> None:
        self._reading -= 1

    def _start_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        # Through the executor, not a queue of our own, so that a loop whose time jumps knows that a thread is busy.
        self._writing = asyncio.get_running_loop().run_in_executor(self._write_thread, self._writer.run, batch)
        self._writing.add_done_callback(lambda future: self._deliver(batch, future))

    def _deliver(self, batch: list[_Change], future: "asyncio.Future[None]") -> None:
        """Tell the batch's callers how it went, then go on with those who came meanwhile."""
        future.result()  # it raises nothing: each change holds its own error
        for change in batch:
            if change.error is None and change.committed is not None:
                _follow(change, change.committed)
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
        finally:  # should we be cancelled, at most one transaction is still running: the thread closes after it
            closing = asyncio.get_running_loop().run_in_executor(self._write_thread, self._close_files)
            self._write_thread.shutdown(wait=False)
            await closing

    def _close_files(self) -> None:
        """Readers first: the last connection to close empties the write-ahead log, and a reader cannot."""
        self._read_threads.shutdown()
        self._readers.close()
        self._writer.close()


def _create_missing(tx: Connection, metadata: MetaData) -> None:
    """One look at all names: create_all would ask for each table of a file that `migrate.prepare` made."""
    if not metadata.tables.keys() <= set(inspect(tx).get_table_names()):
        metadata.create_all(tx)


def _follow(change: _Change, committed: Callable[[Any], None]) -> None:
    """What it raises is the caller's to know; the others' callbacks must run all the same."""
    try:
        committed(change.value)
    except BaseException as error:
        change.error = error


class _Writer:
    """What the writer's thread owns: the one connection that may write."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect()
        self._sqlite: Any = self._connection.connection.driver_connection
        self._writes = 0
        event.listen(engine, "before_cursor_execute", self._note)

    def run(self, batch: list[_Change]) -> None:
        """All in one transaction; or, if that cannot be, each in its own. A change holds its value or its error."""
        try:
            with self._connection.begin():
                for change in batch:
                    self._apply(change)
                points.reached("store.written")
            points.reached("store.committed")
        except BaseException as error:
            if len(batch) == 1:
                batch[0].error = batch[0].error or error
                return
            for change in batch:
                self.run([change])

    def close(self) -> None:
        self._connection.close()

    def _apply(self, change: _Change) -> None:
        """Raises only if what the change wrote must be taken back."""
        before = self._writes
        change.value = change.error = None
        try:
            change.value = change.run(self._connection)
        except BaseException as error:
            change.error = _presentable(error)
            if self._writes != before:
                raise
        # A full disk makes SQLite roll back by itself, and a change could swallow that error. What followed would be
        # committed statement by statement, and what came before acknowledged although it is gone.
        if not self._sqlite.in_transaction:
            raise RuntimeError("the transaction ended inside a change")

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("SELECT"):
            self._writes += 1


class _Readers:
    """Connections that cannot write, kept: taking one from SQLAlchemy's pool costs more than a query."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: deque[Connection] = deque()  # at most one for each thread

    def run(self, query: Callable[[Connection], T]) -> T:
        """In a reader's thread."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            with connection.begin():
                return query(connection)
        except StopIteration as error:
            raise _presentable(error) from error
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _presentable(error: BaseException) -> BaseException:
    """The error, or what stands for it: a future does not take StopIteration, and its caller would wait for ever."""
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
