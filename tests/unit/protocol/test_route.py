"""Which operation a request means."""

import pytest

from lambent.aws.errors import ApiError
from lambent.protocol.http import HttpRequest
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, REST_XML
from lambent.protocol.route import Route, route
from lambent.protocol.serialize import serialize_error

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def request(
    method: str, path: str, query: str = "", headers: dict[str, str] | None = None, body: bytes = b""
) -> HttpRequest:
    return HttpRequest(method, path, query, headers or {}, body)


@pytest.mark.parametrize("signing_name", ["lambda", None])
@pytest.mark.parametrize(
    ("method", "path", "operation", "labels"),
    [
        ("GET", "/2015-03-31/functions", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions/", "ListFunctions", {}),
        ("POST", "/2015-03-31/functions", "CreateFunction", {}),
        ("POST", "/2015-03-31/functions/f/invocations", "Invoke", {"FunctionName": "f"}),
        ("POST", "/2015-03-31/functions/a%3Ab/invocations/", "Invoke", {"FunctionName": "a%3Ab"}),
        ("GET", "/2015-03-31/functions/f/aliases/live", "GetAlias", {"FunctionName": "f", "Name": "live"}),
        ("GET", "/2018-10-31/layers/l/versions/3", "GetLayerVersion", {"LayerName": "l", "VersionNumber": "3"}),
    ],
)
def test_a_path_is_an_operation_of_lambda(
    signing_name: str | None, method: str, path: str, operation: str, labels: dict[str, str]
) -> None:
    assert route(request(method, path), signing_name) == Route("lambda", operation, REST_JSON, labels)


def test_a_payload_that_looks_like_a_form_is_a_payload() -> None:
    # curl -d says that it sends a form.
    body = b"Action=ListUsers&Version=2010-05-08"
    sent = request("POST", "/2015-03-31/functions/f/invocations", headers=FORM, body=body)
    assert route(sent, None).operation == "Invoke"


def test_an_unsigned_request_of_another_path_is_for_s3() -> None:
    assert route(request("GET", "/bucket/key"), None)[:3] == ("s3", "GetObject", REST_XML)
    with pytest.raises(ApiError):
        route(request("GET", "/2015-03-31/nothing"), None)


def test_constants_of_the_query_string_tell_operations_apart() -> None:
    path = "/2019-09-30/functions/f/provisioned-concurrency"
    assert route(request("GET", path, "List=ALL"), "lambda").operation == "ListProvisionedConcurrencyConfigs"
    assert route(request("GET", path, "Qualifier=1"), "lambda").operation == "GetProvisionedConcurrencyConfig"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation"),
    [
        ("GET", "/", "", {}, "ListBuckets"),
        ("PUT", "/b", "", {}, "CreateBucket"),
        ("GET", "/b/", "", {}, "ListObjects"),
        ("GET", "/b", "list-type=2&prefix=a", {}, "ListObjectsV2"),
        ("GET", "/b", "versioning", {}, "GetBucketVersioning"),
        ("GET", "/b", "versioning=", {}, "GetBucketVersioning"),
        ("GET", "/b/k/with//slashes/", "", {}, "GetObject"),
        ("GET", "/b/k", "x-id=GetObject", {}, "GetObject"),
        ("GET", "/b/k", "uploadId=u", {}, "ListParts"),
        ("PUT", "/b/k", "", {}, "PutObject"),
        ("PUT", "/b/k", "", {"x-amz-copy-source": "/a/b"}, "CopyObject"),
        ("PUT", "/b/k", "partNumber=1&uploadId=u", {}, "UploadPart"),
        ("PUT", "/b/k", "partNumber=1&uploadId=u", {"x-amz-copy-source": "/a/b"}, "UploadPartCopy"),
        ("POST", "/b/k", "uploads", {}, "CreateMultipartUpload"),
        ("POST", "/b", "delete", {}, "DeleteObjects"),
        ("DELETE", "/b/k", "uploadId=u", {}, "AbortMultipartUpload"),
        ("HEAD", "/b/k", "", {}, "HeadObject"),
    ],
)
def test_s3_is_told_apart_by_query_and_headers(
    method: str, path: str, query: str, headers: dict[str, str], operation: str
) -> None:
    found = route(request(method, path, query, headers), "s3")
    assert found[:3] == ("s3", operation, REST_XML)
    if operation == "GetObject" and "slashes" in path:
        assert found.path_params == {"Bucket": "b", "Key": "k/with//slashes/"}


def test_the_signature_decides_between_services_of_the_same_name() -> None:
    streams = request("POST", "/", headers={"x-amz-target": "DynamoDBStreams_20120810.ListStreams"})
    assert route(streams, "dynamodb").service == "dynamodbstreams"
    assert route(request("GET", "/v2/apis"), "apigateway").service == "apigatewayv2"
    assert route(request("GET", "/restapis"), "apigateway").service == "apigateway"


@pytest.mark.parametrize("signing_name", ["monitoring", None])
def test_one_operation_is_found_in_three_protocols(signing_name: str | None) -> None:
    target = {"x-amz-target": "GraniteServiceVersion20100801.ListMetrics"}
    path = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
    body = b"Action=ListMetrics&Version=2010-08-01"
    assert route(request("POST", "/", headers=target), signing_name)[:3] == ("cloudwatch", "ListMetrics", JSON)
    cbor = request("POST", path, headers={"smithy-protocol": "rpc-v2-cbor"})
    assert route(cbor, signing_name)[:3] == ("cloudwatch", "ListMetrics", CBOR)
    assert route(request("POST", "/", headers=FORM, body=body), signing_name)[:3] == (
        "cloudwatch",
        "ListMetrics",
        QUERY,
    )


def test_sqs_is_asked_in_either_protocol() -> None:
    target = {"x-amz-target": "AmazonSQS.ListQueues"}
    assert route(request("POST", "/", headers=target), "sqs")[:3] == ("sqs", "ListQueues", JSON)
    in_query = request("GET", "/", "Action=ListQueues&Version=2012-11-05")
    assert route(in_query, "sqs")[:3] == ("sqs", "ListQueues", QUERY)
    assert route(in_query, None)[:3] == ("sqs", "ListQueues", QUERY)


@pytest.mark.parametrize(
    ("wanted", "signing_name", "code", "status", "content_type"),
    [
        (request("GET", "/2015-03-31/nothing"), "lambda", "UnknownOperationException", 404, "application/json"),
        (request("PATCH", "/2015-03-31/functions"), "lambda", "UnknownOperationException", 404, "application/json"),
        (request("GET", "/"), "nonsense", "UnknownOperationException", 400, "application/x-amz-json-1.0"),
        (
            request("POST", "/", headers={"x-amz-target": "Logs_20140328.Nothing"}),
            "logs",
            "UnknownOperationException",
            400,
            "application/x-amz-json-1.1",
        ),
        (request("POST", "/"), "logs", "UnknownOperationException", 400, "application/x-amz-json-1.1"),
        (request("POST", "/", headers=FORM, body=b"Action=Nothing"), "sts", "InvalidAction", 400, "text/xml"),
        (request("POST", "/"), "iam", "MissingAction", 400, "text/xml"),
        (
            request("POST", "/service/X/operation/Y", headers={"smithy-protocol": "rpc-v2-cbor"}),
            None,
            "UnknownOperationException",
            404,
            "application/cbor",
        ),
    ],
)
def test_what_means_no_operation_is_refused_in_the_form_of_its_service(
    wanted: HttpRequest, signing_name: str | None, code: str, status: int, content_type: str
) -> None:
    with pytest.raises(ApiError) as refused:
        route(wanted, signing_name)
    assert refused.value.code == code
    answer = serialize_error(None, refused.value, "an-id")
    assert answer.status == status
    assert ("Content-Type", content_type) in answer.headers


def test_a_missing_parameter_is_not_another_operation() -> None:
    # GetAlias without its name would be ListAliases; UploadPart's required parameters tell it from PutObject.
    assert route(request("PUT", "/b/k", "partNumber=1"), "s3").operation == "PutObject"
    assert route(request("GET", "/2015-03-31/event-source-mappings"), "lambda").operation == "ListEventSourceMappings"
    assert route(request("DELETE", "/2017-03-31/tags/arn%3Aaws"), "lambda").operation == "UntagResource"
