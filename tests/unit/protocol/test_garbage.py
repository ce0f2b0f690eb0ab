"""Whatever bytes arrive, nothing but ApiError leaves the protocol layer."""

import json
from collections.abc import Callable

import cbor2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.protocol.chunked import joined
from lambent.protocol.eventstream import decode, encode
from lambent.protocol.http import HttpRequest
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, REST_XML
from lambent.protocol.parse import parse
from lambent.protocol.read_rest import header_list
from lambent.protocol.route import Route, route
from lambent.protocol.serialize import serialize_error
from lambent.protocol.validate import validate

fixed = settings(max_examples=150, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

# One operation of each protocol that has nested structures, lists, maps, blobs, numbers and timestamps.
ROUTES = [
    Route("lambda", "CreateFunction", REST_JSON, {}),
    Route("lambda", "Invoke", REST_JSON, {"FunctionName": "f"}),
    Route("dynamodb", "PutItem", JSON, {}),
    Route("iam", "CreateRole", QUERY, {}),
    Route("cloudformation", "CreateStack", QUERY, {}),
    Route("sqs", "SendMessageBatch", QUERY, {}),
    Route("s3", "PutBucketLifecycleConfiguration", REST_XML, {"Bucket": "b"}),
    Route("s3", "PutObject", REST_XML, {"Bucket": "b", "Key": "k"}),
    Route("cloudwatch", "PutMetricData", CBOR, {}),
]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
GOOD = {
    "CreateFunction": json.dumps(
        {"FunctionName": "f", "Code": {"ZipFile": "UEsFBg=="}, "Environment": {"Variables": {"a": "b"}}, "Timeout": 3}
    ).encode(),
    "PutItem": json.dumps({"TableName": "t", "Item": {"a": {"M": {"b": {"L": [{"B": "AAAA"}]}}}}}).encode(),
    "CreateRole": b"Action=CreateRole&RoleName=r&Tags.member.1.Key=a&Tags.member.1.Value=%C3%A9&MaxSessionDuration=9",
    "PutBucketLifecycleConfiguration": (
        b'<LifecycleConfiguration xmlns="x"><Rule><ID>a</ID><Filter><Prefix>p</Prefix></Filter>'
        b"<Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>"
    ),
    "PutMetricData": cbor2.dumps(
        {"Namespace": "n", "MetricData": [{"MetricName": "m", "Timestamp": cbor2.CBORTag(1, 1.5), "Values": [1.0, 2]}]}
    ),
}


def request(body: bytes, query: str = "", headers: dict[str, str] | None = None, path: str = "/") -> HttpRequest:
    return HttpRequest("POST", path, query, headers or {}, body)


def refusal(act: Callable[[], object]) -> ApiError | None:
    """The only exception that may be raised, if it is."""
    try:
        act()
    except ApiError as error:
        return error
    return None


def read(way: Route, wanted: HttpRequest) -> None:
    error = refusal(lambda: validate(way.service, way.operation, parse(way, wanted)))
    assert error is None or 400 <= serialize_error(way, error, "an-id").status < 500


@pytest.mark.parametrize("way", ROUTES, ids=lambda way: f"{way.operation}-{way.protocol}")
def test_any_bytes_are_read_or_refused(way: Route) -> None:
    @fixed
    @given(st.binary(max_size=60))
    @example(b"[" * 100_000)
    @example(b'{"a":' * 100_000)
    @example(b"\x81" * 100_000)
    @example(b"\xbb" + b"\xff" * 8)
    @example(b"\x5b" + b"\xff" * 8)
    @example(b"\xd8\x1c\x81\xd8\x1d\x00")  # a list that holds itself
    @example(b"\xc1\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00")  # the moment infinity
    @example(b"<a>" * 50_000)
    @example(b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><a>&d;</a>')
    @example("<?xml version='1.0' encoding='utf-16'?><a/>".encode("utf-16"))
    @example(b"<?xml version='1.0' encoding='nonsense'?><a/>")
    @example(b"Tags.member." * 2_000 + b"=1")
    @example(b"Tags.member.99999999999999999999.Key=1&Tags.member.x.Key=2&Tags.member.\xb2.Key=3")
    def check(body: bytes) -> None:
        read(way, request(body))

    check()


@pytest.mark.parametrize("way", [way for way in ROUTES if way.protocol in (JSON, REST_JSON)], ids=str)
def test_any_json_is_read_or_refused(way: Route) -> None:
    members = ["FunctionName", "Code", "Environment", "Timeout", "Layers", "TableName", "Item", "Expected", "Tags"]

    @fixed
    @given(st.dictionaries(st.sampled_from(members), JSON_VALUES, max_size=4))
    def check(value: object) -> None:
        read(way, request(json.dumps(value).encode()))

    check()


@fixed
@given(st.dictionaries(st.sampled_from(["Namespace", "MetricData"]), JSON_VALUES, max_size=2))
def test_any_cbor_is_read_or_refused(value: object) -> None:
    read(ROUTES[-1], request(cbor2.dumps(value)))


@pytest.mark.parametrize("way", [way for way in ROUTES if way.operation in GOOD], ids=str)
def test_a_truncated_body_is_read_or_refused(way: Route) -> None:
    body = GOOD[way.operation]
    parse(way, request(body))
    for end in range(len(body)):
        read(way, request(body[:end]))


@pytest.mark.parametrize("way", [way for way in ROUTES if way.operation in GOOD], ids=str)
def test_a_body_with_wrong_bytes_is_read_or_refused(way: Route) -> None:
    @fixed
    @given(st.integers(0, len(GOOD[way.operation]) - 1), st.binary(min_size=1, max_size=3))
    def check(position: int, wrong: bytes) -> None:
        body = GOOD[way.operation]
        read(way, request(body[:position] + wrong + body[position + 1 :]))

    check()


@fixed
@given(st.text(max_size=30), st.text(max_size=30))
@example("%ff", "marker=%ff")
@example("%", "%&=&&;")
@example("a" * 9000, "a&" * 9000)
def test_any_label_and_query_are_read_or_refused(label: str, query: str) -> None:
    headers = {"x-amz-client-context": label, "x-amz-checksum-crc32": query, "content-length": label, "expires": query}
    read(Route("s3", "PutObject", REST_XML, {"Bucket": label, "Key": query}), request(b"", query, headers))
    read(Route("s3", "ListObjectsV2", REST_XML, {"Bucket": label}), request(b"", query, headers))
    read(Route("lambda", "ListFunctions", REST_JSON, {}), request(b"", query, headers))
    assert isinstance(header_list(label), list)


@fixed
@given(
    st.sampled_from(["GET", "POST", "", "nonsense"]),
    st.text(max_size=20),
    st.text(max_size=20),
    st.dictionaries(st.sampled_from(["x-amz-target", "content-type", "smithy-protocol"]), st.text(max_size=20)),
    st.binary(max_size=20),
    st.none() | st.sampled_from(["lambda", "s3", "logs", "sts", "monitoring", "events", "nonsense", "../x", ""]),
)
@example(
    "POST", "/service/GraniteServiceVersion20100801/operation/x", "", {"smithy-protocol": "rpc-v2-cbor"}, b"", None
)
@example("POST", "/" * 5000, "Action=%ff", {}, b"", None)
@example("POST", "/", "", {"content-type": "application/x-www-form-urlencoded"}, b"Action=\xff", "sts")
def test_any_request_is_routed_or_refused(
    method: str, path: str, query: str, headers: dict[str, str], body: bytes, signing_name: str | None
) -> None:
    wanted = HttpRequest(method, path, query, headers, body)
    error = refusal(lambda: parse(route(wanted, signing_name), wanted))
    assert error is None or 400 <= serialize_error(None, error, "an-id").status < 500


@fixed
@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_stream_is_read_or_refused(wrong: bytes, position: int) -> None:
    good = encode([(":event-type", "a"), ("n", 5), ("t", True)], b"payload")
    for stream in (wrong, good[:position], good[:position] + wrong[:1] + good[position + 1 :]):
        error = refusal(lambda stream=stream: list(decode(stream)))
        assert error is None or error.code == "SerializationException"


@fixed
@given(st.binary(max_size=40))
@example(b"ffffffffffffffff\r\n")
@example(b"5;chunk-signature=x\r\nhello\r\n")
def test_any_chunks_are_joined_or_refused(body: bytes) -> None:
    error = refusal(lambda: joined(body))
    assert error is None or error.code == "IncompleteBody"
