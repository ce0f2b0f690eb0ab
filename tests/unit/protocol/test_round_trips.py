"""Round trips against botocore, for every operation of the services in scope: it writes and we read, we write and it
reads. Few examples each; `make test-long` has many more.
"""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.protocol import models
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, REST_XML, Shape
from lambent.protocol.parse import parse
from lambent.protocol.route import Route, route
from lambent.protocol.serialize import serialize, serialize_error
from lambent.testing.strategies import errors, requests, results
from lambent.testing.wire import botocore_model, read_response, written_request

SERVICES = [
    ("lambda", REST_JSON),
    ("logs", JSON),
    ("sqs", JSON),
    ("sns", QUERY),
    ("s3", REST_XML),
    ("events", JSON),
    ("stepfunctions", JSON),
    ("dynamodb", JSON),
    ("kinesis", JSON),
    ("cloudwatch", CBOR),
    ("cloudwatch", JSON),
    ("cloudwatch", QUERY),
    ("cloudformation", QUERY),
    ("iam", QUERY),
    ("sts", QUERY),
]
OPERATIONS = [
    pytest.param(service, protocol, operation, id=f"{service}-{protocol}-{operation}")
    for service, protocol in SERVICES
    for operation in models.operation_names(service)
]
# Where a path means another operation than the one that wrote it.
SAME_PATH = {
    "GetBucketLifecycle": "a deprecated name for GetBucketLifecycleConfiguration",
    "GetBucketNotification": "a deprecated name for GetBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets at another host",
    "PutBucketLifecycle": "a deprecated name for PutBucketLifecycleConfiguration",
    "PutBucketNotification": "a deprecated name for PutBucketNotificationConfiguration",
}
UNREADABLE = {
    "GetBucketLocation": "its root element is its member, which botocore reads in a handler of its client",
    "GetBucketNotification": "deprecated: two members of its output have the same element",
}
FEW = 3
MANY = 200


def comparable(value: Any) -> Any:
    """What can be compared: moments as milliseconds, and without members that are None or hold nothing at all."""
    if isinstance(value, dict):
        return {key: comparable(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value


def check_request(service: str, protocol: str, operation: str, params: Any) -> None:
    written = written_request(botocore_model(service).operation_model(operation), params, protocol)
    metadata = models.service(service).metadata
    found = route(written, metadata.signing_name or metadata.endpoint_prefix)
    if service == "s3" and operation in SAME_PATH:
        assert SAME_PATH[operation].find(found.operation) >= 0
        return
    assert found[:3] == (service, operation, protocol)
    read = parse(found, written)
    if "ContentLength" not in params:  # a header that is always there
        read.pop("ContentLength", None)
    shape = models.service(service).input(operation)
    assert comparable(told(service, shape, read)) == comparable(told(service, shape, params))


def check_result(service: str, protocol: str, operation: str, result: Any) -> None:
    response = serialize(Route(service, operation, protocol, {}), result, "an-id")
    shape = models.service(service).output(operation)
    read = read_response(botocore_model(service).operation_model(operation), response, protocol)
    metadata = read.pop("ResponseMetadata")
    if shape is not None:  # else botocore does not look at rpc-v2-cbor's headers
        assert metadata["RequestId"] == "an-id"
    assert comparable(told(service, shape, read)) == comparable(told(service, shape, result))


def told(service: str, shape: Shape | None, value: dict[str, Any]) -> dict[str, Any]:
    """Without what the wire cannot tell from nothing: an empty payload or header map, the status, an empty stream."""
    if shape is None:
        return value
    value = dict(value)
    for name, member in models.service(service).members(shape).items():
        is_nothing = name == shape.payload or member.location == "headers"
        if member.eventstream or member.location == "statusCode" or (is_nothing and not value.get(name)):
            value.pop(name, None)
    return value


@pytest.mark.parametrize(("service", "protocol", "operation"), OPERATIONS)
def test_we_read_what_botocore_writes(service: str, protocol: str, operation: str) -> None:
    @settings(max_examples=FEW, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(requests(service, operation, protocol))
    def check(params: Any) -> None:
        check_request(service, protocol, operation, params)

    check()


@pytest.mark.parametrize(("service", "protocol", "operation"), OPERATIONS)
def test_botocore_reads_what_we_write(service: str, protocol: str, operation: str) -> None:
    if service == "s3" and operation in UNREADABLE:
        return

    @settings(max_examples=FEW, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(results(service, operation, protocol))
    def check(result: Any) -> None:
        check_result(service, protocol, operation, result)

    check()
