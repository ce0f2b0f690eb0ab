"""What tests of event source mappings share: a platform with a real SQS, a mapping in force, a queue's state."""

import asyncio
import json

from lambda_platform import ACCOUNT, REGION, platform

from lambent.testing.loop import run

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
FIFO = f"{QUEUE}.fifo"
URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/q"
NOWHERE = "00000000-0000-0000-0000-000000000000"
INVALID = "InvalidParameterValueException"


def on_a_platform(main, tmp_path, **settings):
    async def body(clock):
        async with platform(tmp_path, clock, queues=True, **settings) as lambda_:
            await lambda_.create()
            await lambda_.queue("CreateQueue", QueueName="q")
            return await main(lambda_)

    return run(body)


async def _a_moment():
    await asyncio.sleep(0.05)


async def mapped(lambda_, **params):
    """A mapping that is in force; its UUID."""
    answer = await lambda_("CreateEventSourceMapping", **{"EventSourceArn": QUEUE, "FunctionName": "fn", **params})
    await state(lambda_, answer["UUID"], "Disabled" if params.get("Enabled") is False else "Enabled")
    return answer["UUID"]


async def state(lambda_, uuid, wanted):
    async with asyncio.timeout(60):
        while (answer := await lambda_("GetEventSourceMapping", UUID=uuid))["State"] != wanted:
            await _a_moment()
    return answer


async def gone(lambda_, uuid):
    async with asyncio.timeout(60):
        while lambda_.service.mappings.find(uuid):
            await _a_moment()


async def empty(lambda_, url=URL, limit_s=3600):
    """Until nothing is in the queue, not in flight either."""
    async with asyncio.timeout(limit_s):
        while any(await counts(lambda_, url)):
            await _a_moment()


async def counts(lambda_, url=URL):
    answer = await lambda_.queue("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    return [int(answer["Attributes"][name]) for name in names]


async def send(lambda_, *bodies, url=URL, **params):
    for body in bodies:
        await lambda_.queue("SendMessage", QueueUrl=url, MessageBody=body, **params)


def events(lambda_):
    return [json.loads(invocation.payload) for _spec, invocation in lambda_.engine.invoked]


def bodies(lambda_):
    return [record["body"] for event in events(lambda_) for record in event["Records"]]
