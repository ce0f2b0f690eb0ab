"""Starting, stopping, being killed: what a node refuses, what it keeps, and that nothing is left behind."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

UP = [sys.executable, "-m", "lambent", "up"]
SLOW = """
import time

def handler(event, context):
    print("begun", flush=True)
    time.sleep(event)
    return "done"
"""


def up(*arguments, **environ):
    environment = {**os.environ, **environ}
    return subprocess.run([*UP, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False)


@contextlib.contextmanager
def started(*arguments):
    """A node's process and its ready line."""
    with subprocess.Popen([*UP, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline()
        finally:
            if process.poll() is None:
                process.kill()


def children_of(pid):
    """All processes below one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    below, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return below - {pid}


def gone(pids):
    """Waits until none of the processes is there any more."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if not select.select([handle], [], [], 20)[0]:
                    return False
            finally:
                os.close(handle)
    return True


def test_the_ready_line_names_what_one_needs(tmp_path):
    with started("--data-dir", str(tmp_path / "data")) as (process, line):
        assert re.search(r"http://127\.0\.0\.1:\d+", line)
        assert str(tmp_path / "data") in line
        assert re.search(r"isolation: (namespaces|process)", line)
        assert "lambent deploy" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_another_address_is_refused_without_a_login():
    done = up("--host", "0.0.0.0", "--port", "0", "--ephemeral")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 0.0.0.0 is reachable from other machines")
    assert "--insecure" in done.stderr


def test_a_port_in_use_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = up("--port", port, "--ephemeral")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{port}: " in done.stderr
    assert "--port" in done.stderr


def test_a_data_folder_in_use_is_told(own_node, tmp_path):
    with own_node("--data-dir", str(tmp_path), ephemeral=False) as node:
        done = up("--port", "0", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert str(node.pid) in done.stderr
    assert node.endpoint in done.stderr


def test_a_wrong_setting_is_wrong_usage():
    done = up("--port", "many")
    assert done.returncode == 2
    done = up(LAMBENT_PROT="1")
    assert done.returncode == 2
    assert "Did you mean port?" in done.stderr


def test_what_was_acknowledged_is_there_after_kill_9(own_node, tmp_path, zipped):
    with own_node("--data-dir", str(tmp_path), ephemeral=False) as node:
        client = node.client("lambda")
        client.create_function(
            FunctionName="kept",
            Runtime="python3.11",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": zipped(app="def handler(event, context): return event")},
        )
        client.get_waiter("function_active_v2").wait(FunctionName="kept", WaiterConfig={"Delay": 0.02})
        assert client.invoke(FunctionName="kept", Payload=b"1")["Payload"].read() == b"1"
        below = children_of(node.pid)
        os.kill(node.pid, signal.SIGKILL)
        assert gone(below)
    with own_node("--data-dir", str(tmp_path), ephemeral=False) as node:
        answer = node.client("lambda").invoke(FunctionName="kept", Payload=b'{"a": 1}')
        assert json.loads(answer["Payload"].read()) == {"a": 1}
        groups = node.client("logs").describe_log_groups()["logGroups"]
        assert [group["logGroupName"] for group in groups] == ["/aws/lambda/kept"]


def test_sigterm_lets_a_running_invocation_finish_and_leaves_nothing_behind(own_node, zipped):
    with own_node() as node:
        client = node.client("lambda")
        client.create_function(
            FunctionName="slow",
            Runtime="python3.11",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": zipped(app=SLOW)},
        )
        client.get_waiter("function_active_v2").wait(FunctionName="slow", WaiterConfig={"Delay": 0.02})
        client.invoke(FunctionName="slow", Payload=b"0")
        below = children_of(node.pid)
        assert below
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(lambda: client.invoke(FunctionName="slow", Payload=b"1")["Payload"].read())
            _until_begun(node, 2)
            os.kill(node.pid, signal.SIGTERM)
            assert running.result(30) == b'"done"'
        assert gone({node.pid})
        assert gone(below)


def _until_begun(node, times):
    """Returns when the function has said so that many times."""
    logs = node.client("logs")
    found = []
    while len(found) < times:
        found = logs.filter_log_events(logGroupName="/aws/lambda/slow", filterPattern="begun")["events"]


# A user namespace in which no other may be made: what some containers are like, and any user can have it.
NO_NAMESPACES = [
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"',
    "sh",
]


def test_where_namespaces_are_refused_a_node_on_loopback_warns_once_and_runs(tmp_path):
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return event\n")
    command = [*NO_NAMESPACES, *UP, "--port", "0", "--ephemeral"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert "isolation: process" in line
        endpoint = re.search(r"http://[\d.:]+", line)[0]
        lambent = [sys.executable, "-m", "lambent"]
        environ = {**os.environ, "LAMBENT_ENDPOINT": endpoint}
        subprocess.run([*lambent, "deploy", str(tmp_path), "--name", "f"], env=environ, check=True, capture_output=True)
        invoke = [*lambent, "invoke", "f", "--payload", '{"a": 1}']
        assert json.loads(subprocess.run(invoke, env=environ, check=True, capture_output=True).stdout) == {"a": 1}
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert said.count("warning: ") == 1
    assert "without isolation" in said


def test_where_namespaces_are_refused_nothing_less_is_taken_unless_it_was_named():
    for wanted in (["--isolation", "namespaces"], ["--host", "0.0.0.0", "--insecure"]):
        command = [*NO_NAMESPACES, *UP, "--port", "0", "--ephemeral", *wanted]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: functions cannot be isolated here")
        assert "--isolation process" in done.stderr
