"""AddLayerVersionPermission, RemoveLayerVersionPermission, GetLayerVersionPolicy: which accounts may use a layer."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.api.layers import check_number, locate_own
from lambent.services.lambda_.layers import rows
from lambent.services.lambda_.layers.model import Grant, LayerKey, LayerVersion, granted, revoked

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def add_layer_version_permission(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """AddLayerVersionPermission. Source: AWS Lambda API Reference."""
    key = locate_own(caller, params["LayerName"], "AddLayerVersionPermission")
    grant = Grant(
        sid=params["StatementId"],
        action=params["Action"],
        principal=params["Principal"],
        organization=params.get("OrganizationId"),
    )
    if grant.organization and grant.principal != "*":
        raise ApiError("InvalidParameterValueException", "OrganizationId is allowed with the principal * only.")
    version = await _changed(
        service,
        key,
        params["VersionNumber"],
        lambda version: granted(version, grant, expected=params.get("RevisionId"), revision_id=str(uuid.uuid4())),
    )
    statement = msgspec.json.encode(version.statements[-1]).decode()
    return {"Statement": statement, "RevisionId": version.policy_revision_id}


async def remove_layer_version_permission(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """RemoveLayerVersionPermission. Source: AWS Lambda API Reference."""
    key = locate_own(caller, params["LayerName"], "RemoveLayerVersionPermission")
    await _changed(
        service,
        key,
        params["VersionNumber"],
        lambda version: revoked(
            version, params["StatementId"], expected=params.get("RevisionId"), revision_id=str(uuid.uuid4())
        ),
    )
    return {}


async def get_layer_version_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetLayerVersionPolicy. Source: AWS Lambda API Reference."""
    key = locate_own(caller, params["LayerName"], "GetLayerVersionPolicy")
    check_number(params["VersionNumber"])
    version = service.layers.find(key, params["VersionNumber"])
    if version is None:
        raise _no_version(key, params["VersionNumber"])
    if not version.statements:
        raise ApiError("ResourceNotFoundException", "No policy is associated with the given resource.")
    return {"Policy": version.policy, "RevisionId": version.policy_revision_id}


async def _changed(
    service: "Lambda", key: LayerKey, number: int, change: Callable[[LayerVersion], LayerVersion]
) -> LayerVersion:
    """The version with its policy changed, committed."""
    check_number(number)

    def transaction(tx: Connection) -> LayerVersion:
        version = rows.version(tx, key, number)
        if version is None:
            raise _no_version(key, number)
        after = change(version)
        rows.update_version(tx, after)
        return after

    return await service.database.write(transaction, committed=service.layers.put)


def _no_version(key: LayerKey, number: int) -> ApiError:
    return ApiError("ResourceNotFoundException", f"Layer version {key.version_arn(number)} does not exist.")
