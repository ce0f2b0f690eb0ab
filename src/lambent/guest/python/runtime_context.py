"""The context object that a handler gets as its second argument.

Fields, their order in `repr` and their behaviour are those of the managed runtimes: user code reads and prints them.

Source: AWS Lambda Developer Guide, "Using the Lambda context object to retrieve Python function information";
awslambdaric 4.x, `lambda_context`.
"""

import logging
import os
import sys
import time
from typing import Any

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class _Record:
    """An object of named fields that shows them all."""

    __slots__: "tuple[str, ...]" = ()
    _shown: "tuple[str, ...]" = ()

    def __repr__(self) -> str:
        return _show(self, self._shown)


def _show(record: Any, names: "tuple[str, ...]") -> str:
    fields = ",".join(f"{name}={getattr(record, name)}" for name in names)
    return f"{type(record).__name__}([{fields}])"


class CognitoIdentity(_Record):
    """The Amazon Cognito identity that authorized the request; empty unless a mobile SDK sent one."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")
    _shown = ("cognito_identity_id", "cognito_identity_pool_id")
    cognito_identity_id: str | None
    cognito_identity_pool_id: str | None


class Client(_Record):
    """The application that the client context names."""

    __slots__ = ("app_package_name", "app_title", "app_version_code", "app_version_name", "installation_id")
    _shown = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Record):
    """What the caller passed as X-Amz-Client-Context."""

    __slots__ = ("client", "custom", "env")
    _shown = ("custom", "env", "client")
    client: Any
    custom: Any
    env: Any


_NAMES = ("LOG_GROUP_NAME", "LOG_STREAM_NAME", "FUNCTION_NAME", "FUNCTION_MEMORY_SIZE", "FUNCTION_VERSION")
_names: "list[str | None]" = []


def _read_names() -> "list[str | None]":
    """What stays the same from the first invocation on: each reading of a variable takes a microsecond."""
    _names[:] = [os.environ.get("AWS_LAMBDA_" + name) for name in _NAMES]
    return _names


def forget_names() -> None:
    """The variables are others from now on: a rehearsal may have read them before they were there."""
    _names.clear()


class LambdaContext:
    """Information about the invocation, the function and the execution environment."""

    _shown = (
        "aws_request_id",
        "log_group_name",
        "log_stream_name",
        "function_name",
        "memory_limit_in_mb",
        "function_version",
        "invoked_function_arn",
        "client_context",
        "identity",
        "tenant_id",
    )

    def __init__(self, header: dict[str, Any], client: dict[str, Any] | None, cognito: dict[str, Any] | None):
        self.aws_request_id: str = header["request_id"]
        names = _names or _read_names()
        self.log_group_name, self.log_stream_name, self.function_name = names[:3]
        self.memory_limit_in_mb, self.function_version = names[3:]
        self.invoked_function_arn: str | None = header.get("arn")
        self.tenant_id: str | None = header.get("tenant_id")
        self._w3c = _take_w3c(client)
        self.client_context = _client_context(client)
        self.identity = CognitoIdentity()
        self.identity.cognito_identity_id = (cognito or {}).get("cognitoIdentityId")
        self.identity.cognito_identity_pool_id = (cognito or {}).get("cognitoIdentityPoolId")
        self._deadline_ms: int = header["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation times out, never below 0."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def w3c(self) -> dict[str, str]:
        """The W3C trace context of this invocation."""
        return dict(self._w3c)

    def log(self, message: object) -> None:
        """Writes to the function's log, without a line end of its own."""
        for handler in logging.getLogger().handlers:
            if hasattr(handler, "log_sink"):
                handler.log_sink.log(str(message))
                return
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        return _show(self, self._shown)


def _take_w3c(client: Any) -> dict[str, str]:
    """The trace fields of the client context, which does not show them to the handler."""
    fields = client.pop("w3c", None) if isinstance(client, dict) else None
    if not isinstance(fields, dict):
        return {}
    return {name: fields[name] for name in _W3C_FIELDS if isinstance(fields.get(name), str)}


def _client_context(fields: dict[str, Any] | None) -> ClientContext | None:
    if fields is None:
        return None
    context = ClientContext()
    _fill(context, fields, ["custom", "env", "client"])
    if context.client is not None:
        client = Client()
        _fill(client, context.client, list(Client.__slots__))
        context.client = client
    return context


def _fill(record: object, fields: dict[str, Any], names: list[str]) -> None:
    for name in names:
        setattr(record, name, fields.get(name))
