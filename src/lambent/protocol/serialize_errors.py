"""Errors as each protocol puts them.

The status and the other members come from the service model, where it has the error; else from the table of
codes that no model lists.

Source: Smithy, "operation error serialization" of each AWS protocol; recorded answers.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from lambent.aws.errors import S3_STATUS, UNMODELLED_STATUS, ApiError
from lambent.protocol.http import UNMODELLED_HEADERS, HttpResponse
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, REST_XML, ServiceModel, Shape
from lambent.protocol.sqs_query import json_type, query_text, with_query_names
from lambent.protocol.write_rest import Headers, header_text, header_writer
from lambent.protocol.write_values import ValueWriters, encode_cbor, encode_json
from lambent.protocol.write_xml import DECLARATION, Out, XmlWriters, escaped, namespace_attribute

_MESSAGES: Final = ("message", "Message", "errorMessage")
# Lambda and its family say in the body whose fault it is, in this member of nearly every one of their errors.
_TYPE: Final = "Type"


def error_response(model: ServiceModel | None, protocol: str, error: ApiError, request_id: str) -> HttpResponse:
    """The response that says this error; `model` is None when no service is known."""
    model = with_query_names(model) if model is not None else None
    shape = model.error(error.code) if model is not None else None
    status = error_status(shape, error.code, protocol)
    if model is not None and model.name == "s3":
        status = S3_STATUS.get(error.code, status)
    if protocol == QUERY:
        return _query(model, shape, error, status, request_id)
    if protocol == REST_XML:
        return _rest_xml(model, shape, error, status, request_id)
    return _values(model, shape, error, status, request_id, protocol)


def error_status(shape: Shape | None, code: str, protocol: str) -> int:
    """The HTTP status of an error."""
    if shape is not None:
        if shape.error is not None and shape.error.http_status_code:
            return shape.error.http_status_code
        return 500 if shape.fault else 400
    if protocol == JSON and code == "UnknownOperationException":
        return 400  # as DynamoDB and the other services of the json protocol answer
    return UNMODELLED_STATUS.get(code, 400)


def _members(model: ServiceModel | None, shape: Shape | None) -> Mapping[str, Shape]:
    return model.members(shape) if model is not None and shape is not None else {}


def _message_key(members: Mapping[str, Shape], default: str) -> str:
    return next((key for key in _MESSAGES if key in members), default)


def _complete(members: Mapping[str, Shape], error: ApiError, status: int) -> dict[str, Any]:
    """The error's members with its message and, where the shape has one, its type."""
    values = dict(error.members)
    values[_message_key(members, "message")] = error.message
    if _TYPE in members:
        values.setdefault(_TYPE, "User" if status < 500 else "Service")
    return values


# rest-json, json, rpc-v2-cbor


def _values(
    model: ServiceModel | None, shape: Shape | None, error: ApiError, status: int, request_id: str, protocol: str
) -> HttpResponse:
    members = _members(model, shape)
    headers: Headers = [("x-amzn-RequestId", request_id)]
    values = _complete(members, error, status)
    if model is None or shape is None:
        body = _unmodelled_body(model, error, protocol, status)
    else:
        inside = {name: member for name, member in members.items() if protocol != REST_JSON or member.location is None}
        body = ValueWriters(model, cbor=protocol == CBOR).structure(inside)(values)
        body.setdefault("message" if "Message" not in body else "Message", error.message)
        if protocol == REST_JSON:
            header_writer(model, members)(values, headers)
    name = shape.name if shape is not None else error.code
    headers += _protocol_headers(model, protocol, name)
    if protocol != REST_JSON:
        is_sqs = model is not None and model.name == "sqs"
        body = {"__type": json_type(name, is_modelled=shape is not None) if is_sqs else name, **body}
    if model is not None and model.is_query_compatible:
        headers.append(("x-amzn-query-error", _query_error(shape, error.code, status)))
    return HttpResponse(status, headers, encode_cbor(body) if protocol == CBOR else encode_json(body))


def _unmodelled_body(model: ServiceModel | None, error: ApiError, protocol: str, status: int) -> dict[str, Any]:
    body: dict[str, Any] = {"message": error.message}
    if protocol == REST_JSON and model is not None and model.name.startswith("lambda"):
        body = {_TYPE: "User" if status < 500 else "Service"} | body
    return body


def _protocol_headers(model: ServiceModel | None, protocol: str, name: str) -> Headers:
    if protocol == REST_JSON:
        return [("x-amzn-ErrorType", header_text(name)), ("Content-Type", "application/json")]
    if protocol == CBOR:
        return [("smithy-protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor")]
    version = model.metadata.json_version if model is not None else "1.0"
    return [("Content-Type", f"application/x-amz-json-{version}")]


def _query_error(shape: Shape | None, code: str, status: int) -> str:
    return header_text(f"{_wire_code(shape, code)};{_fault(shape, status)}")


def _wire_code(shape: Shape | None, code: str) -> str:
    return (shape.error.code if shape is not None and shape.error is not None else None) or code


def _fault(shape: Shape | None, status: int) -> str:
    if shape is not None and shape.error is not None and shape.error.sender_fault is not None:
        return "Sender" if shape.error.sender_fault else "Receiver"
    return "Sender" if status < 500 else "Receiver"


# query, rest-xml


def _query(
    model: ServiceModel | None, shape: Shape | None, error: ApiError, status: int, request_id: str
) -> HttpResponse:
    out: Out = [f"{DECLARATION}<ErrorResponse{_namespace(model)}>"]
    _write_error(model, shape, error, status, out)
    out.append(f"<RequestId>{escaped(request_id)}</RequestId></ErrorResponse>")
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
    return HttpResponse(status, headers, "".join(out).encode())


def _namespace(model: ServiceModel | None) -> str:
    return namespace_attribute(model.metadata.xml_namespace if model is not None else None)


def _write_error(model: ServiceModel | None, shape: Shape | None, error: ApiError, status: int, out: Out) -> None:
    out.append(f"<Error><Type>{_fault(shape, status)}</Type><Code>{escaped(_wire_code(shape, error.code))}</Code>")
    members = {name: one for name, one in _members(model, shape).items() if one.location is None}
    key = _message_key(members, "Message")
    name = (members[key].wire_name if key in members else None) or key
    text = query_text(error.code, error.message) if model is not None and model.name == "sqs" else error.message
    out.append(f"<{name}>{escaped(text)}</{name}>")
    if name == "message":  # SDKs that read the unmodelled form look for this one
        out.append(f"<Message>{escaped(text)}</Message>")
    if model is not None:
        inside = {name: one for name, one in members.items() if name not in (key, "Type", "Code")}
        XmlWriters(model).content(inside)(error.members, out)
    out.append("</Error>")


def _rest_xml(
    model: ServiceModel | None, shape: Shape | None, error: ApiError, status: int, request_id: str
) -> HttpResponse:
    if model is None or model.name != "s3":
        response = _query(model, shape, error, status, request_id)
        if model is not None:
            header_writer(model, _members(model, shape))(error.members, response.headers)
        return response
    out: Out = [f"{DECLARATION}<Error><Code>{escaped(_wire_code(shape, error.code))}</Code>"]
    out.append(f"<Message>{escaped(error.message)}</Message>")
    headers = [*s3_ids(request_id), ("Content-Type", "application/xml")]
    # S3 says which bucket and key were meant in elements that its model does not have.
    for name, value in error.members.items():
        if name == UNMODELLED_HEADERS:
            headers += [(header, header_text(text)) for header, text in value]
        else:
            out.append(f"<{name}>{escaped(str(value))}</{name}>")
    out.append(f"<RequestId>{escaped(request_id)}</RequestId><HostId>{escaped(host_id(request_id))}</HostId></Error>")
    return HttpResponse(status, headers, "".join(out).encode())


def s3_ids(request_id: str) -> Headers:
    """What every answer of S3 begins with."""
    return [("x-amz-request-id", request_id), ("x-amz-id-2", host_id(request_id)), ("Server", "AmazonS3")]


def host_id(request_id: str) -> str:
    """S3's second id of a request, which says nothing that the first does not."""
    return base64.b64encode(request_id.encode()).decode()
