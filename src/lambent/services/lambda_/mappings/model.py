"""An event source mapping as data, its states, and what it may be. Pure.

Source: AWS Lambda API Reference, CreateEventSourceMapping and UpdateEventSourceMapping; AWS Lambda Developer Guide,
"Creating and configuring an Amazon SQS event source mapping"; facts sheet sections 10 and 26.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lambent.aws.arn import Arn
from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.aws.patterns import PatternError
from lambent.eventing.filter import Filter, compile_filter
from lambent.eventing.scaling import DEFAULT, Limits, limited, provisioned
from lambent.eventing.sources.sqs import DATA_KEY, is_fifo
from lambent.services.lambda_.model import FunctionKey

CREATING: Final = "Creating"
ENABLING: Final = "Enabling"
ENABLED: Final = "Enabled"
DISABLING: Final = "Disabling"
DISABLED: Final = "Disabled"
UPDATING: Final = "Updating"
DELETING: Final = "Deleting"

SETTLED: Final = frozenset([ENABLED, DISABLED])

BATCH_SIZE: Final = 10
REPORTS: Final = "ReportBatchItemFailures"
EVENT_COUNT: Final = "EventCount"
POLLERS: Final = (2, 200)
"""How many a mapping with ProvisionedPollerConfig has at least and at most, unless it says so."""

_BATCH_WITHOUT_WINDOW: Final = 10
_FILTERS: Final = 5
_MOST_POLLERS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedPollers:
    """ProvisionedPollerConfig. None is "not said"."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceMapping:
    """A mapping from a queue to a function, a version or an alias. None is "not set".

    `revision` differs after each change, so that what follows a change later knows whether it is still the last one.
    """

    uuid: str
    scope: Scope
    queue: str  # its ARN
    function: FunctionKey
    qualifier: str | None = None
    batch_size: int = BATCH_SIZE
    window_s: int = 0
    filters: tuple[str, ...] = ()
    reports_failures: bool = False
    maximum_concurrency: int | None = None
    pollers: ProvisionedPollers | None = None
    metrics: tuple[str, ...] | None = None
    is_enabled: bool = True
    state: str = CREATING
    last_modified_ms: int
    revision: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return arn_of(self.scope, self.uuid)

    @property
    def function_arn(self) -> str:
        return self.function.arn(self.qualifier)

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED


def arn_of(scope: Scope, uuid: str) -> str:
    """The ARN of a mapping."""
    return f"arn:aws:lambda:{scope.region}:{scope.account}:event-source-mapping:{uuid}"


def changed(mapping: EventSourceMapping, was: EventSourceMapping) -> EventSourceMapping:
    """The mapping with the state that it goes through after this change."""
    if mapping.is_enabled == was.is_enabled:
        return replace(mapping, state=UPDATING)
    return replace(mapping, state=ENABLING if mapping.is_enabled else DISABLING)


def settled(mapping: EventSourceMapping) -> EventSourceMapping | None:
    """What follows a state that passes; None: the mapping is gone."""
    if mapping.state == DELETING:
        return None
    return replace(mapping, state=ENABLED if mapping.is_enabled else DISABLED)


def check_may_change(mapping: EventSourceMapping, verb: str = "update") -> None:
    """Raises ResourceInUseException while another change is under way."""
    if not mapping.is_settled:
        raise ApiError("ResourceInUseException", f"Cannot {verb} the event source mapping because it is in use.")


def check(mapping: EventSourceMapping) -> None:
    """Raises ApiError InvalidParameterValueException for a mapping that cannot be."""
    if is_fifo(Arn.parse(mapping.queue)):
        if mapping.window_s:
            raise invalid("Batching window is not supported for FIFO queues")
        if mapping.batch_size > _BATCH_WITHOUT_WINDOW:
            raise invalid(
                f"BatchSize is {mapping.batch_size}; for FIFO queues Lambda allows up to {_BATCH_WITHOUT_WINDOW}."
            )
    elif mapping.batch_size > _BATCH_WITHOUT_WINDOW and not mapping.window_s:
        raise invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
    if len(mapping.filters) > _FILTERS:
        raise invalid(f"FilterCriteria has {len(mapping.filters)} filters; Lambda allows {_FILTERS}.")
    filter_of(mapping)
    if mapping.pollers is not None:
        if mapping.maximum_concurrency is not None:
            raise invalid("ScalingConfig and ProvisionedPollerConfig cannot be used together.")
        _check_pollers(mapping.pollers)


def _check_pollers(pollers: ProvisionedPollers) -> None:
    minimum, maximum = poller_counts(pollers)
    for name, value in (("MinimumPollers", pollers.minimum), ("MaximumPollers", pollers.maximum)):
        if value is not None and value < POLLERS[0]:
            raise invalid(f"{name} is {value}; for SQS event sources Lambda allows {POLLERS[0]} or more.")
    if maximum > _MOST_POLLERS:
        raise invalid(f"MaximumPollers is {maximum}; for SQS event sources Lambda allows {_MOST_POLLERS}.")
    if minimum > maximum:
        raise invalid(f"MinimumPollers is {minimum}, which is more than MaximumPollers, {maximum}.")


def poller_counts(pollers: ProvisionedPollers) -> tuple[int, int]:
    """How many there are at least and at most."""
    minimum = POLLERS[0] if pollers.minimum is None else pollers.minimum
    return minimum, max(POLLERS[1], minimum) if pollers.maximum is None else pollers.maximum


def filter_of(mapping: EventSourceMapping) -> Filter:
    """Its filter.

    Raises:
        ApiError: InvalidParameterValueException.
    """
    try:
        return compile_filter(mapping.filters, DATA_KEY)
    except PatternError:
        raise invalid("Invalid filter pattern definition.") from None


def limits_of(mapping: EventSourceMapping) -> Limits:
    """How many of its batches may be under way."""
    if mapping.pollers is not None:
        return provisioned(*poller_counts(mapping.pollers))
    return DEFAULT if mapping.maximum_concurrency is None else limited(mapping.maximum_concurrency)


def check_visibility(visibility_s: int, timeout_s: int) -> None:
    """Raises ApiError InvalidParameterValueException where a message would come again while the function runs."""
    if visibility_s < timeout_s:
        raise invalid(
            f"Queue visibility timeout: {visibility_s} seconds is less than Function timeout: {timeout_s} seconds"
        )


def already_there(mapping: EventSourceMapping) -> ApiError:
    """ResourceConflictException: the queue feeds the function through this mapping."""
    name = mapping.function.name + (f":{mapping.qualifier}" if mapping.qualifier else "")
    return ApiError(
        "ResourceConflictException",
        f'An event source mapping with SQS arn (" {mapping.queue} ") and function (" {name} ") already exists. '
        f"Please update or delete the existing mapping with UUID {mapping.uuid}",
    )


def not_there() -> ApiError:
    """ResourceNotFoundException, in the words of the operations on mappings."""
    return ApiError("ResourceNotFoundException", "The resource you requested does not exist.")


def invalid(message: str) -> ApiError:
    """InvalidParameterValueException."""
    return ApiError("InvalidParameterValueException", message)
