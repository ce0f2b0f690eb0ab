"""A Logs service on two databases in a folder, called the way dispatch does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from lambent.aws.caller import Caller
from lambent.clock import Clock
from lambent.dispatch import Shape
from lambent.observe.log import Log
from lambent.services.logs.service import Logs
from lambent.store.database import Database
from lambent.store.schema import BULK, MAIN
from lambent.testing.loop import run

CALLER = Caller(account="123456789012", region="eu-west-1")
ARN = "arn:aws:logs:eu-west-1:123456789012:log-group:"


class Client:
    """`await client("CreateLogGroup", logGroupName="g")`."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self._operations = logs.operations()
        self.entries = StringIO()

    async def __call__(self, operation: str, caller: Caller = CALLER, **params: Any) -> Shape:
        return await self._operations[operation](caller, params)

    @property
    def now(self) -> int:
        return self.logs.clock.now_ms()

    async def group(self, name: str = "g", *streams: str) -> None:
        await self("CreateLogGroup", logGroupName=name)
        for stream in streams:
            await self("CreateLogStream", logGroupName=name, logStreamName=stream)

    async def put(self, stream: str, *events: tuple[int, str], group: str = "g") -> Shape:
        shapes = [{"timestamp": timestamp, "message": message} for timestamp, message in events]
        return await self("PutLogEvents", logGroupName=group, logStreamName=stream, logEvents=shapes)

    async def messages(self, **params: Any) -> list[str]:
        """What FilterLogEvents finds, through all its pages."""
        found: list[str] = []
        while True:
            answer = await self("FilterLogEvents", **{"logGroupName": "g"} | params)
            found += [event["message"] for event in answer["events"]]
            if "nextToken" not in answer:
                return found
            params["nextToken"] = answer["nextToken"]


@asynccontextmanager
async def opened(folder: Path, clock: Clock) -> AsyncIterator[Client]:
    async with (
        Database.open(folder / "main.db", metadata=MAIN, durable=True) as main,
        Database.open(folder / "bulk.db", metadata=BULK, durable=False) as bulk,
    ):
        entries = StringIO()
        client = Client(Logs(main=main, bulk=bulk, clock=clock, log=Log("info", entries, as_json=True)))
        client.entries = entries
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(client.logs.run())
            try:
                yield client
            finally:
                running.cancel()


def with_logs(folder: Path, test: Callable[[Client], Awaitable[None]]) -> None:
    """Runs a test on a service of its own, on a loop whose time jumps."""

    async def main(clock: Clock) -> None:
        async with opened(folder, clock) as client:
            await test(client)

    run(main)
