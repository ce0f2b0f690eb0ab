"""CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, DeleteFunction."""

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api import code_location
from lambent.services.lambda_.api.code_source import read_package
from lambent.services.lambda_.api.names import find, locate, locate_function
from lambent.services.lambda_.api.settings import check_code_storage
from lambent.services.lambda_.api.shapes import (
    arn_of,
    check_supported,
    is_version,
    page,
    read_configuration,
    read_environment,
    write_version,
)
from lambent.services.lambda_.attached import ReservedConcurrency
from lambent.services.lambda_.checks import check_configuration
from lambent.services.lambda_.execution_role import check_role
from lambent.services.lambda_.images import check_package_type, read_image, resolved_uri
from lambent.services.lambda_.layers.model import check_size, resolve
from lambent.services.lambda_.model import LATEST, Code, Configuration, Function, FunctionKey, FunctionVersion, Logging

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def create_function(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """CreateFunction. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    check_supported(params)
    configuration = _configuration(service, caller, key, params)
    if service.catalogue.find(key):
        raise _exists(key)
    await check_role(service, caller, configuration.role, key.arn())
    code = await _code(service, caller, params, key.region)
    check_size(code, configuration.layers)
    function, *versions = _new(key, configuration, code, params, now_ms=service.clock.now_ms())

    def change(tx: Connection) -> None:
        if rows.function(tx, key):
            raise _exists(key)
        rows.insert_function(tx, function)
        for version in versions:
            rows.insert_version(tx, version)

    def committed(_none: None) -> None:
        service.catalogue.put(function, *versions)
        for version in versions:
            service.worker.settle_soon(version)

    check_code_storage(service, key.scope, code.zipped_bytes * len(versions))
    await service.database.write(change, committed=committed)
    # The ARN of a published version too is shown without its number.
    return write_version(versions[-1], service.seal, arn=key.arn())


def _configuration(service: "Lambda", caller: Caller, key: FunctionKey, params: Shape) -> Configuration:
    """What the function is to be configured as, checked."""
    check_package_type(params, params.get("PackageType", "Zip"))
    blank = Configuration(role="", handler="", runtime="", logging=Logging(log_group=f"/aws/lambda/{key.name}"))
    configuration = read_configuration(
        params,
        blank,
        environment=read_environment(params, service.seal, key.arn()),
        layers=resolve(params.get("Layers", ()), key.region, caller, service.layers.find),
    )
    check_configuration(configuration, accept_retired=service.config.runtimes_retired)
    quotas.check_tags(params.get("Tags", {}))
    return configuration


async def _code(service: "Lambda", caller: Caller, params: Shape, region: str) -> Code:
    """The package, unpacked and kept, or the image."""
    shape = params["Code"]
    if params.get("PackageType") == "Image":
        if not shape.get("ImageUri"):
            raise ApiError(
                "InvalidParameterValueException",
                "Please provide ImageUri when creating a function with packageType Image.",
            )
        return read_image(shape["ImageUri"], region)
    code = await service.packages.add(await read_package(service, caller, shape))
    return replace(code, source_kms_key_arn=shape.get("SourceKMSKeyArn", ""))


def _new(
    key: FunctionKey, configuration: Configuration, code: Code, params: Shape, *, now_ms: int
) -> tuple[Function, *tuple[FunctionVersion, ...]]:
    """The function, its `$LATEST`, and with Publish its version 1."""
    function = Function(key=key, function_id=str(uuid.uuid4()), tags=params.get("Tags", {}))
    latest = FunctionVersion(
        key=key,
        function_id=function.function_id,
        version=LATEST,
        configuration=configuration,
        code=code,
        last_modified_ms=now_ms,
        revision_id=str(uuid.uuid4()),
    )
    if not params.get("Publish"):
        return function, latest
    function, version = model.publish(latest, function, state=model.PENDING, revision_id=str(uuid.uuid4()))
    return function, latest, version


async def get_function(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunction. Source: AWS Lambda API Reference."""
    entry, version, qualifier = find(service, caller, params)
    answer: Shape = {
        "Configuration": write_version(version, service.seal, arn=version.key.arn(qualifier)),
        "Code": _write_code(service, caller, version.code),
    }
    if entry.function.tags:
        answer["Tags"] = dict(entry.function.tags)
    reserved = entry.its(ReservedConcurrency)
    if reserved:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved.limit}
    return answer


def _write_code(service: "Lambda", caller: Caller, code: Code) -> Shape:
    if not code.image_uri:
        shape = {"RepositoryType": "S3", "Location": code_location.location(service, caller, code.digest)}
        return shape | {"SourceKMSKeyArn": code.source_kms_key_arn} if code.source_kms_key_arn else shape
    resolved = resolved_uri(code.image_uri)
    shape = {"RepositoryType": "ECR", "ImageUri": code.image_uri}
    return shape | {"ResolvedImageUri": resolved} if resolved else shape


async def get_function_configuration(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionConfiguration. Source: AWS Lambda API Reference."""
    _, version, qualifier = find(service, caller, params)
    return write_version(version, service.seal, arn=version.key.arn(qualifier))


async def list_functions(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListFunctions. Source: AWS Lambda API Reference."""
    with_versions = params.get("FunctionVersion") == "ALL"
    found = [
        version
        for entry in service.catalogue.of(caller.scope)
        for version in (
            sorted(entry.versions.values(), key=lambda each: each.number) if with_versions else [entry.latest]
        )
    ]
    if params.get("MasterRegion", "ALL") not in ("ALL", caller.region):
        found = []  # copies of another region's functions exist for Lambda@Edge only
    shown, more = page(found, params, key=lambda version: (version.key.name, version.number))
    return {
        "Functions": [
            write_version(version, service.seal, arn=arn_of(version, qualified=with_versions), with_state=False)
            for version in shown
        ],
        **more,
    }


async def delete_function(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteFunction: the whole function, or one version. Invocations that run go on to their end.

    A version that is not there is deleted, as on AWS. Source: AWS Lambda API Reference; status 204 as recorded.
    """
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    if qualifier == LATEST:
        raise ApiError(
            "InvalidParameterValueException", "$LATEST version cannot be deleted without deleting the function."
        )
    if qualifier is not None and not is_version(qualifier):
        raise ApiError("InvalidParameterValueException", "Deletion of aliases is not currently supported.")

    def change(tx: Connection) -> None:
        if rows.function(tx, key) is None:
            raise model.not_found(key)
        if qualifier is None:
            rows.delete_function(tx, key)
        else:
            model.check_not_aliased(qualifier, rows.aliases(tx, key))
            rows.delete_version(tx, key, int(qualifier))

    def committed(_none: None) -> None:
        if qualifier is None:
            service.catalogue.remove(key)
        else:
            service.catalogue.remove_version(key, qualifier)
        service.worker.retire_soon(key)

    await service.database.write(change, committed=committed)
    return {"StatusCode": 204}


def _exists(key: FunctionKey) -> ApiError:
    return ApiError("ResourceConflictException", f"Function already exist: {key.name}")
