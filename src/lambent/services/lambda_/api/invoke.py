"""Invoke, InvokeWithResponseStream, InvokeAsync."""

import base64
import binascii
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.aws.trace import new_trace, shown
from lambent.dispatch import Shape
from lambent.protocol.http import UNMODELLED_HEADERS
from lambent.services.lambda_.api.names import locate
from lambent.services.lambda_.model import FunctionVersion
from lambent.services.lambda_.payload import check_payload
from lambent.services.lambda_.run import Asked, Streamed, choose, run, run_streaming

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LATER: Final = {"TenantId": "tenant isolation", "DurableExecutionName": "durable functions"}
_NOT_REMAPPED: Final = ("x-amzn-Remapped-Content-Length", "0")


async def invoke(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """Invoke: runs the function (RequestResponse), keeps the event (Event), or only checks (DryRun).

    Checked in this order: the function is there, it can run, the payload. An alias with weights stands for another
    version each time. Source: AWS Lambda API Reference.
    """
    kind = params.get("InvocationType", "RequestResponse")
    asked, version = _asked(service, caller, params, quotas.EVENT_BYTES if kind == "Event" else quotas.REQUEST_BYTES)
    if kind == "DryRun":
        return {"StatusCode": 204, "Payload": b""}
    if kind == "Event":
        await _keep(service, asked)
        return {"StatusCode": 202, "Payload": b""}
    found = await run(service, asked, version)
    result = found.result
    answer: Shape = {"StatusCode": 200, "Payload": result.payload, "ExecutedVersion": version.version}
    if result.function_error is not None:
        answer["FunctionError"] = result.function_error
    if result.log_tail is not None:
        answer["LogResult"] = base64.b64encode(result.log_tail).decode()
    answer[UNMODELLED_HEADERS] = [_NOT_REMAPPED, ("X-Amzn-Trace-Id", shown(found.trace_header))]
    return answer


async def invoke_async(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """InvokeAsync: keeps the event, as Invoke does for Event. Deprecated. Source: AWS Lambda API Reference."""
    asked, _version = _asked(service, caller, {**params, "Payload": params["InvokeArgs"]}, quotas.EVENT_BYTES)
    await _keep(service, asked)
    return {"Status": 202}


async def invoke_with_response_stream(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """InvokeWithResponseStream: runs the function and passes on its answer while it is written.

    The answer begins with the function's first byte, so what keeps the function from running is an error of the
    request. What the function itself fails with is told in the stream's last event, whenever it happens.
    Source: AWS Lambda API Reference; facts sheet section 8.
    """
    asked, version = _asked(service, caller, params, quotas.REQUEST_BYTES)
    if params.get("InvocationType") == "DryRun":
        return {"StatusCode": 204}
    streamed = await run_streaming(service, asked, version)
    return {
        "StatusCode": 200,
        "ExecutedVersion": version.version,
        "EventStream": _events(streamed),
        UNMODELLED_HEADERS: [("X-Amzn-Trace-Id", shown(streamed.trace_header))],
    }


async def _events(streamed: Streamed) -> AsyncIterator[Shape]:
    try:
        async for data in streamed.chunks:
            yield {"PayloadChunk": {"Payload": data}}
    finally:
        await streamed.chunks.aclose()
    result = await streamed.result
    complete: Shape = {}
    if result.function_error is not None:
        complete = {"ErrorCode": result.function_error, "ErrorDetails": result.payload.decode(errors="replace")}
    if result.log_tail is not None:
        complete["LogResult"] = base64.b64encode(result.log_tail).decode()
    yield {"InvokeComplete": complete}


def _asked(service: "Lambda", caller: Caller, params: Shape, most_bytes: int) -> tuple[Asked, FunctionVersion]:
    """What is to be run, checked in the order that `invoke` says."""
    for member, feature in _LATER.items():
        if member in params:
            raise ApiError("NotImplemented", f"{member}: Lambent does not support {feature} yet.")
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    version = choose(service, key, qualifier)
    payload = params.get("Payload") or b"{}"
    _check_size(payload, most_bytes)
    check_payload(payload)
    asked = Asked(
        key=key,
        qualifier=qualifier,
        payload=payload,
        request_id=caller.request_id or str(uuid.uuid4()),
        client_context=_client_context(params.get("ClientContext")),
        trace_header=caller.trace_header,
        want_tail=params.get("LogType") == "Tail",
    )
    return asked, version


async def _keep(service: "Lambda", asked: Asked) -> None:
    """Keeps an event; returns once it is on disk. All its attempts are of one trace."""
    key, trace_header = asked.key, asked.trace_header or new_trace(service.clock.now())
    await service.event_queue.put(
        key.scope,
        key.arn(),
        asked.qualifier,
        asked.payload,
        request_id=asked.request_id,
        trace_header=trace_header,
    )


def _check_size(payload: bytes, most: int) -> None:
    if len(payload) > most:
        raise ApiError(
            "RequestTooLargeException", f"Request must be smaller than {most} bytes for the InvokeFunction operation"
        )


def _client_context(encoded: str | None) -> str | None:
    """The JSON text in X-Amz-Client-Context.

    Raises:
        ApiError: InvalidRequestContentException, when it is not JSON in base64, or over 3,583 bytes.
    """
    if not encoded:
        return None
    if len(encoded) > quotas.CLIENT_CONTEXT_BYTES:
        raise ApiError(
            "InvalidRequestContentException",
            f"ClientContext has {len(encoded)} bytes; Lambda allows {quotas.CLIENT_CONTEXT_BYTES}.",
        )
    try:
        text = base64.b64decode(encoded, validate=True)
        msgspec.json.decode(text, type=dict)
        return text.decode()
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise ApiError(
            "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."
        ) from None
