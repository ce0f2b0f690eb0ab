"""An SQS service on a database in a folder, called the way dispatch does, on a loop whose time jumps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import proof
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Shape
from lambent.observe.log import Log
from lambent.protocol.validate import validate
from lambent.services.sqs.service import Sqs
from lambent.store.database import Database
from lambent.store.schema import MAIN
from lambent.testing.loop import run

CALLER = Caller(account="123456789012", region="eu-west-1", base_url="http://127.0.0.1:4566", user_id="AIDA")
ARN = "arn:aws:sqs:eu-west-1:123456789012:"


class Client:
    """`await client("SendMessage", QueueUrl=url, MessageBody="b")`."""

    def __init__(self, service: Sqs, metrics: list) -> None:
        self.service = service
        self.clock = service.clock
        self.metrics = metrics
        self._operations = service.operations()

    async def __call__(self, operation: str, caller: Caller = CALLER, **params: Any) -> Shape:
        with proof.calling("sqs", operation):
            validate("sqs", operation, params)
            answer = await self._operations[operation](caller, params)
        return {name: value for name, value in answer.items() if value is not None}

    async def queue(self, name: str = "q", **attributes: Any) -> str:
        """The URL of a new queue."""
        given = {key: str(value) for key, value in attributes.items()}
        if name.endswith(".fifo"):
            given["FifoQueue"] = "true"
        return (await self("CreateQueue", QueueName=name, Attributes=given))["QueueUrl"]

    async def send(self, url: str, *bodies: str, **params: Any) -> list[Shape]:
        """Each in a request of its own."""
        return [await self("SendMessage", QueueUrl=url, MessageBody=body, **params) for body in bodies]

    async def receive(self, url: str, most: int = 10, **params: Any) -> list[Shape]:
        names = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        answer = await self("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=most, **{**names, **params})
        return answer.get("Messages", [])

    async def bodies(self, url: str, most: int = 10, **params: Any) -> list[str]:
        return [message["Body"] for message in await self.receive(url, most, **params)]

    async def delete(self, url: str, *messages: Shape) -> None:
        for message in messages:
            await self("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    async def attribute(self, url: str, *names: str) -> dict[str, str]:
        answer = await self("GetQueueAttributes", QueueUrl=url, AttributeNames=list(names) or ["All"])
        return answer.get("Attributes", {})

    async def counts(self, url: str) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        found = await self.attribute(url)
        prefix = "ApproximateNumberOfMessages"
        return tuple(int(found[prefix + end]) for end in ("", "NotVisible", "Delayed"))

    @asynccontextmanager
    async def refused(self, code: str, message: str | None = None) -> AsyncIterator[None]:
        with pytest.raises(ApiError) as raised:
            yield
        assert raised.value.code == code, raised.value.message
        if message is not None:
            assert raised.value.message == message


@asynccontextmanager
async def opened(folder: Path, clock: Clock, **settings: Any) -> AsyncIterator[Client]:
    async with Database.open(folder / "main.db", metadata=MAIN, durable=False) as main:
        metrics: list = []
        service = Sqs(
            database=main,
            clock=clock,
            log=Log("info", StringIO(), as_json=True),
            record=lambda scope, metric: metrics.append((metric.name, metric.value, metric.unit)),
            **settings,
        )
        await service.load()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(service.run())
            try:
                yield Client(service, metrics)
            finally:
                running.cancel()


def with_sqs(folder: Path, test: Callable[[Client], Awaitable[None]], **settings: Any) -> None:
    """Runs a test on a service of its own, on a loop whose time jumps."""

    async def main(clock: Clock) -> None:
        async with opened(folder, clock, **settings) as client:
            await test(client)

    run(main)
