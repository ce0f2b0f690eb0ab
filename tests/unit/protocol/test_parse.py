"""Requests into parameters: what the vectors and round trips do not reach."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from lambent.aws.errors import ApiError
from lambent.protocol.http import HttpRequest
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, REST_XML
from lambent.protocol.parse import parse
from lambent.protocol.route import Route, route

CREATE = Route("lambda", "CreateFunction", REST_JSON, {})


def read(way: Route, body: bytes, query: str = "", **headers: str) -> dict[str, Any]:
    return parse(
        way, HttpRequest("POST", "/", query, {key.replace("_", "-"): one for key, one in headers.items()}, body)
    )


def refused(way: Route, body: bytes, query: str = "", **headers: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(way, body, query, **headers)
    return caught.value


def test_a_payload_is_the_body_as_it_is() -> None:
    for operation in ("Invoke", "InvokeWithResponseStream"):
        way = Route("lambda", operation, REST_JSON, {"FunctionName": "f"})
        assert read(way, b"\xff not json")["Payload"] == b"\xff not json"
    way = Route("lambda", "InvokeAsync", REST_JSON, {"FunctionName": "f"})
    assert read(way, b"{}") == {"FunctionName": "f", "InvokeArgs": b"{}"}


def test_labels_are_decoded() -> None:
    way = Route("lambda", "Invoke", REST_JSON, {"FunctionName": "arn%3Aaws%3A%C3%A9+"})
    assert read(way, b"")["FunctionName"] == "arn:aws:é+"
    way = Route("s3", "GetObject", REST_XML, {"Bucket": "b", "Key": "a/b%2Fc//d/"})
    assert read(way, b"")["Key"] == "a/b/c//d/"


def test_what_is_null_or_unknown_is_left_out() -> None:
    assert read(CREATE, b'{"FunctionName":"f","Timeout":null,"Nonsense":{"a":[1]},"__type":"x"}') == {
        "FunctionName": "f"
    }
    assert read(CREATE, b"null") == {}
    assert read(CREATE, b"") == {}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"Timeout":"3"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"Timeout":true}', "TRUE_VALUE can not be converted to an Integer"),
        (b'{"FunctionName":5}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"FunctionName":["a"]}', "Start of list found where not expected"),
        (b'{"FunctionName":{}}', "Start of structure or map found where not expected."),
        (b'{"Publish":"true"}', "STRING_VALUE can not be converted to a Boolean"),
        (b'{"Layers":"a"}', "Expected list or null"),
        (b'{"Code":"a"}', "Expected structure or null"),
        (b'{"Code":{"ZipFile":"?"}}', "only base64-encoded data is expected"),
        (b"[]", "Expected structure or null"),
    ],
)
def test_a_value_of_another_type_is_refused(body: bytes, message: str) -> None:
    error = refused(CREATE, body)
    assert (error.code, error.message) == ("SerializationException", message)


def test_a_body_that_is_no_json_is_refused() -> None:
    error = refused(CREATE, b'{"FunctionName":')
    assert error.code == "SerializationException"
    assert error.message.startswith("Could not parse request body into json: ")


def test_json_nests_only_so_deep() -> None:
    way = Route("dynamodb", "PutItem", JSON, {})

    def nested(levels: int) -> bytes:
        return b'{"Item":{"a":' + b'{"L":[' * levels + b'{"S":"x"}' + b"]}" * levels + b"}}"

    read(way, nested(95))
    assert "deeper than 200 levels" in refused(way, nested(100)).message
    assert refused(way, nested(100_000)).code == "SerializationException"


def test_query_parameters_are_read_by_type() -> None:
    way = Route("lambda", "ListFunctions", REST_JSON, {})
    assert read(way, b"", "MaxItems=5&Marker=a%2Bb+c&Other=1") == {"MaxItems": 5, "Marker": "a+b c"}
    assert refused(way, b"", "MaxItems=1_0").message == "STRING_VALUE can not be converted to an Integer"
    way = Route("lambda", "UntagResource", REST_JSON, {"Resource": "r"})
    assert read(way, b"", "tagKeys=a&tagKeys=b")["TagKeys"] == ["a", "b"]


def test_headers_are_read_by_type() -> None:
    way = Route("s3", "PutObject", REST_XML, {"Bucket": "b", "Key": "k"})
    params = read(way, b"", expires="Wed, 21 Oct 2026 07:28:00 GMT", x_amz_meta_color="red", content_length="5")
    assert params["Metadata"] == {"color": "red"}
    assert params["ContentLength"] == 5
    assert params["Expires"] == datetime(2026, 10, 21, 7, 28, tzinfo=UTC)
    assert refused(way, b"", content_length="5x").code == "SerializationException"


def test_a_body_in_chunks_is_joined() -> None:
    way = Route("s3", "PutObject", REST_XML, {"Bucket": "b", "Key": "k"})
    chunks = b"5;chunk-signature=abc\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    assert read(way, chunks, content_encoding="aws-chunked")["Body"] == b"hello world"
    assert read(way, chunks, x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER")["Body"] == b"hello world"
    assert read(way, chunks)["Body"] == chunks
    assert refused(way, chunks[:40], content_encoding="aws-chunked").code == "IncompleteBody"


def test_xml_with_a_dtd_is_refused() -> None:
    way = Route("s3", "PutBucketTagging", REST_XML, {"Bucket": "b"})
    assert refused(way, b'<!DOCTYPE x [<!ENTITY a "b">]><Tagging><TagSet/></Tagging>').code == "MalformedXML"
    body = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet><Other/></Tagging>"
    assert read(way, body)["Tagging"] == {"TagSet": [{"Key": "k", "Value": "v"}]}


def test_sqs_reads_the_names_of_its_query_protocol() -> None:
    body = (
        b"Action=SendMessageBatch&QueueUrl=q"
        b"&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=one"
        b"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n"
        b"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=s"
        b"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String"
        b"&SendMessageBatchRequestEntry.10.Id=b&SendMessageBatchRequestEntry.10.MessageBody=two"
    )
    attribute = {"n": {"StringValue": "s", "DataType": "String"}}
    assert read(Route("sqs", "SendMessageBatch", QUERY, {}), body) == {
        "QueueUrl": "q",
        "Entries": [
            {"Id": "a", "MessageBody": "one", "MessageAttributes": attribute},
            {"Id": "b", "MessageBody": "two"},
        ],
    }
    body = b"QueueName=n&Attribute.1.Name=VisibilityTimeout&Attribute.1.Value=5&Tag.1.Key=k&Tag.1.Value=v"
    assert read(Route("sqs", "CreateQueue", QUERY, {}), body) == {
        "QueueName": "n",
        "Attributes": {"VisibilityTimeout": "5"},
        "tags": {"k": "v"},
    }
    body = b"QueueUrl=q&AttributeName.1=All&MessageAttributeName.1=a"
    assert read(Route("sqs", "ReceiveMessage", QUERY, {}), body)["MessageAttributeNames"] == ["a"]


def test_a_query_may_be_in_the_address() -> None:
    request = HttpRequest("GET", "/", "Action=GetCallerIdentity&Version=2011-06-15", {}, b"")
    assert parse(route(request, None), request) == {}


def test_cbor_without_a_body_has_no_parameters() -> None:
    assert read(Route("cloudwatch", "ListMetrics", CBOR, {}), b"") == {}


def test_a_client_context_stays_as_it_was_sent() -> None:
    way = Route("lambda", "Invoke", REST_JSON, {"FunctionName": "f"})
    sent = base64.b64encode(b'{"custom":{}}').decode()
    assert read(way, b"", x_amz_client_context=sent)["ClientContext"] == sent
