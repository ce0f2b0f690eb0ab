"""SnapStart on a node: versions whose environments are restored.

Source: AWS Lambda Developer Guide, "Improving startup performance with Lambda SnapStart" (activating, hooks,
uniqueness, monitoring).
"""

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

_LIMIT_S = 60.0
CODE = """
import os, random, socket, ssl, secrets, threading, time, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot

TOKEN = uuid.uuid4().hex
TYPE = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
said = []
random.random(), ssl.RAND_bytes(1)
with open("/tmp/kept", "w") as kept:
    kept.write("kept")
source = open("/var/task/app.py")
source.read(10)
if os.environ.get("MODE") == "connection":
    server = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(server.getsockname())
if os.environ.get("MODE") == "thread":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
if os.environ.get("MODE") == "init":
    raise ValueError("no init")

def note(word, *more, **named):
    said.append([word, list(more), named])
    if os.environ.get("MODE") == word:
        raise ValueError("no " + word)

register_before_snapshot(note, "before", 1)
register_before_snapshot(note, "first", key="value")
register_after_restore(note, "after")
register_after_restore(note, "last")

if os.environ.get("MODE") == "slow":
    register_after_restore(time.sleep, 60)

def handler(event, context):
    if event == "hold":
        time.sleep(0.3)
    answer = {"token": TOKEN, "said": said, "type": TYPE, "now": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
    answer["stream"] = context.log_stream_name == os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] and context.log_stream_name
    answer["random"] = [random.random(), secrets.token_hex(8), uuid.uuid4().hex, ssl.RAND_bytes(8).hex()]
    answer["tmp"] = open("/tmp/kept").read()
    answer["position"] = source.tell()
    answer["key"] = os.environ["AWS_SESSION_TOKEN"]
    if os.environ.get("MODE") == "connection":
        try:
            connection.sendall(b"x" * 10)
            answer["connection"] = connection.recv(1).decode()
        except OSError as error:
            answer["connection"] = type(error).__name__
    return answer
"""
SNAP = {"Runtime": "python3.12", "SnapStart": {"ApplyOn": "PublishedVersions"}}


@pytest.fixture
def published(make_function, lambent):
    """Publishes version 1 and waits until it is decided what becomes of it; the name, and the states it was seen in."""

    def publish(**settings):
        name = make_function(CODE, Timeout=10, MemorySize=256, **{**SNAP, **settings})
        client = lambent.client("lambda")
        seen = [client.publish_version(FunctionName=name)]
        deadline = time.monotonic() + _LIMIT_S
        while seen[-1]["State"] == "Pending":
            assert time.monotonic() < deadline
            seen.append(client.get_function_configuration(FunctionName=name, Qualifier="1"))
        return name, seen

    return publish


@pytest.fixture
def invoke(lambent):
    client = lambent.client("lambda")

    def call(name, event=None, qualifier="1"):
        answer = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event), LogType="Tail")
        return json.loads(answer["Payload"].read()), base64.b64decode(answer["LogResult"]).decode()

    return call


def mode(name):
    return {"Environment": {"Variables": {"MODE": name}}}


def lines(lambent, name):
    found = lambent.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")
    return [event["message"].split("\t")[0].rstrip() for event in found["events"]]


def test_a_version_is_pending_while_its_snapshot_is_taken(published):
    _name, seen = published()
    assert (seen[0]["State"], seen[0]["SnapStart"]["OptimizationStatus"]) == ("Pending", "Off")
    assert (seen[-1]["State"], seen[-1]["SnapStart"]["OptimizationStatus"]) == ("Active", "On")


def test_environments_of_a_version_are_restored(published, invoke, lambent):
    name, _seen = published()
    answer, tail = invoke(name)
    assert (answer["type"], answer["now"]) == ("snap-start", "snap-start")
    assert (answer["tmp"], answer["position"]) == ("kept", 10)
    assert answer["stream"]
    assert re.search(r"\tRestore Duration: [0-9.]+ ms\tBilled Restore Duration: [0-9]+ ms\t\n$", tail)
    assert "Init Duration" not in tail
    said = "\n".join(lines(lambent, name))
    assert re.search(r"INIT_START.*\nINIT_REPORT Init Duration: [0-9.]+ ms\nRESTORE_START.*\nRESTORE_REPORT", said)


def test_hooks_run_in_their_order_once_each(published, invoke):
    name, _seen = published()
    answer, _tail = invoke(name)
    before = [["first", [], {"key": "value"}], ["before", [1], {}]]
    assert answer["said"] == [*before, ["after", [], {}], ["last", [], {}]]


def test_randomness_differs_after_every_restore_and_what_init_drew_does_not(published, invoke):
    name, _seen = published()
    found = {}
    with ThreadPoolExecutor(6) as callers:
        while len(found) < 3:
            for answer, _tail in callers.map(lambda _: invoke(name, "hold"), range(6)):
                found.setdefault(answer["stream"], answer)
    assert len({answer["token"] for answer in found.values()}) == 1
    for kind in zip(*(answer["random"] for answer in found.values()), strict=True):
        assert len(set(kind)) == len(found)


def test_connections_of_init_are_dead_after_a_restore(published, invoke):
    name, _seen = published(**mode("connection"))
    answer, _tail = invoke(name)
    assert answer["connection"] in ("BrokenPipeError", "ConnectionResetError")


def test_a_process_that_cannot_be_copied_is_initialised_anew(published, invoke, decided):
    """Its hooks run all the same."""
    name, seen = published(**mode("thread"))
    assert seen[-1]["State"] == "Active"
    assert decided(name)["reason"] == "it has threads"
    answer, tail = invoke(name)
    assert [word for word, *_ in answer["said"]] == ["first", "before", "after", "last"]
    assert "Restore Duration" not in tail


@pytest.mark.parametrize("failing", ["init", "before"])
def test_a_version_that_cannot_be_initialised_is_failed(published, lambent, failing):
    name, seen = published(**mode(failing))
    assert (seen[-1]["State"], seen[-1]["StateReasonCode"]) == ("Failed", "FunctionError.RuntimeInitError")
    with pytest.raises(ClientError, match="ResourceConflictException"):
        lambent.client("lambda").invoke(FunctionName=name, Qualifier="1")


def test_a_failing_hook_after_a_restore_fails_the_invocation(published, lambent):
    name, seen = published(**mode("after"))
    assert seen[-1]["State"] == "Active"
    with pytest.raises(ClientError) as raised:
        lambent.client("lambda").invoke(FunctionName=name, Qualifier="1")
    assert raised.value.response["Error"]["Code"] == "SnapStartException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="SnapStartException"):
        lambent.client("lambda").invoke_with_response_stream(FunctionName=name, Qualifier="1")


@pytest.mark.long
def test_a_restore_takes_at_most_ten_seconds(published, lambent):
    name, seen = published(**mode("slow"))
    assert seen[-1]["State"] == "Active"
    for invoke in (lambent.client("lambda").invoke, lambent.client("lambda").invoke_with_response_stream):
        with pytest.raises(ClientError, match="SnapStartTimeoutException") as raised:
            invoke(FunctionName=name, Qualifier="1")
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 408


def test_the_latest_version_has_no_snapshot(published, invoke):
    name, _seen = published()
    answer, tail = invoke(name, qualifier="$LATEST")
    assert answer["type"] == "on-demand"
    assert answer["said"] == []
    assert "Init Duration" in tail


@pytest.fixture
def moving(lambent):
    """The session's node; afterwards its time is the machine's again."""
    yield lambent
    lambent.reset()


# Its Init says that it has begun, and ends when it is told so, by queues of SQS.
WAITS = """
import json, os, urllib.request, uuid

def ask(operation, queue, **members):
    url = os.environ["AWS_ENDPOINT_URL"]
    body = json.dumps({"QueueUrl": url + "/000000000000/" + queue, **members}).encode()
    headers = {"X-Amz-Target": "AmazonSQS." + operation, "Content-Type": "application/x-amz-json-1.0"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        return json.load(answer)

TOKEN = uuid.uuid4().hex
if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start":
    ask("SendMessage", "began", MessageBody=TOKEN)
    while not ask("ReceiveMessage", "go-on", WaitTimeSeconds=5).get("Messages"):
        pass

def handler(event, context):
    return TOKEN
"""


def test_a_version_waits_for_its_snapshot_which_is_renewed_after_three_hours(moving, make_function, invoke):
    sqs, client = moving.client("sqs"), moving.client("lambda")
    began, go_on = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("began", "go-on"))

    def next_token():
        deadline = time.monotonic() + _LIMIT_S
        while not (found := sqs.receive_message(QueueUrl=began, WaitTimeSeconds=5).get("Messages")):
            assert time.monotonic() < deadline
        sqs.delete_message(QueueUrl=began, ReceiptHandle=found[0]["ReceiptHandle"])
        return found[0]["Body"]

    name = make_function(WAITS, Timeout=20, MemorySize=256, **SNAP)
    client.publish_version(FunctionName=name)
    first = next_token()
    for early in (client.invoke, client.invoke_with_response_stream):
        with pytest.raises(ClientError, match="ResourceConflictException"):
            early(FunctionName=name, Qualifier="1")
    sqs.send_message(QueueUrl=go_on, MessageBody="first")
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
    )
    sqs.purge_queue(QueueUrl=go_on)
    assert invoke(name)[0] == first
    with ThreadPoolExecutor(1) as aside:
        advance = aside.submit(moving.advance, "3h2m")
        second = next_token()
        answer, tail = invoke(name)
        assert answer == first
        assert "Restore Duration" in tail
        sqs.send_message(QueueUrl=go_on, MessageBody="second")
        advance.result()
    moving.advance("1h")  # nobody needs the environment any more that is the old one's copy
    answer, tail = invoke(name)
    assert answer == second != first
    assert "Restore Duration" in tail
