"""The Extensions API (version 2020-01-01): who takes part in an environment's life besides its runtime.

It answers at the address of the Runtime API. What comes over it comes from the function or its layers: each length
is bounded, and what is wrong in a state is refused.

Source: AWS Lambda Developer Guide, "Using the Lambda Extensions API to create extensions"; facts sheet section 14.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from lambent.engine.http_connection import ACCEPTED, Connection

BASE: Final = "/2020-01-01/extension/"
INVOKE: Final = "INVOKE"
SHUTDOWN: Final = "SHUTDOWN"
MAX_EXTENSIONS: Final = 10
"""How many extensions may register. Source: the guide, "Considerations for using the Lambda Extensions API"."""

_MAX_BODY_BYTES: Final = 65_536
_MAX_NAME: Final = 255  # as a file's name
_MAX_TYPE: Final = 128
_NOT_PRINTABLE: Final = dict.fromkeys((*range(32), 127), "?")


class State(Enum):
    """Where an extension is, as its line in the log says it."""

    STARTED = "Started"  # its process runs
    REGISTERED = "Registered"
    READY = "Ready"  # it waits for an event
    RUNNING = "Running"  # it has an event
    FAILED = "Failed"
    ENDED = "Ended"  # its process is gone


@dataclass(slots=True, eq=False)
class Extension:
    """One extension: a process of its own, or a part of the runtime's."""

    name: str
    is_external: bool
    state: State = State.STARTED
    events: tuple[str, ...] = ()
    identifier: str = ""
    error_type: str | None = None
    waiting: Connection | None = None  # asked for its next event
    event: bytes | None = None  # not handed out yet

    @property
    def is_registered(self) -> bool:
        return self.state not in (State.STARTED, State.ENDED)


class Attendant(Protocol):
    """Who is told: the environment. Each call is synchronous and final."""

    def on_extensions_registered(self) -> None: ...
    def on_extensions_ready(self) -> None: ...
    def on_extension_failed(self, extension: Extension, error_type: str, text: str) -> None: ...


@dataclass(slots=True, eq=False)
class Extensions:
    """The extensions of one environment. `names` are those of its external ones, whose processes are started."""

    names: Sequence[str]
    about: Mapping[str, str]  # functionName, functionVersion and handler
    account: str
    attendant: Attendant
    is_open: bool = True  # until Init has ended: who is in it may subscribe
    takes_more: bool = True  # until the runtime is ready: then it is known for whom Init waits
    is_shutting_down: bool = False
    _by_name: dict[str, Extension] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {name: Extension(name, is_external=True) for name in self.names}

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    @property
    def is_empty(self) -> bool:
        """Whether nobody takes part."""
        return not any(one.is_registered for one in self._by_name.values())

    @property
    def are_registered(self) -> bool:
        """Whether every external extension has registered: the runtime may start."""
        return all(one.state is not State.STARTED for one in self._by_name.values())

    @property
    def are_ready(self) -> bool:
        """Whether everybody waits for an event: neither Init nor an invocation waits for them."""
        return all(one.state is State.READY for one in self._by_name.values())

    @property
    def are_gone(self) -> bool:
        """Whether no external extension's process is left."""
        return all(one.state is State.ENDED for one in self._by_name.values() if one.is_external)

    def unprepared(self) -> list[str]:
        """The external extensions that did not register for the end."""
        return [one.name for one in self._by_name.values() if one.is_external and SHUTDOWN not in one.events]

    def find(self, identifier: str | None) -> Extension | None:
        """Who has this identifier."""
        known = (one for one in self._by_name.values() if one.identifier)
        return next((one for one in known if one.identifier == identifier), None)

    def invoke(self, event: Mapping[str, Any]) -> None:
        """An invocation begins: for those who registered for it."""
        self._tell(INVOKE, {"eventType": INVOKE, **event})

    def shut_down(self, reason: str, deadline_ms: int) -> None:
        """The end, for those who registered for it. Reasons are SPINDOWN, TIMEOUT and FAILURE."""
        self.is_shutting_down = True
        self._tell(SHUTDOWN, {"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline_ms})

    def exited(self, name: str, status: int) -> None:
        """An external extension's process has ended, which only Shutdown allows it."""
        extension = self._by_name.get(name)
        if extension is None or extension.state is State.ENDED:
            return
        has_failed, extension.state = extension.state is State.FAILED, State.ENDED
        if not self.is_shutting_down and not has_failed:
            extension.error_type = "Extension.Crash"
            self.attendant.on_extension_failed(extension, "Extension.Crash", f"exit code {status}")

    # What connections ask

    def serve(self, connection: Connection) -> None:
        """Answers one request."""
        match connection.path.removeprefix(BASE):
            case "register":
                if connection.is_method("POST"):
                    self._register(connection)
            case "event/next":
                if connection.is_method("GET"):
                    self._next(connection)
            case ("init/error" | "exit/error") as what:
                if connection.is_method("POST"):
                    self._fail(connection, is_init=what.startswith("init"))
            case _:
                connection.refuse(404, "NotFound", "There is no such path in the extensions API.")

    def _register(self, connection: Connection) -> None:
        name = connection.headers.get("lambda-extension-name", "")
        events = _events(bytes(connection.body))
        if not name or len(name) > _MAX_NAME or name != name.translate(_NOT_PRINTABLE):
            connection.refuse(400, "Extension.InvalidExtensionName", "Lambda-Extension-Name is missing or unfit.")
        elif events is None:
            connection.refuse(400, "InvalidRequestFormat", "The body is not {'events': [INVOKE, SHUTDOWN]}.")
        elif refusal := self._refusal(name, events):
            connection.refuse(403, *refusal)
        else:
            self._enter(connection, name, events)

    def _refusal(self, name: str, events: tuple[str, ...]) -> tuple[str, str] | None:
        known = self._by_name.get(name)
        if not self.takes_more or self.is_shutting_down:
            return "Extension.RegistrationClosed", "Extensions register until the runtime is ready."
        if known and known.state is not State.STARTED:
            return "Extension.AlreadyRegistered", f"{name} has registered already."
        if sum(one.is_registered for one in self._by_name.values()) >= MAX_EXTENSIONS:
            return "Extension.TooManyExtensions", f"No more than {MAX_EXTENSIONS} extensions may register."
        if not known and SHUTDOWN in events:
            return "ShutdownEventNotSupportedForInternalExtension", "An internal extension may not register SHUTDOWN."
        return None

    def _enter(self, connection: Connection, name: str, events: tuple[str, ...]) -> None:
        extension = self._by_name.setdefault(name, Extension(name, is_external=False))
        extension.state, extension.events, extension.identifier = State.REGISTERED, events, str(uuid.uuid4())
        answer = dict(self.about)
        features = connection.headers.get("lambda-extension-accept-feature", "")
        if "accountId" in [feature.strip() for feature in features.split(",")]:
            answer["accountId"] = self.account
        headers = [("Lambda-Extension-Identifier", extension.identifier)]
        connection.answer(200, json.dumps(answer).encode(), headers)
        if extension.is_external and self.are_registered:
            self.attendant.on_extensions_registered()

    def _next(self, connection: Connection) -> None:
        extension = self._asking(connection)
        if extension is None:
            return
        waits = extension.waiting is not None and extension.waiting.is_open
        if waits or extension.state in (State.FAILED, State.ENDED):
            connection.refuse(403, "Extension.InvalidExtensionState", "State transition to Ready failed.")
            return
        extension.waiting = connection
        if extension.event is not None:
            self._hand_out(extension)
        elif extension.state is not State.READY:
            extension.state = State.READY
            if self.are_ready:
                self.attendant.on_extensions_ready()

    def _fail(self, connection: Connection, *, is_init: bool) -> None:
        extension = self._asking(connection)
        if extension is None:
            return
        kind = connection.headers.get("lambda-extension-function-error-type", "").translate(_NOT_PRINTABLE)
        if not kind:
            connection.refuse(400, "MissingHeader", "Lambda-Extension-Function-Error-Type is missing.")
        elif extension.state is State.FAILED or (is_init and extension.state is not State.REGISTERED):
            connection.refuse(403, "Extension.InvalidExtensionState", "State transition to Failed failed.")
        else:
            connection.answer(202, ACCEPTED)
            extension.state, extension.error_type = State.FAILED, kind[:_MAX_TYPE]
            if not self.is_shutting_down:
                error_type = "Extension.InitError" if is_init else "Extension.ExitError"
                self.attendant.on_extension_failed(extension, error_type, kind[:_MAX_TYPE])

    def _asking(self, connection: Connection) -> Extension | None:
        """Who asks; anybody unknown is refused here."""
        identifier = connection.headers.get("lambda-extension-identifier")
        extension = self.find(identifier) if identifier else None
        if not identifier:
            connection.refuse(403, "Extension.MissingExtensionIdentifier", "Lambda-Extension-Identifier is missing.")
        elif extension is None:
            connection.refuse(403, "Extension.UnknownExtensionIdentifier", "Nobody registered with this identifier.")
        return extension

    # What it tells

    def _tell(self, kind: str, event: Mapping[str, Any]) -> None:
        for extension in self._by_name.values():
            if kind in extension.events and extension.state in (State.READY, State.RUNNING, State.REGISTERED):
                extension.event = json.dumps(event).encode()
                extension.state = State.RUNNING
                if extension.waiting:
                    self._hand_out(extension)

    def _hand_out(self, extension: Extension) -> None:
        connection, event = extension.waiting, extension.event
        extension.waiting = None
        # Whoever asked may be gone; then the event is there for its next request.
        if connection and event is not None and connection.is_open:
            extension.event = None
            connection.answer(200, event, [("Lambda-Extension-Event-Identifier", str(uuid.uuid4()))])


def _events(body: bytes) -> tuple[str, ...] | None:
    """The events that a body registers for; None where it is no such body."""
    if len(body) > _MAX_BODY_BYTES:
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    events = content.get("events", []) if isinstance(content, dict) else None
    if not isinstance(events, list) or not all(event in (INVOKE, SHUTDOWN) for event in events):
        return None
    return tuple(dict.fromkeys(events))
