"""What a function URL's Cors configuration answers to browsers. Pure.

With a configuration the platform speaks for the function: it answers preflight requests, and what the function itself
says about CORS is not sent.

Source: AWS Lambda Developer Guide, "Cross-origin resource sharing (CORS)" of function URLs; that origins are sent back
as they came when credentials are allowed: public issue threads.
"""

from collections.abc import Mapping
from typing import Any, Final

from lambent.aws.http_events import Headers

Cors = Mapping[str, Any]
"""The Cors shape."""

_PREFIX: Final = "access-control-"


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks whether it may send a request."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight_headers(cors: Cors, headers: Mapping[str, str]) -> Headers:
    """The answer to it: nothing for an origin, method or header that is not allowed, and the browser sends nothing."""
    found = _origin(cors, headers["origin"])
    if not found:
        return []
    asked = headers["access-control-request-method"]
    found += _list("allow-methods", cors.get("AllowMethods", ()), asked, cors)
    names = headers.get("access-control-request-headers", "")
    found += _list("allow-headers", [name.lower() for name in cors.get("AllowHeaders", ())], names, cors)
    if "MaxAge" in cors:
        found.append((f"{_PREFIX}max-age", str(cors["MaxAge"])))
    return found


def answered(cors: Cors, origin: str | None, headers: Headers) -> Headers:
    """The headers of a function's answer, with what the configuration says in the place of what the function said."""
    kept = [(name, value) for name, value in headers if not name.startswith(_PREFIX)]
    found = _origin(cors, origin) if origin is not None else []
    if found and cors.get("ExposeHeaders"):
        found.append((f"{_PREFIX}expose-headers", ",".join(cors["ExposeHeaders"]).lower()))
    return kept + found


def _origin(cors: Cors, origin: str) -> Headers:
    allowed = cors.get("AllowOrigins", ())
    if origin not in allowed and "*" not in allowed:
        return []
    if not cors.get("AllowCredentials"):
        return [(f"{_PREFIX}allow-origin", "*")] if "*" in allowed else _this_one(origin)
    return [*_this_one(origin), (f"{_PREFIX}allow-credentials", "true")]


def _this_one(origin: str) -> Headers:
    return [(f"{_PREFIX}allow-origin", origin), ("vary", "Origin")]


def _list(name: str, allowed: list[str], asked: str, cors: Cors) -> Headers:
    """A list of what is allowed. Browsers take no wildcard beside credentials: there it is what was asked for."""
    if not allowed:
        return []
    if "*" in allowed:
        return [(f"{_PREFIX}{name}", asked if cors.get("AllowCredentials") and asked else "*")]
    return [(f"{_PREFIX}{name}", ",".join(allowed))]
