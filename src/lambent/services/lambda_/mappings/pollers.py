"""The poller of a mapping: its queue, its function, and who hears of what comes of it."""

from functools import partial
from typing import TYPE_CHECKING

from lambent.aws.arn import Arn
from lambent.eventing.poller import Poller, Settings
from lambent.eventing.sources.sqs import SqsSource
from lambent.observe.metrics import Metric
from lambent.services.lambda_.mappings import model
from lambent.services.lambda_.mappings.model import EventSourceMapping
from lambent.services.lambda_.mappings.target import FunctionTarget

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


def new_poller(service: "Lambda", mapping: EventSourceMapping) -> Poller:
    """A poller with the mapping's settings."""
    target = FunctionTarget(service, mapping)
    return Poller(
        name=f"lambda.poller {mapping.uuid}",
        source=SqsSource(queue=Arn.parse(mapping.queue), call=service.call, caller=target.caller, clock=service.clock),
        target=target,
        settings=Settings(
            batch_size=mapping.batch_size,
            window_s=mapping.window_s,
            filter=model.filter_of(mapping),
            reports_failures=mapping.reports_failures,
            limits=model.limits_of(mapping),
        ),
        clock=service.clock,
        log=service.log,
        told=partial(service.mappings.tell, mapping.uuid),
        count=partial(_count, service, mapping),
    )


def _count(service: "Lambda", mapping: EventSourceMapping, name: str, number: int) -> None:
    """Metrics of a mapping are there for who asked for them, under its UUID alone."""
    if number and mapping.metrics is not None and model.EVENT_COUNT in mapping.metrics:
        dimensions = (((("EventSourceMappingUUID", mapping.uuid),)),)
        service.metrics.record(mapping.scope, Metric(name, float(number), dimensions))
