"""The database: what callers are told, in which order, and what is kept."""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, ForeignKey, Integer, MetaData, Table, Text, func, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from lambent.store import database as database_module
from lambent.store.database import Database, DatabaseBusyError
from lambent.testing.loop import run

TABLES = MetaData()
NOTES = Table("notes", TABLES, Column("id", Integer, primary_key=True), Column("text", Text, nullable=False))
REPLIES = Table(
    "replies", TABLES, Column("id", Integer, primary_key=True), Column("note", ForeignKey("notes.id"), nullable=False)
)
INSERT = insert(NOTES)


def note(number: int, words: str = "x") -> Callable[[Connection], int]:
    def change(tx: Connection) -> int:
        tx.execute(INSERT, {"id": number, "text": words})
        return number

    return change


def refuse(error: BaseException) -> Callable[[Connection], None]:
    def change(tx: Connection) -> None:
        tx.execute(select(func.count()).select_from(NOTES)).scalar()
        raise error

    return change


def count(tx: Connection) -> int:
    return tx.execute(select(func.count()).select_from(NOTES)).scalar_one()


@asynccontextmanager
async def opened(folder: Path, *, durable: bool = True) -> AsyncIterator[Database]:
    async with Database.open(folder / "test.db", metadata=TABLES, durable=durable) as database:
        yield database


def on_a_database(folder: Path, main: Callable[[Database], Awaitable[None]]) -> None:
    async def body(_clock: object) -> None:
        async with opened(folder) as database:
            await main(database)

    run(body)


def test_a_change_returns_its_value_and_is_there_for_readers(tmp_path):
    async def main(database):
        assert await database.write(note(7)) == 7
        assert await database.read(count) == 1

    on_a_database(tmp_path, main)


def test_what_was_written_is_there_after_opening_again(tmp_path):
    on_a_database(tmp_path, lambda database: database.write(note(7)))

    async def main(database):
        assert await database.read(count) == 1

    on_a_database(tmp_path, main)


def test_a_failing_change_fails_alone(tmp_path):
    async def main(database):
        async with asyncio.TaskGroup() as tasks:
            good = [tasks.create_task(database.write(note(number))) for number in range(10)]
            bad = tasks.create_task(_outcome(database.write(refuse(KeyError("wrong")))))
            doubled = tasks.create_task(_outcome(database.write(note(3))))
            late = tasks.create_task(database.write(note(11)))
        assert [task.result() for task in good] == list(range(10))
        assert isinstance(bad.result(), KeyError)
        assert isinstance(doubled.result(), IntegrityError)
        assert late.result() == 11
        assert await database.read(count) == 11

    on_a_database(tmp_path, main)


def test_nothing_of_a_change_that_raises_is_kept(tmp_path):
    async def main(database):
        def change(tx):
            note(1)(tx)
            raise KeyError("after writing")

        async with asyncio.TaskGroup() as tasks:
            failed = tasks.create_task(_outcome(database.write(change)))
            tasks.create_task(database.write(note(2)))
        assert isinstance(failed.result(), KeyError)
        assert await database.read(lambda tx: tx.execute(select(NOTES.c.id)).scalars().all()) == [2]

    on_a_database(tmp_path, main)


def test_a_change_that_raises_before_it_writes_does_not_make_its_neighbours_run_again(tmp_path):
    async def main(database):
        runs = []

        def counted(tx):
            runs.append(1)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(database.write(note(1)))  # a batch of its own, on which the others wait
            tasks.create_task(database.write(counted))
            tasks.create_task(_outcome(database.write(refuse(KeyError("no")))))
            tasks.create_task(database.write(counted))
        assert len(runs) == 2

    on_a_database(tmp_path, main)


@pytest.mark.parametrize("error", [StopIteration("end"), asyncio.CancelledError(), SystemExit(3), ValueError("no")])
def test_whatever_a_change_raises_its_caller_is_told(tmp_path, error):
    async def main(database):
        for change in (refuse(error), lambda tx: (note(5)(tx), refuse(error)(tx))):
            outcome = await _outcome(database.write(change))
            assert isinstance(outcome, RuntimeError if isinstance(error, StopIteration) else type(error))
        assert isinstance(await _outcome(database.read(refuse(ValueError("no")))), ValueError)
        assert isinstance(await _outcome(database.read(refuse(StopIteration()))), RuntimeError)
        assert await database.write(note(1)) == 1
        assert await database.read(count) == 1

    on_a_database(tmp_path, main)


def test_committed_runs_in_commit_order_before_any_caller_goes_on(tmp_path):
    async def main(database):
        seen = []

        async def writer(number):
            await database.write(note(number), committed=lambda value: seen.append(("committed", value)))
            seen.append(("returned", number))

        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(writer(number))
        assert [number for kind, number in seen if kind == "committed"] == list(range(50))
        # The first is a batch of its own; the others wait for it, and are the second.
        assert seen[2:51] == [("committed", number) for number in range(1, 50)]

    on_a_database(tmp_path, main)


def test_what_committed_raises_reaches_its_caller_and_nobody_else(tmp_path):
    async def main(database):
        seen = []

        def broken(_value):
            raise KeyError("catalogue")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(database.write(note(0)))
            told = tasks.create_task(_outcome(database.write(note(1), committed=broken)))
            tasks.create_task(database.write(note(2), committed=seen.append))
        assert isinstance(told.result(), KeyError)
        assert seen == [2]
        assert await database.read(count) == 3

    on_a_database(tmp_path, main)


def test_a_cancelled_callers_change_is_committed_and_told(tmp_path):
    async def main(database):
        seen = []
        hold, held = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(tx):
            loop.call_soon_threadsafe(held.set)
            hold.wait()
            return note(1)(tx)

        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(database.write(slow, committed=seen.append))
            waiting = tasks.create_task(database.write(note(2), committed=seen.append))
            await held.wait()
            running.cancel()
            waiting.cancel()
            await asyncio.wait([running, waiting])
            hold.set()
            await database.write(note(3))
        assert running.cancelled()
        assert waiting.cancelled()
        assert seen == [1, 2]
        assert await database.read(count) == 3

    on_a_database(tmp_path, main)


def test_closing_waits_for_what_was_handed_in(tmp_path):
    async def main(_clock):
        async with asyncio.TaskGroup() as tasks:
            async with opened(tmp_path) as database:
                for number in range(20):
                    tasks.create_task(database.write(note(number)))
                await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match=r"test\.db is closed"):
            await database.write(note(99))
        with pytest.raises(RuntimeError, match=r"test\.db is closed"):
            await database.read(count)
        assert os.listdir(tmp_path) == ["test.db"]  # the write-ahead log was emptied and is gone

    run(main)
    on_a_database(tmp_path, _expect(20))


def test_closing_while_cancelled_keeps_what_was_handed_in(tmp_path):
    async def main(_clock):
        async def node():
            async with opened(tmp_path) as database:
                async with asyncio.TaskGroup() as tasks:
                    for number in range(20):
                        tasks.create_task(database.write(note(number)))
                    await asyncio.sleep(0)
                    raise asyncio.CancelledError

        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(node())
            await asyncio.wait([running])
        assert running.cancelled()

    run(main)
    on_a_database(tmp_path, _expect(20))


def test_too_many_waiting_changes_are_refused(tmp_path):
    limit = database_module._MAX_WAITING

    async def main(database):
        hold = threading.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(database.write(lambda tx: hold.wait()))
            await asyncio.sleep(0)
            waiting = [tasks.create_task(database.write(lambda tx: None)) for _ in range(limit)]
            await asyncio.sleep(0)
            with pytest.raises(DatabaseBusyError, match=r"20000 changes wait for test\.db"):
                await database.write(note(1))
            hold.set()
        assert all(task.result() is None for task in waiting)
        assert await database.write(note(1)) == 1

    on_a_database(tmp_path, main)


def test_a_reader_cannot_write_and_sees_one_commit(tmp_path):
    async def main(database):
        with pytest.raises(OperationalError, match="readonly"):
            await database.read(note(1))
        read_once, written = threading.Event(), threading.Event()

        def twice(tx):
            first = count(tx)
            read_once.set()
            written.wait()
            return first, count(tx)

        async with asyncio.TaskGroup() as tasks:
            counts = tasks.create_task(database.read(twice))
            await asyncio.to_thread(read_once.wait)
            await database.write(note(1))
            written.set()
        assert counts.result() == (0, 0)
        assert await database.read(count) == 1

    on_a_database(tmp_path, main)


def test_more_readers_than_threads_all_get_their_turn(tmp_path):
    async def main(database):
        await database.write(note(1))
        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(database.read(count)) for _ in range(50)]
        assert {reader.result() for reader in readers} == {1}

    on_a_database(tmp_path, main)


def test_foreign_keys_hold(tmp_path):
    async def main(database):
        with pytest.raises(IntegrityError):
            await database.write(lambda tx: tx.execute(insert(REPLIES), {"id": 1, "note": 404}))

    on_a_database(tmp_path, main)


def test_the_file_is_for_its_owner_alone(tmp_path):
    async def main(database):
        await database.write(note(1))
        modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}
        assert modes == {"test.db": 0o600, "test.db-wal": 0o600, "test.db-shm": 0o600}

    on_a_database(tmp_path, main)


def test_durable_means_that_each_commit_is_synced(tmp_path):
    async def main(_clock):
        for durable, level in ((True, 2), (False, 1)):
            async with opened(tmp_path, durable=durable) as database:
                assert await database.write(lambda tx: tx.execute(text("PRAGMA synchronous")).scalar()) == level

    run(main)


def test_a_transaction_that_sqlite_ended_is_not_acknowledged(tmp_path):
    """As a full disk does in the middle of a transaction, and a change that swallows the error would hide."""

    async def main(database):
        def ends(tx):
            tx.exec_driver_sql("ROLLBACK")
            return "kept"

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(database.write(note(0)))
            first = tasks.create_task(_outcome(database.write(note(1))))
            ended = tasks.create_task(_outcome(database.write(ends)))
            last = tasks.create_task(_outcome(database.write(note(2))))
        assert isinstance(ended.result(), RuntimeError)
        assert (first.result(), last.result()) == (1, 2)
        assert await database.read(count) == 3

    on_a_database(tmp_path, main)


def test_a_full_database_acknowledges_nothing_and_works_again_when_there_is_room(tmp_path):
    async def main(database):
        pages = await database.write(lambda tx: tx.execute(text("PRAGMA page_count")).scalar())
        await database.write(lambda tx: tx.execute(text(f"PRAGMA max_page_count = {pages + 4}")).scalar())
        async with asyncio.TaskGroup() as tasks:
            outcomes = [tasks.create_task(_outcome(database.write(note(number, "x" * 3000)))) for number in range(30)]
        kept = await database.read(lambda tx: set(tx.execute(select(NOTES.c.id)).scalars()))
        acknowledged = {task.result() for task in outcomes if isinstance(task.result(), int)}
        refused = [task.result() for task in outcomes if not isinstance(task.result(), int)]
        assert kept == acknowledged
        assert refused
        assert all("database or disk is full" in str(error) for error in refused)
        await database.write(lambda tx: tx.execute(text(f"PRAGMA max_page_count = {pages + 400}")).scalar())
        assert await database.write(note(100, "x" * 3000)) == 100

    on_a_database(tmp_path, main)


def test_it_works_on_uvloop_too(tmp_path):
    import uvloop

    async def main():
        async with opened(tmp_path) as database:
            async with asyncio.TaskGroup() as tasks:
                for number in range(100):
                    tasks.create_task(database.write(note(number)))
            assert await database.read(count) == 100

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def _outcome(waiting: Awaitable[object]) -> object:
    """What comes of it: the value, or the exception as a value."""
    try:
        return await waiting
    except BaseException as error:
        return error


def _expect(rows: int) -> Callable[[Database], Awaitable[None]]:
    async def main(database: Database) -> None:
        assert await database.read(count) == rows

    return main
