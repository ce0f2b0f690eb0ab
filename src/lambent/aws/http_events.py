"""HTTP requests as events and functions' answers as HTTP responses: the payload format 2.0, both ways. Pure.

Function URLs speak it today; HTTP APIs will, with the route and the stage that `Context` already has.

Source: AWS Lambda Developer Guide, "Invoking Lambda function URLs"; API Gateway Developer Guide, "AWS Lambda
integrations" (payload format version 2.0).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec

from lambent.aws.errors import ApiError

Headers = list[tuple[str, str]]

PRELUDE_TYPE: Final = "application/vnd.awslambda.http-integration-response"
"""The content type of a streamed answer that begins with a prelude."""

PRELUDE_END: Final = b"\0" * 8
"""What separates the prelude's JSON from the body."""

_LONGEST_PRELUDE: Final = 1_048_576  # ours: AWS states none. It bounds what is kept of a body that has no prelude

# Any other body, and any that is compressed, arrives in base64: also forms, and what names no type. Source: measured
# on HTTP APIs by the authors of public issue threads; the guides say "binary" without a list.
_TEXT_TYPES: Final = frozenset(["application/json", "application/xml", "application/javascript"])
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_A_VALUE: Final = re.compile(r"[\0\r\n]")
# The connection's own, which a function cannot set: AWS sends them on under another name. Source: answers of
# function URLs in public issue threads; API Gateway Developer Guide, "Important notes" (remapped headers).
_REMAPPED: Final = frozenset(
    [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
    ]
)


class MalformedAnswerError(Exception):
    """The function answered something that is no HTTP response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A request as it came: path and query still percent-encoded, header names in lower case, repeated ones joined."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    protocol: str = "HTTP/1.1"
    source_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the request context says beside the request itself. `authorizer` is None where nobody was asked."""

    account_id: str
    api_id: str
    domain_name: str
    request_id: str
    time_ms: int
    authorizer: Mapping[str, Any] | None = None
    route_key: str = "$default"
    stage: str = "$default"


@dataclass(frozen=True, slots=True)
class Answer:
    """The response that a function's answer means. Header names are in lower case, each cookie is a header."""

    status: int
    headers: Headers
    body: bytes = b""


def event(arrived: Arrived, context: Context) -> bytes:
    """The event, as JSON. What there is none of (cookies, parameters, body, authorizer) is left out."""
    headers = {name: _text(value) for name, value in arrived.headers.items() if name != "cookie"}
    document: dict[str, Any] = {
        "version": "2.0",
        "routeKey": context.route_key,
        "rawPath": _text(arrived.path),
        "rawQueryString": _text(arrived.query),
    }
    if cookies := _cookies(arrived.headers.get("cookie", "")):
        document["cookies"] = cookies
    document["headers"] = headers
    if parameters := query_parameters(arrived.query):
        document["queryStringParameters"] = parameters
    document["requestContext"] = _request_context(arrived, context)
    if arrived.body:
        document["body"], is_encoded = _body(arrived)
    else:
        is_encoded = False
    document["isBase64Encoded"] = is_encoded
    return msgspec.json.encode(document)


def _request_context(arrived: Arrived, context: Context) -> dict[str, Any]:
    moment = datetime.fromtimestamp(context.time_ms / 1000, UTC)
    document: dict[str, Any] = {"accountId": context.account_id, "apiId": context.api_id}
    if context.authorizer is not None:
        document["authorizer"] = dict(context.authorizer)
    return document | {
        "domainName": _text(context.domain_name),
        "domainPrefix": _text(context.domain_name).partition(".")[0],
        "http": {
            "method": arrived.method,
            "path": _text(arrived.path),
            "protocol": arrived.protocol,
            "sourceIp": arrived.source_ip,
            "userAgent": _text(arrived.headers.get("user-agent", "")),
        },
        "requestId": context.request_id,
        "routeKey": context.route_key,
        "stage": context.stage,
        "time": f"{moment:%d}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000",
        "timeEpoch": context.time_ms,
    }


# Not strftime's %b: it follows the locale.
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def query_parameters(query: str) -> dict[str, str]:
    """The parameters of a raw query string, decoded; what was given more than once is joined by commas."""
    found: dict[str, str] = {}
    for part in query.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        name, value = _decoded(name), _decoded(value)
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _decoded(text: str) -> str:
    return unquote_plus(_text(text), errors="replace")


def _cookies(header: str) -> list[str]:
    return [cookie for part in _text(header).split(";") if (cookie := part.strip())]


def _text(value: str) -> str:
    """What was read from the wire as Latin-1, read as UTF-8 if it is."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _body(arrived: Arrived) -> tuple[str, bool]:
    if is_text(arrived.headers.get("content-type", ""), arrived.headers.get("content-encoding")):
        try:
            return arrived.body.decode(), False
        except UnicodeDecodeError:
            pass  # it is not the text that it says it is: only base64 keeps its bytes
    return base64.b64encode(arrived.body).decode(), True


def is_text(content_type: str, content_encoding: str | None = None) -> bool:
    """Whether a body with these headers is handed to a function as it is, not in base64."""
    if content_encoding is not None and content_encoding.strip().lower() not in ("", "identity"):
        return False
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.startswith("text/") or media_type in _TEXT_TYPES


def refusal(status: int, error: ApiError) -> Answer:
    """What a client reads when its request reached no function: the error as Lambda's API writes it.

    Source: answers of function URLs in public issue threads: `{"Message": ...}` for AccessDeniedException,
    `{"message": ...}` for signatures, else the error shape's members too.
    """
    document: dict[str, Any]
    if error.code == "AccessDeniedException":
        document = {"Message": error.message}
    elif status == 403:
        document = {"message": error.message}
    else:
        shown = {name: value for name, value in error.members.items() if name != "retryAfterSeconds"}
        document = {**shown, "Type": "User" if status < 500 else "Service", "message": error.message}
    headers = [("content-type", "application/json"), ("x-amzn-ErrorType", error.code)]
    if "retryAfterSeconds" in error.members:
        headers.append(("retry-after", str(error.members["retryAfterSeconds"])))
    return Answer(status, headers, msgspec.json.encode(document))


def answer(payload: bytes) -> Answer:
    """The response that a function's answer (JSON) means.

    With `statusCode` the answer describes a response. Without, it is the body itself: 200, application/json, a
    string without its quotes.

    Raises:
        MalformedAnswerError: it has a statusCode, but is no response.
    """
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedAnswerError(str(error)) from error
    if not isinstance(document, dict) or document.get("statusCode") is None:
        body = document.encode("utf-8", "replace") if isinstance(document, str) else payload
        return Answer(200, [("content-type", "application/json")], body)
    status, headers = _head(document, default_type="application/json")
    return Answer(status, headers, _answer_body(document))


class PreludeReader:
    """Finds where the prelude of a streamed answer ends, however its bytes come."""

    def __init__(self) -> None:
        self._head = bytearray()

    def feed(self, chunk: bytes) -> tuple[bytes, bytes] | None:
        """The prelude's JSON and the first bytes of the body; None as long as the end has not come.

        Raises:
            MalformedAnswerError: it is longer than a prelude may be.
        """
        start = max(0, len(self._head) + 1 - len(PRELUDE_END))
        self._head += chunk
        end = self._head.find(PRELUDE_END, start)
        if max(end, 0) > _LONGEST_PRELUDE or (end < 0 and len(self._head) >= _LONGEST_PRELUDE + len(PRELUDE_END)):
            raise MalformedAnswerError("the prelude has no end")
        if end < 0:
            return None
        return bytes(self._head[:end]), bytes(self._head[end + len(PRELUDE_END) :])


def prelude(document: bytes) -> Answer:
    """Status and headers of a streamed answer, from the JSON before its body. Without statusCode it is 200.

    Raises:
        MalformedAnswerError: it is no JSON object, or not of this form.
    """
    try:
        head = msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedAnswerError(str(error)) from error
    status, headers = _head({"statusCode": 200, **head}, default_type="application/octet-stream")
    return Answer(status, headers)


def _head(document: Mapping[str, Any], default_type: str) -> tuple[int, Headers]:
    headers: Headers = []
    given = document.get("headers")
    if not isinstance(given, dict | None):
        raise MalformedAnswerError("headers is not an object")
    for name, value in (given or {}).items():
        headers += _header(name, value)
    if all(name != "content-type" for name, _value in headers):
        headers.append(("content-type", default_type))
    cookies = document.get("cookies")
    if not isinstance(cookies, list | None):
        raise MalformedAnswerError("cookies is not a list")
    for cookie in cookies or ():
        headers += _header("set-cookie", cookie)
    return _status(document["statusCode"]), headers


def _status(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    # One below 200 is no final answer: a client would wait for another.
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
        raise MalformedAnswerError(f"statusCode is {value!r}")
    return value


def _header(name: str, value: object) -> Headers:
    if value is None:
        return []
    if isinstance(value, bool | int | float):
        value = msgspec.json.encode(value).decode()
    if not isinstance(value, str) or _TOKEN.fullmatch(name) is None or _NOT_IN_A_VALUE.search(value):
        raise MalformedAnswerError(f"the header {name!r} cannot be sent")
    name = name.lower()
    if name in _REMAPPED:
        name = f"x-amzn-remapped-{name}"
    return [(name, value.strip().encode("utf-8", "replace").decode("latin-1"))]


def _answer_body(document: Mapping[str, Any]) -> bytes:
    body = document.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswerError("body is not a string")
    if document.get("isBase64Encoded") is not True:
        return body.encode("utf-8", "replace")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedAnswerError("body is not base64, as isBase64Encoded says") from error
