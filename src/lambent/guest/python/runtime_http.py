"""The same conversation over the documented HTTP Runtime API instead of frames.

Used when AWS_LAMBDA_EXEC_WRAPPER stands between: the wrapper script may change the environment or the command, so
what it starts finds the platform at AWS_LAMBDA_RUNTIME_API.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
"""

import base64
import http.client
import json
from typing import Any

_BASE = "/2018-06-01/runtime"
_ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
_ERROR_BODY = "Lambda-Runtime-Function-Error-Body"


class HttpPlatform:
    """The platform as the bootstrap sees it: next, response, error, init error."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)
        self._request_id = ""

    def ready(self) -> None:
        """Nothing to say: asking for the first invocation tells it."""

    def next(self) -> "tuple[dict[str, Any], bytes]":
        """Waits for an invocation: the header of an INVOKE frame, and the event."""
        answer, body = self._ask("GET", "/invocation/next", b"", {})
        if answer.status != 200:
            raise RuntimeError(f"Failed to get next: {answer.status} {body!r}")
        self._request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        header = {
            "request_id": self._request_id,
            "deadline_ms": int(answer.headers["Lambda-Runtime-Deadline-Ms"]),
            "arn": answer.headers.get("Lambda-Runtime-Invoked-Function-Arn"),
            "trace": answer.headers.get("Lambda-Runtime-Trace-Id"),
            "client_context": answer.headers.get("Lambda-Runtime-Client-Context"),
            "cognito_identity": answer.headers.get("Lambda-Runtime-Cognito-Identity"),
            "tenant_id": answer.headers.get("Lambda-Runtime-Aws-Tenant-Id"),
            "stream": answer.headers.get("Lambent-Response-Mode") == "streaming",
        }
        return header, body

    def response(self, payload: bytes) -> None:
        self._tell(f"/invocation/{self._request_id}/response", payload, {"Content-Type": "application/json"})

    def error(self, payload: bytes) -> None:
        self._tell(f"/invocation/{self._request_id}/error", payload, _error_type(payload))

    def init_error(self, payload: bytes) -> None:
        self._tell("/init/error", payload, _error_type(payload))

    def stream(self, content_type: str) -> None:
        """Begins a request whose body goes on until `stream_end` or `stream_error`."""
        self._connection.putrequest("POST", f"{_BASE}/invocation/{self._request_id}/response")
        for name, value in (
            ("Content-Type", content_type),
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Transfer-Encoding", "chunked"),
            ("Trailer", f"{_ERROR_TYPE}, {_ERROR_BODY}"),
        ):
            self._connection.putheader(name, value)
        self._connection.endheaders()

    def chunk(self, data: bytes) -> None:
        self._connection.send(b"%x\r\n%b\r\n" % (len(data), data))

    def stream_end(self) -> None:
        self._end_stream(b"")

    def stream_error(self, payload: bytes) -> None:
        kind = next(iter(_error_type(payload).values()))
        body = base64.b64encode(payload).decode()
        self._end_stream(f"{_ERROR_TYPE}: {kind}\r\n{_ERROR_BODY}: {body}\r\n".encode())

    def _end_stream(self, trailers: bytes) -> None:
        self._connection.send(b"0\r\n" + trailers + b"\r\n")
        answer = self._connection.getresponse()
        self._check(answer, answer.read(), "the response")

    def _tell(self, path: str, payload: bytes, headers: "dict[str, str]") -> None:
        answer, body = self._ask("POST", path, payload, headers)
        self._check(answer, body, path)

    def _check(self, answer: http.client.HTTPResponse, body: bytes, path: str) -> None:
        # 413 is the platform's to report: the invocation has its result, the runtime goes on.
        if answer.status not in (202, 413):
            raise RuntimeError(f"Failed to post to {path}: {answer.status} {body!r}")

    def _ask(
        self, method: str, path: str, payload: bytes, headers: "dict[str, str]"
    ) -> "tuple[http.client.HTTPResponse, bytes]":
        self._connection.request(method, _BASE + path, payload or None, headers)
        answer = self._connection.getresponse()
        return answer, answer.read()


def _error_type(payload: bytes) -> "dict[str, str]":
    kind = str(json.loads(payload).get("errorType") or "Unhandled")
    return {_ERROR_TYPE: kind.encode("ascii", "replace").decode()}
