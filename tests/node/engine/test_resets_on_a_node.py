"""What is left of an execution environment after a timeout, an exit, a crash, or an Init that failed.

Source: AWS Lambda Developer Guide, "Lambda execution environment lifecycle" ("Failures during the invoke phase");
recorded answers of the service (a timed-out function finds its file in /tmp again).
"""

import base64
import json
import re
import time

import pytest

CODE = """
import ctypes, os, sys, time

count = 0
time.sleep(0.2)

def handler(event, context):
    global count
    count += 1
    if event:
        with open("/tmp/kept", "a") as kept:
            kept.write(event[0])
    if event == "timeout":
        time.sleep(60)
    if event == "exit":
        os._exit(3)
    if event == "crash":
        ctypes.string_at(0)
    if event == "memory":
        hoard = [b"x" * (1 << 20) for _ in range(4096)]
    if event == "tmp":
        with open("/tmp/large", "wb") as large:
            for _ in range(200):
                large.write(bytes(1 << 20))
        os._exit(1)
    kept = open("/tmp/kept").read() if os.path.exists("/tmp/kept") else ""
    return [count, kept, context.log_stream_name]
"""


@pytest.fixture
def invoke(lambent):
    client = lambent.client("lambda")

    def call(name, event=None, **members):
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail", **members)
        tail = base64.b64decode(answer["LogResult"]).decode()
        return json.loads(answer["Payload"].read()), answer.get("FunctionError"), tail

    return call


def field(tail: str, name: str) -> float:
    found = re.search(rf"\t{name}: ([0-9.]+) ms", tail)
    assert found, tail
    return float(found[1])


@pytest.mark.parametrize("end", ["timeout", "exit", "crash", "memory"])
def test_a_function_that_ended_finds_its_tmp_again_and_nothing_else(make_function, invoke, end):
    name = make_function(CODE, Timeout=1, MemorySize=256)
    (count, kept, stream), _error, tail = invoke(name)
    assert (count, kept) == (1, "")
    assert "Init Duration" in tail
    assert invoke(name, end)[1] == "Unhandled"
    (count, kept, other), error, tail = invoke(name)
    assert error is None
    assert (count, kept) == (1, end[0])  # its globals are new, its /tmp is not
    assert other == stream
    assert "INIT_START" not in tail
    assert "Init Duration" not in tail  # Init is a part of the invocation: "suppressed"
    assert field(tail, "Duration") > 200
    (count, kept, other), _error, tail = invoke(name, "x")
    assert (count, kept, other) == (2, end[0] + "x", stream)
    assert field(tail, "Duration") < 200


def test_too_much_memory_is_told_apart(make_function, invoke):
    name = make_function(CODE, Timeout=10, MemorySize=256)
    document, error, tail = invoke(name, "memory")
    assert error == "Unhandled"
    assert document["errorType"] == "Runtime.ExitError"  # AWS's document does not say why, its REPORT does
    assert document["errorMessage"].endswith(" Error: Runtime exited with error: signal: killed")
    assert "Status: error\tError Type: Runtime.OutOfMemory" in tail
    assert "\tMax Memory Used: 256 MB\t" in tail


def test_it_can_end_again_and_again(make_function, invoke):
    name = make_function(CODE, Timeout=3)
    for _turn in range(4):
        assert invoke(name, "exit")[1] == "Unhandled"
    assert invoke(name)[0][1] == "eeee"


def test_a_full_tmp_stays_full_and_belongs_to_one_environment(make_function, invoke):
    name = make_function(CODE, Timeout=5)
    assert invoke(name, "tmp")[1] == "Unhandled"
    assert invoke(name, "tmp")[1] == "Unhandled"  # the same file, written again by the same user
    assert invoke(name)[0][1] == "tt"
    another = make_function(CODE, Timeout=5)
    assert invoke(another)[0][1] == ""


def test_an_environment_that_was_reset_goes_when_its_function_changes(make_function, invoke, lambent):
    name = make_function(CODE, Timeout=3)
    assert invoke(name, "exit")[1] == "Unhandled"
    client = lambent.client("lambda")
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"AB": "b"}})
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})
    (count, kept, _stream), _error, tail = invoke(name)
    assert (count, kept) == (1, "")
    assert "Init Duration" in tail


def test_the_second_init_within_the_invocation_finds_the_tmp_of_the_first(make_function, invoke):
    """Init that ends badly is done again inside the invocation, in the same environment."""
    name = make_function(
        """
import os
tries = os.path.exists("/tmp/tried")
open("/tmp/tried", "a").close()
if not tries:
    os._exit(4)
def handler(event, context):
    return [tries, os.listdir("/tmp")]
""",
        Timeout=5,
    )
    answer, error, tail = invoke(name)
    assert (answer, error) == ([True, ["tried"]], None)
    assert "Init Duration" not in tail


def test_a_timeout_is_answered_before_the_environment_is_made_anew(make_function, invoke):
    name = make_function(CODE, Timeout=1)
    invoke(name)
    began = time.monotonic()
    invoke(name, "timeout")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("end", ["timeout", "exit"])
def test_a_provisioned_environment_keeps_its_tmp_too(make_function, invoke, lambent, end):
    """Another takes its place, initialised before anybody asks, as a provisioned one."""
    client = lambent.client("lambda")
    name = make_function(CODE, Timeout=1, MemorySize=256)
    version = client.publish_version(FunctionName=name)["Version"]
    which = {"FunctionName": name, "Qualifier": version}
    client.put_provisioned_concurrency_config(**which, ProvisionedConcurrentExecutions=1)
    _until_available(client, which)
    (count, kept, stream), _error, _tail = invoke(name, Qualifier=version)
    assert (count, kept) == (1, "")
    assert invoke(name, end, Qualifier=version)[1] == "Unhandled"
    _until_available(client, which)
    (count, kept, other), error, tail = invoke(name, Qualifier=version)
    assert (count, kept, other, error) == (1, end[0], stream, None)
    assert "Init Duration" not in tail
    assert field(tail, "Duration") < 200  # its Init, which takes 200 ms, is over


def _until_available(client, which):
    limit = time.monotonic() + 30
    while client.get_provisioned_concurrency_config(**which).get("AvailableProvisionedConcurrentExecutions") != 1:
        assert time.monotonic() < limit
