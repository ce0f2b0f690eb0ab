"""Which web pages may use the platform from a browser: those of this machine.

Any other page that a developer happens to visit could otherwise invoke their functions: a browser sends its requests
to 127.0.0.1 too. A request without an Origin header is no page's. What function URLs and APIs allow is their own
configuration, and not decided here.
"""

import re
from collections.abc import Mapping
from typing import Final

_LOCAL: Final = re.compile(r"https?://(localhost|[a-z0-9.-]+\.localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.I)
_ALLOWED: Final = [
    ("Access-Control-Allow-Methods", "HEAD,GET,PUT,POST,DELETE,OPTIONS,PATCH"),
    ("Access-Control-Max-Age", "600"),
    ("Vary", "Origin"),
]


def is_allowed(origin: str, host: str) -> bool:
    """Whether a page of this origin may ask; `host` is the request's Host header: its own pages may."""
    return _LOCAL.fullmatch(origin) is not None or (bool(host) and origin.partition("://")[2] == host)


def answer_headers(origin: str) -> list[tuple[str, str]]:
    """What lets the page read an answer."""
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", "*"),
        ("Vary", "Origin"),
    ]


def preflight_headers(origin: str, request: Mapping[str, str]) -> list[tuple[str, str]]:
    """The answer to a browser's question whether it may send a request."""
    asked = request.get("access-control-request-headers", "*")
    return [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Headers", asked), *_ALLOWED]
