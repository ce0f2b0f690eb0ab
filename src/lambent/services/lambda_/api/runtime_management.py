"""PutRuntimeManagementConfig, GetRuntimeManagementConfig: how a function version gets new versions of its runtime.

Each runtime has one version here, the interpreter that this machine has for it. So the setting is kept, shown and
checked, and nothing ever changes by itself.
"""

from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.names import find
from lambent.services.lambda_.api.shapes import is_version, runtime_version_arn
from lambent.services.lambda_.attached import RuntimeManagement
from lambent.services.lambda_.model import LATEST, FunctionVersion

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def put_runtime_management_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PutRuntimeManagementConfig, of `$LATEST` or a published version. Source: AWS Lambda API Reference."""
    _, version, qualifier = find(service, caller, params)
    _check_qualifier(qualifier)
    key, number = version.key, version.number
    wanted = RuntimeManagement(
        key=key,
        qualifier=version.version,
        update_on=params["UpdateRuntimeOn"],
        runtime_version_arn=params.get("RuntimeVersionArn"),
    )

    def change(tx: Connection) -> RuntimeManagement:
        now = rows.version(tx, key, number)
        if now is None:
            raise model.not_found(key, qualifier)
        model.check_may_change(now)
        _check(wanted, now)
        rows.put_attached(tx, wanted)
        return wanted

    return _write(await service.database.write(change, committed=service.catalogue.put), qualifier)


async def get_runtime_management_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetRuntimeManagementConfig: Auto, where nothing was put. Source: AWS Lambda API Reference."""
    entry, version, qualifier = find(service, caller, params)
    _check_qualifier(qualifier)
    put = entry.its(RuntimeManagement, version.version)
    default = RuntimeManagement(key=version.key, qualifier=version.version, update_on="Auto")
    return _write(put or default, qualifier)


def _check_qualifier(qualifier: str | None) -> None:
    if qualifier is not None and not is_version(qualifier):
        raise _invalid("Runtime management configurations are supported on $LATEST and published versions only.")


def _check(wanted: RuntimeManagement, version: FunctionVersion) -> None:
    """Manual needs the ARN of a version that there is; the others have none. The texts are ours."""
    if version.configuration.package_type == "Image":
        raise _invalid("Runtime management is not supported for functions with packageType Image.")
    if wanted.update_on != "Manual":
        if wanted.runtime_version_arn is not None:
            raise _invalid(f"RuntimeVersionArn must not be set when UpdateRuntimeOn is {wanted.update_on}.")
        return
    if wanted.runtime_version_arn is None:
        raise _invalid("RuntimeVersionArn must be set when UpdateRuntimeOn is Manual.")
    there = runtime_version_arn(version.key.region, version.configuration.runtime)
    if wanted.runtime_version_arn != there:
        raise _invalid(
            f"Runtime version {wanted.runtime_version_arn} is not there for {version.configuration.runtime}; "
            f"this platform has {there}."
        )


def _write(management: RuntimeManagement, qualifier: str | None) -> Shape:
    arn = management.key.arn(None if qualifier is None and management.qualifier == LATEST else management.qualifier)
    shape: Shape = {"UpdateRuntimeOn": management.update_on, "FunctionArn": arn}
    if management.runtime_version_arn is not None:
        shape["RuntimeVersionArn"] = management.runtime_version_arn
    return shape


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
