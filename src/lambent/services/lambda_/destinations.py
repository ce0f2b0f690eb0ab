"""Where records of asynchronous invocations go, and what they say: destinations and dead-letter queues.

Building is pure; `deliver` asks the service that the target's ARN names, as the function's execution role.

Source: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations" and "Dead-letter queues";
facts sheet section 25; recorded records.
"""

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Call, Shape
from lambent.engine.retries import SUCCESS
from lambent.engine.rows import Delivery, Event, Response
from lambent.eventing.sources.sqs import queue_url
from lambent.services.lambda_.execution_role import role_caller
from lambent.services.lambda_.model import LATEST, FunctionKey

DESTINATION: Final = "Destination"
DEAD_LETTER: Final = "DeadLetter"

# What a message may have. A record of a failure that is larger goes without its payloads.
# Source: AWS Lambda API Reference, OnFailure; quotas of the services.
_MOST_BYTES: Final = {"sns": 262_144, "sqs": 1_048_576, "events": 1_048_576, "lambda": 1_048_576}
_ERROR_MESSAGE_BYTES: Final = 1_024
_ERROR_STATUS: Final = {"TooManyRequestsException": 429, "RecursiveInvocationException": 400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing to tell: of which event, to whom. `trace_header` is the one that the function was given."""

    event: Event
    target: Arn
    trace_header: str | None = None

    @property
    def key(self) -> FunctionKey:
        return FunctionKey(*self.event.scope, self.event.function_arn.rpartition(":")[2])

    @property
    def function_arn(self) -> str:
        """With its qualifier, and `$LATEST` where none was asked for."""
        return self.key.arn(self.event.qualifier or LATEST)

    @property
    def ended(self) -> datetime:
        return datetime.fromtimestamp((self.event.ended_ms or 0) / 1000, UTC)


def destination(target: str, role: str) -> Delivery:
    """A record's way to a destination."""
    return Delivery(kind=DESTINATION, target=target, role=role, failure_metric="DestinationDeliveryFailures")


def dead_letter(target: str, role: str) -> Delivery:
    """An event's way to a dead-letter queue or topic."""
    return Delivery(kind=DEAD_LETTER, target=target, role=role, failure_metric="DeadLetterErrors")


async def deliver(call: Call, message: Message, delivery: Delivery) -> None:
    """Hands a record, or the event itself, to its target.

    Raises:
        ApiError: what the target's service says; InvalidParameterValueException for a target that takes no records.
    """
    senders = _SENDERS if delivery.kind == DESTINATION else _DEAD_LETTER_SENDERS
    send = senders.get(message.target.service)
    if send is None:
        raise _invalid(f"The destination ARN {delivery.target} is invalid.")
    await send(call, message, _caller(message, delivery.role))


def _caller(message: Message, role: str) -> Caller:
    """The function's execution role, in the target's region."""
    return role_caller(role, message.key, region=message.target.region, trace_header=message.trace_header)


# What is said


def record(message: Message) -> bytes:
    """The invocation record: JSON, in AWS's order of fields.

    A failure's that would be too large for its target goes without the payloads.
    """
    event = message.event
    facts = _facts(message)
    response = _answered(event.response)
    document = dict(facts)
    document["requestPayload"] = _raw(event.payload)
    if response is not None:
        document["responseContext"] = _response_context(response)
        document["responsePayload"] = _raw(response.payload)
    encoded = msgspec.json.encode(document)
    most = _MOST_BYTES.get(message.target.service)
    if most is None or len(encoded) <= most or event.condition == SUCCESS:
        return encoded
    if response is not None:
        facts["responseContext"] = _response_context(response)
    return msgspec.json.encode(facts)


def _facts(message: Message) -> dict[str, Any]:
    event = message.event
    return {
        "version": "1.0",
        "timestamp": f"{message.ended:%Y-%m-%dT%H:%M:%S}.{message.ended.microsecond // 1000:03d}Z",
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": message.function_arn,
            "condition": event.condition,
            "approximateInvokeCount": event.attempts,
        },
    }


def _response_context(response: Response) -> dict[str, Any]:
    context: dict[str, Any] = {"statusCode": 200, "executedVersion": response.executed_version}
    return context | ({"functionError": response.function_error} if response.function_error else {})


def _answered(response: Response | None) -> Response | None:
    return None if response is None or response.refusal else response


def _raw(payload: bytes) -> Any:
    """JSON as it is, without the blanks between its parts; what is not JSON as a string."""
    try:
        return msgspec.Raw(msgspec.json.format(payload.decode().encode(), indent=-1)) if payload else None
    except (msgspec.DecodeError, ValueError):
        return payload.decode(errors="replace")


def error_of(event: Event) -> tuple[int, str]:
    """The status and the message that go with a dead letter; the message is cut to 1 KB.

    With an answer of the function they are as recorded. What AWS says of an event that never ran is not documented:
    here it is the error that kept it from running.
    """
    response = event.response
    if response is None:  # reserved concurrency 0, or too old when its turn came
        return 429, "Rate Exceeded."
    if response.refusal:
        code, message = response.refusal
        return _ERROR_STATUS.get(code, 500), _cut(message)
    try:
        document = msgspec.json.decode(response.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    said = document.get("errorMessage") if isinstance(document, dict) else None
    return 200, _cut(said if isinstance(said, str) else response.payload.decode(errors="replace"))


def _cut(message: str) -> str:
    return message.encode(errors="replace")[:_ERROR_MESSAGE_BYTES].decode(errors="ignore")


def _attributes(event: Event) -> Shape:
    status, message = error_of(event)
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": event.request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": str(status)},
    }
    # A message attribute cannot be empty.
    return attributes | ({"ErrorMessage": {"DataType": "String", "StringValue": message}} if message else {})


# How it is said to each service


async def _to_function(call: Call, message: Message, caller: Caller) -> None:
    invoke = {"FunctionName": str(message.target), "InvocationType": "Event", "Payload": record(message)}
    await call("lambda", "Invoke", invoke, caller=caller)


async def _to_queue(call: Call, message: Message, caller: Caller) -> None:
    send = {"QueueUrl": queue_url(message.target), "MessageBody": record(message).decode()}
    await call("sqs", "SendMessage", send, caller=caller)


async def _to_topic(call: Call, message: Message, caller: Caller) -> None:
    publish = {"TopicArn": str(message.target), "Message": record(message).decode()}
    await call("sns", "Publish", publish, caller=caller)


async def _to_bus(call: Call, message: Message, caller: Caller) -> None:
    result = "Success" if message.event.condition == SUCCESS else "Failure"
    entry = {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {result}",
        "Resources": [str(message.target), message.function_arn],
        "Detail": record(message).decode(),
        "EventBusName": str(message.target),
    }
    answer = await call("events", "PutEvents", {"Entries": [entry]}, caller=caller)
    if answer.get("FailedEntryCount"):
        failed = answer["Entries"][0]
        raise ApiError(failed.get("ErrorCode", "InternalFailure"), failed.get("ErrorMessage", ""))


async def _to_bucket(call: Call, message: Message, caller: Caller) -> None:
    put = {"Bucket": message.target.resource, "Key": object_key(message), "Body": record(message)}
    await call("s3", "PutObject", put, caller=caller)


def object_key(message: Message) -> str:
    """The key of a record in a bucket. Its UUID is the event's own, so that a second delivery replaces the first."""
    own = uuid.uuid5(uuid.NAMESPACE_URL, f"{message.function_arn}/{message.event.request_id}")
    return f"aws/lambda/async/{message.key.name}/{message.ended:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{own}"


async def _letter_to_queue(call: Call, message: Message, caller: Caller) -> None:
    event = message.event
    body = {"QueueUrl": queue_url(message.target), "MessageBody": event.payload.decode()}
    await call("sqs", "SendMessage", {**body, "MessageAttributes": _attributes(event)}, caller=caller)


async def _letter_to_topic(call: Call, message: Message, caller: Caller) -> None:
    event = message.event
    body = {"TopicArn": str(message.target), "Message": event.payload.decode()}
    await call("sns", "Publish", {**body, "MessageAttributes": _attributes(event)}, caller=caller)


_Send = Callable[[Call, Message, Caller], Awaitable[None]]
_SENDERS: Final[dict[str, _Send]] = {
    "lambda": _to_function,
    "sqs": _to_queue,
    "sns": _to_topic,
    "events": _to_bus,
    "s3": _to_bucket,
}
_DEAD_LETTER_SENDERS: Final[dict[str, _Send]] = {"sqs": _letter_to_queue, "sns": _letter_to_topic}


# What may be a target


def check_destinations(
    key: FunctionKey, on_success: str | None, on_failure: str | None, *, is_there: Callable[[FunctionKey], bool]
) -> None:
    """Raises ApiError InvalidParameterValueException for a destination that the function's records cannot go to.

    `is_there` says which functions exist; those of other accounts and regions nobody looks for.
    """
    for target, kinds in ((on_success, _SUCCESS_KINDS), (on_failure, _FAILURE_KINDS)):
        arn = _parsed(target) if target else None
        if target and (arn is None or arn.service not in kinds):
            success = f"OnSuccess(destination={on_success})" if on_success else "null"
            failure = f"OnFailure(destination={on_failure})" if on_failure else "null"
            config = f"DestinationConfig(onSuccess={success}, onFailure={failure})"
            raise _invalid(f"The provided destination config {config} is invalid.")
        if arn is not None:
            _check_target(key, arn, is_there)


def _check_target(key: FunctionKey, target: Arn, is_there: Callable[[FunctionKey], bool]) -> None:
    is_good = bool(target.resource)
    if target.service == "lambda":
        match = _FUNCTION.fullmatch(target.resource)
        function = FunctionKey(target.account, target.region, match[1]) if match else None
        if function == key:
            raise _invalid("You can't specify the function as a destination for itself.")
        is_good = function is not None and (function.scope != key.scope or is_there(function))
    elif target.service in ("sqs", "sns"):
        is_good = is_good and not target.resource.endswith(".fifo")  # the guide: standard ones only
    elif target.service == "events":
        is_good = target.resource.startswith("event-bus/")
    if not is_good:
        raise _invalid(f"The destination ARN {target} is invalid.")


def check_dead_letter(target: str) -> None:
    """Raises ApiError InvalidParameterValueException for what cannot be a dead-letter queue. Empty is none at all.

    A FIFO queue or topic is accepted, as on AWS, and then cannot be delivered to: DeadLetterErrors counts it.
    """
    arn = _parsed(target)
    if target and (arn is None or arn.service not in _DEAD_LETTER_SENDERS):
        raise _invalid(f"Invalid dead letter ARN: {target} is not the ARN of an SQS queue or an SNS topic.")


_FUNCTION: Final = re.compile(r"function:([a-zA-Z0-9-_]+)(?::(?:\$LATEST|[a-zA-Z0-9-_]+))?", re.ASCII)
_SUCCESS_KINDS: Final = frozenset(["lambda", "sqs", "sns", "events"])
_FAILURE_KINDS: Final = _SUCCESS_KINDS | {"s3"}


def _parsed(text: str) -> Arn | None:
    try:
        return Arn.parse(text)
    except ValueError:
        return None


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
