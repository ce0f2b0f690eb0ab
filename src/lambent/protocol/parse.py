"""A routed request into the parameters of its operation.

What an operation needs is compiled on its first request and kept. Parameters have the model's member names; blobs are
bytes, timestamps aware datetimes. Unknown members are left out, null ones too. Constraints are `validate`'s.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lambent.aws.errors import ApiError
from lambent.protocol import eventstream, models, read_query, read_xml
from lambent.protocol.chunked import without_chunks
from lambent.protocol.http import HttpRequest
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, ServiceModel, Shape
from lambent.protocol.read_query import QueryReaders
from lambent.protocol.read_rest import ReadRest, rest_readers
from lambent.protocol.read_values import ValueReaders, decode_cbor, decode_json
from lambent.protocol.read_xml import XmlReaders
from lambent.protocol.reading import DEEPEST, malformed
from lambent.protocol.route import Route
from lambent.protocol.sqs_query import with_query_names, with_queue_url

Parse = Callable[[Mapping[str, str], HttpRequest], dict[str, Any]]
"""The labels of the path and the request into parameters."""
_ReadBody = Callable[[bytes], dict[str, Any]]

_compiled: dict[tuple[str, str, str], Parse] = {}


def parse(route: Route, request: HttpRequest) -> dict[str, Any]:
    """The parameters of the routed operation.

    Raises:
        ApiError: SerializationException, or what else its protocol calls a request that cannot be read.
    """
    key = route[:3]
    compiled = _compiled.get(key)
    if compiled is None:
        compiled = _compiled[key] = compile_parse(models.service(route.service), route.operation, route.protocol)
    try:
        return compiled(route.path_params, request)
    except RecursionError:
        raise malformed(f"The body nests deeper than {DEEPEST} levels") from None


def compile_parse(model: ServiceModel, operation: str, protocol: str) -> Parse:
    """What `parse` keeps for one operation."""
    shape = model.input(operation)
    if shape is None:
        return lambda _labels, _request: {}
    if protocol == JSON:
        return _whole_body(_values_body(model, shape, cbor=False))
    if protocol == CBOR:
        return _whole_body(_values_body(model, shape, cbor=True))
    if protocol == QUERY:
        return _query(with_query_names(model), operation)
    return _rest(model, shape, protocol)


def _whole_body(read: _ReadBody) -> Parse:
    return lambda _labels, request: read(request.body)


def _values_body(model: ServiceModel, shape: Shape, *, cbor: bool) -> _ReadBody:
    read = ValueReaders(model, cbor=cbor).reader(shape)
    decode = decode_cbor if cbor else decode_json

    def read_body(body: bytes) -> dict[str, Any]:
        value = decode(body) if body else None
        params: dict[str, Any] = {} if value is None else read(value)
        return params

    return read_body


def _query(model: ServiceModel, operation: str) -> Parse:
    shape = model.input(operation)
    assert shape is not None
    read = QueryReaders(model).reader(shape)
    takes_url = "QueueUrl" in shape.members

    def parse_form(_labels: Mapping[str, str], request: HttpRequest) -> dict[str, Any]:
        pairs = read_query.form(request.query.encode()) if request.query else []
        params: dict[str, Any] = read(pairs + read_query.form(request.body))
        return with_queue_url(model, request.path, params) if takes_url else params

    return parse_form


def _rest(model: ServiceModel, shape: Shape, protocol: str) -> Parse:
    members = model.members(shape)
    places = rest_readers(model, members)
    payload = members[shape.payload] if shape.payload else None
    if payload is not None and payload.type in ("blob", "string"):
        return _raw_payload(places, shape, payload)
    inside = {name: member for name, member in members.items() if member.location is None}
    read_body = _rest_body(model, shape, inside, protocol) if inside else None

    def parse_rest(labels: Mapping[str, str], request: HttpRequest) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for read in places:
            read(labels, request, params)
        if read_body is not None and request.body:
            params.update(read_body(without_chunks(request.body, request.headers)))
        return params

    return parse_rest


def _raw_payload(places: list[ReadRest], shape: Shape, payload: Shape) -> Parse:
    name = shape.payload or ""
    is_text = payload.type == "string"
    is_required = name in shape.required  # an empty body is then an empty payload, not none

    def parse_raw(labels: Mapping[str, str], request: HttpRequest) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for read in places:
            read(labels, request, params)
        if request.stream is not None:
            params[name] = request.stream
            return params
        body = request.body
        if body or is_required:
            body = without_chunks(request.body, request.headers)
            params[name] = _text(body) if is_text else body
        return params

    return parse_raw


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise malformed("The body is not UTF-8") from None


def _rest_body(model: ServiceModel, shape: Shape, inside: Mapping[str, Shape], protocol: str) -> _ReadBody:
    if shape.payload is None:
        return _structure_body(model, inside, protocol)
    name, payload = shape.payload, inside[shape.payload]
    if payload.eventstream:
        return lambda body: {name: eventstream.read_events(model, payload, body, protocol)}
    if payload.document:
        return lambda body: {name: decode_json(body)}
    if payload.type != "structure":
        raise ApiError("NotImplemented", f"A {payload.type} as the payload is in no AWS model")
    read = _structure_body(model, model.members(payload), protocol)
    return lambda body: {name: read(body)}


def _structure_body(model: ServiceModel, members: Mapping[str, Shape], protocol: str) -> _ReadBody:
    if protocol == REST_JSON:
        read_values = ValueReaders(model).structure(members)

        def read_json(body: bytes) -> dict[str, Any]:
            value = decode_json(body)
            params: dict[str, Any] = {} if value is None else read_values(value)
            return params

        return read_json
    read_elements = XmlReaders(model).structure(members)
    return lambda body: read_elements([read_xml.document(body)])
