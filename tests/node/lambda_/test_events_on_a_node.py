"""Asynchronous invocations end to end: retries, ages, destinations, and loops that are stopped."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from functions_on_a_node import call, create, unused_name

FAILS = """
def handler(event, context):
    print("attempt", context.aws_request_id)
    raise ValueError("no stock")
"""
ECHO = "def handler(event, context): return {'echo': event}"
KEEPS = """
import json

def handler(event, context):
    print("got", json.dumps(event))
"""
# Invokes whatever function its event says next, and says that it ran.
PASSES_ON = """
import json, boto3

client = boto3.client("lambda")

def handler(event, context):
    print("turn", event["left"])
    if event["left"]:
        names = event["names"][1:] + event["names"][:1]
        following = json.dumps({**event, "names": names, "left": event["left"] - 1})
        client.invoke(FunctionName=names[0], InvocationType=event["how"], Payload=following)
"""


@pytest.fixture
def moving(lambent):
    """The session's node; afterwards its time is the machine's again."""
    yield lambent
    lambent.reset()


@pytest.fixture
def client(moving):
    return moving.client("lambda")


def arn(name):
    return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"


def send(client, name, event=None, **members):
    """The request id of an accepted event."""
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event), **members)
    assert answer["StatusCode"] == 202
    return answer["ResponseMetadata"]["RequestId"]


def said(node, name, word):
    """What a function printed behind a word."""
    logs = node.client("logs")
    try:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
        lines = [event["message"].rstrip() for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [line.removeprefix(word).strip() for line in lines if line.startswith(word)]


def until_said(node, name, word, count):
    deadline = time.monotonic() + 60
    while len(found := said(node, name, word)) < count:
        assert time.monotonic() < deadline, f"{found}, not {count}"
    return found


def sent_to(client, name, keeper, *sides, **members):
    config = {side: {"Destination": arn(keeper)} for side in sides}
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig=config, **members)


def test_a_failing_event_is_tried_three_times_and_its_record_goes_to_the_destination(moving, client):
    name, keeper = create(client, FAILS), create(client, KEEPS)
    sent_to(client, name, keeper, "OnFailure", "OnSuccess")
    request_id = send(client, name, {"order": 7})
    moving.advance("1m")
    assert said(moving, name, "attempt") == [request_id] * 2
    assert said(moving, keeper, "got") == []
    moving.advance("2m")
    assert until_said(moving, name, "attempt", 3) == [request_id] * 3
    record = json.loads(until_said(moving, keeper, "got", 1)[0])
    assert list(record) == [
        "version",
        "timestamp",
        "requestContext",
        "requestPayload",
        "responseContext",
        "responsePayload",
    ]
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{arn(name)}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["requestPayload"] == {"order": 7}
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert record["responsePayload"]["errorMessage"] == "no stock"


def test_a_success_of_an_alias_goes_to_its_destination(moving, client):
    name, keeper = create(client, ECHO), create(client, KEEPS)
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    sent_to(client, name, keeper, "OnSuccess", Qualifier="live")
    send(client, name, {"not": "told"})
    request_id = send(client, f"{name}:live", {"order": 7})
    record = json.loads(until_said(moving, keeper, "got", 1)[0])
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{arn(name)}:live",
        "condition": "Success",
        "approximateInvokeCount": 1,
    }
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "1"}
    assert record["responsePayload"] == {"echo": {"order": 7}}
    moving.advance("1h")
    assert len(said(moving, keeper, "got")) == 1


def test_without_retries_the_first_error_is_the_end(moving, client):
    name, keeper = create(client, FAILS), create(client, KEEPS)
    sent_to(client, name, keeper, "OnFailure", MaximumRetryAttempts=0)
    send(client, name)
    record = json.loads(until_said(moving, keeper, "got", 1)[0])
    assert record["requestContext"]["approximateInvokeCount"] == 1
    moving.advance("1h")
    assert len(said(moving, name, "attempt")) == 1


def test_a_retry_that_would_be_too_old_is_not_made(moving, client):
    name, keeper = create(client, FAILS), create(client, KEEPS)
    sent_to(client, name, keeper, "OnFailure", MaximumEventAgeInSeconds=60)
    send(client, name)
    record = json.loads(until_said(moving, keeper, "got", 1)[0])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert len(said(moving, name, "attempt")) == 1


def test_reserved_concurrency_zero_sends_events_to_the_destination_unrun(moving, client):
    name, keeper = create(client, ECHO), create(client, KEEPS)
    sent_to(client, name, keeper, "OnFailure")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    request_id = send(client, name, {"order": 7})
    record = json.loads(until_said(moving, keeper, "got", 1)[0])
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{arn(name)}:$LATEST",
        "condition": "ZeroReservedConcurrency",
        "approximateInvokeCount": 0,
    }
    assert list(record) == ["version", "timestamp", "requestContext", "requestPayload"]


def test_a_dead_letter_queue_that_nobody_serves_costs_nothing_else(moving, client):
    keeper = create(client, KEEPS)
    queue = {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:letters"}
    name = create(client, FAILS, DeadLetterConfig=queue)
    sent_to(client, name, keeper, "OnFailure", MaximumRetryAttempts=0)
    send(client, name)
    until_said(moving, keeper, "got", 1)
    moving.advance("1h")
    assert len(said(moving, keeper, "got")) == 1
    assert len(said(moving, name, "attempt")) == 1


def chain(client, names, how, left):
    return call(client, names[0], {"names": names, "how": how, "left": left})


def test_a_function_that_invokes_itself_is_stopped_after_sixteen_turns(moving, client):
    name, keeper = create(client, PASSES_ON), create(client, KEEPS)
    sent_to(client, name, keeper, "OnFailure")
    event = {"names": [name], "how": "Event", "left": 100}
    send(client, name, event)
    record = json.loads(until_said(moving, keeper, "got", 1)[0])
    assert record["requestPayload"] == {**event, "left": 84}
    assert record["requestContext"]["approximateInvokeCount"] == 0
    moving.advance("6h")
    assert sorted(map(int, said(moving, name, "turn"))) == list(range(85, 101))


def test_functions_that_invoke_each_other_are_stopped_too(moving, client):
    names = [create(client, PASSES_ON) for _ in range(2)]
    send(client, names[0], {"names": names, "how": "Event", "left": 100})
    until_said(moving, names[1], "turn", 16)
    moving.advance("6h")
    assert [len(said(moving, name, "turn")) for name in names] == [16, 16]


def test_a_direct_loop_ends_in_an_error_of_the_caller(client):
    innermost = "An error occurred (RecursiveInvocationException) when calling the Invoke operation"
    source = PASSES_ON.replace("client.invoke(", "answer = client.invoke(") + (
        "        said = json.loads(answer['Payload'].read())\n        return said\n    return None\n"
    )
    name = create(client, source, Timeout=60)
    answer = chain(client, [name], "RequestResponse", 100)
    assert answer["errorMessage"].startswith(innermost)
    assert "recursive loop" in answer["errorMessage"]


def test_a_function_that_may_loop_goes_on(moving, client):
    name = create(client, PASSES_ON)
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    send(client, name, {"names": [name], "how": "Event", "left": 40})
    assert len(until_said(moving, name, "turn", 41)) == 41


def test_a_loop_through_a_destination_is_a_loop(moving, client):
    names = [create(client, ECHO.replace("return {'echo': event}", "print('turn')")) for _ in range(2)]
    for name, other in (names, names[::-1]):
        sent_to(client, name, other, "OnSuccess")
    send(client, names[0])
    until_said(moving, names[1], "turn", 16)
    moving.advance("1h")
    assert [len(said(moving, name, "turn")) for name in names] == [16, 16]


def total(node, name, metric):
    """The sum of a function's metric over all that the node has of it."""
    now = datetime.fromtimestamp(node.now(), UTC)
    answer = node.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": name}],
        StartTime=now - timedelta(days=1),
        EndTime=now + timedelta(minutes=2),
        Period=3600,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


def test_metrics_count_events_their_ages_their_ends_and_what_was_not_delivered(moving, client):
    queue = "arn:aws:sqs:us-east-1:000000000000:letters"
    name = create(client, FAILS, DeadLetterConfig={"TargetArn": queue})
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:sns:us-east-1:000000000000:letters"}},
    )
    send(client, name)
    moving.advance("1h")
    until_said(moving, name, "attempt", 2)
    found = {
        metric: total(moving, name, metric)
        for metric in (
            "AsyncEventsReceived",
            "AsyncEventsDropped",
            "DeadLetterErrors",
            "DestinationDeliveryFailures",
            "Invocations",
            "Errors",
        )
    }
    assert found == {
        "AsyncEventsReceived": 1,
        "AsyncEventsDropped": 1,
        "DeadLetterErrors": 3,
        "DestinationDeliveryFailures": 3,
        "Invocations": 2,
        "Errors": 2,
    }
    assert 60_000 <= total(moving, name, "AsyncEventAge") < 90_000


def test_a_loop_that_was_stopped_is_counted(moving, client):
    name = create(client, PASSES_ON)
    send(client, name, {"names": [name], "how": "Event", "left": 100})
    until_said(moving, name, "turn", 16)
    moving.advance("1m")
    assert total(moving, name, "RecursiveInvocationsDropped") == 1
    assert total(moving, name, "AsyncEventsDropped") == 1
    assert total(moving, name, "AsyncEventsReceived") == 17


def test_what_a_config_must_not_be(client):
    name = create(client, ECHO)
    gone = unused_name()
    for destination, words in {
        arn(name): "You can't specify the function as a destination for itself.",
        arn(gone): f"The destination ARN {arn(gone)} is invalid.",
    }.items():
        with pytest.raises(ClientError) as raised:
            client.put_function_event_invoke_config(
                FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": destination}}
            )
        error = raised.value.response
        assert (error["Error"]["Code"], error["Error"]["Message"]) == ("InvalidParameterValueException", words)
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
