"""A CloudWatch service on a database in a folder, called the way dispatch does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from lambent.aws.caller import Caller
from lambent.clock import Clock
from lambent.dispatch import Shape
from lambent.observe.log import Log
from lambent.observe.metrics import Metric
from lambent.protocol.validate import validate
from lambent.services.cloudwatch.service import CloudWatch
from lambent.store.database import Database
from lambent.store.schema import BULK
from lambent.testing.loop import run

CALLER = Caller(account="123456789012", region="eu-west-1")
FUNCTION = [{"Name": "FunctionName", "Value": "f"}]


class Client:
    """`await client("ListMetrics", Namespace="N")`."""

    def __init__(self, service: CloudWatch) -> None:
        self.service = service
        self._operations = service.operations()

    async def __call__(self, operation: str, caller: Caller = CALLER, **params: Any) -> Shape:
        validate("cloudwatch", operation, params)
        return await self._operations[operation](caller, params)

    @property
    def now(self) -> int:
        return int(self.service.clock.now())

    def record(self, name: str, *values: float, at: float | None = None, unit: str = "Count") -> None:
        """Values of AWS/Lambda, of all functions and of the function `f`."""
        at_ms = None if at is None else int(at * 1000)
        for value in values:
            dimensions = ((), (("FunctionName", "f"),))
            self.service.record(CALLER.scope, Metric(name, value, dimensions, unit, at_ms))

    async def statistics(self, *names: str, start: float, end: float, period: int = 60, **params: Any) -> list[Shape]:
        """The data points of the metric `Invocations` of the function `f`."""
        wanted = {"Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": FUNCTION} | params
        wanted |= {"Statistics": list(names)} if names else {}
        answer = await self("GetMetricStatistics", StartTime=utc(start), EndTime=utc(end), Period=period, **wanted)
        return answer["Datapoints"]

    async def data(self, *queries: Shape, start: float, end: float, **params: Any) -> Shape:
        return await self(
            "GetMetricData", MetricDataQueries=list(queries), StartTime=utc(start), EndTime=utc(end), **params
        )


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def query(id: str = "m", name: str = "Invocations", stat: str = "Sum", period: int = 60, **more: Any) -> Shape:
    metric = {"Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": more.pop("dimensions", FUNCTION)}
    return {"Id": id, "MetricStat": {"Metric": metric, "Stat": stat, "Period": period}} | more


@asynccontextmanager
async def opened(folder: Path, clock: Clock, *, running: bool) -> AsyncIterator[Client]:
    async with Database.open(folder / "bulk.db", metadata=BULK, durable=False) as bulk:
        client = Client(CloudWatch(bulk=bulk, clock=clock, log=Log("info", StringIO(), as_json=True)))
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(client.service.run()) if running else None
            try:
                yield client
            finally:
                if task:
                    task.cancel()


def with_metrics(folder: Path, test: Callable[[Client], Awaitable[None]], *, running: bool = True) -> None:
    """Runs a test on a service of its own, on a loop whose time jumps; `running` is whether its own work goes on."""

    async def main(clock: Clock) -> None:
        async with opened(folder, clock, running=running) as client:
            await test(client)

    run(main)
