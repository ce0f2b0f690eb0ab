"""Results and errors into responses: what the vectors and round trips do not reach."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from lambent.aws.errors import UNMODELLED_STATUS, ApiError
from lambent.protocol import eventstream
from lambent.protocol.http import UNMODELLED_HEADERS
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, REST_XML
from lambent.protocol.route import Route
from lambent.protocol.serialize import serialize, serialize_error

INVOKE = Route("lambda", "Invoke", REST_JSON, {"FunctionName": "f"})


def test_an_invocation_is_status_headers_and_payload() -> None:
    result = {"StatusCode": 200, "Payload": b'"x"', "FunctionError": "Unhandled", "LogResult": "TE9H"}
    response = serialize(INVOKE, result, "an-id")
    assert (response.status, response.body) == (200, b'"x"')
    assert dict(response.headers) == {
        "x-amzn-RequestId": "an-id",
        "X-Amz-Function-Error": "Unhandled",
        "X-Amz-Log-Result": "TE9H",
        "Content-Type": "application/json",
    }
    assert serialize(INVOKE, {"StatusCode": 202, "Payload": b""}, "an-id").status == 202
    dry_run = serialize(INVOKE, {"StatusCode": 204}, "an-id")
    assert (dry_run.status, dry_run.body) == (204, b"")


def test_events_that_come_one_by_one_are_sent_one_by_one() -> None:
    closed = []

    async def events() -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"PayloadChunk": {"Payload": b"a"}}
            yield {"InvokeComplete": {"ErrorCode": "E"}}
            raise AssertionError("nobody asked for more")
        finally:
            closed.append(True)

    async def main() -> None:
        route = Route("lambda", "InvokeWithResponseStream", REST_JSON, {"FunctionName": "f"})
        response = serialize(route, {"StatusCode": 200, "ExecutedVersion": "1", "EventStream": events()}, "an-id")
        assert (response.status, response.body) == (200, b"")
        assert dict(response.headers) == {
            "x-amzn-RequestId": "an-id",
            "X-Amz-Executed-Version": "1",
            "Content-Type": "application/vnd.amazon.eventstream",
        }
        chunks = response.chunks
        assert isinstance(chunks, AsyncGenerator)
        found = [message for _turn in range(2) for message in eventstream.decode(await anext(chunks))]
        assert [(message.headers[":event-type"], message.payload) for message in found] == [
            ("PayloadChunk", b"a"),
            ("InvokeComplete", b'{"ErrorCode":"E"}'),
        ]
        await chunks.aclose()
        assert closed == [True]

    asyncio.run(main())


def test_headers_that_no_model_has_are_sent_and_cannot_end_their_line() -> None:
    result = {"StatusCode": 200, "Payload": b"1", UNMODELLED_HEADERS: [("X-Amzn-Trace-Id", "Root=1\r\nX: y")]}
    assert ("X-Amzn-Trace-Id", "Root=1 X: y") in serialize(INVOKE, result, "an-id").headers


def test_the_status_is_the_models() -> None:
    assert serialize(Route("lambda", "CreateFunction", REST_JSON, {}), {}, "an-id").status == 201
    # The model of 2026 answers DeleteFunction with a body; TagResource has none.
    tagged = serialize(Route("lambda", "TagResource", REST_JSON, {}), {}, "an-id")
    assert (tagged.status, tagged.body) == (204, b"")


def test_members_are_in_the_models_order_and_none_is_left_out() -> None:
    result = {"Timeout": 3, "FunctionArn": "a", "FunctionName": "f", "Role": None, "Nonsense": 1}
    response = serialize(Route("lambda", "GetFunctionConfiguration", REST_JSON, {}), result, "an-id")
    assert response.body == b'{"FunctionName":"f","FunctionArn":"a","Timeout":3}'


def test_no_header_ends_a_line() -> None:
    response = serialize(INVOKE, {"ExecutedVersion": "1\r\nSet-Cookie: a=b", "LogResult": "é→"}, "an-id")
    headers = dict(response.headers)
    assert headers["X-Amz-Executed-Version"] == "1 Set-Cookie: a=b"
    assert headers["X-Amz-Log-Result"].encode("latin-1").decode() == "é→"


def test_a_json_operation_without_output_answers_nothing() -> None:
    response = serialize(Route("logs", "CreateLogGroup", JSON, {}), {}, "an-id")
    assert (response.status, response.body) == (200, b"")
    assert ("Content-Type", "application/x-amz-json-1.1") in response.headers


def test_s3_names_its_roots_and_its_times_have_milliseconds() -> None:
    result = {"Buckets": [{"Name": "b", "CreationDate": datetime(2026, 11, 21, tzinfo=UTC)}]}
    response = serialize(Route("s3", "ListBuckets", REST_XML, {}), result, "an-id")
    assert ("x-amz-request-id", "an-id") in response.headers
    assert response.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        "<Buckets><Bucket><Name>b</Name><CreationDate>2026-11-21T00:00:00.000Z</CreationDate></Bucket></Buckets>"
        "</ListAllMyBucketsResult>"
    )
    place = serialize(Route("s3", "GetBucketLocation", REST_XML, {}), {"LocationConstraint": "eu-west-1"}, "an-id")
    assert place.body.endswith(b'2006-03-01/">eu-west-1</LocationConstraint>')


def test_xml_holds_any_text() -> None:
    result = {"Account": "a<&>\"'\r\n\x00é", "Arn": "arn"}
    body = serialize(Route("sts", "GetCallerIdentity", QUERY, {}), result, "an-id").body.decode()
    assert "<Account>a&lt;&amp;&gt;&quot;'&#xD;\n\ufffdé</Account>" in body
    assert body.endswith(
        "</GetCallerIdentityResult><ResponseMetadata><RequestId>an-id</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


def test_sqs_writes_the_names_of_its_query_protocol() -> None:
    result = {"Messages": [{"MessageId": "m", "Attributes": {"SenderId": "s"}}]}
    body = serialize(Route("sqs", "ReceiveMessage", QUERY, {}), result, "an-id").body.decode()
    assert (
        "<ReceiveMessageResult><Message><MessageId>m</MessageId><Attribute><Name>SenderId</Name><Value>s</Value>"
        "</Attribute></Message></ReceiveMessageResult>"
    ) in body


@pytest.mark.parametrize(
    ("code", "members", "status", "body"),
    [
        ("ResourceNotFoundException", {}, 404, {"Type": "User", "Message": "m"}),
        (
            "TooManyRequestsException",
            {"Reason": "CallerRateLimitExceeded", "retryAfterSeconds": "3"},
            429,
            {"Type": "User", "message": "m", "Reason": "CallerRateLimitExceeded"},
        ),
        ("ServiceException", {}, 500, {"Type": "Service", "Message": "m"}),
        ("ValidationException", {}, 400, {"Type": "User", "message": "m"}),
        ("RequestEntityTooLargeException", {}, 413, {"Type": "User", "message": "m"}),
    ],
)
def test_an_error_of_lambda(code: str, members: dict[str, str], status: int, body: dict[str, str]) -> None:
    response = serialize_error(INVOKE, ApiError(code, "m", **members), "an-id")
    assert response.status == status
    assert json.loads(response.body) == body
    assert ("x-amzn-ErrorType", code) in response.headers
    assert (("Retry-After", "3") in response.headers) == bool(members)


def test_an_error_of_a_json_service() -> None:
    way = Route("logs", "CreateLogGroup", JSON, {})
    response = serialize_error(way, ApiError("ResourceAlreadyExistsException", "There is one."), "an-id")
    assert response.status == 400
    assert json.loads(response.body) == {"__type": "ResourceAlreadyExistsException", "message": "There is one."}


def test_an_error_of_a_query_service_has_its_wire_code() -> None:
    for code in ("NoSuchEntity", "NoSuchEntityException"):
        response = serialize_error(Route("iam", "GetRole", QUERY, {}), ApiError(code, "No <role>"), "an-id")
        assert response.status == 404
        assert b"<Type>Sender</Type><Code>NoSuchEntity</Code>" in response.body
        assert b"<Message>No &lt;role&gt;</Message>" in response.body
        assert b"<RequestId>an-id</RequestId>" in response.body


def test_an_error_of_sqs_has_its_old_code_too() -> None:
    error = ApiError("QueueDoesNotExist", "The specified queue does not exist.")
    response = serialize_error(Route("sqs", "GetQueueUrl", JSON, {}), error, "an-id")
    assert ("x-amzn-query-error", "AWS.SimpleQueueService.NonExistentQueue;Sender") in response.headers
    in_query = serialize_error(Route("sqs", "GetQueueUrl", QUERY, {}), error, "an-id")
    assert b"<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in in_query.body


def test_an_error_of_s3_has_elements_of_its_own() -> None:
    error = ApiError("NoSuchKey", "The specified key does not exist.", Key="a&b")
    response = serialize_error(Route("s3", "GetObject", REST_XML, {}), error, "an-id")
    assert response.status == 404
    assert response.body.decode().endswith(
        "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>a&amp;b</Key>"
        "<RequestId>an-id</RequestId><HostId>YW4taWQ=</HostId></Error>"
    )


def test_an_error_without_a_service_is_json() -> None:
    response = serialize_error(None, ApiError("MissingAuthenticationToken", "No."), "an-id")
    assert response.status == 403
    assert json.loads(response.body) == {"__type": "MissingAuthenticationToken", "message": "No."}


@pytest.mark.parametrize("code", sorted(UNMODELLED_STATUS))
@pytest.mark.parametrize(("service", "protocol"), [("lambda", REST_JSON), ("sts", QUERY), ("cloudwatch", CBOR)])
def test_every_unmodelled_code_has_its_status(service: str, protocol: str, code: str) -> None:
    response = serialize_error(Route(service, "", protocol, {}), ApiError(code, "m"), "an-id")
    assert 400 <= response.status < 600


def test_json_numbers_of_timestamps_keep_microseconds() -> None:
    moment = datetime(2026, 11, 21, 6, 0, 0, 123456, tzinfo=UTC)
    way = Route("stepfunctions", "DescribeExecution", JSON, {})
    body = msgspec.json.decode(
        serialize(way, {"startDate": moment, "stopDate": moment.replace(microsecond=0)}, "i").body
    )
    assert body == {"startDate": moment.timestamp(), "stopDate": int(moment.timestamp())}
