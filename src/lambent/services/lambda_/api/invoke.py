"""Invoke."""

import base64
import binascii
import uuid
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.api.names import locate
from lambent.services.lambda_.payload import check_payload
from lambent.services.lambda_.run import Asked, choose, run

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LATER: Final = {"TenantId": "tenant isolation", "DurableExecutionName": "durable functions"}


async def invoke(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """Invoke: runs the function (RequestResponse), keeps the event (Event), or only checks (DryRun).

    Checked in this order: the function is there, it can run, the payload. An alias with weights stands for another
    version each time. Source: AWS Lambda API Reference.
    """
    for member, feature in _LATER.items():
        if member in params:
            raise ApiError("NotImplemented", f"{member}: Lambent does not support {feature} yet.")
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    version = choose(service, key, qualifier)
    payload = params.get("Payload") or b"{}"
    kind = params.get("InvocationType", "RequestResponse")
    _check_size(payload, quotas.EVENT_BYTES if kind == "Event" else quotas.REQUEST_BYTES)
    check_payload(payload)
    request_id = caller.request_id or str(uuid.uuid4())
    if kind == "DryRun":
        return {"StatusCode": 204, "Payload": b""}
    if kind == "Event":
        await service.event_queue.put(key.scope, key.arn(), qualifier, payload, request_id=request_id)
        return {"StatusCode": 202, "Payload": b""}
    asked = Asked(
        key=key,
        qualifier=qualifier,
        payload=payload,
        request_id=request_id,
        client_context=_client_context(params.get("ClientContext")),
        trace_header=caller.trace_header,
        want_tail=params.get("LogType") == "Tail",
    )
    result = (await run(service, asked, version)).result
    answer: Shape = {"StatusCode": 200, "Payload": result.payload, "ExecutedVersion": version.version}
    if result.function_error is not None:
        answer["FunctionError"] = result.function_error
    if result.log_tail is not None:
        answer["LogResult"] = base64.b64encode(result.log_tail).decode()
    return answer


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
