"""At level `process` variables name the host's own places, and for a /tmp a folder that the environment alone has."""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.node.places import below, wait_until_gone

CODE = """
import os, tempfile

def handler(event, context):
    kept = os.path.join(tempfile.gettempdir(), "kept")
    if event:
        open(kept, "w").write(event)
    if event == "exit":
        os._exit(3)
    return [os.environ["TMPDIR"], oct(os.stat(tempfile.gettempdir()).st_mode & 0o777), os.path.exists(kept)]
"""


@pytest.fixture
def deploy(zipped):
    def deploy(node, name, code=CODE, **members):
        client = node.client("lambda")
        role = "arn:aws:iam::000000000000:role/r"
        members = {"Runtime": "python3.11", "Handler": "app.handler", "Role": role} | members
        client.create_function(FunctionName=name, Code={"ZipFile": zipped(app=code)}, **members)
        waiter, soon = client.get_waiter("function_active_v2"), {"Delay": 0.02, "MaxAttempts": 500}
        waiter.wait(FunctionName=name, WaiterConfig=soon)

        def call(event=None):
            return json.loads(client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())

        return call

    return deploy


def test_it_is_kept_at_a_reset_and_goes_with_its_environment(own_node, deploy):
    with own_node("--isolation", "process") as node:
        mine, theirs = deploy(node, "mine"), deploy(node, "theirs")
        folder, mode, kept = mine()
        assert (mode, kept) == ("0o700", False)
        assert mine("exit")["errorType"] == "Runtime.ExitError"
        assert mine() == [folder, "0o700", True]
        assert theirs()[0] != folder
        assert theirs()[2] is False
        node.client("lambda").delete_function(FunctionName="mine")
        while os.path.exists(folder):
            pass
        other = theirs()[0]
    assert not os.path.exists(other)


WHERE = """
import os, socket

def handler(event, context):
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    return [host, os.path.realpath(os.environ["LAMBDA_TASK_ROOT"]) == os.path.realpath(os.path.dirname(__file__))]
"""


def test_the_runtime_api_and_the_code_are_where_the_variables_say(own_node, deploy):
    with own_node("--isolation", "process") as node:
        assert deploy(node, "mine", WHERE)() == ["127.0.0.1", True]


def test_a_function_may_name_another(own_node, deploy, tmp_path):
    with own_node("--isolation", "process") as node:
        call = deploy(node, "mine", Environment={"Variables": {"TMPDIR": str(tmp_path)}})
        assert call()[0] == str(tmp_path)
        assert call("word")[2] is True
    assert (tmp_path / "kept").read_text() == "word"


def test_that_of_a_killed_node_is_gone_after_the_next_start(own_node, deploy, tmp_path):
    arguments = ("--isolation", "process", "--data-dir", str(tmp_path / "data"))
    with own_node(*arguments, ephemeral=False) as node:
        folder = Path(deploy(node, "mine")("word")[0])
        assert (folder / "kept").read_text() == "word"
        started = below(node.pid)
        for pid in (node.pid, *started):
            os.kill(pid, signal.SIGKILL)
    wait_until_gone(started)
    assert folder.exists()
    with own_node(*arguments, ephemeral=False):
        assert not folder.parent.exists()
