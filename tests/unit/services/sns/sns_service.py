"""SNS and SQS on a database in a folder, called the way dispatch does, on a loop whose time jumps.

Functions are a list of what they were invoked with: what a real one is given is tested on a node.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import proof
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Dispatch, Shape
from lambent.observe.log import Log
from lambent.protocol.validate import validate
from lambent.services.sns.service import Sns
from lambent.services.sns.signing import Signer
from lambent.services.sqs.service import Sqs
from lambent.store.database import Database
from lambent.store.schema import MAIN
from lambent.testing.loop import run

CALLER = Caller(account="123456789012", region="eu-west-1", base_url="http://127.0.0.1:4566", user_id="AIDA")
ARN = "arn:aws:sns:eu-west-1:123456789012:"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:"


@dataclass(kw_only=True)
class Functions:
    """What functions were invoked with, and who may invoke them. `refusals` are raised first, one for each Invoke."""

    policies: dict[str, dict] = field(default_factory=dict)
    invoked: list[tuple[str, Any, Caller]] = field(default_factory=list)
    refusals: list[ApiError] = field(default_factory=list)

    def allow(self, name: str, topic_arn: str, **more: Any) -> str:
        """A function that lets a topic in; its ARN."""
        self.policies[FUNCTION + name] = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "topic",
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "lambda:InvokeFunction",
                    "Resource": FUNCTION + name,
                    "Condition": {"ArnLike": {"AWS:SourceArn": topic_arn}},
                    **more,
                }
            ],
        }
        return FUNCTION + name

    async def get_policy(self, _caller: Caller, params: Shape) -> Shape:
        return {"Policy": json.dumps(self._there(params))}

    async def get_function_configuration(self, _caller: Caller, params: Shape) -> Shape:
        return {"FunctionArn": params["FunctionName"], "Found": self._there(params)}

    async def invoke(self, caller: Caller, params: Shape) -> Shape:
        if self.refusals:
            raise self.refusals.pop(0)
        assert params["InvocationType"] == "Event"
        self.invoked.append((params["FunctionName"], json.loads(params["Payload"]), caller))
        return {"StatusCode": 202}

    def _there(self, params: Shape) -> dict:
        if params["FunctionName"] not in self.policies:
            raise ApiError("ResourceNotFoundException", f"Function not found: {params['FunctionName']}")
        return self.policies[params["FunctionName"]]

    def operations(self) -> dict:
        return {
            "GetPolicy": self.get_policy,
            "GetFunctionConfiguration": self.get_function_configuration,
            "Invoke": self.invoke,
        }


@dataclass(kw_only=True)
class Client:
    """`await client("Publish", TopicArn=arn, Message="m")`, and what is around it."""

    service: Sns
    dispatch: Dispatch
    functions: Functions
    metrics: list
    log: StringIO

    @property
    def clock(self) -> Clock:
        return self.service.clock

    async def __call__(self, operation: str, caller: Caller = CALLER, **params: Any) -> Shape:
        with proof.calling("sns", operation):
            answer = await self.dispatch.call("sns", operation, params, caller=caller)
        return {name: value for name, value in answer.items() if value is not None}

    async def sqs(self, operation: str, **params: Any) -> Shape:
        return await self.dispatch.call("sqs", operation, params, caller=CALLER)

    async def topic(self, name: str = "t", **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes = {"FifoTopic": "true", **attributes}
        return (await self("CreateTopic", Name=name, Attributes=attributes))["TopicArn"]

    async def queue(self, name: str = "q", **attributes: str) -> str:
        """The ARN of a new queue."""
        if name.endswith(".fifo"):
            attributes = {"FifoQueue": "true", **attributes}
        await self.sqs("CreateQueue", QueueName=name, Attributes=attributes)
        return QUEUE + name

    async def subscribe(self, topic: str, endpoint: str, protocol: str = "sqs", **attributes: str) -> str:
        params = {"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint, "Attributes": attributes}
        return (await self("Subscribe", ReturnSubscriptionArn=True, **params))["SubscriptionArn"]

    async def receive(self, queue: str, most: int = 10, wait: int = 1) -> list[Shape]:
        """Messages of a queue, deleted, until there are so many, or none comes any more."""
        url = f"https://sqs.eu-west-1.amazonaws.com/123456789012/{queue.rpartition(':')[2]}"
        names = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        found: list[Shape] = []
        while len(found) < most:
            asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": wait, **names}
            batch = (await self.sqs("ReceiveMessage", **asked)).get("Messages") or []
            for message in batch:
                await self.sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found += batch
            if not batch:
                break
        return found

    async def bodies(self, queue: str, most: int = 10) -> list[str]:
        """The `Message` of each envelope in a queue."""
        return [json.loads(each["Body"])["Message"] for each in await self.receive(queue, most)]

    def counted(self, name: str) -> float:
        """The sum of a metric's values."""
        return sum(value for metric, value in self.metrics if metric == name)

    @asynccontextmanager
    async def refused(self, code: str, message: str | None = None) -> AsyncIterator[None]:
        with pytest.raises(ApiError) as raised:
            yield
        assert raised.value.code == code, raised.value.message
        if message is not None:
            assert raised.value.message == message


_KEY: list[bytes] = []  # made once: that takes longer than a test


def _signing_key(folder: Path) -> None:
    path = folder / "sns" / "signing.pem"
    if _KEY and not path.exists():
        path.parent.mkdir()
        path.write_bytes(_KEY[0])
    elif not path.exists():
        Signer(folder / "sns").open()
        _KEY.append(path.read_bytes())


@asynccontextmanager
async def opened(folder: Path, clock: Clock, functions: Functions | None = None) -> AsyncIterator[Client]:
    async with Database.open(folder / "main.db", metadata=MAIN, durable=False) as main:
        metrics: list = []
        text, tables = StringIO(), {}
        log = Log("info", text, as_json=True)
        dispatch = Dispatch(operations=tables, validate=validate)
        sqs = Sqs(database=main, clock=clock, log=log)
        sns = Sns(
            database=main,
            folder=folder / "sns",
            call=dispatch.call,
            clock=clock,
            log=log,
            endpoint="http://127.0.0.1:4566",
            record=lambda scope, metric: metrics.append((metric.name, metric.value)),
        )
        functions = functions or Functions()
        _signing_key(folder)
        tables |= {"sqs": sqs.operations(), "sns": sns.operations(), "lambda": functions.operations()}
        await sqs.load()
        await sns.load()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(sqs.run()), tasks.create_task(sns.run())]
            try:
                yield Client(service=sns, dispatch=dispatch, functions=functions, metrics=metrics, log=text)
            finally:
                for task in running:
                    task.cancel()


def with_sns(folder: Path, test: Callable[[Client], Awaitable[None]]) -> None:
    """Runs a test on a service of its own, on a loop whose time jumps."""

    async def main(clock: Clock) -> None:
        async with opened(folder, clock) as client:
            await test(client)

    run(main)


def another(account: str) -> Caller:
    return replace(CALLER, account=account)
