#!/usr/bin/env python3
"""Measures topics: durable publishes to one queue and to a hundred, until every message is there; and peers.

    .venv/bin/python bench/topics.py
    .venv/bin/python bench/topics.py --peer ''          # without MiniStack and moto

The time runs from the first request until the counts of all queues say that everything has arrived. Requests are raw
HTTP in the query protocol, without a signature that anybody could verify; messages have 100 bytes, and are delivered in
their envelopes, signed.
"""

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import harness
import queues
import running
from rows import TOPIC_ROWS, table

BODY = "x" * 100
HEAD = (
    "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    "Authorization: AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/sns/aws4_request, SignedHeaders=host, "
    "Signature=x\r\nContent-Length: {length}\r\n\r\n"
)
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"


class Client:
    """One connection to SNS, kept."""

    def __init__(self, endpoint: str) -> None:
        self._host = urlsplit(endpoint).netloc
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __call__(self, action: str, **params: str) -> str:
        body = urlencode({"Action": action, "Version": "2010-03-31", **params}).encode()
        if self._streams is None:
            host, port = self._host.split(":")
            self._streams = await asyncio.open_connection(host, int(port), limit=1 << 22)
        reader, writer = self._streams
        writer.write(HEAD.format(host=self._host, length=len(body)).encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = re.search(r"content-length: *(\d+)", head)
        content = (await reader.readexactly(int(length[1]) if length else 0)).decode()
        if "connection: close" in head:
            writer.close()
            self._streams = None
        if " 200" not in head.split("\r\n", 1)[0]:
            raise RuntimeError(f"{action}: {content}")
        return content


async def topic_to(endpoint: str, name: str, count: int) -> tuple[str, list[str]]:
    """A topic to which so many new queues are subscribed; its ARN and their URLs."""
    sns, sqs, urls = Client(endpoint), queues.Client(endpoint), []
    arn = re.search(r"<TopicArn>(.*?)</TopicArn>", await sns("CreateTopic", Name=name))
    assert arn is not None
    for number in range(count):
        queue = f"{name}-{number}"
        urls.append((await sqs("CreateQueue", QueueName=queue))["QueueUrl"])
        await sns("Subscribe", TopicArn=arn[1], Protocol="sqs", Endpoint=QUEUE + queue)
    return arn[1], urls


async def publish(server: queues.Server, arn: str, count: int) -> float:
    """Publishes so many; how many a second were acknowledged."""
    left = [count]

    async def work(client: Client) -> None:
        while left[0] > 0:
            left[0] -= 1
            await client("Publish", TopicArn=arn, Message=BODY)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(server.connections):
            tasks.create_task(work(Client(server.endpoint)))
    return count / (time.perf_counter() - began)


async def arrived(server: queues.Server, urls: list[str], each: int) -> None:
    """Returns when every queue has so many messages."""
    client, names = queues.Client(server.endpoint), ["ApproximateNumberOfMessages"]
    for url in urls:
        while True:
            found = await client("GetQueueAttributes", QueueUrl=url, AttributeNames=names)
            if int(found["Attributes"]["ApproximateNumberOfMessages"]) >= each:
                break
            await asyncio.sleep(0.005)


async def told(endpoint: str, arn: str, url: str, count: int) -> list[float]:
    """Milliseconds from a publish's request to a waiting receiver's answer, on an idle queue."""
    sns, sqs, taken = Client(endpoint), queues.Client(endpoint), []
    for _ in range(count):
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(sqs("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            tasks.create_task(sns("Publish", TopicArn=arn, Message=BODY))
            (message,) = (await waiting)["Messages"]
            taken.append((time.perf_counter() - began) * 1000)
        await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return taken


async def measure(server: queues.Server, count: int) -> dict:
    """Figures by name: publishes and deliveries a second, and milliseconds to a waiting receiver."""
    found = {}
    for name, subscribed, most in (("one", 1, count), ("hundred", 100, count // 20)):
        arn, urls = await topic_to(server.endpoint, name, subscribed)
        await publish(server, arn, most // 4)  # warm
        await arrived(server, urls, most // 4)
        began = time.perf_counter()
        found[f"{name}_acknowledged_per_s"] = round(await publish(server, arn, most))
        await arrived(server, urls, most // 4 + most)
        found[f"{name}_delivered_per_s"] = round(most * subscribed / (time.perf_counter() - began))
    arn, urls = await topic_to(server.endpoint, "wake", 1)
    return found | {"told": harness.summary(await told(server.endpoint, arn, urls[0], 100))}


async def results(peer_command: str, *, count: int = 2_000) -> dict[str, dict]:
    """The figures of Lambent and of its peers, in the shape of the harness's results."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder:
        async with running.node(Path(folder) / "data") as node:
            print("== topics", file=sys.stderr)
            found["lambent"] = {"scenarios": {"topics": await measure(queues.Server(node.endpoint), count)}}
    commands = {}
    if peer_command and shutil.which(peer_command.split()[0]):
        commands[Path(peer_command.split()[0]).name] = peer_command
    if peer_command and (command := queues.moto()):
        commands["moto"] = command
    for name, command in commands.items():
        async with queues.peer(command) as endpoint:
            print(f"== topics of {name}", file=sys.stderr)
            theirs = await measure(queues.Server(endpoint, 1 if name == "moto" else 8), count // 2)
            found[name] = {"scenarios": {"topics": theirs}}
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2_000, help="messages to one queue; a twentieth to a hundred")
    parser.add_argument("--peer", default="ministack", help="a peer's command, started with GATEWAY_PORT set")
    options = parser.parse_args()
    found = await results(options.peer, count=options.count)
    print(table(found, [name for name in found if name != "lambent"], TOPIC_ROWS))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
