"""What a bucket's CORS configuration lets pages of other origins do.

Source: Amazon S3 User Guide, "Using cross-origin resource sharing"; facts sheet C6.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Call
from lambent.gateway.object_storage import of_bucket
from lambent.protocol.http import HttpRequest, HttpResponse
from lambent.protocol.models import REST_XML
from lambent.protocol.route import Route
from lambent.protocol.serialize import serialize_error

Rule = Mapping[str, Any]
_WAY: Final = Route("s3", "", REST_XML, {})
_VARY: Final = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


async def rules_of(call: Call, request: HttpRequest, signing_name: str | None) -> list[Rule] | None:
    """The rules of the bucket that a request is for; None when it is for none, or for one without a configuration."""
    found = of_bucket(request, signing_name)
    bucket = found.path.split("/")[1] if found is not None else ""
    if not bucket:
        return None
    try:
        answer = await call("s3", "GetBucketCors", {"Bucket": bucket}, caller=Caller())
    except ApiError:
        return None
    rules: list[Rule] = answer["CORSRules"]
    return rules


def preflight(rules: list[Rule], request: HttpRequest, request_id: str) -> HttpResponse:
    """The answer to a browser's question whether it may send a request."""
    origin, method = request.headers["origin"], request.headers.get("access-control-request-method", "")
    asked = [name.strip() for name in request.headers.get("access-control-request-headers", "").split(",")]
    asked = [name for name in asked if name]
    for rule in rules:
        allowed = rule.get("AllowedHeaders", ())
        if _allows(rule, origin, method) and all(_is_any(name.lower(), map(str.lower, allowed)) for name in asked):
            headers = _headers(rule, origin)
            if asked:
                headers.append(("Access-Control-Allow-Headers", ", ".join(asked).lower()))
            return HttpResponse(200, headers, b"")
    message = (
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request "
        "method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the "
        "resource's CORS spec."
    )
    said = {"Method": method, "ResourceType": "OBJECT" if request.path.strip("/").count("/") else "BUCKET"}
    return serialize_error(_WAY, ApiError("AccessForbidden", message, **said), request_id)


def answer_headers(rules: list[Rule], origin: str, method: str) -> list[tuple[str, str]] | None:
    """What lets a page read the answer to a request; None when no rule does."""
    for rule in rules:
        if _allows(rule, origin, method):
            return _headers(rule, origin)
    return None


def _allows(rule: Rule, origin: str, method: str) -> bool:
    return method in rule["AllowedMethods"] and _is_any(origin, rule["AllowedOrigins"])


def _headers(rule: Rule, origin: str) -> list[tuple[str, str]]:
    is_open = "*" in rule["AllowedOrigins"]
    headers = [
        ("Access-Control-Allow-Origin", "*" if is_open else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethods"])),
        ("Vary", _VARY),
    ]
    if exposed := rule.get("ExposeHeaders"):
        headers.append(("Access-Control-Expose-Headers", ", ".join(exposed)))
    if rule.get("MaxAgeSeconds") is not None:
        headers.append(("Access-Control-Max-Age", str(rule["MaxAgeSeconds"])))
    if not is_open:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return headers


def _is_any(text: str, patterns: Iterable[str]) -> bool:
    """Whether it is one of these, each of which may have one `*` for anything."""
    for pattern in patterns:
        start, star, end = pattern.partition("*")
        if text == pattern or (
            star and len(text) >= len(start) + len(end) and text.startswith(start) and text.endswith(end)
        ):
            return True
    return False
