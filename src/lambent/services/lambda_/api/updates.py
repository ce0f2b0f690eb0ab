"""UpdateFunctionCode, UpdateFunctionConfiguration."""

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.functions import read_zip
from lambent.services.lambda_.api.names import locate_function
from lambent.services.lambda_.api.shapes import check_supported, read_configuration, write_version
from lambent.services.lambda_.checks import check_configuration, check_layers
from lambent.services.lambda_.model import Function, FunctionKey, FunctionVersion, Running

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LATEST = 0


async def update_function_code(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UpdateFunctionCode. With Publish the answer is the new version. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    check_supported(params)
    if params.get("ImageUri"):
        raise ApiError(
            "InvalidParameterValueException",
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        )
    _check(service.catalogue.get(key).latest, params)  # before any work; again in the transaction
    data = read_zip(params)
    code = await (service.packages.check(data) if params.get("DryRun") else service.packages.add(data))

    def next_running(latest: FunctionVersion) -> Running:
        architectures = {"Architectures": params["Architectures"]} if "Architectures" in params else {}
        return Running(configuration=read_configuration(architectures, latest.configuration), code=code)

    if params.get("DryRun"):
        latest = service.catalogue.get(key).latest
        running = next_running(latest)
        trial = replace(latest, configuration=running.configuration, code=running.code)
        return write_version(trial, arn=key.arn())

    def change(tx: Connection) -> tuple[Function, FunctionVersion, FunctionVersion | None]:
        function, latest = _current(tx, key)
        _check(latest, params)
        latest = model.updated(
            latest, next_running(latest), now_ms=service.clock.now_ms(), revision_id=str(uuid.uuid4())
        )
        rows.update_version(tx, latest)
        return (function, latest, None) if not params.get("Publish") else _publish(tx, function, latest)

    def committed(made: tuple[Function, FunctionVersion, FunctionVersion | None]) -> None:
        service.catalogue.put(*(each for each in made if each is not None))
        for version in made[1:]:
            if version is not None and version.is_settling:
                service.worker.settle_soon(version)

    _, latest, version = await service.database.write(change, committed=committed)
    if version is None:
        return write_version(latest, arn=key.arn())
    return write_version(version, arn=key.arn(version.version))


def _publish(
    tx: Connection, function: Function, latest: FunctionVersion
) -> tuple[Function, FunctionVersion, FunctionVersion]:
    """The new version, or the newest one if the update changed nothing."""
    newest = rows.version(tx, latest.key, function.next_number - 1) if function.next_number > 1 else None
    if newest is not None and model.is_published(latest, function):
        return function, latest, newest
    function, version = model.publish(latest, function, state=model.PENDING, revision_id=str(uuid.uuid4()))
    rows.update_function(tx, function)
    rows.insert_version(tx, version)
    return function, latest, version


async def update_function_configuration(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UpdateFunctionConfiguration: maps and lists are replaced whole. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    check_supported(params)
    check_layers(params.get("Layers", []), key.region)

    def change(tx: Connection) -> FunctionVersion:
        _, latest = _current(tx, key)
        _check(latest, params)
        configuration = read_configuration(params, latest.configuration)
        # A function whose runtime has been retired since may be changed otherwise.
        accept_retired = service.config.runtimes_retired or "Runtime" not in params
        check_configuration(configuration, accept_retired=accept_retired)
        running = Running(configuration=configuration, code=latest.code)
        latest = model.updated(latest, running, now_ms=service.clock.now_ms(), revision_id=str(uuid.uuid4()))
        rows.update_version(tx, latest)
        return latest

    def committed(latest: FunctionVersion) -> None:
        service.catalogue.put(latest)
        service.worker.settle_soon(latest)

    latest = await service.database.write(change, committed=committed)
    return write_version(latest, arn=key.arn())


def _current(tx: Connection, key: FunctionKey) -> tuple[Function, FunctionVersion]:
    function, latest = rows.function(tx, key), rows.version(tx, key, _LATEST)
    if function is None or latest is None:
        raise model.not_found(key)
    return function, latest


def _check(latest: FunctionVersion, params: Shape) -> None:
    model.check_revision(params.get("RevisionId"), latest.revision_id)
    model.check_may_change(latest)
