"""What CloudWatch does in the background: data gets coarser with age, and goes in the end."""

from itertools import pairwise
from typing import Final

from lambent.clock import Clock
from lambent.services.cloudwatch import rows
from lambent.services.cloudwatch.model import TIERS
from lambent.store.database import Database

_EVERY_S: Final = 3600.0
# One transaction's share: a few tens of milliseconds, during which other writers wait.
_BATCH: Final = 500


async def run(bulk: Database, clock: Clock) -> None:
    """Age the data every hour, until cancelled."""
    while True:
        await age(bulk, clock)
        await clock.sleep(_EVERY_S, tidying=True)


async def age(bulk: Database, clock: Clock) -> None:
    """Rolls up and removes what is too old for its period: safe to repeat after a crash."""
    now = int(clock.now())
    for (period, age_s), (into, _age_s) in pairwise(TIERS):
        # A longer period is moved into when all of it is old enough.
        before = (now - age_s) // into * into
        moved = _BATCH
        while moved == _BATCH:
            moved = await bulk.write(lambda tx: rows.roll_up(tx, period, into, before, _BATCH))  # noqa: B023
    period, age_s = TIERS[-1]
    removed = _BATCH
    while removed == _BATCH:
        removed = await bulk.write(lambda tx: rows.remove_points(tx, period, now - age_s, _BATCH))
    await bulk.write(lambda tx: rows.remove_metrics(tx, now - age_s))
