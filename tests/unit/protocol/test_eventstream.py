"""Event streams, against botocore's reader and as requests."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from botocore.exceptions import EventStreamError
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.protocol import models
from lambent.protocol.eventstream import (
    HeaderValue,
    decode,
    encode,
    encode_error,
    event_encoder,
    read_events,
)
from lambent.protocol.models import CBOR, JSON, REST_JSON, REST_XML
from lambent.protocol.route import Route
from lambent.protocol.serialize import serialize
from lambent.testing.wire import botocore_model, read_response

VALUES: st.SearchStrategy[HeaderValue] = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=20),
    st.text(max_size=20),
    st.uuids(),
    st.integers(0, 4_102_444_800_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
)


@settings(derandomize=True, database=None)
@given(
    st.lists(st.tuples(st.dictionaries(st.text(min_size=1, max_size=20), VALUES, max_size=4), st.binary(max_size=50)))
)
def test_messages_come_back(messages: list[tuple[dict[str, HeaderValue], bytes]]) -> None:
    stream = b"".join(encode(list(headers.items()), payload) for headers, payload in messages)
    read = [(message.headers, message.payload) for message in decode(stream)]
    assert read == messages


def test_a_uuid_is_sixteen_bytes() -> None:
    (message,) = decode(encode([("id", UUID(int=5))], b""))
    assert message.headers == {"id": UUID(int=5)}


@pytest.mark.parametrize("position", [0, 5, 9, 14, 30, -5, -1])
def test_a_wrong_byte_is_found(position: int) -> None:
    stream = bytearray(encode([(":event-type", "PayloadChunk")], b"some payload"))
    stream[position] ^= 1
    with pytest.raises(ApiError):
        list(decode(bytes(stream)))


def test_botocore_reads_a_streamed_invocation() -> None:
    way = Route("lambda", "InvokeWithResponseStream", REST_JSON, {})
    events = [
        {"PayloadChunk": {"Payload": b"\x00one"}},
        {"PayloadChunk": {"Payload": b""}},
        {"InvokeComplete": {"ErrorCode": "Unhandled", "ErrorDetails": "é", "LogResult": "TE9H"}},
    ]
    response = serialize(way, {"StatusCode": 200, "ExecutedVersion": "1", "EventStream": events}, "an-id")
    operation = botocore_model("lambda").operation_model("InvokeWithResponseStream")
    read = read_response(operation, response, REST_JSON)
    assert read["ExecutedVersion"] == "1"
    assert list(read["EventStream"]) == events


def test_botocore_reads_a_select_of_s3() -> None:
    events = [
        {"Records": {"Payload": b"a,b\n"}},
        {"Stats": {"Details": {"BytesScanned": 5, "BytesProcessed": 6}}},
        {"End": {}},
    ]
    response = serialize(Route("s3", "SelectObjectContent", REST_XML, {}), {"Payload": events}, "an-id")
    operation = botocore_model("s3").operation_model("SelectObjectContent")
    assert list(read_response(operation, response, REST_XML)["Payload"]) == events


def test_the_json_protocol_sends_its_other_members_first() -> None:
    events = [{"SubscribeToShardEvent": {"Records": [], "ContinuationSequenceNumber": "1", "MillisBehindLatest": 0}}]
    response = serialize(Route("kinesis", "SubscribeToShard", JSON, {}), {"EventStream": events}, "an-id")
    operation = botocore_model("kinesis").operation_model("SubscribeToShard")
    assert list(read_response(operation, response, JSON)["EventStream"]) == events


def test_an_exception_ends_a_stream() -> None:
    events = [{"ResourceNotFoundException": {"message": "It is gone."}}]
    response = serialize(Route("kinesis", "SubscribeToShard", JSON, {}), {"EventStream": events}, "an-id")
    operation = botocore_model("kinesis").operation_model("SubscribeToShard")
    with pytest.raises(EventStreamError, match="It is gone"):
        list(read_response(operation, response, JSON)["EventStream"])
    (message,) = decode(encode_error("InternalFailure", "We failed."))
    assert message.headers[":error-code"] == "InternalFailure"


@pytest.mark.parametrize("protocol", [REST_JSON, REST_XML, CBOR])
def test_events_of_a_request_are_read(protocol: str) -> None:
    model = models.service("s3")
    stream = next(
        shape for shape in model.members(model.shape("SelectObjectContentOutput")).values() if shape.eventstream
    )
    events = [{"Stats": {"Details": {"BytesScanned": 5}}}, {"Records": {"Payload": b"\xff"}}, {"Cont": {}}]
    encode_event = event_encoder(model, stream, protocol)
    body = b"".join(encode_event(event) for event in events) + encode([(":event-type", "Unknown")], b"")
    assert read_events(model, stream, body, protocol) == events
