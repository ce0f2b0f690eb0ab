"""Environments end in every way, and nothing of them is left: process, mount, namespace, cgroup, file, descriptor."""

import contextlib
import json
import os
import re
import select
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lambent.engine.sandbox import cgroups

CODE = """
import ctypes, os, time

def handler(event, context):
    open(f"/tmp/{event}", "a").close()
    if event == "timeout":
        time.sleep(60)
    if event == "exit":
        os._exit(3)
    if event == "crash":
        ctypes.string_at(0)
    if event == "memory":
        hoard = [b"x" * (1 << 20) for _ in range(4096)]
    if event == "disk":
        open("/tmp/large", "ab").write(bytes(20 << 20))
        os._exit(1)
    if event == "children" and os.fork() == 0:
        os.setsid()
        time.sleep(60)
    time.sleep(0.3)
"""
# An extension of its own, to which the platform makes a connection inside; it is in the Shutdown phase when it ends.
LIBRARY = """
import http.client, json, os, socket, threading

def ask(method, path, body=None, **headers):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = api.getresponse()
    return answer.headers, answer.read()

taker = socket.create_server(("127.0.0.1", 4243))
headers, _ = ask("POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}', Lambda_Extension_Name="library")
me = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
ask("PUT", "/2022-07-01/telemetry", json.dumps({"schemaVersion": "2022-12-13", "types": ["platform"],
    "buffering": {"timeoutMs": 25}, "destination": {"protocol": "TCP", "port": 4243}}), **me)

def follow():
    while True:
        ask("GET", "/2020-01-01/extension/event/next", **me)

threading.Thread(target=follow, daemon=True).start()

def handler(event, context):
    assert taker.accept()[0].recv(1)
"""
OTHERS = {
    "never": ("import os; os._exit(4)", {}, "Unhandled"),  # its Init fails, and is tried again
    "library": (LIBRARY, {}, None),
    "http": (
        "def handler(*_): pass",
        {"Environment": {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/usr/bin/env"}}},
        None,
    ),
}
WAYS = ("answer", "timeout", "exit", "crash", "memory", "disk", "children")
_AT_REST_WITHIN_S = 30.0


@pytest.mark.timeout(120)
def test_sixty_environments_leave_nothing(own_node, tmp_path, zipped, monkeypatch):
    _end_in_every_way(own_node, tmp_path / "data", zipped, monkeypatch, rounds=4)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_thousand_environments_leave_nothing(own_node, tmp_path, zipped, monkeypatch):
    _end_in_every_way(own_node, tmp_path / "data", zipped, monkeypatch, rounds=60)


_LAUNCHERS_SOCKETS = ("launcher", "socket:")
_FEW = 4


def _end_in_every_way(own_node, data_dir, zipped, monkeypatch, rounds):
    """Each round starts an environment for each way, one in the place of each that was reset, and the others: 17."""
    monkeypatch.setenv("LAMBENT_PARKED_ENVIRONMENTS", "0")  # how many wait depends on the last minute's speed
    mounts = _mounts()
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        for _ in range(2):  # what is kept for later grows with the first
            _round(node, zipped)
        before = _at_rest(node.pid, data_dir)
        for _ in range(rounds):
            _round(node, zipped)
        after = _at_rest(node.pid, data_dir, like=before)
        assert _is_like(after, before), (after, before)
        processes = _tree(node.pid)
        groups = {cgroups.launcher_folder(pid) for pid in processes if _parent(pid) == node.pid}
        with ThreadPoolExecutor(4) as threads:  # and some are at work when the platform is killed
            _create(node, zipped)
            for way in ("timeout", "exit", "answer"):
                threads.submit(_invoke, node, way)
            threading.Event().wait(0.2)
            processes |= _tree(node.pid)
            os.kill(node.pid, signal.SIGKILL)
    for pid in processes:
        _wait_until_gone(pid)
    assert not groups & {Path(folder).name for folder in cgroups.launcher_folders()}
    assert _mounts() == mounts
    with own_node("--data-dir", str(data_dir), ephemeral=False):
        pass
    assert not list(data_dir.rglob("launcher-*"))


def _create(node, zipped, name="ends", source=CODE, **members):
    client = node.client("lambda")
    client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/r",
        Code={"ZipFile": zipped(app=source)},
        MemorySize=256,
        **{"Timeout": 1, **members},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})


def _invoke(node, way, name="ends"):
    with contextlib.suppress(Exception):  # the platform may have been killed
        return node.client("lambda").invoke(FunctionName=name, Payload=json.dumps(way)).get("FunctionError")


def _round(node, zipped):
    _create(node, zipped)
    with ThreadPoolExecutor(len(WAYS)) as threads:
        errors = dict(zip(WAYS, threads.map(lambda way: _invoke(node, way), WAYS), strict=True))
    assert errors == {way: None if way in ("answer", "children") else "Unhandled" for way in WAYS}
    node.client("lambda").delete_function(FunctionName="ends")
    for name, (source, members, error) in OTHERS.items():
        _create(node, zipped, name, source, Timeout=10, **members)
        assert _invoke(node, None, name) == error, name
        node.client("lambda").delete_function(FunctionName=name)


def _at_rest(pid, data_dir, like=None):
    """What there is once nothing changes any more, or once it is as it was."""
    limit = time.monotonic() + _AT_REST_WITHIN_S
    last, same = None, 0
    while time.monotonic() < limit:
        now = _remains(pid, data_dir)
        same = same + 1 if now == last else 0
        if same == 20 if like is None else _is_like(now, like):
            return now
        last = now
        threading.Event().wait(0.1)
    return last


def _is_like(now, before):
    """The same, but for a few of the launcher's sockets: it makes networks ahead, and counts differ by one or so. What
    an environment left would be there once for each of them.
    """
    sockets = now[_LAUNCHERS_SOCKETS] - before[_LAUNCHERS_SOCKETS]
    return abs(sockets) <= _FEW and now | {_LAUNCHERS_SOCKETS: 0} == before | {_LAUNCHERS_SOCKETS: 0}


def _remains(pid, data_dir):
    """Of a node: what it and its launchers hold."""
    found = Counter()
    for process in _tree(pid):
        with contextlib.suppress(OSError):
            is_launcher = _parent(process) == pid
            kind = "node" if process == pid else "launcher" if is_launcher else "environment"
            found[kind, "processes"] += 1
            if kind == "environment":
                continue
            for fd in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    found[kind, _kind_of(os.readlink(f"/proc/{process}/fd/{fd}"))] += 1
            if is_launcher:
                found[kind, "mounts"] += len(Path(f"/proc/{process}/mountinfo").read_text().splitlines())
                folder = cgroups.launcher_folder(process)
                for path in cgroups.launcher_folders():
                    if Path(path).name == folder:
                        found[kind, "cgroups"] += len(next(os.walk(path))[1])
    # Networks are used again: how many there are depends on how many environments there were at once. Each has the
    # listener of the proxy.
    found["launcher", "socket:"] -= found["launcher", "net:"]
    found["launcher", "net:"] = found["launcher", "net:"] > 64 + 2 * len(WAYS)
    # SQLite keeps its connections, one for each thread that has read.
    return {key: count for key, count in found.items() if key != ("node", "file")}


def _kind_of(target):
    if "cgroup" in target:
        return "cgroup"
    if re.search(r"\.db|\.lock|\.log", target):
        return "file"
    return re.sub(r"\d+|\[.*", "", target)


def _tree(pid):
    found = {pid}
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found |= _tree(int(child))
    return found


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _mounts():
    return {
        line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines() if "launcher-" in line
    }


def _wait_until_gone(pid):
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], 20)[0], f"process {pid} lives on"
    finally:
        os.close(fd)
