"""An operation's result, or its error, into the response that its protocol wants.

What an operation needs is compiled on its first response and kept. A result has the output shape's member names;
members that are None, and names that the model does not know, are left out.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Final

from lambent.aws.errors import ApiError
from lambent.protocol import eventstream, models
from lambent.protocol.http import UNMODELLED_HEADERS, UNMODELLED_STATUS, HttpResponse
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, ServiceModel, Shape
from lambent.protocol.route import Route, Unroutable
from lambent.protocol.serialize_errors import error_response, s3_ids
from lambent.protocol.sqs_query import with_query_names
from lambent.protocol.write_rest import Headers, header_text, header_writer
from lambent.protocol.write_values import ValueWriters, encode_cbor, encode_json
from lambent.protocol.write_xml import DECLARATION, Out, XmlWriters, escaped, namespace_attribute

Serialize = Callable[[Mapping[str, Any], str], HttpResponse]
"""A result and a request id into the response."""
_WriteBody = Callable[[Mapping[str, Any]], bytes]

# What S3 calls the roots of its answers, where the model has the shape's name. Clients do not look at them.
# Source: Amazon S3 API Reference, response syntax of each operation.
_ROOTS: Final = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
}
_S3_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_OUTSIDE: Final = ("header", "headers", "statusCode")
_NO_BODY: Final = (204, 304)

_compiled: dict[tuple[str, str, str], Serialize] = {}


def serialize(route: Route, result: Mapping[str, Any], request_id: str) -> HttpResponse:
    """The response to a request that succeeded."""
    key = route[:3]
    compiled = _compiled.get(key)
    if compiled is None:
        model = models.service(route.service)
        compiled = _compiled[key] = compile_serialize(model, route.operation, route.protocol)
    return compiled(result, request_id)


def serialize_error(route: Route | None, error: ApiError, request_id: str) -> HttpResponse:
    """The response to a request that failed. Without a route it has the form of the json protocol."""
    if route is None and isinstance(error, Unroutable):
        route = error.route
    model = models.service(route.service) if route is not None and route.service else None
    return error_response(model, route.protocol if route is not None else JSON, error, request_id)


def compile_serialize(model: ServiceModel, operation: str, protocol: str) -> Serialize:
    """What `serialize` keeps for one operation."""
    if protocol == QUERY:
        return _query(with_query_names(model), operation)
    if protocol in (JSON, CBOR):
        return _rpc(model, model.output(operation), protocol)
    return _rest(model, operation, protocol)


def _query(model: ServiceModel, operation: str) -> Serialize:
    shape = model.output(operation)
    wrapper = (shape.result_wrapper if shape else None) or f"{operation}Result"
    write = XmlWriters(model).content(model.members(shape)) if shape else None
    opening = f"{DECLARATION}<{operation}Response{namespace_attribute(model.metadata.xml_namespace)}>"
    closing = f"</{operation}Response>"

    def serialize_query(result: Mapping[str, Any], request_id: str) -> HttpResponse:
        out: Out = [opening]
        if write is not None:
            out.append(f"<{wrapper}>")
            write(result, out)
            out.append(f"</{wrapper}>")
        out.append(f"<ResponseMetadata><RequestId>{escaped(request_id)}</RequestId></ResponseMetadata>{closing}")
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
        return HttpResponse(200, headers, "".join(out).encode())

    return serialize_query


def _rpc(model: ServiceModel, shape: Shape | None, protocol: str) -> Serialize:
    if shape is None:
        return _rpc_without_output(protocol, f"application/x-amz-json-{model.metadata.json_version}")
    members = model.members(shape)
    stream = next((name for name, member in members.items() if member.eventstream), None)
    write = ValueWriters(model, cbor=protocol == CBOR).structure(
        {name: member for name, member in members.items() if name != stream}
    )
    encode = encode_cbor if protocol == CBOR else encode_json
    encoder = eventstream.event_encoder(model, members[stream], protocol) if stream else None
    content_type = "application/cbor" if protocol == CBOR else f"application/x-amz-json-{model.metadata.json_version}"
    kind = eventstream.CONTENT_TYPE if stream else content_type
    fixed = [("Content-Type", kind), *([("smithy-protocol", "rpc-v2-cbor")] if protocol == CBOR else [])]

    def serialize_rpc(result: Mapping[str, Any], request_id: str) -> HttpResponse:
        body = encode(write(result))
        if encoder is not None and stream is not None:
            first = eventstream.encode_initial_response(body, content_type)
            body = b"".join([first, *(encoder(event) for event in result.get(stream) or ())])
        return HttpResponse(200, [("x-amzn-RequestId", request_id), *fixed], body)

    return serialize_rpc


def _rpc_without_output(protocol: str, content_type: str) -> Serialize:
    kind = ("smithy-protocol", "rpc-v2-cbor") if protocol == CBOR else ("Content-Type", content_type)
    return lambda _result, request_id: HttpResponse(200, [("x-amzn-RequestId", request_id), kind], b"")


def _rest(model: ServiceModel, operation: str, protocol: str) -> Serialize:
    shape = model.output(operation)
    status = model.operations[operation].http.response_code or 200
    id_headers = s3_ids if model.name == "s3" else _ids
    if shape is None:
        return lambda result, request_id: HttpResponse(status, [*id_headers(request_id), *_unmodelled(result)], b"")
    members = model.members(shape)
    write_headers = header_writer(model, members)
    status_member = next((name for name, member in members.items() if member.location == "statusCode"), "")
    content_type, write_body = _rest_body(model, operation, shape, protocol)
    is_raw = shape.payload is not None and members[shape.payload].type == "blob"
    payload = members[shape.payload] if shape.payload else None
    encode = eventstream.event_encoder(model, payload, protocol) if payload and payload.eventstream else None
    tells_length = model.name == "s3" and "ContentLength" in members
    has_type_member = any((member.wire_name or "").lower() == "content-type" for member in members.values())

    def serialize_rest(result: Mapping[str, Any], request_id: str) -> HttpResponse:
        headers: Headers = id_headers(request_id)
        write_headers(result, headers)
        headers += _unmodelled(result)
        code = result.get(status_member) or result.get(UNMODELLED_STATUS) or status
        if encode is not None and isinstance(events := result.get(shape.payload or ""), AsyncIterator):
            headers.append(("Content-Type", content_type))
            return HttpResponse(code, headers, b"", _encoded(encode, events))
        length = result.get("ContentLength") if tells_length else None
        if is_raw and isinstance(chunks := result.get(shape.payload or ""), AsyncIterator):
            return HttpResponse(code, headers, b"", chunks, length)
        body = write_body(result) if code not in _NO_BODY else b""
        if body and not (has_type_member and _has_type(headers, is_raw=is_raw)):
            headers.append(("Content-Type", content_type))
        return HttpResponse(code, headers, body, None, length if not body else None)

    return serialize_rest


def _ids(request_id: str) -> Headers:
    return [("x-amzn-RequestId", request_id)]


def _unmodelled(result: Mapping[str, Any]) -> Headers:
    return [(name, header_text(value)) for name, value in result.get(UNMODELLED_HEADERS) or ()]


async def _encoded(encode: eventstream.EncodeEvent, events: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    """The messages of events that come one by one. Closing it closes where they come from."""
    try:
        async for event in events:
            yield encode(event)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _has_type(headers: Headers, *, is_raw: bool) -> bool:
    """The operation said what its bytes are, or left it open, which of bytes it may."""
    return is_raw or any(name.lower() == "content-type" for name, _ in headers)


def _rest_body(model: ServiceModel, operation: str, shape: Shape, protocol: str) -> tuple[str, _WriteBody]:
    members = model.members(shape)
    is_json = protocol == REST_JSON
    default = "application/json" if is_json else "application/xml"
    if shape.payload:
        return _payload(model, shape.payload, members[shape.payload], default)
    # A location that only requests have (querystring) means nothing here.
    inside = {name: member for name, member in members.items() if member.location not in _OUTSIDE}
    if not inside:
        return default, lambda _result: b""
    if is_json:
        write = ValueWriters(model).structure(inside)
        return default, lambda result: encode_json(write(result))
    if model.name == "s3" and operation == "GetBucketLocation":
        return default, _bucket_location
    root = _ROOTS.get(operation) if model.name == "s3" else None
    return default, _xml_document(model, root or model.root_name(shape), inside, shape)


def _payload(model: ServiceModel, name: str, payload: Shape, default: str) -> tuple[str, _WriteBody]:
    is_json = default == "application/json"
    if payload.eventstream:
        protocol = model.metadata.protocol
        encode = eventstream.event_encoder(model, payload, protocol)
        return eventstream.CONTENT_TYPE, lambda result: b"".join(encode(event) for event in result.get(name) or ())
    if payload.type in ("blob", "string"):
        # AWS says application/json of Lambda's payloads, which are documents, and nothing better of most others.
        kind = "application/json" if model.name == "lambda" else "application/octet-stream"
        return kind if payload.type == "blob" else "text/plain", lambda result: _raw(result.get(name))
    if is_json:
        write = ValueWriters(model).writer(payload)
        return default, lambda result: b"" if result.get(name) is None else encode_json(write(result[name]))
    write_xml = _xml_document(model, model.root_name(payload), model.members(payload), payload)
    return default, lambda result: b"" if result.get(name) is None else write_xml(result[name])


def _raw(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else bytes(value)


def _xml_document(model: ServiceModel, root: str, members: Mapping[str, Shape], shape: Shape) -> _WriteBody:
    default = _S3_NAMESPACE if model.name == "s3" else model.metadata.xml_namespace
    attributes = namespace_attribute(shape.xml_namespace or default)
    write = XmlWriters(model).content(members)

    def write_document(result: Mapping[str, Any]) -> bytes:
        out: Out = [f"{DECLARATION}<{root}{attributes}>"]
        write(result, out)
        out.append(f"</{root}>")
        return "".join(out).encode()

    return write_document


def _bucket_location(result: Mapping[str, Any]) -> bytes:
    # The one answer whose root is its only member. Source: Amazon S3 API Reference, GetBucketLocation.
    place = escaped(result.get("LocationConstraint") or "")
    return f'{DECLARATION}<LocationConstraint xmlns="{_S3_NAMESPACE}">{place}</LocationConstraint>'.encode()
