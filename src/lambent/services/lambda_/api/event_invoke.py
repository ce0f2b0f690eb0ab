"""How events are treated: Put-, Update-, Get- and DeleteFunctionEventInvokeConfig, ListFunctionEventInvokeConfigs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import rows
from lambent.services.lambda_.api.names import locate
from lambent.services.lambda_.api.shapes import page
from lambent.services.lambda_.attached import EventInvokeConfig
from lambent.services.lambda_.destinations import check_destinations
from lambent.services.lambda_.model import LATEST, FunctionKey

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_SETTINGS: Final = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


async def put_function_event_invoke_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PutFunctionEventInvokeConfig: what is not named is not set afterwards. Source: AWS Lambda API Reference."""
    key, qualifier = _located(caller, params)
    _check_something_given(params)
    blank = EventInvokeConfig(key=key, qualifier=qualifier, last_modified_ms=service.clock.now_ms())
    config = replace(blank, **_changes(params))

    def change(tx: Connection) -> EventInvokeConfig:
        _check_there(tx, key, qualifier)
        _check(service, config)
        rows.put_attached(tx, config)
        return config

    return _written(await service.database.write(change, committed=service.catalogue.put))


async def update_function_event_invoke_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UpdateFunctionEventInvokeConfig: what is not named stays, destinations too. Source: AWS Lambda API Reference."""
    key, qualifier = _located(caller, params)
    _check_something_given(params)
    changes = _changes(params)

    def change(tx: Connection) -> EventInvokeConfig:
        before = rows.attached(tx, key, EventInvokeConfig, qualifier)
        if before is None:
            raise _not_there(key, qualifier)
        config: EventInvokeConfig = replace(before, **changes, last_modified_ms=service.clock.now_ms())
        _check(service, config)
        rows.put_attached(tx, config)
        return config

    return _written(await service.database.write(change, committed=service.catalogue.put))


async def get_function_event_invoke_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionEventInvokeConfig. Source: AWS Lambda API Reference."""
    key, qualifier = _located(caller, params)
    entry = service.catalogue.find(key)
    config = entry.its(EventInvokeConfig, qualifier) if entry else None
    if config is None:
        raise _not_there(key, qualifier)
    return _written(config)


async def delete_function_event_invoke_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteFunctionEventInvokeConfig. Source: AWS Lambda API Reference."""
    key, qualifier = _located(caller, params)

    def change(tx: Connection) -> None:
        if rows.attached(tx, key, EventInvokeConfig, qualifier) is None:
            raise _not_there(key, qualifier)
        rows.delete_attached(tx, key, EventInvokeConfig, qualifier)

    def committed(_none: None) -> None:
        service.catalogue.remove_attached(key, EventInvokeConfig, qualifier)

    await service.database.write(change, committed=committed)
    return {}


async def list_function_event_invoke_configs(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListFunctionEventInvokeConfigs, by qualifier. Source: AWS Lambda API Reference."""
    key, _qualifier = locate(caller, params["FunctionName"])
    entry = service.catalogue.find(key)
    if entry is None:
        raise _no_function()
    shown, more = page(entry.all_its(EventInvokeConfig), params, key=lambda config: (config.qualifier, 0))
    return {"FunctionEventInvokeConfigs": [_written(config) for config in shown], **more}


def _located(caller: Caller, params: Shape) -> tuple[FunctionKey, str]:
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    return key, qualifier or LATEST


def _check_something_given(params: Shape) -> None:
    if not any(name in params for name in _SETTINGS):
        raise ApiError(
            "InvalidParameterValueException", "You must specify at least one of error handling or destination setting."
        )


def _changes(params: Shape) -> dict[str, Any]:
    """What a request names. A destination without an ARN, or with an empty one, is none."""
    changes: dict[str, Any] = {}
    if "MaximumRetryAttempts" in params:
        changes["max_retries"] = params["MaximumRetryAttempts"]
    if "MaximumEventAgeInSeconds" in params:
        changes["max_age_s"] = params["MaximumEventAgeInSeconds"]
    destinations = params.get("DestinationConfig", {})
    for member, field in (("OnSuccess", "on_success"), ("OnFailure", "on_failure")):
        if member in destinations:
            changes[field] = destinations[member].get("Destination") or None
    return changes


def _check(service: "Lambda", config: EventInvokeConfig) -> None:
    check_destinations(
        config.key,
        config.on_success,
        config.on_failure,
        is_there=lambda key: service.catalogue.find(key) is not None,
    )


def _check_there(tx: Connection, key: FunctionKey, qualifier: str) -> None:
    if qualifier == LATEST:
        found: object = rows.function(tx, key)
    elif qualifier.isdigit():
        found = rows.version(tx, key, int(qualifier))
    else:
        found = rows.alias(tx, key, qualifier)
    if found is None:
        raise _no_function()


def _written(config: EventInvokeConfig) -> Shape:
    shape: Shape = {
        "LastModified": datetime.fromtimestamp(config.last_modified_ms / 1000, UTC),
        "FunctionArn": config.arn,
    }
    if config.max_retries is not None:
        shape["MaximumRetryAttempts"] = config.max_retries
    if config.max_age_s is not None:
        shape["MaximumEventAgeInSeconds"] = config.max_age_s
    return shape | {
        "DestinationConfig": {
            "OnSuccess": {"Destination": config.on_success} if config.on_success else {},
            "OnFailure": {"Destination": config.on_failure} if config.on_failure else {},
        }
    }


def _no_function() -> ApiError:
    return ApiError("ResourceNotFoundException", "The function doesn't exist.")


def _not_there(key: FunctionKey, qualifier: str) -> ApiError:
    return ApiError("ResourceNotFoundException", f"The function {key.arn(qualifier)} doesn't have an EventInvokeConfig")
