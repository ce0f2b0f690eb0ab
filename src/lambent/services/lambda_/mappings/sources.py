"""Whether a queue may feed a function: it is there, the execution role may read it, and it waits long enough.

Source: recorded answers and public reports of CreateEventSourceMapping; facts sheet section 10, A9.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from lambent.aws import policy
from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.aws.policy import Document
from lambent.dispatch import Shape
from lambent.eventing.sources.sqs import queue_attributes
from lambent.services.lambda_.mappings.model import EventSourceMapping, check_visibility, invalid
from lambent.services.lambda_.mappings.target import FunctionTarget

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_NEEDED: Final = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
_LATER: Final = {
    "dynamodb": "DynamoDB streams",
    "kafka": "Amazon MSK",
    "kinesis": "Kinesis streams",
    "mq": "Amazon MQ",
    "rds": "Amazon DocumentDB",
}
# What belongs to other kinds of sources. Their meaning for a queue is none, so AWS refuses them.
_NOT_FOR_QUEUES: Final = (
    "AmazonManagedKafkaEventSourceConfig",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "DocumentDBEventSourceConfig",
    "LoggingConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
    "Queues",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "StartingPositionTimestamp",
    "Topics",
    "TumblingWindowInSeconds",
)


def read_source(params: Shape, region: str) -> Arn:
    """The queue that a request names.

    Raises:
        ApiError: NotImplemented for other sources, by their names; InvalidParameterValueException for what is none.
    """
    if params.get("SelfManagedEventSource"):
        raise _not_yet("self-managed Apache Kafka")
    if not params.get("EventSourceArn"):
        raise invalid("Unrecognized event source.")
    source = Arn.parse(params["EventSourceArn"])
    if source.service in _LATER:
        raise _not_yet(_LATER[source.service])
    if source.service != "sqs" or not source.resource or not source.account:
        raise invalid("Unrecognized event source.")
    if source.region != region:
        raise invalid(f"The queue is in {source.region or 'no region'}; it has to be in the function's, {region}.")
    return source


def check_members(params: Shape, source: str) -> None:
    """Raises ApiError for members that a mapping from a queue cannot have, or whose meaning is not there yet."""
    if params.get("StartingPosition"):
        raise invalid(f"Unsupported starting position for arn type: {source}")
    for member in _NOT_FOR_QUEUES:
        if params.get(member):
            raise invalid(f"Unsupported {member} parameter for given event source mapping type.")
    unsupported = [metric for metric in params.get("MetricsConfig", {}).get("Metrics", ()) if metric != "EventCount"]
    if unsupported:
        raise invalid(f"Metrics {', '.join(unsupported)}: for SQS event sources Lambda has EventCount.")
    if params.get("KMSKeyArn"):
        raise ApiError("NotImplemented", "KMSKeyArn: Lambent does not encrypt filter criteria with keys of yours yet.")
    if params.get("ProvisionedPollerConfig", {}).get("PollerGroupName"):
        raise invalid("Unsupported PollerGroupName parameter for given event source mapping type.")


def _not_yet(source: str) -> ApiError:
    return ApiError(
        "NotImplemented", f"Event source mappings from {source} are not supported by Lambent yet; from SQS they are."
    )


async def check_queue(service: "Lambda", mapping: EventSourceMapping, *, timeout_s: int) -> None:
    """Asks SQS, as the function's execution role.

    Raises:
        ApiError: InvalidParameterValueException, with what SQS says, or with what is wrong with the queue.
    """
    caller, queue = FunctionTarget(service, mapping).caller(), Arn.parse(mapping.queue)
    try:
        attributes = await queue_attributes(service.call, queue, caller)
    except ApiError as error:
        if error.code == "NotImplemented":
            raise
        if error.code in ("AccessDenied", "AccessDeniedException"):
            raise _not_allowed("GetQueueAttributes") from None
        code = {"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue"}.get(error.code, error.code)
        raise invalid(
            f"Error occurred while ReceiveMessage. SQS Error Code: {code}. SQS Error Message: {error.message}"
        ) from None
    if service.identities.are_enforced:
        await _check_permissions(service, caller, mapping.queue, attributes)
    check_visibility(int(attributes["VisibilityTimeout"]), timeout_s)


async def _check_permissions(service: "Lambda", caller: Caller, queue: str, attributes: Mapping[str, str]) -> None:
    principal = policy.Principal.of_arn(caller.principal)
    permissions = await service.identities.permissions(principal)
    of_queue: list[Document] = [msgspec.json.decode(attributes["Policy"])] if attributes.get("Policy") else []
    for action in _NEEDED:
        request = policy.Request(action=f"sqs:{action}", resource=queue, principal=principal)
        try:
            decision = policy.evaluate(
                request, identity=permissions.identity, resource=of_queue, boundary=permissions.boundary
            )
        except policy.MalformedPolicyError:
            raise _not_allowed(action) from None
        if not decision.allowed:
            raise _not_allowed(action)


def _not_allowed(action: str) -> ApiError:
    return invalid(f"The provided execution role does not have permissions to call {action} on SQS")
