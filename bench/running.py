"""A Lambent node that a benchmark starts and stops, and a client of it."""

import asyncio
import contextlib
import functools
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import botocore.config
import harness

RUNTIME = f"python3.{sys.version_info.minor}"
ROLE = "arn:aws:iam::000000000000:role/bench"


@dataclass
class Node:
    """One that answers. `ready_s` is from the start of its process to its first answer."""

    pid: int
    endpoint: str
    ready_s: float
    client: harness.Client
    tree: harness.Tree
    connections: list[harness.HTTP] = field(default_factory=list)

    def create(self, name: str, code: bytes, **more: object) -> None:
        """A function that is Active when this returns."""
        api = self._api
        wanted = {"Runtime": RUNTIME, "Handler": "index.handler", "MemorySize": 1769, "Timeout": 60} | more
        api.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": code}, **wanted)
        while api.get_function_configuration(FunctionName=name)["State"] == "Pending":
            time.sleep(0.002)

    def delete(self, name: str) -> None:
        self._api.delete_function(FunctionName=name)

    @functools.cached_property
    def _api(self):
        config = botocore.config.Config(retries={"max_attempts": 1}, parameter_validation=False)
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        return boto3.client("lambda", endpoint_url=self.endpoint, config=config, **keys)

    async def invoke(self, name: str, payload: bytes = b"{}", timeout: float = 60) -> tuple[int, float, bytes]:
        """The status, the milliseconds, the headers. A connection is used again by the next."""
        connection = self.connections.pop() if self.connections else None
        request = self.client.request(self.client.invoke_path(name), payload)
        began = time.perf_counter()
        status, headers, _, connection = await self.client.send(connection, request, timeout)
        ms = (time.perf_counter() - began) * 1000
        if connection.t:
            self.connections.append(connection)
        return status, ms, headers

    async def warm(self, name: str, count: int = 500) -> list[float]:
        """The milliseconds of that many invocations, one after the other, on one connection."""
        for _ in range(10):
            await self.invoke(name)
        return [(await self.invoke(name))[1] for _ in range(count)]


@contextlib.asynccontextmanager
async def node(folder: Path, **settings: object) -> AsyncIterator[Node]:
    """A node on a free port with its data in that folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lambent = Path(sys.executable).with_name("lambent")
    command = f"{lambent} up --port {port} --data-dir {folder} --log-level error"
    environment = {f"LAMBENT_{name.upper()}": str(value) for name, value in settings.items()}
    client = harness.Client(f"http://127.0.0.1:{port}", "us-east-1")
    began = time.perf_counter()
    process = _start(command, environment)
    try:
        await _answers(client, process)
        ready_s = time.perf_counter() - began
        yield Node(process.pid, client.base, ready_s, client, harness.Tree(process.pid))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait)


def _start(command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(shlex.split(command), env={**os.environ, **environment}, stdout=subprocess.DEVNULL)


async def _answers(client: harness.Client, process: subprocess.Popen[bytes]) -> None:
    request = client.request("/2015-03-31/functions/", b"", method="GET")
    while process.poll() is None:
        with contextlib.suppress(OSError):
            await client.send(None, request, 60)
            return
        await asyncio.sleep(0.005)
    raise RuntimeError(f"the node ended with {process.returncode}")


def p50(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 3)


def p99(values: list[float]) -> float:
    return round(sorted(values)[int(len(values) * 0.99)], 3)
