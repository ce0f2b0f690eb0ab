"""What the event queue asks about functions: how an event is treated, its run, and who is to hear of its end."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from lambent.aws.arn import Arn
from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.engine.retries import MAX_AGE_S, MAX_RETRIES, SUCCESS, Retries
from lambent.engine.rows import Delivery, Event, Response
from lambent.services.lambda_ import destinations, recursion
from lambent.services.lambda_.attached import EventInvokeConfig, ReservedConcurrency
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.model import LATEST, FunctionKey, FunctionVersion, not_found
from lambent.services.lambda_.run import Asked, run

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


@dataclass(frozen=True, slots=True)
class Asynchronous:
    """The functions of a service, as `engine.event_queue.Functions` has them."""

    service: "Lambda"

    def retries(self, event: Event) -> Retries:
        """How the event is treated now: by the configuration of the qualifier that it asked for, and no other.

        Raises:
            ApiError: ResourceNotFoundException, when the function, or the version or alias, is gone.
        """
        entry = self._entry(event)
        if entry is None:
            raise not_found(_key(event), event.qualifier)
        entry.resolve(event.qualifier)
        reserved = entry.its(ReservedConcurrency)
        config = _config(entry, event)
        return Retries(
            max_retries=MAX_RETRIES if config is None or config.max_retries is None else config.max_retries,
            max_age_s=MAX_AGE_S if config is None or config.max_age_s is None else config.max_age_s,
            is_allowed=reserved is None or reserved.limit > 0,
        )

    async def run(self, event: Event) -> Response:
        """Runs the function once. An alias with weights stands for another version at each attempt.

        Raises:
            ApiError: as `run.run`.
        """
        asked = Asked(
            key=_key(event),
            qualifier=event.qualifier,
            payload=event.payload,
            request_id=event.request_id,
            trace_header=event.trace_header,
            is_event=True,
        )
        answer = await run(self.service, asked)
        return Response(
            executed_version=answer.version.version,
            payload=answer.result.payload,
            function_error=answer.result.function_error,
        )

    def deliveries(self, event: Event, condition: str) -> list[Delivery]:
        """Who is to hear of an event that ended like this.

        A dead-letter queue belongs to the version that ran, a destination to the qualifier; both hear of a failure.
        """
        entry = self._entry(event)
        version = _version(entry, event) if entry else None
        if entry is None or version is None:
            return []
        role, config = version.configuration.role, _config(entry, event)
        if condition == SUCCESS:
            return [destinations.destination(config.on_success, role)] if config and config.on_success else []
        found = []
        if version.configuration.dead_letter_arn:
            found.append(destinations.dead_letter(version.configuration.dead_letter_arn, role))
        if config and config.on_failure:
            found.append(destinations.destination(config.on_failure, role))
        return found

    async def deliver(self, event: Event, delivery: Delivery) -> None:
        """Tells one of them.

        Raises:
            ApiError: that could not be done.
        """
        message = destinations.Message(
            event=event, target=Arn.parse(delivery.target), trace_header=_trace_header(event)
        )
        await destinations.deliver(self.service.call, message, delivery)

    def _entry(self, event: Event) -> Entry | None:
        return self.service.catalogue.find(_key(event))


def _key(event: Event) -> FunctionKey:
    return _known_key(event.scope, event.function_arn)


@lru_cache(4096)
def _known_key(scope: Scope, function_arn: str) -> FunctionKey:
    return FunctionKey(*scope, function_arn.rpartition(":")[2])


def _config(entry: Entry, event: Event) -> EventInvokeConfig | None:
    return entry.its(EventInvokeConfig, event.qualifier or LATEST)


def _version(entry: Entry, event: Event) -> FunctionVersion | None:
    """The version that ran last, or that would have run."""
    if event.response and event.response.executed_version in entry.versions:
        return entry.versions[event.response.executed_version]
    try:
        return entry.resolve(event.qualifier)
    except ApiError:
        return None


def _trace_header(event: Event) -> str | None:
    """What the function was given: destinations that lead back to it are a loop, too."""
    if event.trace_header is None:
        return None
    return recursion.check(event.trace_header, event.function_arn, recursion.ALLOW)
