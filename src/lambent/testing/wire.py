"""What botocore writes and reads, without a network: the other end of the protocol layer in its tests."""

import io
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from lambent.protocol.http import HttpRequest, HttpResponse

_HOST = "http://127.0.0.1"


@cache
def botocore_model(service: str) -> ServiceModel:
    """A service as botocore sees it."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


def written_request(operation: OperationModel, params: dict[str, Any], protocol: str) -> HttpRequest:
    """The request that botocore sends for these parameters."""
    serialized = create_serializer(protocol, include_validation=False).serialize_to_request(params, operation)
    prepare_request_dict(serialized, endpoint_url=_HOST)
    prepared = create_request_object(serialized).prepare()
    parts = urlsplit(cast("str", prepared.url))
    headers = {
        name.lower(): value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for name, value in prepared.headers.items()
    }
    body = prepared.body or b""
    return HttpRequest(
        method=cast("str", prepared.method),
        path=parts.path or "/",
        query=parts.query,
        headers=headers,
        body=body.encode() if isinstance(body, str) else bytes(body),
    )


def read_response(operation: OperationModel, response: HttpResponse, protocol: str) -> dict[str, Any]:
    """What botocore makes of a response, an error too; a streamed body is read to its end."""
    body: Any = response.body
    is_streamed = operation.has_streaming_output and response.status < 300
    if is_streamed:
        body = io.BytesIO(response.body)
    elif operation.has_event_stream_output and response.status < 300:
        body = _Raw(response.body)
    given = {
        "status_code": response.status,
        "headers": HeadersDict({name.lower(): value for name, value in response.headers}),
        "body": body,
        "context": {"operation_name": operation.name},
    }
    parsed = cast("dict[str, Any]", create_parser(protocol).parse(given, cast("Any", operation.output_shape)))
    if is_streamed and operation.output_shape is not None:
        parsed[operation.output_shape.serialization["payload"]] = response.body
    return parsed


def read_error(
    service: ServiceModel, operation: str, response: HttpResponse, protocol: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What botocore makes of an error: its code and message, and its members where the code is modelled."""
    headers = HeadersDict({name.lower(): value for name, value in response.headers})
    given = {"status_code": response.status, "headers": headers, "body": response.body}
    error = read_response(service.operation_model(operation), response, protocol)["Error"]
    shape = service.shape_for_error_code(error["Code"])
    return error, create_parser(protocol).parse(given, shape) if shape else {}


class _Raw:
    """As much of urllib3's response as an event stream needs."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> list[bytes]:
        return [self._body] if self._body else []

    def close(self) -> None:
        """There is nothing to close."""
