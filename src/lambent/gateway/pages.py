"""The platform's own pages: health, reset and time. What they tell and do is handed in by the node."""

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl

import msgspec

from lambent.clock import Clock
from lambent.gateway.durations import DurationError, checked, duration_s
from lambent.gateway.front import Page
from lambent.protocol.http import HttpRequest, HttpResponse

_JSON: Final = [("content-type", "application/json")]
_NOT_EPHEMERAL: Final = (
    "This node keeps its data, so it does not reset. Start one with --ephemeral, or remove its functions one by one."
)

_NO_TIME_TRAVEL: Final = (
    "This node keeps its data, so its time cannot be advanced: after the next start it would be earlier than what is "
    "stored. Start one with --ephemeral."
)
_MOST_PEEKED: Final = 1_000
# Twice the longest advance: years stay far below 9999, where dates end.
_FARTHEST_AHEAD_S: Final = 20 * 365 * 86_400.0


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    """By how much, in one of two ways."""

    advance: str | None = None
    advance_s: float | None = None

    def seconds(self) -> float:
        if (self.advance is None) == (self.advance_s is None):
            raise DurationError('Say {"advance": "6h"} or {"advance_s": 21600}.')
        return duration_s(self.advance) if self.advance is not None else checked(self.advance_s or 0.0)


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


def time_page(clock: Callable[[], Clock], *, may_advance: bool) -> Page:
    """`GET /_lambent/time`: what time it is. `POST` with a length of time: that much passes, then the same answer.

    The answer comes when everything that was due in that time has happened. Only where nothing is kept: else 403.
    """

    async def page(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return _json(200, _time(clock()))
        if request.method != "POST":
            return _only("GET or POST")
        if not may_advance:
            return _json(403, {"error": _NO_TIME_TRAVEL})
        moved = clock()
        try:
            seconds = msgspec.json.decode(request.body, type=_Advance).seconds()
        except (msgspec.MsgspecError, ValueError) as error:
            return _json(400, {"error": str(error)})
        if moved.ahead_s + seconds > _FARTHEST_AHEAD_S:
            return _json(400, {"error": f"Time would be more than {_FARTHEST_AHEAD_S:.0f} seconds ahead."})
        await moved.advance(seconds)
        return _json(200, _time(moved))

    return page


def starts_page(describe: Callable[[str], list[dict[str, Any]]] | None) -> Page:
    """`GET /_lambent/starts?function=NAME`: how that function's environments start. None where requests are signed."""

    async def page(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return _only("GET")
        if describe is None:
            return _json(403, {"error": "This node asks for signed requests; its log says how functions start."})
        name = parse_qs(request.query).get("function", [""])[0]
        return _json(200, {"versions": describe(name)})

    return page


def queue_page(peek: Callable[[str, int], Awaitable[list[dict[str, Any]] | None]] | None) -> Page:
    """`GET /_lambent/queue?arn=ARN&most=10`: the first messages of a queue, which stay as they are.

    Binary attributes are in base64. None where requests are signed.
    """

    async def page(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return _only("GET")
        if peek is None:
            return _json(403, {"error": "This node asks for signed requests; ReceiveMessage is one."})
        asked = dict(parse_qsl(request.query))
        most = asked.get("most", "10")
        if not (most.isascii() and most.isdecimal() and 1 <= int(most) <= _MOST_PEEKED):
            return _json(400, {"error": f"most is {most}; it can be 1 to {_MOST_PEEKED}."})
        found = await peek(asked.get("arn", ""), int(most))
        if found is None:
            return _json(404, {"error": "There is no such queue."})
        return _json(200, {"Messages": found})

    return page


def certificate_page(certificate: Callable[[str], Awaitable[bytes | None]]) -> Page:
    """`GET /_lambent/sns/….pem`: the certificate that notifications are verified with."""

    async def page(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return _only("GET")
        found = await certificate(request.path)
        if found is None:
            return _json(404, {"error": "There is no such certificate."})
        return HttpResponse(200, [("content-type", "application/x-pem-file")], found)

    return page


def _time(clock: Clock) -> dict[str, Any]:
    now_ms = clock.now_ms()
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return {
        "now": f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ms % 1000:03}Z",
        "now_ms": now_ms,
        "ahead_s": math.floor(clock.ahead_s * 1000) / 1000,
    }


def _json(status: int, content: dict[str, Any]) -> HttpResponse:
    return HttpResponse(status, list(_JSON), msgspec.json.encode(content) + b"\n")


def _only(method: str) -> HttpResponse:
    return HttpResponse(405, [*_JSON, ("allow", method)], msgspec.json.encode({"error": f"Use {method}."}) + b"\n")
