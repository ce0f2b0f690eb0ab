"""InvokeWithResponseStream and InvokeAsync through boto3 and raw HTTP, on a real node."""

import base64
import contextlib
import http.client
import json
import re
import socket
import time
import urllib.parse
from pathlib import Path

import botocore.exceptions
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer
from tests.node.lambda_.functions_on_a_node import call, create

KINDS = """
import time
def handler(event, context):
    kind = event["kind"]
    if kind == "plain":
        return {"answer": 42}
    if kind == "raise":
        raise KeyError("at once")
    return items(kind, event)

def items(kind, event):
    print("in the log")
    if kind == "many":
        for _turn in range(event["count"]):
            yield b"x" * event["size"]
        return
    yield "one "
    if kind == "late":
        raise ValueError("too late")
    if kind == "slow":
        time.sleep(60)
    if kind == "exit":
        import os
        os._exit(7)
    yield b"two"
"""


@pytest.fixture(scope="module")
def client(lambent):
    return lambent.client("lambda")


@pytest.fixture(scope="module")
def kinds(client):
    return create(client, KINDS, Timeout=2)


def stream(client, name, event=None, *, version="$LATEST", **members):
    """The payload in one piece, and InvokeComplete."""
    answer = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **members)
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == version
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    events = list(answer["EventStream"])
    assert [next(iter(event)) for event in events] == ["PayloadChunk"] * (len(events) - 1) + ["InvokeComplete"]
    return b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]), events[-1]["InvokeComplete"]


def test_a_stream_ends_with_invoke_complete(client, kinds):
    assert stream(client, kinds, {"kind": "two"}) == (b"one two", {})


def test_a_handler_that_does_not_stream_answers_in_one_chunk(client, kinds):
    assert stream(client, kinds, {"kind": "plain"}) == (b'{"answer": 42}', {})


def test_an_error_before_the_first_byte_is_told_in_the_stream(client, kinds):
    payload, complete = stream(client, kinds, {"kind": "raise"})
    assert (payload, complete["ErrorCode"]) == (b"", "Unhandled")
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("KeyError", "'at once'")
    assert details["stackTrace"]


def test_an_error_after_the_first_byte_has_its_own_type(client, kinds):
    payload, complete = stream(client, kinds, {"kind": "late"})
    assert (payload, complete["ErrorCode"]) == (b"one ", "ValueError")
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("ValueError", "too late")


def test_a_timeout_cuts_the_stream_off(client, kinds):
    payload, complete = stream(client, kinds, {"kind": "slow"}, LogType="Tail")
    assert (payload, complete["ErrorCode"]) == (b"one ", "Sandbox.Timedout")
    assert "Task timed out after 2.00 seconds" in json.loads(complete["ErrorDetails"])["errorMessage"]
    assert "Task timed out after 2.00 seconds" in base64.b64decode(complete["LogResult"]).decode()


def test_a_process_that_ends_truncates_the_stream(client, kinds):
    payload, complete = stream(client, kinds, {"kind": "exit"})
    assert (payload, complete["ErrorCode"]) == (b"one ", "Runtime.TruncatedResponse")
    assert "exit status 7" in json.loads(complete["ErrorDetails"])["errorMessage"]


def test_the_tail_of_the_log_comes_last(client, kinds):
    _payload, complete = stream(client, kinds, {"kind": "two"}, LogType="Tail")
    tail = base64.b64decode(complete["LogResult"]).decode()
    assert "in the log\n" in tail
    assert "REPORT RequestId: " in tail


def test_an_invoke_of_a_generator_fails_as_on_aws(client, kinds):
    answer = client.invoke(FunctionName=kinds, Payload=b'{"kind": "two"}')
    assert answer["FunctionError"] == "Unhandled"
    document = json.loads(answer["Payload"].read())
    assert document["errorType"] == "Runtime.MarshalError"
    assert document["errorMessage"] == "Unable to marshal response: Object of type generator is not JSON serializable"


def refused(call, *args, **members):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(*args, **members)
    error = raised.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def test_what_is_wrong_with_the_request_is_an_error_of_the_request(client, kinds):
    ask = client.invoke_with_response_stream
    arn = "arn:aws:lambda:us-east-1:000000000000:function:nobody"
    assert refused(ask, FunctionName="nobody") == (404, "ResourceNotFoundException", f"Function not found: {arn}")
    status, code, message = refused(ask, FunctionName=kinds, Payload=b"{not json")
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json: ")
    status, code, _message = refused(ask, FunctionName=kinds, ClientContext="%%%")
    assert (status, code) == (400, "InvalidRequestContentException")
    status, code, _message = refused(ask, FunctionName=kinds, InvocationType="Event")
    assert (status, code) == (400, "ValidationException")
    assert refused(ask, FunctionName=kinds, Payload=b'"' + b"x" * 6_291_455 + b'"') == (
        413,
        "RequestTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    )


def test_a_throttled_stream_is_a_429(client, kinds):
    client.put_function_concurrency(FunctionName=kinds, ReservedConcurrentExecutions=0)
    try:
        ask = client.invoke_with_response_stream
        assert refused(ask, FunctionName=kinds) == (429, "TooManyRequestsException", "Rate Exceeded.")
    finally:
        client.delete_function_concurrency(FunctionName=kinds)


def test_a_dry_run_answers_204_and_runs_nothing(client, kinds):
    answer = client.invoke_with_response_stream(FunctionName=kinds, InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert "ExecutedVersion" not in answer


def test_an_alias_names_the_version_that_ran(client):
    name = create(client, "def handler(event, context): yield context.invoked_function_arn", Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for ask in ({"FunctionName": name, "Qualifier": "live"}, {"FunctionName": f"{name}:live"}):
        answer = client.invoke_with_response_stream(**ask)
        assert answer["ExecutedVersion"] == "1"
        events = list(answer["EventStream"])
        assert events[0]["PayloadChunk"]["Payload"].endswith(f":{name}:live".encode())


def test_two_hundred_megabytes_arrive_and_one_byte_more_is_an_error(client, kinds):
    large = create(client, KINDS, Timeout=60, MemorySize=1769)
    size = 0
    for more, code in ((0, None), (1, "Function.ResponseSizeTooLarge")):
        event = {"kind": "many", "count": 201 if more else 200, "size": 1_048_576}
        answer = client.invoke_with_response_stream(FunctionName=large, Payload=json.dumps(event))
        size = 0
        for one in answer["EventStream"]:
            if "PayloadChunk" in one:
                size += len(one["PayloadChunk"]["Payload"])
            else:
                assert one["InvokeComplete"].get("ErrorCode") == code
        assert size == 209_715_200


# Without a client library


def logged(lambent, name, word):
    """The lines with this word in a function's log, once there are any."""
    logs = lambent.client("logs")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern=word)
            if found["events"]:
                return [event["message"] for event in found["events"]]
    return []


def send(lambent, name, event, operation="response-streaming-invocations", version="2021-11-15", **headers):
    """A socket on which a signed request has been sent."""
    url = urllib.parse.urlsplit(lambent.endpoint)
    path = f"/{version}/functions/{name}/{operation}"
    body = json.dumps(event).encode()
    request = AWSRequest("POST", lambent.endpoint + path, data=body, headers=headers)
    SigV4Auth(Credentials("test", "test"), "lambda", "us-east-1").add_auth(request)
    sock = socket.create_connection((url.hostname, url.port), timeout=20)
    lines = [f"POST {path} HTTP/1.1", f"Host: {url.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{key}: {value}" for key, value in request.headers.items()]
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return sock


def test_the_first_byte_arrives_before_the_function_goes_on(lambent, client):
    source = """
import time
def handler(event, context):
    yield b"first"
    time.sleep(1)
    yield str(time.time())
"""
    name = create(client, source)
    with contextlib.closing(send(lambent, name, {})) as sock:
        answer = http.client.HTTPResponse(sock, method="POST")
        answer.begin()
        assert answer.status == 200
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["Content-Type"] == "application/vnd.amazon.eventstream"
        assert answer.headers["X-Amz-Executed-Version"] == "$LATEST"
        assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0", answer.headers["X-Amzn-Trace-Id"])
        buffer = EventStreamBuffer()
        buffer.add_data(answer.read1(65536))
        arrived_at = time.time()
        first = next(iter(buffer))
        assert (first.headers[":event-type"], first.payload) == ("PayloadChunk", b"first")
        buffer.add_data(answer.read())
        second, last = list(buffer)
        assert arrived_at < float(second.payload)
        assert (last.headers[":event-type"], last.payload) == ("InvokeComplete", b"{}")


def test_a_client_that_goes_away_leaves_the_function_running(lambent, client):
    source = """
def handler(event, context):
    for _turn in range(64):
        yield b"x" * 65536
    print("ran to its end")
"""
    name = create(client, source)
    with contextlib.closing(send(lambent, name, {})) as sock:
        sock.recv(1000)
    assert logged(lambent, name, "ran") == ["ran to its end\n"]


def test_a_trace_that_came_with_the_request_goes_on(lambent, client):
    source = "import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']"
    name = create(client, source)
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    for operation, version in (("invocations", "2015-03-31"), ("response-streaming-invocations", "2021-11-15")):
        with contextlib.closing(send(lambent, name, {}, operation, version, **{"X-Amzn-Trace-Id": trace})) as sock:
            answer = http.client.HTTPResponse(sock, method="POST")
            answer.begin()
            assert answer.headers["X-Amzn-Trace-Id"] == "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
            assert b"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=" in answer.read()


def test_there_is_a_trace_while_the_handler_is_loaded(client):
    source = "import os\nAT_INIT = os.environ['_X_AMZN_TRACE_ID']\ndef handler(event, context): return AT_INIT"
    assert re.fullmatch(
        r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", call(client, create(client, source))
    )


def test_a_function_of_another_account_runs_by_its_arn(lambent):
    other = lambent.client("lambda", access_key="111122223333")
    name = create(other, "def handler(event, context): yield context.invoked_function_arn", Publish=True)
    arn = f"arn:aws:lambda:us-east-1:111122223333:function:{name}"
    mine = lambent.client("lambda")
    for ask in (arn, f"111122223333:function:{name}", f"{arn}:1"):
        payload, _complete = stream(mine, ask, version="1" if ask.endswith(":1") else "$LATEST")
        assert payload.decode().startswith(arn)
    assert mine.invoke_async(FunctionName=arn, InvokeArgs=b"{}")["Status"] == 202
    status, code, message = refused(mine.invoke_with_response_stream, FunctionName=f"{arn}:1", Qualifier="$LATEST")
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message == "The derived qualifier from the function name does not match the specified qualifier."


@pytest.mark.long
def test_a_client_that_hardly_reads_costs_the_node_little(own_node):
    """Ten of them, of 200 MB each."""
    with own_node("--port", "0") as node:
        client = node.client("lambda")
        name = create(client, KINDS, Timeout=900)
        stream(client, name, {"kind": "two"})
        before = peak_kb(node.pid)
        event = {"kind": "many", "count": 200, "size": 1_048_576}
        with contextlib.ExitStack() as open_sockets:
            answers = []
            for _client in range(10):
                sock = open_sockets.enter_context(contextlib.closing(send(node, name, event)))
                answers.append(http.client.HTTPResponse(sock, method="POST"))
                answers[-1].begin()
            for _turn in range(20):
                assert all(answer.read1(65536) for answer in answers)
            assert peak_kb(node.pid) - before < 60_000
            for answer in answers:
                while piece := answer.read(1_000_000):
                    last = piece
                assert b"InvokeComplete" in last
        assert peak_kb(node.pid) - before < 60_000


def peak_kb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


# InvokeAsync


def test_invoke_async_keeps_the_event(lambent, client):
    name = create(client, "def handler(event, context): print('ran', event)")
    answer = client.invoke_async(FunctionName=name, InvokeArgs=b'{"a": 1}')
    assert answer["Status"] == 202
    assert logged(lambent, name, "ran") == ["ran {'a': 1}\n"]


def test_invoke_async_is_checked_as_an_event_is(client, kinds):
    ask = client.invoke_async
    arn = "arn:aws:lambda:us-east-1:000000000000:function:nobody"
    assert refused(ask, FunctionName="nobody", InvokeArgs=b"{}") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn}",
    )
    assert refused(ask, FunctionName=kinds, InvokeArgs=b"{")[:2] == (400, "InvalidRequestContentException")
    assert ask(FunctionName=kinds, InvokeArgs=b'"' + b"x" * (1_048_576 - 2) + b'"')["Status"] == 202
    assert refused(ask, FunctionName=kinds, InvokeArgs=b'"' + b"x" * (1_048_576 - 1) + b'"')[0] == 413
