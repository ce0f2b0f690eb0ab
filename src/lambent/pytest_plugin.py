"""A node as a pytest fixture.

    def test_my_function(lambent):
        greet = lambent.deploy("functions/greet", memory=256)
        assert greet.invoke({"name": "Ada"}) == {"greeting": "Hello Ada"}

The session's node keeps nothing and has a port of its own, so parallel sessions (pytest-xdist) do not meet. It is a
process of its own, started when the first test asks, and gone with the session however that ends. Nothing but pytest
is imported before that.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
_READY_WITHIN_S: Final = 30.0
_STOPPED_WITHIN_S: Final = 40.0
_SETTINGS: Final = {"memory": "MemorySize", "timeout": "Timeout", "handler": "Handler", "runtime": "Runtime"}


class FunctionFailed(Exception):
    """The function answered with an error; `document` is what it answered."""

    def __init__(self, name: str, document: Any, log: str) -> None:
        super().__init__(f"{name}: {document}\n{log}")
        self.document = document
        self.log = log


@dataclass
class LambentNode:
    """A running node. `endpoint` is what `AWS_ENDPOINT_URL` is set to for anything that should use it."""

    endpoint: str
    pid: int
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def session(self) -> Any:
        """The boto3 session of this node's clients, for botocore's event hooks, say."""
        import boto3

        return boto3.Session()

    def client(self, service: str, *, region: str = REGION, access_key: str = ACCOUNT) -> Any:
        """A boto3 client; a 12-digit access key is the account. Clients are kept, as making one takes long."""
        key = f"{service} {region} {access_key}"
        if key not in self._clients:
            from botocore.config import Config

            self._clients[key] = self.session.client(
                service,
                endpoint_url=self.endpoint,
                region_name=region,
                aws_access_key_id=access_key,
                aws_secret_access_key="lambent",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=910, max_pool_connections=50),
            )
        return self._clients[key]

    def deploy(self, folder: str | Path, *, name: str | None = None, **settings: Any) -> LambentFunction:
        """The function made from a folder, once it is Active; updated if it was there.

        `settings` are `memory`, `timeout`, `handler`, `runtime`, `env` (a dict), or CreateFunction's own members.
        """
        from lambent.practices.deploy import deploy_folder

        if "env" in settings:
            settings["Environment"] = {"Variables": settings.pop("env")}
        members = {_SETTINGS.get(key, key): value for key, value in settings.items()}
        configuration = deploy_folder(self.client, Path(folder), members, name=name)
        return LambentFunction(configuration["FunctionName"], configuration["FunctionArn"], self)

    def reset(self) -> None:
        """Everything is as at the start: no functions, logs, roles, and no environments."""
        import urllib.request

        request = urllib.request.Request(f"{self.endpoint}/_lambent/reset", method="POST")
        with urllib.request.urlopen(request, timeout=_READY_WITHIN_S):
            pass

    def advance(self, length: str | float) -> None:
        """Lets so much time pass at once: `"6h"`, `"1h30m"`, or seconds. What is due in it has happened afterwards.

        The time of day of functions and of this process stays what it is.

        Raises:
            ValueError: it is no length of time.
        """
        import urllib.error
        import urllib.request

        how = {"advance": length} if isinstance(length, str) else {"advance_s": length}
        request = urllib.request.Request(f"{self.endpoint}/_lambent/time", data=json.dumps(how).encode())
        try:
            with urllib.request.urlopen(request):  # as long as what is due takes
                pass
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise
            raise ValueError(json.load(error)["error"]) from error

    def now(self) -> float:
        """The platform's time of day, in seconds since the epoch."""
        import urllib.request

        with urllib.request.urlopen(f"{self.endpoint}/_lambent/time", timeout=_READY_WITHIN_S) as response:
            return float(json.load(response)["now_ms"]) / 1000


@dataclass(frozen=True)
class LambentFunction:
    """A deployed function."""

    name: str
    arn: str
    node: LambentNode = field(repr=False)

    def invoke(self, payload: Any = None, *, qualifier: str | None = None) -> Any:
        """What the function answers.

        Raises:
            FunctionFailed: it raised, ran out of time or memory, or could not start.
        """
        import base64

        more = {"Qualifier": qualifier} if qualifier else {}
        response = self.node.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps({} if payload is None else payload), LogType="Tail", **more
        )
        content = json.loads(response["Payload"].read() or b"null")
        if "FunctionError" in response:
            raise FunctionFailed(self.name, content, base64.b64decode(response["LogResult"]).decode())
        return content

    def logs(self) -> list[str]:
        """The function's log lines so far, in order."""
        client = self.node.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{self.name}")
        try:
            return [event["message"] for page in pages for event in page["events"]]
        except client.exceptions.ResourceNotFoundException:
            return []  # not invoked yet


@contextlib.contextmanager
def running_node(*arguments: str, ephemeral: bool = True) -> Iterator[LambentNode]:
    """A node of one's own, for as long as the block lasts. `arguments` are those of `lambent up`.

    Raises:
        RuntimeError: it did not start; with what it said.
    """
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "lambent", "up", "--port", "0", "--control-fd", str(theirs.fileno())]
    command += [*(["--ephemeral"] if ephemeral else []), *arguments]
    # The node ends when `ours` is closed, so it goes with this process, whatever ends it.
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL) as process:
        theirs.close()
        try:
            ready = _ready(ours, process)
            yield LambentNode(ready["endpoint"], process.pid)
        finally:
            ours.close()
            try:
                process.wait(_STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _ready(control: socket.socket, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The node's line about itself, which comes when it serves."""
    deadline = time.monotonic() + _READY_WITHIN_S
    received = b""
    while not received.endswith(b"\n"):
        control.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = control.recv(65536)
        if not chunk:
            raise RuntimeError(f"the node did not start (exit status {process.wait()}); its own words are on stderr")
        received += chunk
    content: dict[str, Any] = json.loads(received)
    return content


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the fixture."""
    group = parser.getgroup("lambent")
    group.addoption("--lambent-isolation", default=None, help="the walls around functions: namespaces or process")
    parser.addini("lambent_isolation", "the walls around functions: namespaces or process", default="auto")


@pytest.fixture(scope="session")
def lambent(pytestconfig: pytest.Config) -> Iterator[LambentNode]:
    """The session's node: ephemeral, on a free port, ready in well under a second."""
    isolation = pytestconfig.getoption("--lambent-isolation") or pytestconfig.getini("lambent_isolation")
    with running_node("--isolation", str(isolation)) as node:
        yield node


@pytest.fixture
def lambent_environment(lambent: LambentNode, monkeypatch: pytest.MonkeyPatch) -> LambentNode:
    """The session's node, with the AWS variables set so that code under test finds it by itself."""
    variables = {
        "AWS_ENDPOINT_URL": lambent.endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "lambent",
        "AWS_DEFAULT_REGION": REGION,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return lambent
