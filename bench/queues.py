#!/usr/bin/env python3
"""Measures queues: durable sends in tens, receives, deletes, with a thousand messages and with a million; a queue that
feeds a function; and peers. `make bench` prints the same after its own table.

    .venv/bin/python bench/queues.py                    # ten minutes
    .venv/bin/python bench/queues.py --quick            # 100,000 messages instead of a million
    .venv/bin/python bench/queues.py --peer ''          # without MiniStack and moto

MiniStack is measured where it is on PATH, moto's server where it can be installed (`.venv/moto`, from PyPI). Neither
keeps messages on disk, and moto runs functions in Docker only. Requests are raw HTTP in the json protocol, without a
signature that anybody could verify; bodies have 100 bytes. What is deep is measured by sends, receives and deletes in
a queue that has so many messages already, in turns with one that has a thousand.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import harness
import running
import triggers
from rows import QUEUE_ROWS, table

BODY = "x" * 100
ROUNDS = 4
MOTO = "moto[server]==5.2.5"
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


class Server(NamedTuple):
    """What is measured, over so many connections: moto's cannot be asked twice at once."""

    endpoint: str
    connections: int = 8


async def at_once(server: Server, work: Callable[[Client], Awaitable[int]]) -> float:
    """Units per second of work that each connection does until it has none."""
    began = time.perf_counter()
    done = await asyncio.gather(*(work(Client(server.endpoint)) for _ in range(server.connections)))
    return sum(done) / (time.perf_counter() - began)


async def send(server: Server, url: str, count: int) -> float:
    left = [count // 10]
    entries = [{"Id": str(number), "MessageBody": BODY} for number in range(10)]

    async def work(client: Client) -> int:
        done = 0
        while left[0] > 0:
            left[0] -= 1
            done += len((await client("SendMessageBatch", QueueUrl=url, Entries=entries))["Successful"])
        return done

    return await at_once(server, work)


async def receive(server: Server, url: str, count: int) -> tuple[float, list[list[str]]]:
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

    return await at_once(server, work), handles


async def delete(server: Server, url: str, handles: list[list[str]]) -> float:
    handles = list(handles)

    async def work(client: Client) -> int:
        done = 0
        while handles:
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles.pop())]
            done += len((await client("DeleteMessageBatch", QueueUrl=url, Entries=entries))["Successful"])
        return done

    return await at_once(server, work)


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


async def measure(server: Server, count: int) -> dict:
    """Figures by name: messages per second, and milliseconds from a send to a waiting receiver."""
    client = Client(server.endpoint)
    url = (await client("CreateQueue", QueueName="bench"))["QueueUrl"]
    await round_of(server, url, count // 4)  # warm
    names = ("sent_per_s", "received_per_s", "deleted_per_s")
    found = dict(zip(names, map(round, await round_of(server, url, count)), strict=True))
    return found | {"wake": harness.summary(await wake(server.endpoint, url, 100))}


async def measure_deep(node: running.Node, count: int, deep: int) -> dict:
    """What a queue with so many messages costs beside one with a thousand: `shallow`, `deep`, and how much slower."""
    server = Server(node.endpoint)
    client, urls, found = Client(server.endpoint), {}, {}
    for name, depth in (("shallow", 1_000), ("deep", deep)):
        urls[name] = (await client("CreateQueue", QueueName=name))["QueueUrl"]
        before = node.tree.memory()["rss_mib"]
        await send(server, urls[name], depth)
        found[f"{name}_mib"] = round(node.tree.memory()["rss_mib"] - before, 1)
        await round_of(server, urls[name], count // 4)
    cpu: dict[str, list[float]] = {name: [0.0, 0.0, 0.0] for name in urls}
    per_s: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(ROUNDS):  # in turns, as machines have moods
        for name, url in urls.items():
            spent, figures = await metered_round(node, url, count)
            cpu[name] = [one + other for one, other in zip(cpu[name], spent, strict=True)]
            per_s[name] += figures
    for at, what in enumerate(("sent", "received", "deleted")):
        for name in urls:
            found[f"{name}_{what}_us"] = round(cpu[name][at] / (ROUNDS * count) * 1e6, 1)
            found[f"{name}_{what}_per_s"] = round(statistics.median(per_s[name][at::3]))
        found[f"{what}_ratio"] = round(found[f"deep_{what}_us"] / found[f"shallow_{what}_us"], 2)
    return found


async def metered_round(node: running.Node, url: str, count: int) -> tuple[list[float], list[float]]:
    """The seconds of the node's processors, and the messages per second, of sends, receives and deletes."""
    server, marks = Server(node.endpoint), [node.tree.cpu()]
    sent = await send(server, url, count)
    marks.append(node.tree.cpu())
    received, handles = await receive(server, url, count)
    marks.append(node.tree.cpu())
    deleted = await delete(server, url, handles)
    marks.append(node.tree.cpu())
    return [after - before for before, after in itertools.pairwise(marks)], [sent, received, deleted]


async def round_of(server: Server, url: str, count: int) -> tuple[float, float, float]:
    sent = await send(server, url, count)
    received, handles = await receive(server, url, count)
    return sent, received, await delete(server, url, handles)


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


def moto() -> str | None:
    """The command of moto's server, in a virtual environment of its own; None where it cannot be installed."""
    folder = Path(sys.executable).parent.parent / "moto"
    server = folder / "bin/moto_server"
    if not server.exists():
        print(f"installing {MOTO} into {folder}", file=sys.stderr)
        pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MOTO]
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run(pip, check=True)
        except subprocess.CalledProcessError as error:
            print(f"no moto measured: it could not be installed ({error})", file=sys.stderr)
            return None
    return f"{server} -p {{port}}"


async def results(peer_command: str, *, quick: bool, count: int = 10_000) -> dict[str, dict]:
    """The figures of Lambent and of its peers, in the shape of the harness's results."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder:
        async with running.node(Path(folder) / "data", concurrent_executions=10_000) as node:
            print("== queues", file=sys.stderr)
            mine = await measure(Server(node.endpoint), count)
            mine |= await asyncio.to_thread(triggers.figures, node.endpoint)
            mine |= await measure_deep(node, count // 2, 100_000 if quick else 1_000_000)
            found["lambent"] = {"scenarios": {"queues": mine}}
    commands = {}
    if peer_command and shutil.which(peer_command.split()[0]):
        commands[Path(peer_command.split()[0]).name] = peer_command
    elif peer_command:
        print(f"no peer measured: {peer_command} is not installed", file=sys.stderr)
    if peer_command and (command := moto()):
        commands["moto"] = command
    for name, command in commands.items():
        async with peer(command) as endpoint:
            print(f"== queues of {name}", file=sys.stderr)
            theirs = await measure(Server(endpoint, 1 if name == "moto" else 8), count // 5)
            if name != "moto":
                theirs |= await asyncio.to_thread(triggers.figures, endpoint)
            found[name] = {"scenarios": {"queues": theirs}}
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100,000 messages are deep")
    parser.add_argument("--count", type=int, default=10_000, help="messages of a round")
    parser.add_argument("--peer", default="ministack", help="a peer's command, started with GATEWAY_PORT set")
    options = parser.parse_args()
    found = await results(options.peer, quick=options.quick, count=options.count)
    print(table(found, [name for name in found if name != "lambent"], QUEUE_ROWS))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
