"""CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, DeleteFunction."""

import uuid
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api import code_location
from lambent.services.lambda_.api.names import find, locate, locate_function
from lambent.services.lambda_.api.shapes import (
    arn_of,
    check_supported,
    is_version,
    page,
    read_configuration,
    write_version,
)
from lambent.services.lambda_.api.tags import check_tags
from lambent.services.lambda_.checks import check_configuration, check_layers
from lambent.services.lambda_.model import LATEST, Code, Configuration, Function, FunctionKey, FunctionVersion, Logging

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_CODE_LATER: Final = "Lambent does not support %s yet: send the package as ZipFile."


async def create_function(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """CreateFunction. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    check_supported(params)
    data = read_zip(params["Code"])
    blank = Configuration(role="", handler="", runtime="", logging=Logging(log_group=f"/aws/lambda/{key.name}"))
    configuration = read_configuration(params, blank)
    check_configuration(configuration, accept_retired=service.config.runtimes_retired)
    check_layers(params.get("Layers", []), key.region)
    check_tags(params.get("Tags", {}))
    if service.catalogue.find(key):
        raise _exists(key)
    code = await service.packages.add(data)
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

    await service.database.write(change, committed=committed)
    return write_version(versions[-1], arn=key.arn())  # of a published version too: without its number


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


def read_zip(shape: Shape) -> bytes:
    """The package in a request.

    Raises:
        ApiError: there is none; it is elsewhere, which is not supported yet.
    """
    if shape.get("ImageUri"):
        raise ApiError("NotImplemented", _CODE_LATER % "container images (ImageUri)")
    data: bytes | None = shape.get("ZipFile")
    if shape.get("S3Bucket") or shape.get("S3Key"):
        if data is not None:
            raise ApiError(
                "InvalidParameterValueException",
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            )
        raise ApiError("NotImplemented", _CODE_LATER % "code from S3 (S3Bucket, S3Key)")
    if data is None:
        raise ApiError("InvalidParameterValueException", "Please provide a source for function code.")
    if not data:
        raise ApiError("InvalidParameterValueException", "Uploaded file must be a non-empty zip")
    return data


async def get_function(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunction. Source: AWS Lambda API Reference."""
    entry, version, qualifier = find(service, caller, params)
    answer: Shape = {
        "Configuration": write_version(version, arn=version.key.arn(qualifier)),
        "Code": {"RepositoryType": "S3", "Location": code_location.location(service, caller, version.code.digest)},
    }
    if entry.function.tags:
        answer["Tags"] = dict(entry.function.tags)
    return answer


async def get_function_configuration(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionConfiguration. Source: AWS Lambda API Reference."""
    _, version, qualifier = find(service, caller, params)
    return write_version(version, arn=version.key.arn(qualifier))


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
            write_version(version, arn=arn_of(version, qualified=with_versions), with_state=False) for version in shown
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
