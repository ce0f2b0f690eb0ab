"""UpdateFunctionCode, UpdateFunctionConfiguration."""

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.code_source import read_package
from lambent.services.lambda_.api.names import locate_function
from lambent.services.lambda_.api.settings import check_code_storage
from lambent.services.lambda_.api.shapes import check_supported, read_configuration, read_environment, write_version
from lambent.services.lambda_.checks import check_configuration
from lambent.services.lambda_.execution_role import check_role
from lambent.services.lambda_.images import check_package_type, read_image
from lambent.services.lambda_.layers.model import check_size, resolve
from lambent.services.lambda_.model import Code, Function, FunctionKey, FunctionVersion, Running

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LATEST = 0


async def update_function_code(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UpdateFunctionCode. With Publish the answer is the new version. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    check_supported(params)
    _check(service.catalogue.get(key).latest, params)  # before any work; again in the transaction
    code = await _code(service, caller, params, key)

    def next_running(latest: FunctionVersion) -> Running:
        architectures = {"Architectures": params["Architectures"]} if "Architectures" in params else {}
        configuration = read_configuration(architectures, latest.configuration)
        check_size(code, configuration.layers)
        return Running(configuration=configuration, code=code)

    if params.get("DryRun"):
        latest = service.catalogue.get(key).latest
        running = next_running(latest)
        trial = replace(latest, configuration=running.configuration, code=running.code)
        return write_version(trial, service.seal, arn=key.arn())

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
        return write_version(latest, service.seal, arn=key.arn())
    return write_version(version, service.seal, arn=key.arn(version.version))


async def _code(service: "Lambda", caller: Caller, params: Shape, key: FunctionKey) -> Code:
    """The package, kept unless this is a trial, or the image.

    Raises:
        ApiError: InvalidParameterValueException for a package that is not of the function's type;
            CodeStorageExceededException.
    """
    latest = service.catalogue.get(key).latest
    if latest.configuration.package_type == "Image":
        if not params.get("ImageUri"):
            raise _invalid("Please provide ImageUri when updating a function with packageType Image.")
        return read_image(params["ImageUri"], key.region)
    if params.get("ImageUri"):
        raise _invalid("Please don't provide ImageUri when updating a function with packageType Zip.")
    data = await read_package(service, caller, params)
    more = len(data) * 2 if params.get("Publish") else len(data)
    check_code_storage(service, key.scope, max(0, more - latest.code.zipped_bytes))
    code = await (service.packages.check(data) if params.get("DryRun") else service.packages.add(data))
    return replace(code, source_kms_key_arn=params.get("SourceKMSKeyArn", ""))


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
    latest = service.catalogue.get(key).latest
    check_package_type(params, latest.configuration.package_type)
    environment = read_environment(params, service.seal, key.arn())
    layers = resolve(params["Layers"], key.region, caller, service.layers.find) if "Layers" in params else None
    if "Role" in params:
        await check_role(service, caller, params["Role"], key.arn())

    def change(tx: Connection) -> FunctionVersion:
        _, latest = _current(tx, key)
        _check(latest, params)
        configuration = read_configuration(params, latest.configuration, environment=environment, layers=layers)
        # A function whose runtime has been retired since may be changed otherwise.
        accept_retired = service.config.runtimes_retired or "Runtime" not in params
        check_configuration(configuration, accept_retired=accept_retired)
        check_size(latest.code, configuration.layers)
        running = Running(configuration=configuration, code=latest.code)
        latest = model.updated(latest, running, now_ms=service.clock.now_ms(), revision_id=str(uuid.uuid4()))
        rows.update_version(tx, latest)
        return latest

    def committed(latest: FunctionVersion) -> None:
        service.catalogue.put(latest)
        service.worker.settle_soon(latest)

    latest = await service.database.write(change, committed=committed)
    return write_version(latest, service.seal, arn=key.arn())


def _current(tx: Connection, key: FunctionKey) -> tuple[Function, FunctionVersion]:
    function, latest = rows.function(tx, key), rows.version(tx, key, _LATEST)
    if function is None or latest is None:
        raise model.not_found(key)
    return function, latest


def _check(latest: FunctionVersion, params: Shape) -> None:
    model.check_revision(params.get("RevisionId"), latest.revision_id)
    model.check_may_change(latest)


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
