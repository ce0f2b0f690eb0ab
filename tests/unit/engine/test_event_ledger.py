"""Events are kept and forgotten in groups; each caller hears what became of its own."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from lambent.aws.caller import Scope
from lambent.engine import rows
from lambent.engine.event_ledger import EventLedger
from lambent.observe import points
from lambent.store.database import Database
from lambent.store.schema import MAIN
from lambent.testing.loop import run

EVENT = rows.Event(
    scope=Scope("000000000000", "us-east-1"),
    function_arn="arn:aws:lambda:us-east-1:000000000000:function:f",
    qualifier=None,
    request_id="r",
    payload=b"{}",
    arrived_ms=1,
    visible_ms=1,
)


@asynccontextmanager
async def opened(folder):
    arrived = []
    async with Database.open(folder / "main.db", metadata=MAIN, durable=False) as database:
        yield EventLedger(database, arrived.append), arrived, database


async def all_of(*waiting):
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_events_that_come_together_share_a_commit(tmp_path):
    commits = []

    async def script(_clock):
        async with opened(tmp_path) as (ledger, arrived, database):
            points.watch(lambda name: commits.append(name) if name == "store.committed" else None)
            try:
                await all_of(*(ledger.add(replace(EVENT, request_id=str(number))) for number in range(50)))
                await all_of(*(ledger.remove(event.id) for event in arrived[1:]))
            finally:
                points.watch(None)
            assert [event.request_id for event in arrived] == [str(number) for number in range(50)]
            assert await database.read(lambda tx: rows.due_ids(tx, 10, 100)) == [arrived[0].id]

    run(script)
    assert len(commits) == 2


def test_what_has_ended_goes_with_what_arrives(tmp_path):
    async def script(_clock):
        async with opened(tmp_path) as (ledger, arrived, database):
            await ledger.add(EVENT)
            await all_of(ledger.remove(arrived[0].id), ledger.add(replace(EVENT, request_id="s")))
            assert await database.read(lambda tx: rows.due_ids(tx, 10, 100)) == [arrived[1].id]

    run(script)


def test_a_group_that_cannot_be_written_is_nobodys(tmp_path):
    async def script(_clock):
        async with opened(tmp_path) as (ledger, arrived, database):
            await database.write(lambda tx: tx.execute(text("DROP TABLE engine_events")))
            found = await all_of(*(ledger.add(EVENT) for _ in range(3)), ledger.remove(1))
            assert [type(error) for error in found] == [OperationalError] * 4
            assert arrived == []

    run(script)


def test_nothing_is_kept_once_the_database_is_closed(tmp_path):
    async def script(_clock):
        async with opened(tmp_path) as (ledger, _arrived, _database):
            pass
        with pytest.raises(RuntimeError, match="is closed"):
            await ledger.add(EVENT)

    run(script)
