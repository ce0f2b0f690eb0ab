"""The platform's own pages: health and reset. What they tell and do is handed in by the node."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from lambent.gateway.front import Page
from lambent.protocol.http import HttpRequest, HttpResponse

_JSON: Final = [("content-type", "application/json")]
_NOT_EPHEMERAL: Final = (
    "This node keeps its data, so it does not reset. Start one with --ephemeral, or remove its functions one by one."
)


def health_page(facts: Callable[[], dict[str, Any]]) -> Page:
    """`GET /_lambent/health`: 200 and what the node says of itself."""

    async def page(request: HttpRequest) -> HttpResponse:
        return _json(200, facts()) if request.method in ("GET", "HEAD") else _only("GET")

    return page


def reset_page(reset: Callable[[], Awaitable[None]] | None) -> Page:
    """`POST /_lambent/reset`: everything is as after the start. `reset` is None where data is kept: 403."""

    async def page(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return _only("POST")
        if reset is None:
            return _json(403, {"error": _NOT_EPHEMERAL})
        await reset()
        return _json(200, {"status": "reset"})

    return page


def _json(status: int, content: dict[str, Any]) -> HttpResponse:
    return HttpResponse(status, list(_JSON), msgspec.json.encode(content) + b"\n")


def _only(method: str) -> HttpResponse:
    return HttpResponse(405, [*_JSON, ("allow", method)], msgspec.json.encode({"error": f"Use {method}."}) + b"\n")
