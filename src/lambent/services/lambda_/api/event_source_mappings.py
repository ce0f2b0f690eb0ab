"""CreateEventSourceMapping, GetEventSourceMapping, ListEventSourceMappings, Update- and DeleteEventSourceMapping."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import Connection

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.api.names import locate
from lambent.services.lambda_.api.shapes import page
from lambent.services.lambda_.mappings import model, rows
from lambent.services.lambda_.mappings.model import EventSourceMapping, ProvisionedPollers
from lambent.services.lambda_.mappings.sources import check_members, check_queue, read_source
from lambent.services.lambda_.model import FunctionKey, not_found

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_PAGE: Final = 100  # AWS Lambda API Reference, ListEventSourceMappings


async def create_event_source_mapping(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """CreateEventSourceMapping: answers Creating; the poller comes soon after. Source: AWS Lambda API Reference."""
    key, qualifier = _function(service, caller, params)
    queue = read_source(params, caller.region)
    check_members(params, str(queue))
    blank = EventSourceMapping(
        uuid=str(uuid.uuid4()),
        scope=caller.scope,
        queue=str(queue),
        function=key,
        qualifier=qualifier,
        last_modified_ms=service.clock.now_ms(),
        revision=str(uuid.uuid4()),
        tags=params.get("Tags", {}),
    )
    mapping = replace(blank, **_changes(params))
    quotas.check_tags(mapping.tags)
    model.check(mapping)
    await _check_queue(service, mapping)

    def change(tx: Connection) -> EventSourceMapping:
        _check_alone(tx, mapping)
        rows.insert_mapping(tx, mapping)
        return mapping

    return write_mapping(service, await service.database.write(change, committed=service.mappings.put))


async def get_event_source_mapping(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetEventSourceMapping. Source: AWS Lambda API Reference."""
    return write_mapping(service, service.mappings.get(caller.scope, params["UUID"]))


async def list_event_source_mappings(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListEventSourceMappings, by UUID: of a source, and of a function or just a version or alias of it.

    Source: AWS Lambda API Reference.
    """
    found = service.mappings.of(caller.scope)
    if params.get("EventSourceArn"):
        found = [mapping for mapping in found if mapping.queue == params["EventSourceArn"]]
    if params.get("FunctionName"):
        wanted = locate(caller, params["FunctionName"])
        found = [mapping for mapping in found if (mapping.function, mapping.qualifier) == wanted]
        if not found and service.catalogue.find(wanted[0]) is None:
            raise not_found(*wanted)
    shown, more = page(found, params, key=lambda mapping: (mapping.uuid, 0), most=_PAGE)
    return {**more, "EventSourceMappings": [write_mapping(service, mapping) for mapping in shown]}


async def update_event_source_mapping(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UpdateEventSourceMapping: what is not named stays. Source: AWS Lambda API Reference."""
    function = _function(service, caller, params) if "FunctionName" in params else None
    before = service.mappings.get(caller.scope, params["UUID"])
    model.check_may_change(before)
    check_members(params, before.queue)
    changes = _changes(params)
    if function is not None:
        changes["function"], changes["qualifier"] = function
    wanted = replace(before, **changes)
    model.check(wanted)
    if wanted.is_enabled and (function is not None or not before.is_enabled):  # what is wrong can still be disabled
        await _check_queue(service, wanted)
    now_ms, revision = service.clock.now_ms(), str(uuid.uuid4())

    def change(tx: Connection) -> EventSourceMapping:
        was = _read(tx, before.uuid)
        model.check_may_change(was)
        mapping = model.changed(replace(was, **changes, last_modified_ms=now_ms, revision=revision), was)
        model.check(mapping)  # beside what another update has changed meanwhile
        _check_alone(tx, mapping)
        rows.update_mapping(tx, mapping)
        return mapping

    return write_mapping(service, await service.database.write(change, committed=service.mappings.put))


async def delete_event_source_mapping(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteEventSourceMapping: it goes when nothing of it is under way. Source: AWS Lambda API Reference."""
    before = service.mappings.get(caller.scope, params["UUID"])
    revision = str(uuid.uuid4())

    def change(tx: Connection) -> EventSourceMapping:
        was = _read(tx, before.uuid)
        model.check_may_change(was, "delete")
        mapping = replace(was, state=model.DELETING, revision=revision)
        rows.update_mapping(tx, mapping)
        return mapping

    return write_mapping(service, await service.database.write(change, committed=service.mappings.put))


def write_mapping(service: "Lambda", mapping: EventSourceMapping) -> Shape:
    """EventSourceMappingConfiguration, as AWS answers for a queue: what was not set is left out.

    For queues AWS has no LastProcessingResult. Here there is one while something is wrong.
    """
    shape: Shape = {
        "UUID": mapping.uuid,
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": mapping.window_s,
        "EventSourceArn": mapping.queue,
        "FunctionArn": mapping.function_arn,
        "LastModified": datetime.fromtimestamp(mapping.last_modified_ms / 1000, UTC),
        "State": mapping.state,
        "StateTransitionReason": "USER_INITIATED",
        "EventSourceMappingArn": mapping.arn,
    }
    result = service.mappings.result(mapping.uuid)
    if result is not None and result.startswith("PROBLEM"):
        shape["LastProcessingResult"] = result
    if mapping.filters:
        shape["FilterCriteria"] = {"Filters": [{"Pattern": pattern} for pattern in mapping.filters]}
    if mapping.reports_failures:
        shape["FunctionResponseTypes"] = [model.REPORTS]
    if mapping.maximum_concurrency is not None:
        shape["ScalingConfig"] = {"MaximumConcurrency": mapping.maximum_concurrency}
    if mapping.pollers is not None:
        minimum, maximum = model.poller_counts(mapping.pollers)
        shape["ProvisionedPollerConfig"] = {"MinimumPollers": minimum, "MaximumPollers": maximum}
    if mapping.metrics is not None:
        shape["MetricsConfig"] = {"Metrics": list(mapping.metrics)}
    return shape


def _function(service: "Lambda", caller: Caller, params: Shape) -> tuple[FunctionKey, str | None]:
    key, qualifier = locate(caller, params["FunctionName"])
    entry = service.catalogue.find(key)
    try:
        if entry is not None:
            entry.resolve(qualifier)
            return key, qualifier
    except ApiError:  # no such version or alias
        pass
    raise model.invalid("Function does not exist")


def _changes(params: Shape) -> dict[str, Any]:
    """What a request names. Empty criteria and configurations take away what was set."""
    plain = {"BatchSize": "batch_size", "MaximumBatchingWindowInSeconds": "window_s", "Enabled": "is_enabled"}
    changes: dict[str, Any] = {field: params[member] for member, field in plain.items() if member in params}
    if "FilterCriteria" in params:
        filters = params["FilterCriteria"].get("Filters") or ()
        changes["filters"] = tuple(each.get("Pattern", "") for each in filters)
    if "FunctionResponseTypes" in params:
        changes["reports_failures"] = model.REPORTS in params["FunctionResponseTypes"]
    if "ScalingConfig" in params:
        changes["maximum_concurrency"] = params["ScalingConfig"].get("MaximumConcurrency")
    if "ProvisionedPollerConfig" in params:
        given = params["ProvisionedPollerConfig"]
        pollers = ProvisionedPollers(minimum=given.get("MinimumPollers"), maximum=given.get("MaximumPollers"))
        changes["pollers"] = pollers if given else None
    if "MetricsConfig" in params:
        changes["metrics"] = tuple(params["MetricsConfig"].get("Metrics", ()))
    return changes


async def _check_queue(service: "Lambda", mapping: EventSourceMapping) -> None:
    version = service.catalogue.get(mapping.function).resolve(mapping.qualifier)
    await check_queue(service, mapping, timeout_s=version.configuration.timeout_s)


def _check_alone(tx: Connection, mapping: EventSourceMapping) -> None:
    other = rows.between(tx, mapping.queue, mapping.function_arn)
    if other is not None and other.uuid != mapping.uuid:
        raise model.already_there(other)


def _read(tx: Connection, uuid: str) -> EventSourceMapping:
    found = rows.mapping(tx, uuid)
    if found is None:
        raise model.not_there()
    return found
