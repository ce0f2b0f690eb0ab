"""Which service, operation and protocol a request means.

A signature names the service; its protocol is told by the request's looks, since several services speak two or three.
Without a signature, X-Amz-Target, an rpc-v2-cbor path or Action and Version say it, else the path of the services
whose operations are paths.
"""

import re
from functools import cache
from typing import Final, NamedTuple, NoReturn
from urllib.parse import parse_qsl

from lambent.aws.errors import ApiError
from lambent.protocol import models
from lambent.protocol.catalogue import QUERY_VERSIONS, SIGNING_NAMES, TARGET_PREFIXES
from lambent.protocol.http import HttpRequest
from lambent.protocol.models import CBOR, JSON, QUERY, REST_JSON, REST_XML
from lambent.protocol.paths import Paths

_FORM: Final = "application/x-www-form-urlencoded"
_CBOR_PATH: Final = "/service/"
# Who is meant by an unsigned request's path. Every path of two parts and more is an object of S3's.
_UNSIGNED_REST: Final = ("lambda", "s3")
# Lambda's paths begin with a date. What is sent there is a payload, even if it looks like a form with an Action (which
# is what curl makes of it), and never an object of S3's.
_DATED: Final = re.compile(r"/\d{4}-\d\d-\d\d/", re.ASCII)
_SHOWN: Final = 120
# Who is meant by an unsigned request of the query protocol to the address of a queue, which need not say a version.
_QUEUE: Final = ("sqs",)
# Addresses that SNS puts into its messages say no version either.
_IN_MESSAGES: Final = {"ConfirmSubscription": ("sns",), "Unsubscribe": ("sns",)}
_QUEUE_PATH: Final = re.compile(r"/[0-9]{12}/[A-Za-z0-9_-]+(?:\.fifo)?", re.ASCII)


class Route(NamedTuple):
    """Where a request goes. `path_params` are the labels of the path by their name there, still percent-encoded."""

    service: str
    operation: str
    protocol: str
    path_params: dict[str, str]


class Unroutable(ApiError):
    """No operation is meant. `route` has the service and protocol, as far as known, for the form of the answer."""

    def __init__(self, code: str, message: str, route: Route) -> None:
        super().__init__(code, message)
        self.route = route


def route(request: HttpRequest, signing_name: str | None) -> Route:
    """The route of a request whose signature names `signing_name` (None when it has no signature).

    Raises:
        Unroutable: UnknownOperationException, or InvalidAction or MissingAction where the service speaks query.
    """
    target = request.headers.get("x-amz-target")
    if target is not None:
        return _json_route(target)
    if request.path.startswith(_CBOR_PATH) and "smithy-protocol" in request.headers:
        return _cbor_route(request.path)
    if signing_name is None and _DATED.match(request.path):
        return _rest_route(request, _UNSIGNED_REST[:1])
    services = _services(signing_name) if signing_name else _UNSIGNED_REST
    if signing_name is None or not _is_rest(services[0]):
        action = _action(request)
        if action is not None:
            named = services if signing_name else _QUEUE if _QUEUE_PATH.fullmatch(request.path) else ()
            return _query_route(action, named)
        if signing_name is not None:
            _nothing_asked(services[0])
    return _rest_route(request, services)


def _services(signing_name: str) -> tuple[str, ...]:
    known = SIGNING_NAMES.get(signing_name)
    if known is not None:
        return known
    if signing_name in _all_services():
        return (signing_name,)
    message = f"There is no service that signs as {signing_name[:_SHOWN]}"
    raise Unroutable("UnknownOperationException", message, Route("", "", JSON, {}))


@cache
def _all_services() -> frozenset[str]:
    return frozenset(models.service_names())


@cache
def _is_rest(service: str) -> bool:
    return models.service(service).metadata.protocol in (REST_JSON, REST_XML)


def _json_route(target: str) -> Route:
    prefix, _, operation = target.rpartition(".")
    service = TARGET_PREFIXES.get(prefix)
    if service is None or operation not in models.service(service).operations:
        form = Route(service or "", "", JSON, {})
        raise Unroutable("UnknownOperationException", f"The operation {target[:_SHOWN]} is not known", form)
    return Route(service, operation, JSON, {})


def _cbor_route(path: str) -> Route:
    parts = path.split("/")  # "", service, PREFIX, operation, NAME
    service = TARGET_PREFIXES.get(parts[2]) if len(parts) == 5 and parts[3] == "operation" else None
    if service is not None and CBOR in (model := models.service(service)).protocols and parts[4] in model.operations:
        return Route(service, parts[4], CBOR, {})
    form = Route(service or "", "", CBOR, {})
    raise Unroutable("UnknownOperationException", f"No operation is at {path[:_SHOWN]}", form)


def _action(request: HttpRequest) -> tuple[str, str] | None:
    """Action and Version of a form, or of a query string; None when there is no Action."""
    fields: dict[str, str] = {}
    try:
        if "Action=" in request.query:
            fields.update(parse_qsl(request.query, errors="strict"))
        if b"Action=" in request.body and request.headers.get("content-type", "").startswith(_FORM):
            fields.update(parse_qsl(request.body.decode(), errors="strict"))
    except ValueError:
        form = Route("", "", QUERY, {})
        raise Unroutable("MalformedQueryString", "The query string contains a syntax error.", form) from None
    action = fields.get("Action")
    return (action, fields.get("Version", "")) if action else None


def _query_route(action: tuple[str, str], services: tuple[str, ...]) -> Route:
    name, version = action
    for service in services or QUERY_VERSIONS.get(version, ()) or _IN_MESSAGES.get(name, ()):
        model = models.service(service)
        if QUERY in model.protocols and name in model.operations:
            return Route(service, name, QUERY, {})
    form = Route(services[0] if services else "", "", QUERY, {})
    raise Unroutable("InvalidAction", f"The action {name[:_SHOWN]} is not valid for this web service.", form)


def _nothing_asked(service: str) -> NoReturn:
    """A request to a service without paths that names no operation."""
    if QUERY in models.service(service).protocols:
        raise Unroutable("MissingAction", "Missing Action", Route(service, "", QUERY, {}))
    message = "The request names no operation: the header X-Amz-Target is missing"
    raise Unroutable("UnknownOperationException", message, Route(service, "", JSON, {}))


def _rest_route(request: HttpRequest, services: tuple[str, ...]) -> Route:
    for service in services:
        paths = _paths(service)
        found = paths.match(request) if paths else None
        if found is not None:
            operation, labels = found
            return Route(service, operation, models.service(service).metadata.protocol, labels)
    form = Route(services[0], "", models.service(services[0]).metadata.protocol, {})
    message = f"No operation is at {request.method} {request.path[:_SHOWN]}"
    raise Unroutable("UnknownOperationException", message, form)


@cache
def _paths(service: str) -> Paths | None:
    """None for a service whose operations are not paths: some share a signing name with one whose are."""
    return Paths(models.service(service)) if _is_rest(service) else None
