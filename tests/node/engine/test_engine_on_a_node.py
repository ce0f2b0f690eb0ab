"""Execution environments behind their walls, through the API."""

import base64
import importlib.util
import io
import json
import re
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

STREAM = re.compile(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}")


@pytest.fixture
def invoke(lambent):
    client = lambent.client("lambda")

    def call(name, event=None, **members):
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail", **members)
        tail = base64.b64decode(answer["LogResult"]).decode()
        return json.loads(answer["Payload"].read()), answer.get("FunctionError"), tail

    return call


def test_globals_and_tmp_live_as_long_as_the_environment(make_function, invoke):
    name = make_function(
        """
count = 0
def handler(event, context):
    global count
    count += 1
    with open("/tmp/kept", "a") as kept:
        kept.write("x")
    return [count, open("/tmp/kept").read(), context.log_stream_name]
"""
    )
    first, second = invoke(name), invoke(name)
    assert [first[0][:2], second[0][:2]] == [[1, "x"], [2, "xx"]]
    assert first[0][2] == second[0][2]
    assert STREAM.fullmatch(first[0][2])
    assert "Init Duration" in first[2]
    assert "Init Duration" not in second[2]


def test_background_threads_stand_still_between_invocations(make_function, invoke):
    name = make_function(
        """
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    if event:
        time.sleep(event)
    return [ticks, time.time()]
""",
        MemorySize=1769,
    )
    before = invoke(name, 0.2)[0]
    invoke(make_function("import time\ndef handler(e, c): time.sleep(1)"))
    after = invoke(name)[0]
    assert after[1] - before[1] > 1
    assert after[0] - before[0] < 200  # a thousand, had it run


def test_a_timeout_ends_the_environment(make_function, invoke):
    name = make_function(
        """
import time
count = 0
def handler(event, context):
    global count
    count += 1
    if event == "sleep":
        time.sleep(60)
    return count
""",
        Timeout=1,
    )
    assert invoke(name)[0] == 1
    document, error, tail = invoke(name, "sleep")
    assert error == "Unhandled"
    assert document["errorType"] == "Sandbox.Timedout"
    assert re.fullmatch(r"RequestId: [0-9a-f-]{36} Error: Task timed out after 1\.00 seconds", document["errorMessage"])
    assert "Status: timeout" in tail
    assert invoke(name)[0] == 1


@pytest.mark.parametrize(
    ("source", "reason", "kind"),
    [
        ("import sys\ndef handler(e, c): sys.exit(3)", "Runtime exited with error: exit status 3", "ExitError"),
        ("import os\ndef handler(e, c): os._exit(0)", "Runtime exited without providing a reason", "ExitError"),
    ],
)
def test_a_process_that_ends_is_told_apart(make_function, invoke, source, reason, kind):
    document, error, tail = invoke(make_function(source))
    assert error == "Unhandled"
    assert document["errorType"] == "Runtime.ExitError"
    assert document["errorMessage"].endswith(f" Error: {reason}")
    assert f"Status: error\tError Type: Runtime.{kind}" in tail


def test_an_import_error_is_what_aws_says(make_function, invoke):
    document, error, tail = invoke(make_function("import nothing_of_this_name"))
    assert error == "Unhandled"
    assert document == {
        "errorMessage": "Unable to import module 'app': No module named 'nothing_of_this_name'",
        "errorType": "Runtime.ImportModuleError",
        "requestId": "",
        "stackTrace": [],
    }
    assert "[ERROR] Runtime.ImportModuleError: Unable to import module 'app'" in tail


def test_many_at_once_run_side_by_side(make_function, lambent):
    name = make_function("import time\ndef handler(e, c):\n    time.sleep(0.5)\n    return c.log_stream_name")
    client = lambent.client("lambda")
    with ThreadPoolExecutor(8) as threads:
        streams = list(threads.map(lambda _n: client.invoke(FunctionName=name)["Payload"].read(), range(8)))
    assert len(set(streams)) == 8


def test_the_platform_answers_inside_with_the_roles_credentials(make_function, invoke):
    name = make_function(
        """
import boto3, os
def handler(event, context):
    return [boto3.client("sts").get_caller_identity()["Arn"], os.environ["AWS_ENDPOINT_URL"]]
""",
        Timeout=30,
        MemorySize=1769,
        Role="arn:aws:iam::000000000000:role/my-role",
    )
    (arn, endpoint), _error, _tail = invoke(name)
    assert arn == f"arn:aws:sts::000000000000:assumed-role/my-role/{name}"
    assert endpoint.startswith("http://127.0.0.1:")


def package_with_the_runtime_client():
    """A function that brings AWS's own Python runtime client, and a wrapper that starts it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        source = (
            "import sys\n"
            "def handler(event, context):\n"
            "    print('printed')\n"
            "    return [event, type(context).__module__, 'awslambdaric' in sys.modules]\n"
        )
        archive.writestr("app.py", source)
        script = zipfile.ZipInfo("wrapper.sh")
        script.external_attr = 0o755 << 16
        archive.writestr(script, '#!/bin/sh\nexec "$1" -m awslambdaric "$_HANDLER"\n')
        for name in ("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client"):
            spec = importlib.util.find_spec(name)
            assert spec is not None, name
            path = Path(spec.origin)
            if path.name == "__init__.py":
                for file in path.parent.rglob("*"):
                    if file.suffix in (".py", ".so"):
                        archive.write(file, file.relative_to(path.parent.parent))
            else:
                archive.write(path, path.name)
    return content.getvalue()


def test_a_wrapper_can_make_awss_own_client_the_runtime(lambent, invoke):
    client = lambent.client("lambda")
    client.create_function(
        FunctionName="brings-its-runtime",
        Runtime=f"python3.{sys.version_info.minor}",
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/r",
        Timeout=30,
        MemorySize=1769,
        Code={"ZipFile": package_with_the_runtime_client()},
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper.sh"}},
    )
    client.get_waiter("function_active_v2").wait(
        FunctionName="brings-its-runtime", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
    )
    answer, error, tail = invoke("brings-its-runtime", {"a": 1})
    assert (error, answer) == (None, [{"a": 1}, "awslambdaric.lambda_context", True])
    assert "printed\n" in tail
    assert invoke("brings-its-runtime", 2)[0][0] == 2
    client.delete_function(FunctionName="brings-its-runtime")


def test_a_wrapper_that_is_missing_is_exit_status_127(make_function, invoke):
    name = make_function(
        "def handler(e, c): return 1", Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/missing"}}
    )
    document, _error, _tail = invoke(name)
    assert document["errorMessage"].endswith("Runtime exited with error: exit status 127")


def test_an_event_runs_once_and_its_log_says_so(make_function, lambent):
    name = make_function("def handler(event, context): print('ran', event)")
    answer = lambent.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b'"this one"')
    assert answer["StatusCode"] == 202
    logs = lambent.client("logs")
    deadline = time.monotonic() + 20
    found = []
    while not found and time.monotonic() < deadline:
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="REPORT")["events"]
        except logs.exceptions.ResourceNotFoundException:
            continue
    messages = [e["message"] for e in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]
    assert messages.count("ran this one\n") == 1
