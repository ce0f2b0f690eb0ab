"""The HTTP Runtime API (version 2018-06-01), on a socket that listens inside one environment.

Custom runtimes and AWS's own runtime clients speak it; Python functions do when an exec wrapper stands between.
What comes over it comes from the function: each length is bounded, and a wrong request is answered, not obeyed.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes" and "Implementing response
streaming in a custom runtime"; facts sheet sections 8 and 13.
"""

import base64
import binascii
import json
import socket
from typing import Any, Final

from lambent.aws.request_id import new_request_id
from lambent.engine.frames import INIT, UNSTARTABLE, Listener, frame
from lambent.engine.http_connection import ACCEPTED, Connection, Headers
from lambent.engine.inside_api import InsideApi, Route
from lambent.engine.outbox import Outbox
from lambent.engine.report import MAX_RESPONSE_BYTES

_BASE: Final = "/2018-06-01/runtime/"
_MAX_TYPE: Final = 256
_READ_BYTES: Final = 65_536
# On demand there is no snapshot to be restored from: both calls of SnapStart's runtimes come in a wrong state.
_NO_RESTORE: Final = "State transition to Restoring failed for runtime: the function has no snapshot."


class RuntimeApi(InsideApi):
    """A channel to a runtime that asks for its invocations over HTTP. Owns both sockets.

    Not `is_control_ours`: the parent of extensions speaks over `control`.
    """

    def __init__(
        self,
        listening: socket.socket,
        route: Route,
        control: socket.socket,
        listener: Listener,
        *,
        is_control_ours: bool = True,
    ) -> None:
        super().__init__(listening, route)
        self._control = control
        self._listener = listener
        self._is_control_ours = is_control_ours
        self._is_ready = False
        self.asks = False
        self._event: tuple[Headers, bytes] | None = None  # not handed out yet
        self._given: tuple[Headers, bytes] | None = None
        self._current: str | None = None  # the request id that may still be answered
        self._last: str | None = None
        self._invocation_id = ""
        self._wants_stream = False
        self._streaming: Connection | None = None  # whose request's body is the answer, while it comes
        self._asking: Connection | None = None  # waits in /next
        self._holder: Connection | None = None  # got the event

    def open(self, order: dict[str, Any]) -> None:
        """Starts to listen; the bootstrap learns over its own socket what to run."""
        self.listen()
        Outbox(self._control).send(frame(INIT, json.dumps(order).encode()))

    def invoke(self, header: dict[str, Any], payload: bytes) -> None:
        """Hands the event to the runtime that waits in /next, or to the next one that asks."""
        self.asks = False
        self._invocation_id = new_request_id()
        self._current = self._last = header["request_id"]
        self._wants_stream = header.get("stream", False)
        headers = [
            ("Lambda-Runtime-Aws-Request-Id", header["request_id"]),
            ("Lambda-Runtime-Deadline-Ms", str(header["deadline_ms"])),
            ("Lambda-Runtime-Invoked-Function-Arn", header["arn"]),
            ("Lambda-Runtime-Trace-Id", header["trace"]),
            ("Lambda-Runtime-Client-Context", header["client_context"]),
            ("Lambda-Runtime-Cognito-Identity", header["cognito_identity"]),
            ("Lambda-Runtime-Invocation-Id", self._invocation_id),
            # Ours: AWS does not tell a runtime how it was invoked. A Python handler's iterator depends on it.
            ("Lambent-Response-Mode", "streaming" if self._wants_stream else None),
        ]
        self._event = ([(name, value) for name, value in headers if value], payload)
        self._hand_out()

    @property
    def has_event(self) -> bool:
        """Whether an invocation waits here for a runtime that asks."""
        return self._event is not None

    def pause(self) -> None:
        """Reads no more of the answer for now."""
        if self._streaming:
            self._streaming.pause()

    def resume(self) -> None:
        """Reads on."""
        if self._streaming:
            self._streaming.resume()

    def drain(self) -> None:
        """Reads what is there now, but not without end."""
        self._read_control()
        super().drain()

    def close(self) -> None:
        super().close()
        self._control.close()

    def _read_control(self) -> None:
        """Why there is no runtime, if whoever was to execute it says so. A runtime has no end of this socket."""
        if not self._is_control_ours:
            return
        try:
            data = self._control.recv(_READ_BYTES)
        except OSError:
            return
        if len(data) > 5 and data[4] == UNSTARTABLE:
            self._listener.on_unstartable(data[5:].decode(errors="replace"))

    # What a connection brings

    def has_head(self, connection: Connection) -> bool:
        """The head of a request is there; whether its body is passed on as it comes."""
        if not self._wants_stream or connection.method != "POST" or not _is_streamed(connection.headers):
            return False
        match self._parts(connection):
            case ["invocation", request_id, "response"]:
                return self._begin_stream(connection, request_id)
        return False

    def serve(self, connection: Connection) -> None:
        """Answers a request, or has another API of the same address answer it."""
        match self._parts(connection):
            case ["invocation", "next"]:
                if connection.is_method("GET"):
                    self._next(connection)
            case ["invocation", request_id, ("response" | "error") as verb]:
                if connection.is_method("POST"):
                    self._finish(connection, request_id, verb)
            case ["init", "error"]:
                if connection.is_method("POST"):
                    self._init_error(connection)
            case ["restore", ("next" | "error") as verb]:
                if connection.is_method("GET" if verb == "next" else "POST"):
                    connection.refuse(403, "InvalidStateTransition", _NO_RESTORE)
            case _:
                super().serve(connection)

    def _parts(self, connection: Connection) -> list[str]:
        path = connection.path
        return path.removeprefix(_BASE).split("/") if path.startswith(_BASE) else []

    # What it asks

    def _next(self, connection: Connection) -> None:
        """GET /invocation/next: answered when there is an invocation, however long that takes."""
        if self._current is not None and self._event is None:
            if self._holder in self._connections:
                text = "State transition from Running to Ready failed for runtime."
                connection.refuse(403, "InvalidStateTransition", text)
                return
            self._event = self._given  # who got it is gone, perhaps before it could read it
        self._asking = connection
        self.asks = self._current is None
        if not self._is_ready:
            self._is_ready = True
            self._listener.on_ready()
        elif self.asks:
            self._listener.on_next()
        else:
            self._hand_out()

    def _finish(self, connection: Connection, request_id: str, verb: str) -> None:
        """POST /invocation/{id}/response or /error."""
        if connection is self._streaming:
            self._end_stream(connection)
        elif refusal := self._refusal(connection, request_id):
            connection.refuse(*refusal)
        elif connection.is_too_long:
            self._current = None
            text = f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
            connection.refuse(413, "RequestEntityTooLarge", text)
            self._listener.on_oversized()
        else:
            self._current = None
            connection.answer(202, ACCEPTED)
            body, failure = bytes(connection.body), _trailing_error(connection.trailers)
            if verb == "error":
                self._listener.on_error(body, _error_type(connection))
            elif failure:
                self._listener.on_error(failure[1], failure[0])
            else:
                self._listener.on_response(body)

    def _begin_stream(self, connection: Connection, request_id: str) -> bool:
        """The head of a streaming POST /invocation/{id}/response has come. Whether its body goes on as it comes.

        It does where the invocation wants a stream and this is its answer. Otherwise the body is collected.
        """
        if self._refusal(connection, request_id):
            return False
        self._current = None
        self._streaming = connection
        self._listener.on_stream(connection.headers.get("content-type") or "application/octet-stream")
        return True

    def chunk(self, data: bytes) -> None:
        """A part of the streamed answer."""
        self._listener.on_chunk(data)

    def _end_stream(self, connection: Connection) -> None:
        self._streaming = None
        connection.resume()  # whoever reads the answer may be slow, the runtime's next request is not
        connection.answer(202, ACCEPTED)
        kind, document = _trailing_error(connection.trailers) or (None, b"")
        self._listener.on_stream_end(kind, document)

    def _refusal(self, connection: Connection, request_id: str) -> tuple[int, str, str] | None:
        """Why this answer is not taken: status, errorType and errorMessage."""
        given_id = connection.headers.get("lambda-runtime-invocation-id")
        if request_id != self._last:
            return 400, "InvalidRequestID", "Invalid request ID"
        if given_id and given_id != self._invocation_id:
            return 400, "InvalidInvocationId", "Invalid invocation ID"
        if self._current is None:
            return 403, "InvalidStateTransition", "State transition failed: the invocation has its answer."
        return None

    def _init_error(self, connection: Connection) -> None:
        """POST /init/error: the runtime exits next."""
        if self._is_ready:
            connection.refuse(
                403, "InvalidStateTransition", "State transition from Ready to InitError failed for runtime."
            )
            return
        connection.answer(202, ACCEPTED)
        self._listener.on_init_error(bytes(connection.body), _error_type(connection))

    def forget(self, connection: Connection) -> None:
        super().forget(connection)
        if self._asking is connection:
            self._asking = None
        if self._streaming is connection:
            self._streaming = None
            self._listener.on_violation("its streamed response broke off")

    def _hand_out(self) -> None:
        if self._event is None or self._asking is None:
            return
        connection, (headers, payload) = self._asking, self._event
        self._given = self._event
        self._asking, self._event = None, None
        self._holder = connection
        connection.answer(200, payload, headers)


def _is_streamed(headers: dict[str, str]) -> bool:
    """Whether a response is sent as it is made. AWS's client for Go does not say so: it sends all of them in chunks."""
    mode, encoding = (headers.get(name, "") for name in ("lambda-runtime-function-response-mode", "transfer-encoding"))
    return mode.lower() == "streaming" or encoding.lower() == "chunked"


def _error_type(connection: Connection) -> str | None:
    """What the runtime calls an error, `Category.Reason`, whatever is in its document."""
    kind = connection.headers.get("lambda-runtime-function-error-type", "")
    return kind[:_MAX_TYPE] if kind.isprintable() and kind else None


def _trailing_error(trailers: dict[str, str]) -> tuple[str, bytes] | None:
    """The type and the document of an error that a streamed response ended with."""
    kind, body = (trailers.get(f"lambda-runtime-function-error-{name}") for name in ("type", "body"))
    if kind is None and body is None:
        return None
    try:
        document = base64.b64decode(body or "", validate=True)
    except (binascii.Error, ValueError):
        document = (body or "").encode()
    return (kind or "Unhandled")[:_MAX_TYPE], document
