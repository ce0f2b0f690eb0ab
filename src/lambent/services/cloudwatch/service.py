"""CloudWatch: metrics of the platform and of its users."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from lambent.clock import Clock
from lambent.dispatch import Handler
from lambent.observe.log import Log
from lambent.observe.metrics import Metric
from lambent.services.cloudwatch import model, rows, worker
from lambent.services.cloudwatch.api import data, listing, put, statistics
from lambent.services.cloudwatch.model import Point, Query
from lambent.services.cloudwatch.recorder import Recorder
from lambent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatch:
    """The service. Its `run` must be awaited by whoever made it; without it, reads write what was recorded."""

    bulk: Database
    clock: Clock
    log: Log
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "recorder", Recorder(self.bulk, self.clock, self.log))

    def operations(self) -> dict[str, Handler]:
        handlers = {
            "GetMetricData": data.get_metric_data,
            "GetMetricStatistics": statistics.get_metric_statistics,
            "ListMetrics": listing.list_metrics,
            "PutMetricData": put.put_metric_data,
        }
        return {name: partial(handler, self) for name, handler in handlers.items()}

    def record(self, scope: tuple[str, str], metric: Metric) -> None:
        """Takes one value. Never waits; stored within about a second, and seen by every read that begins afterwards."""
        self.recorder.record(scope, metric)

    async def read(self, query: Query) -> list[Point]:
        """The data of a series in the periods that were asked for, in order of time, with all that was recorded."""
        await self.recorder.flush()
        found = await self.bulk.read(lambda tx: rows.points(tx, query.series, query.start, query.end))
        return model.aggregated(query, found)

    async def flush(self) -> None:
        """Returns when all that was recorded is stored: to be awaited after the engine stopped."""
        await self.recorder.flush()

    async def run(self) -> None:
        """Write what is recorded and age what is stored, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.recorder.run(), name="cloudwatch.recorder")
            tasks.create_task(worker.run(self.bulk, self.clock), name="cloudwatch.worker")
