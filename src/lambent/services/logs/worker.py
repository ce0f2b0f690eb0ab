"""What CloudWatch Logs does in the background: removes expired events, and what deletions left behind."""

from typing import Final

from lambent.clock import Clock
from lambent.services.logs import rows
from lambent.store.database import Database

# Reads never show what is to be removed, so only disk space waits.
_EVERY_S: Final = 600.0
# One transaction's share: a few tens of milliseconds, during which other writers wait.
_BATCH: Final = 2_000
# A write that found the group just before it was deleted has long ended by then.
_TOMBSTONE_AGE_MS: Final = 60_000


async def run(main: Database, bulk: Database, clock: Clock) -> None:
    """Clean up every ten minutes, until cancelled."""
    while True:
        await remove_expired(main, bulk, clock)
        await remove_orphans(main, bulk, clock)
        await clock.sleep(_EVERY_S, tidying=True)


async def remove_expired(main: Database, bulk: Database, clock: Clock) -> None:
    """Removes the events that their group's retention period no longer covers."""
    for group in await main.read(rows.groups_with_retention):
        before = group.oldest(clock.now_ms())
        removed = _BATCH
        while removed == _BATCH:
            removed = await bulk.write(lambda tx: rows.remove_expired(tx, group.id, before, _BATCH))  # noqa: B023


async def remove_orphans(main: Database, bulk: Database, clock: Clock) -> None:
    """Removes the events of deleted groups and streams, then their tombstones: safe to repeat after a crash."""
    before = clock.now_ms() - _TOMBSTONE_AGE_MS
    for tombstone_id, group_id, stream_id in await main.read(lambda tx: rows.tombstones(tx, before)):
        removed = _BATCH
        while removed == _BATCH:
            removed = await bulk.write(lambda tx: rows.remove_orphans(tx, group_id, stream_id, _BATCH))  # noqa: B023
        await main.write(lambda tx: rows.delete_tombstone(tx, tombstone_id))  # noqa: B023
