"""A node of a plain user: what root's does, it does, but for what only root can."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from languages import BASH, NODEJS, PYTHON
from packages import bash, create, invoke
from tests.node.places import NOBODY, Place, below, wait_until_gone

PYTHON_RUNTIME = "python{}.{}".format(*sys.version_info)
FILES = {
    PYTHON_RUNTIME: lambda behaviour: {"index.py": PYTHON[behaviour]},
    "nodejs24.x": lambda behaviour: {"index.js": NODEJS[behaviour]},
    "provided.al2023": lambda behaviour: {"bootstrap": bash(BASH[behaviour])},
}
WHO = "import os\ndef handler(event, context): return os.getuid()"
OUT = """
import urllib.error, urllib.request

def handler(event, context):
    try:
        return urllib.request.urlopen(event).status
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
"""
USERS = [NOBODY] if os.getuid() == 0 else []  # else all nodes of these tests are a plain user's


@pytest.fixture(scope="module", params=USERS)
def place(request):
    place = Place(uid=request.param)
    yield place
    place.close()


@pytest.fixture(scope="module")
def node(place):
    with place.node("--data-dir", str(place.folder / "data"), "--egress", "proxy", ephemeral=False) as node:
        started = below(node.pid)
        yield node
    wait_until_gone(started)


@pytest.mark.parametrize("runtime", FILES)
def test_its_functions_answer_fail_and_run_out_of_time(node, runtime):
    client, made = node.client("lambda"), FILES[runtime]
    name = create(client, runtime, made("echo"))
    assert invoke(client, name, {"a": [1, "é"]}).content == {"a": [1, "é"]}
    name = create(client, runtime, made("fails"))
    assert [invoke(client, name).content, invoke(client, name, "fail").content["errorType"]] == [1, "Mistake"]
    name = create(client, runtime, made("exits"))
    assert invoke(client, name, "exit").content["errorType"] == "Runtime.ExitError"
    assert invoke(client, name).content == "fresh"
    name = create(client, runtime, made("sleeps"), Timeout=1)
    assert invoke(client, name).content["errorType"] == "Sandbox.Timedout"


def test_they_are_that_user_outside_and_lambdas_inside(node):
    client = node.client("lambda")
    name = create(client, PYTHON_RUNTIME, {"index.py": WHO})
    assert invoke(client, name).content == 993
    processes = [node.pid, *below(node.pid)]
    assert len(processes) > 3  # a launcher, the proxy, that environment
    for pid in processes:
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"\nUid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n" in status


def test_its_proxy_runs_and_refuses_this_machine(node):
    name = create(node.client("lambda"), PYTHON_RUNTIME, {"index.py": OUT})
    status, text = invoke(node.client("lambda"), name, "http://127.0.0.3:9/").content
    assert (status, "has no public address" in text) == (403, True)


def test_its_data_is_its_own(node, place):
    owners = {
        os.lstat(os.path.join(folder, name)).st_uid
        for folder, _, names in os.walk(place.folder / "data")
        for name in (".", *names)
    }
    assert owners == {NOBODY}


def test_the_doctor_says_what_it_lacks(place):
    command = [sys.executable, "-m", "lambent", "doctor"]
    said = place.run(lambda: subprocess.run(command, capture_output=True, text=True, check=True)).stdout
    assert f"uid {NOBODY}, unprivileged" in said
    assert "isolation: namespaces" in said
