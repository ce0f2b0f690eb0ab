"""Where the platform leaves its metrics: added up in memory, written about a second later.

Recording costs about a microsecond, never waits and never fails. A kill loses the last second; a stop loses nothing.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from lambent.aws.caller import Scope
from lambent.clock import Clock
from lambent.observe.log import Log
from lambent.observe.metrics import Dimensions, Metric
from lambent.services.cloudwatch import rows
from lambent.services.cloudwatch.distribution import Distribution
from lambent.services.cloudwatch.model import Point, Series
from lambent.store.database import Database

_DELAY_S: Final = 1.0
# What is held while the disk is slower than the platform: beyond it values are dropped and counted, and the count
# logged, since an invocation never waits for its metrics. A key is a metric in a minute.
_MAX_KEYS: Final = 50_000
_MAX_VALUES: Final = 20_000  # different ones of a key
# One transaction's share, so that other writers of the bulk database get their turn.
_MAX_WRITE: Final = 200

_Key = tuple[tuple[str, str], str, str | tuple[str, ...], tuple[Dimensions, ...], str | tuple[str, ...], int]
_Values = dict[float | tuple[float, ...], float]
"""How often each value was there: a value of one metric, or of some that were recorded at once."""
_Pending = dict[_Key, _Values]


class Recorder:
    """The buffer and its one writer, `run`."""

    def __init__(self, bulk: Database, clock: Clock, log: Log) -> None:
        self._bulk = bulk
        self._clock = clock
        self._log = log
        self._pending: _Pending = {}
        self._dropped = 0
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    def record(self, scope: tuple[str, str], metric: Metric) -> None:
        """Takes one value of an account and region: `observe.metrics.Record`."""
        value = metric.value
        minute = (self._clock.now_ms() if metric.at_ms is None else metric.at_ms) // 60_000
        key = (scope, metric.namespace, metric.name, metric.dimensions, metric.unit, minute)
        values = self._pending.get(key)
        if values is None:
            if len(self._pending) >= _MAX_KEYS:
                self._dropped += 1
                return
            values = self._pending[key] = {}
            self._wake.set()
        if len(values) >= _MAX_VALUES and value not in values:
            self._dropped += 1
            return
        values[value] = values.get(value, 0.0) + 1.0

    async def flush(self) -> None:
        """Returns when all that was recorded before is stored."""
        async with self._writing:
            pending, self._pending = self._pending, {}
            self._wake.clear()
            await self._write(pending)
        if self._dropped:
            self._log.warning("metrics.dropped", values=self._dropped, why="the disk is slower than the platform")
            self._dropped = 0

    async def run(self) -> None:
        """Write what is recorded, until cancelled; then what is left."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(_DELAY_S)
                await self.flush()
        finally:
            await self.flush()

    async def _write(self, pending: _Pending) -> None:
        """Writes what was taken, and gives back what the database refused."""
        while pending:
            share = list(pending)[:_MAX_WRITE]
            points = [point for key in share for point in _points(key, pending[key])]
            try:
                await self._bulk.write(lambda tx: rows.add_points(tx, points))  # noqa: B023
            except asyncio.CancelledError:  # the database carries out what it was given, so it must not get it twice
                self._give_back(pending, share)
                raise
            except BaseException:
                self._give_back(pending, [])
                raise
            for key in share:
                del pending[key]

    def _give_back(self, pending: _Pending, written: list[_Key]) -> None:
        for key in written:
            del pending[key]
        for key, values in pending.items():
            mine = self._pending.setdefault(key, {})
            for value, weight in values.items():
                mine[value] = mine.get(value, 0.0) + weight
        if self._pending:
            self._wake.set()


def _points(key: _Key, values: _Values) -> list[tuple[Series, Point]]:
    """The values of each metric under each of its sets of dimensions."""
    scope, namespace, names, dimensions, units, minute = key
    found: list[tuple[Series, Point]] = []
    for name, unit, its_values in _apart(names, units, values):
        point = Point(minute * 60, 60, unit, Distribution.of(its_values))
        found += [(Series(Scope(*scope), namespace, name, tuple(sorted(each))), point) for each in dimensions]
    return found


def _apart(
    names: str | tuple[str, ...], units: str | tuple[str, ...], values: Any
) -> Iterator[tuple[str, str, dict[float, float]]]:
    if isinstance(names, str):
        yield names, str(units), values
        return
    for at, (name, unit) in enumerate(zip(names, units, strict=True)):
        its_values: dict[float, float] = {}
        for together, weight in values.items():
            its_values[together[at]] = its_values.get(together[at], 0.0) + weight
        yield name, unit, its_values
