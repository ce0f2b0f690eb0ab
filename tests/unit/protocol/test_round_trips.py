"""Round trips against botocore, for every operation of the services in scope: it writes and we read, we write and it
reads. Few examples each; `make test-long` has many more.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
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
from lambent.protocol.sqs_query import with_query_names
from lambent.testing.strategies import errors, requests, results
from lambent.testing.wire import botocore_model, read_error, read_response, written_request

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
MANY = 100


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


def check_error(service: str, protocol: str, code: str, members: Any) -> None:
    shape = with_query_names(models.service(service)).error(code)
    assert shape is not None
    members = {name: value for name, value in members.items() if name.lower() != "message"}
    route_ = Route(service, models.operation_names(service)[0], protocol, {})
    response = serialize_error(route_, ApiError(code, "It is not so.", **members), "an-id")
    error, modelled = read_error(botocore_model(service), route_.operation, response, protocol)
    wire_code = shape.error.code if shape.error else None
    assert error["Code"] == ((wire_code or shape.name) if protocol in (QUERY, REST_XML) else error["Code"])
    assert error["Code"] in (shape.name, wire_code)
    assert error["Message"] == "It is not so."
    assert response.status >= 400
    told_members = {name: value for name, value in comparable(modelled).items() if name.lower() != "message"}
    if service == "lambda" and "Type" in shape.members:
        members.setdefault("Type", "User" if response.status < 500 else "Service")
    assert told_members == comparable(members)


def run(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], examples: int) -> None:
    """The same examples each time, so that a failure is found again."""

    @settings(max_examples=examples, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def checked(value: Any) -> None:
        check(value)

    checked()


@pytest.mark.parametrize(("service", "protocol", "operation"), OPERATIONS)
def test_we_read_what_botocore_writes(service: str, protocol: str, operation: str) -> None:
    run(requests(service, operation, protocol), partial(check_request, service, protocol, operation), FEW)


@pytest.mark.parametrize(("service", "protocol", "operation"), OPERATIONS)
def test_botocore_reads_what_we_write(service: str, protocol: str, operation: str) -> None:
    if service != "s3" or operation not in UNREADABLE:
        run(results(service, operation, protocol), partial(check_result, service, protocol, operation), FEW)


@pytest.mark.parametrize(("service", "protocol"), SERVICES)
def test_botocore_reads_the_errors_that_we_write(service: str, protocol: str) -> None:
    model = models.service(service)
    codes = [name for name in model.shape_names() if model.shape(name).exception]

    def check(members: Any) -> None:
        for code, own in zip(codes, members, strict=True):
            check_error(service, protocol, code, own)

    run(st.tuples(*(errors(service, code, protocol) for code in codes)), check, FEW)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("service", "protocol", "operation"), OPERATIONS)
def test_many_round_trips(service: str, protocol: str, operation: str) -> None:
    run(requests(service, operation, protocol), partial(check_request, service, protocol, operation), MANY)
    if service != "s3" or operation not in UNREADABLE:
        run(results(service, operation, protocol), partial(check_result, service, protocol, operation), MANY)
