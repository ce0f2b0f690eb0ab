"""The Telemetry API (version 2022-07-01) and its predecessor, the Logs API (2020-08-15): who gets which events.

A subscription is made during Init and holds for the environment's life. Events of the time before are kept until
Init is over. How events get there is in `telemetry_delivery`.

Source: AWS Lambda Developer Guide, "Accessing real-time telemetry data for extensions using the Telemetry API",
"Telemetry API event schema reference" and "Using the Lambda Logs API"; facts sheet section 15.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from lambent.engine.extensions_api import Extension, Extensions
from lambent.engine.http_connection import Connection

TELEMETRY: Final = "/2022-07-01/telemetry"
LOGS: Final = "/2020-08-15/logs"
PATHS: Final = (TELEMETRY, LOGS)

_MAX_BODY_BYTES: Final = 65_536
_SCHEMAS: Final = {
    TELEMETRY: ("2022-07-01", "2022-12-13", "2025-01-29"),
    LOGS: ("2020-08-15", "2021-03-18"),
}
_TYPES: Final = ("platform", "function", "extension")
_HOSTS: Final = ("sandbox.localdomain", "sandbox")
_OWN_PORT: Final = 9001
_BUFFERING: Final = {"maxItems": (1000, 10_000), "maxBytes": (262_144, 1_048_576), "timeoutMs": (25, 30_000)}
_DEFAULTS: Final = {"maxItems": 10_000, "maxBytes": 262_144, "timeoutMs": 1000}
_MOST_PAST_EVENTS: Final = 1000  # of Init; more are not there for who subscribes later
_TEXT_SCHEMA: Final = "2022-07-01"  # in which a record of a log is a string, whatever it holds

Event = Mapping[str, Any]
"""{time, type, record}, as the Telemetry API has it."""


class InvalidSubscriptionError(Exception):
    """What is wrong with a subscription; the text says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Who wants what, how and where."""

    name: str
    api: str  # TELEMETRY or LOGS
    schema: str
    types: tuple[str, ...]
    max_items: int
    max_bytes: int
    timeout_ms: int
    protocol: str  # HTTP or TCP
    port: int
    path: str = "/"
    method: str = "POST"

    def shown(self, event: Event) -> list[Event]:
        """What this subscriber gets for an event: nothing, the event, or what the older API had for it."""
        kind = str(event["type"])
        if kind.partition(".")[0] not in self.types:
            return []
        if self.api == LOGS:
            return _older(event, self.schema)
        if self.schema == _TEXT_SCHEMA and not isinstance(event["record"], str) and kind in _TYPES:
            return [{**event, "record": json.dumps(event["record"])}]
        return [event]


@dataclass(slots=True, eq=False)
class TelemetryApi:
    """The subscriptions of one environment. `subscribe` is told each, once, with what there was before."""

    extensions: Extensions
    subscribe: Callable[[Subscription, list[Event]], None]
    past: list[Event] = field(default_factory=list)
    _subscribed: dict[str, Subscription] = field(default_factory=dict)

    def keep(self, event: Event) -> None:
        """An event of Init, for who subscribes later."""
        if self.extensions.is_open and len(self.past) < _MOST_PAST_EVENTS:
            self.past.append(event)
        elif self.past and not self.extensions.is_open:
            self.past.clear()

    def serve(self, connection: Connection) -> None:
        """Answers a subscription."""
        api = connection.path.rstrip("/")
        word = "Logs" if api == LOGS else "Telemetry"
        if api not in _SCHEMAS:
            connection.refuse(404, "NotFound", "There is no such path in the telemetry API.")
        elif connection.is_method("PUT"):
            extension = self.extensions.find(connection.headers.get("lambda-extension-identifier"))
            if extension is None:
                connection.refuse(403, f"{word}.UnknownExtensionIdentifier", "Nobody registered with this identifier.")
            elif not self.extensions.is_open:
                connection.refuse(403, f"{word}.SubscriptionClosed", "Extensions subscribe during Init only.")
            else:
                self._take(connection, extension, api)

    def _take(self, connection: Connection, extension: Extension, api: str) -> None:
        word = "Logs" if api == LOGS else "Telemetry"
        known = self._subscribed.get(extension.name)
        try:
            subscription = parse(bytes(connection.body), api, extension.name)
            if known and known.api != api:
                raise InvalidSubscriptionError("the extension has subscribed with the other API")
        except InvalidSubscriptionError as error:
            connection.refuse(400, f"{word}.ValidationError", str(error))
            return
        connection.answer(200, b'"OK"')
        if known is None:
            self._subscribed[extension.name] = subscription
            self.subscribe(subscription, list(self.past))


def parse(body: bytes, api: str, name: str) -> Subscription:
    """The subscription that a body asks for. Pure.

    Raises:
        InvalidSubscriptionError: it is none.
    """
    content = _object(body)
    schema = content.get("schemaVersion", _SCHEMAS[LOGS][0] if api == LOGS else None)
    if schema not in _SCHEMAS[api]:
        raise InvalidSubscriptionError(f"schemaVersion should be one of {', '.join(_SCHEMAS[api])}")
    types = content.get("types")
    if not isinstance(types, list) or not types or not all(kind in _TYPES for kind in types):
        raise InvalidSubscriptionError(f"types should be some of {', '.join(_TYPES)}, and not be empty")
    buffering = _buffering(content.get("buffering", {}))
    return Subscription(
        name=name,
        api=api,
        schema=schema,
        types=tuple(dict.fromkeys(types)),
        max_items=buffering["maxItems"],
        max_bytes=buffering["maxBytes"],
        timeout_ms=buffering["timeoutMs"],
        **_destination(content.get("destination")),
    )


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > _MAX_BODY_BYTES:
        raise InvalidSubscriptionError("the body is too long")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InvalidSubscriptionError("the body is no JSON object")
    return content


def _buffering(given: object) -> dict[str, int]:
    if not isinstance(given, dict):
        raise InvalidSubscriptionError("buffering should be an object")
    chosen = _DEFAULTS | {name: value for name, value in given.items() if value is not None}
    for name, (least, most) in _BUFFERING.items():
        value = chosen[name]
        if type(value) is not int or not least <= value <= most:
            raise InvalidSubscriptionError(f"{name} should be {least} to {most}")
    return chosen


def _destination(given: object) -> dict[str, Any]:
    if not isinstance(given, dict) or given.get("protocol") not in ("HTTP", "TCP"):
        raise InvalidSubscriptionError("destination should have the protocol HTTP or TCP")
    if given["protocol"] == "TCP":
        return {"protocol": "TCP", "port": _port(given.get("port"))}
    method = given.get("method", "POST")
    uri = given.get("URI")
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable() or " " in uri or len(uri) > 2048:
        raise InvalidSubscriptionError("URI should be http://sandbox.localdomain:PORT/PATH")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidSubscriptionError("URI should be http://sandbox.localdomain:PORT/PATH") from None
    if parts.scheme != "http" or host not in _HOSTS or method not in ("POST", "PUT"):
        raise InvalidSubscriptionError("URI should be http://sandbox.localdomain:PORT/PATH, method POST or PUT")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return {"protocol": "HTTP", "port": _port(port), "path": path, "method": method}


def _port(port: object) -> int:
    if type(port) is not int or not 1 <= port <= 65_535 or port == _OWN_PORT:
        raise InvalidSubscriptionError("URI port is not provided, or is reserved")
    return port


def _older(event: Event, schema: str) -> list[Event]:
    """An event as the Logs API has it, which knew fewer and told less of each."""
    kind, record = event["type"], event["record"]
    match kind:
        case "platform.start":
            record = {name: record[name] for name in ("requestId", "version", "tracing") if name in record}
        case "platform.runtimeDone" if schema == "2021-03-18":
            status = {"error": "failure"}.get(record["status"], record["status"])
            record = {"requestId": record["requestId"], "status": status}
        case "platform.report":
            record = {name: record[name] for name in ("requestId", "metrics", "tracing") if name in record}
            end = {"time": event["time"], "type": "platform.end", "record": {"requestId": record["requestId"]}}
            return [end, {**event, "record": record}]
        case "function" | "extension":
            record = record if isinstance(record, str) else json.dumps(record)
        case "platform.extension" | "platform.logsSubscription" | "platform.logsDropped":
            pass
        case _:
            return []
    return [{**event, "record": record}]
