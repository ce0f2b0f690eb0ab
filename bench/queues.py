#!/usr/bin/env python3
"""Measures queues: durable sends in tens, receives, deletes, with a thousand messages and with a million; and peers.

    .venv/bin/python bench/queues.py                    # a few minutes
    .venv/bin/python bench/queues.py --quick            # 100,000 messages instead of a million
    .venv/bin/python bench/queues.py --peer 'moto_server -p {port}' --peer ministack

A peer is a command, which is started with GATEWAY_PORT set and `{port}` in it replaced; not each stands more than one
connection (`--connections 1`). Requests are raw HTTP in the json protocol, without a signature that anybody could
verify; bodies have 100 bytes. What is deep is measured by sends, receives and deletes in a queue that has so many
messages already.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import running

BODY = "x" * 100
CONNECTIONS = 8
HEAD = (
    "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-amz-json-1.0\r\n"
    "X-Amz-Target: AmazonSQS.{operation}\r\n"
    "Authorization: AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, "
    "Signature=x\r\nContent-Length: {length}\r\n\r\n"
)


class Client:
    """One connection, kept."""

    def __init__(self, endpoint: str) -> None:
        self._host = urlsplit(endpoint).netloc
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __call__(self, operation: str, **params: object) -> dict:
        body = json.dumps(params).encode()
        if self._streams is None:
            host, port = self._host.split(":")
            self._streams = await asyncio.open_connection(host, int(port), limit=1 << 22)
        reader, writer = self._streams
        writer.write(HEAD.format(host=self._host, operation=operation, length=len(body)).encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]) if "content-length:" in head else 0
        content = await reader.readexactly(length)
        if "connection: close" in head:
            writer.close()
            self._streams = None
        if " 200" not in head.split("\r\n", 1)[0]:
            raise RuntimeError(f"{operation}: {content.decode()}")
        return json.loads(content or b"{}")


async def at_once(endpoint: str, work: Callable[[Client], Awaitable[int]]) -> float:
    """Units per second of work that each connection does until it has none."""
    began = time.perf_counter()
    done = await asyncio.gather(*(work(Client(endpoint)) for _ in range(CONNECTIONS)))
    return sum(done) / (time.perf_counter() - began)


async def send(endpoint: str, url: str, count: int) -> float:
    left = [count // 10]
    entries = [{"Id": str(number), "MessageBody": BODY} for number in range(10)]

    async def work(client: Client) -> int:
        done = 0
        while left[0] > 0:
            left[0] -= 1
            done += len((await client("SendMessageBatch", QueueUrl=url, Entries=entries))["Successful"])
        return done

    return await at_once(endpoint, work)


async def receive(endpoint: str, url: str, count: int) -> tuple[float, list[list[str]]]:
    left, handles = [count // 10], []

    async def work(client: Client) -> int:
        done = 0
        while left[0] > 0:
            left[0] -= 1
            found = (await client("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)).get("Messages", [])
            if not found:
                break
            handles.append([message["ReceiptHandle"] for message in found])
            done += len(found)
        return done

    return await at_once(endpoint, work), handles


async def delete(endpoint: str, url: str, handles: list[list[str]]) -> float:
    handles = list(handles)

    async def work(client: Client) -> int:
        done = 0
        while handles:
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles.pop())]
            done += len((await client("DeleteMessageBatch", QueueUrl=url, Entries=entries))["Successful"])
        return done

    return await at_once(endpoint, work)


async def wake(endpoint: str, url: str, count: int) -> list[float]:
    """Milliseconds from a send's request to a waiting receiver's answer, on an idle queue."""
    sender, receiver = Client(endpoint), Client(endpoint)
    taken = []
    for _ in range(count):
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(receiver("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            tasks.create_task(sender("SendMessage", QueueUrl=url, MessageBody=BODY))
            (message,) = (await waiting)["Messages"]
            taken.append((time.perf_counter() - began) * 1000)
        await sender("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return taken


async def measure(endpoint: str, count: int, pid: int | None, deep: int) -> dict[str, str]:
    client, rows = Client(endpoint), {}
    url = (await client("CreateQueue", QueueName="bench"))["QueueUrl"]
    await round_of(endpoint, url, count // 4)  # warm
    figures = await round_of(endpoint, url, count)
    for name, figure in zip(("sent in tens", "received", "deleted in tens"), figures, strict=True):
        rows[f"{name}, messages/s"] = f"{figure:,.0f}"
    taken = await wake(endpoint, url, 100)
    rows["send to a waiting receiver, ms (p50 / p99)"] = f"{running.p50(taken):.2f} / {running.p99(taken):.2f}"
    if not deep:
        return rows
    for depth in (1_000, deep):
        url = (await client("CreateQueue", QueueName=f"deep-{depth}"))["QueueUrl"]
        filled = await send(endpoint, url, depth)
        await round_of(endpoint, url, count // 4)
        figures = await round_of(endpoint, url, count)
        rows[f"with {depth:,} in the queue: sent / received / deleted, messages/s"] = " / ".join(
            f"{figure:,.0f}" for figure in figures
        )
        rows[f"  filling {depth:,}, messages/s; memory of the node afterwards, MiB"] = f"{filled:,.0f}; {rss_mib(pid)}"
    return rows


async def round_of(endpoint: str, url: str, count: int) -> tuple[float, float, float]:
    sent = await send(endpoint, url, count)
    received, handles = await receive(endpoint, url, count)
    return sent, received, await delete(endpoint, url, handles)


def rss_mib(pid: int | None) -> str:
    if pid is None:
        return "-"
    status = Path(f"/proc/{pid}/status").read_text()
    return f"{int(status.split('VmRSS:')[1].split()[0]) // 1024}"


@contextlib.asynccontextmanager
async def peer(command: str) -> AsyncIterator[str]:
    """The endpoint of a peer that is started here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = started(command.replace("{port}", str(port)), port)
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def started(command: str, port: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "GATEWAY_PORT": str(port)}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(shlex.split(command), env=environment, stdout=quiet, stderr=quiet)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100,000 messages are deep")
    parser.add_argument("--count", type=int, default=10_000, help="messages of a round")
    parser.add_argument("--peer", action="append", default=[], help="a peer's command")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    options = parser.parse_args()
    globals()["CONNECTIONS"] = options.connections
    columns = {}
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder:
        async with running.node(Path(folder) / "data") as node:
            deep = 100_000 if options.quick else 1_000_000
            columns["lambent"] = await measure(node.endpoint, options.count, node.pid, deep)
    for command in options.peer:
        async with peer(command) as endpoint:
            columns[Path(shlex.split(command)[0]).name] = await measure(endpoint, options.count // 4, None, 0)
    names = list(dict.fromkeys(name for rows in columns.values() for name in rows))
    print("| | " + " | ".join(columns) + " |\n| --- |" + " --- |" * len(columns))
    for name in names:
        print(f"| {name} | " + " | ".join(rows.get(name, "-") for rows in columns.values()) + " |")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
