"""Records of asynchronous invocations: what they say, and how each kind of target is told."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lambent.aws.arn import Arn
from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.engine.rows import Event, Response
from lambent.protocol.validate import validate
from lambent.services.lambda_.destinations import (
    Message,
    check_dead_letter,
    check_destinations,
    dead_letter,
    deliver,
    destination,
    error_of,
    object_key,
    record,
)
from lambent.services.lambda_.model import FunctionKey
from lambent.testing.loop import run

KEY = FunctionKey("123456789012", "eu-west-1", "fn")
ARN = KEY.arn()
ROLE = "arn:aws:iam::123456789012:role/service/lambda"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:records"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:records"
BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/default"
BUCKET = "arn:aws:s3:::records"
OTHER = "arn:aws:lambda:eu-west-1:123456789012:function:other"
TARGETS = [QUEUE, TOPIC, BUS, BUCKET, OTHER]
ERROR = b'{"errorMessage": "no stock", "errorType": "ValueError", "requestId": "r", "stackTrace": []}'

SUCCEEDED = Event(
    scope=Scope("123456789012", "eu-west-1"),
    function_arn=ARN,
    qualifier=None,
    request_id="c2a6f2ae-7dbb-4d22-8782-d0485c9877e2",
    payload=b'{"order": 7}',
    arrived_ms=0,
    visible_ms=0,
    attempts=1,
    response=Response(executed_version="$LATEST", payload=b'"done"'),
    condition="Success",
    ended_ms=1_574_636_905_651,
)
FAILED = replace(
    SUCCEEDED,
    qualifier="live",
    attempts=3,
    response=Response(executed_version="2", payload=ERROR, function_error="Unhandled"),
    condition="RetriesExhausted",
)
THROTTLED = replace(FAILED, attempts=0, response=None, condition="ZeroReservedConcurrency")


def message(event=SUCCEEDED, target=QUEUE):
    return Message(event=event, target=Arn.parse(target))


def told(event, delivery, answer=None):
    """The one call that a delivery makes, its parameters checked against the service model."""
    calls = []

    async def call(service, operation, params, *, caller):
        validate(service, operation, params)
        calls.append((service, operation, params, caller))
        return answer or {}

    run(lambda _clock: deliver(call, message(event, delivery.target), delivery))
    assert len(calls) == 1
    return calls[0]


def test_the_record_of_a_success_has_awss_fields_in_awss_order():
    assert record(message()).decode() == (
        '{"version":"1.0","timestamp":"2019-11-24T23:08:25.651Z","requestContext":{"requestId":'
        '"c2a6f2ae-7dbb-4d22-8782-d0485c9877e2","functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:fn:$LATEST",'
        '"condition":"Success","approximateInvokeCount":1},"requestPayload":{"order":7},"responseContext":'
        '{"statusCode":200,"executedVersion":"$LATEST"},"responsePayload":"done"}'
    )


def test_the_record_of_a_failure_names_the_qualifier_the_version_and_the_error():
    found = json.loads(record(message(FAILED)))
    assert found["requestContext"]["functionArn"] == f"{ARN}:live"
    assert found["requestContext"]["condition"] == "RetriesExhausted"
    assert found["requestContext"]["approximateInvokeCount"] == 3
    assert found["responseContext"] == {"statusCode": 200, "executedVersion": "2", "functionError": "Unhandled"}
    assert found["responsePayload"] == json.loads(ERROR)


@pytest.mark.parametrize(
    "event",
    [THROTTLED, replace(THROTTLED, response=Response(refusal=("TooManyRequestsException", "Rate Exceeded.")))],
)
def test_the_record_of_an_event_that_never_ran_has_no_response(event):
    assert list(json.loads(record(message(event)))) == ["version", "timestamp", "requestContext", "requestPayload"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_payloads_are_in_the_record_as_they_were(value):
    event = replace(SUCCEEDED, payload=json.dumps(value, indent=1).encode())
    assert json.loads(record(message(event)))["requestPayload"] == value


@given(st.binary(max_size=40))
def test_whatever_a_function_answers_the_record_is_json(payload):
    event = replace(SUCCEEDED, response=Response(executed_version="1", payload=payload))
    msgspec.json.decode(record(message(event)))


@pytest.mark.parametrize(("target", "most"), [(TOPIC, 262_144), (QUEUE, 1_048_576), (BUS, 1_048_576)])
def test_a_failure_too_large_for_its_target_goes_without_payloads(target, most):
    def size(length):
        event = replace(FAILED, payload=b'"' + b"x" * length + b'"')
        return record(message(event, target))

    room = most - len(size(0))
    assert len(size(room)) == most
    cut = json.loads(size(room + 1))
    assert list(cut) == ["version", "timestamp", "requestContext", "responseContext"]
    assert b"requestPayload" in record(message(replace(FAILED, payload=b'"' + b"x" * most + b'"'), BUCKET))


def test_a_queue_gets_the_record_as_a_message_from_the_functions_role():
    service, operation, params, caller = told(SUCCEEDED, destination(QUEUE, ROLE))
    assert (service, operation) == ("sqs", "SendMessage")
    assert params == {
        "QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/records",
        "MessageBody": record(message()).decode(),
    }
    assert caller.principal == "arn:aws:sts::123456789012:assumed-role/lambda/fn"
    assert (caller.account, caller.region) == ("123456789012", "eu-west-1")


def test_a_topic_gets_it_published():
    service, operation, params, _caller = told(SUCCEEDED, destination(TOPIC, ROLE))
    assert (service, operation) == ("sns", "Publish")
    assert params == {"TopicArn": TOPIC, "Message": record(message(target=TOPIC)).decode()}


@pytest.mark.parametrize(("event", "result"), [(SUCCEEDED, "Success"), (FAILED, "Failure"), (THROTTLED, "Failure")])
def test_a_bus_gets_an_event_of_the_source_lambda(event, result):
    service, operation, params, _caller = told(event, destination(BUS, ROLE))
    assert (service, operation) == ("events", "PutEvents")
    assert params["Entries"] == [
        {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {result}",
            "Resources": [BUS, f"{ARN}:{event.qualifier or '$LATEST'}"],
            "Detail": record(message(event, BUS)).decode(),
            "EventBusName": BUS,
        }
    ]


def test_an_entry_that_a_bus_refuses_is_an_error():
    entry = {"ErrorCode": "InternalFailure", "ErrorMessage": "Later."}
    with pytest.raises(ApiError) as raised:
        told(SUCCEEDED, destination(BUS, ROLE), {"FailedEntryCount": 1, "Entries": [entry]})
    assert (raised.value.code, raised.value.message) == ("InternalFailure", "Later.")


def test_a_bucket_gets_an_object_named_by_function_and_moment():
    service, operation, params, _caller = told(FAILED, destination(BUCKET, ROLE))
    assert (service, operation, params["Bucket"]) == ("s3", "PutObject", "records")
    assert params["Body"] == record(message(FAILED, BUCKET))
    key = r"aws/lambda/async/fn/2019/11/24/2019-11-24T23\.08\.25-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.fullmatch(key, params["Key"])
    assert object_key(message(FAILED)) == params["Key"]  # a second delivery replaces the first
    assert object_key(message(replace(FAILED, request_id="another"))) != params["Key"]


def test_a_function_gets_it_as_its_event():
    service, operation, params, caller = told(FAILED, destination(f"{OTHER}:live", ROLE))
    assert (service, operation) == ("lambda", "Invoke")
    assert params["FunctionName"] == f"{OTHER}:live"
    assert params["InvocationType"] == "Event"
    assert json.loads(params["Payload"])["requestPayload"] == {"order": 7}
    assert caller.region == "eu-west-1"


@pytest.mark.parametrize(
    ("target", "service", "operation", "body"),
    [(QUEUE, "sqs", "SendMessage", "MessageBody"), (TOPIC, "sns", "Publish", "Message")],
)
def test_a_dead_letter_is_the_event_itself_and_says_why_in_its_attributes(target, service, operation, body):
    called, asked, params, _caller = told(FAILED, dead_letter(target, ROLE))
    assert (called, asked) == (service, operation)
    assert params[body] == '{"order": 7}'
    assert params["MessageAttributes"] == {
        "RequestID": {"DataType": "String", "StringValue": FAILED.request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "no stock"},
    }


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (None, (429, "Rate Exceeded.")),
        (Response(refusal=("TooManyRequestsException", "Rate Exceeded.")), (429, "Rate Exceeded.")),
        (Response(refusal=("RecursiveInvocationException", "Stopped.")), (400, "Stopped.")),
        (Response(refusal=("ServiceException", "Broken.")), (500, "Broken.")),
        (Response(payload=b'{"errorMessage": "%s"}' % (b"x" * 2000)), (200, "x" * 1024)),
        (Response(payload=b'{"errorMessage": "x%s"}' % ("é".encode() * 600)), (200, "x" + "é" * 511)),
        (Response(payload=b'{"errorMessage": 5}'), (200, '{"errorMessage": 5}')),
        (Response(payload=b"\xff{"), (200, "\ufffd{")),
    ],
)
def test_a_dead_letters_error(response, expected):
    assert error_of(replace(FAILED, response=response)) == expected


def test_an_error_without_a_message_has_no_attribute_for_it():
    event = replace(FAILED, response=Response(payload=b'{"errorMessage": ""}', function_error="Unhandled"))
    params = told(event, dead_letter(QUEUE, ROLE))[2]
    assert sorted(params["MessageAttributes"]) == ["ErrorCode", "RequestID"]


def refusal(on_success=None, on_failure=None, there=("other",)):
    with pytest.raises(ApiError) as raised:
        check_destinations(KEY, on_success, on_failure, is_there=lambda key: key.name in there)
    assert raised.value.code == "InvalidParameterValueException"
    return raised.value.message


@pytest.mark.parametrize("target", [None, QUEUE, TOPIC, BUS, OTHER, f"{OTHER}:1"])
def test_what_may_be_a_destination(target):
    check_destinations(KEY, target, target, is_there=lambda key: key.name == "other")


def test_a_bucket_is_for_failures_only():
    check_destinations(KEY, None, BUCKET, is_there=lambda _key: True)
    assert refusal(BUCKET) == (
        f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={BUCKET}), onFailure=null) "
        "is invalid."
    )


@pytest.mark.parametrize("target", ["arn:aws:iam::123456789012:role/x", "kafka://topic", "arn:aws:kinesis:::s"])
def test_other_services_are_no_destinations(target):
    assert refusal(QUEUE, target) == (
        f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={QUEUE}), "
        f"onFailure=OnFailure(destination={target})) is invalid."
    )


@pytest.mark.parametrize("qualifier", ["", ":$LATEST", ":live"])
def test_a_function_is_no_destination_for_itself(qualifier):
    assert refusal(ARN + qualifier) == "You can't specify the function as a destination for itself."


@pytest.mark.parametrize(
    "target",
    [
        f"{QUEUE}.fifo",
        f"{TOPIC}.fifo",
        f"{OTHER}-gone",
        f"{OTHER}:!",
        "arn:aws:lambda:eu-west-1:123456789012:layer:other",
        "arn:aws:events:eu-west-1:123456789012:rule/x",
        "arn:aws:sqs:eu-west-1:123456789012:",
    ],
)
def test_targets_that_cannot_take_records(target):
    assert refusal(None, target) == f"The destination ARN {target} is invalid."


def test_functions_of_other_accounts_are_not_looked_for():
    target = "arn:aws:lambda:eu-west-1:999999999999:function:fn"
    check_destinations(KEY, target, None, is_there=lambda _key: False)


@pytest.mark.parametrize("target", ["", QUEUE, TOPIC, f"{QUEUE}.fifo"])
def test_what_may_be_a_dead_letter_queue(target):
    check_dead_letter(target)


@pytest.mark.parametrize("target", [OTHER, BUS, BUCKET, "arn:aws:sqs", "nonsense"])
def test_what_may_not_be_a_dead_letter_queue(target):
    with pytest.raises(ApiError) as raised:
        check_dead_letter(target)
    assert (raised.value.code, raised.value.message) == (
        "InvalidParameterValueException",
        f"Invalid dead letter ARN: {target} is not the ARN of an SQS queue or an SNS topic.",
    )


def test_a_delivery_to_a_target_that_nobody_can_tell_is_an_error():
    with pytest.raises(ApiError) as raised:
        told(FAILED, dead_letter(OTHER, ROLE))
    assert raised.value.message == f"The destination ARN {OTHER} is invalid."
