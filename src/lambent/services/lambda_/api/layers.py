"""PublishLayerVersion, ListLayers, ListLayerVersions, GetLayerVersion, GetLayerVersionByArn, DeleteLayerVersion."""

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.api import code_location
from lambent.services.lambda_.api.code_source import read_package
from lambent.services.lambda_.api.settings import check_code_storage
from lambent.services.lambda_.api.shapes import page, write_moment
from lambent.services.lambda_.layers import rows
from lambent.services.lambda_.layers.model import Layer, LayerKey, LayerVersion, may_use, not_allowed, parse_arn

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def publish_layer_version(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PublishLayerVersion: the same content again is a new version too. Source: AWS Lambda API Reference."""
    key = locate_own(caller, params["LayerName"], "PublishLayerVersion")
    data = await read_package(service, caller, params["Content"])
    check_code_storage(service, key.scope, len(data))
    code = await service.packages.add(data)
    now_ms = service.clock.now_ms()

    def change(tx: Connection) -> LayerVersion:
        layer = rows.layer(tx, key)
        number = layer.next_number if layer else 1
        version = LayerVersion(
            key=key,
            number=number,
            code=code,
            created_ms=now_ms,
            description=params.get("Description", ""),
            license_info=params.get("LicenseInfo"),
            runtimes=tuple(params.get("CompatibleRuntimes", ())),
            architectures=tuple(params.get("CompatibleArchitectures", ())),
        )
        if layer is None:
            rows.insert_layer(tx, Layer(key=key, next_number=number + 1))
        else:
            rows.update_layer(tx, replace(layer, next_number=number + 1))
        rows.insert_version(tx, version)
        return version

    version = await service.database.write(change, committed=service.layers.put)
    return _write_whole(service, caller, version)


async def list_layers(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListLayers: each layer with its newest version that fits. Source: AWS Lambda API Reference."""
    found = []
    for key in service.layers.of(caller.scope):
        fitting = [version for version in service.layers.versions(key) if _fits(version, params)]
        if fitting:
            found.append(fitting[0])
    shown, more = page(found, params, key=lambda version: (version.key.name, 0))
    layers = [
        {
            "LayerName": version.key.name,
            "LayerArn": version.key.arn,
            "LatestMatchingVersion": _write(version),
        }
        for version in shown
    ]
    return {"Layers": layers, **more}


async def list_layer_versions(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListLayerVersions: newest first; none of a layer that is not there. Source: AWS Lambda API Reference."""
    key = locate(caller, params["LayerName"])
    if key.account != caller.account:
        raise not_allowed(caller, "ListLayerVersions", key.arn)
    versions = [version for version in service.layers.versions(key) if _fits(version, params)]
    shown, more = page(versions, params, key=lambda version: ("", -version.number))
    return {"LayerVersions": [_write(version) for version in shown], **more}


async def get_layer_version(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetLayerVersion. Source: AWS Lambda API Reference."""
    key = locate(caller, params["LayerName"])
    check_number(params["VersionNumber"])
    return _get(service, caller, key, params["VersionNumber"])


async def get_layer_version_by_arn(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetLayerVersionByArn. Source: AWS Lambda API Reference."""
    named = parse_arn(params["Arn"])
    if named is None or named[1] is None or named[0].region != caller.region:
        raise not_there()
    key, number = named
    check_number(number)
    return _get(service, caller, key, number)


async def delete_layer_version(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteLayerVersion: one that is not there is deleted. Functions that use it go on.

    Source: AWS Lambda API Reference.
    """
    key = locate_own(caller, params["LayerName"], "DeleteLayerVersion")
    number: int = params["VersionNumber"]
    check_number(number)
    await service.database.write(
        lambda tx: rows.delete_version(tx, key, number),
        committed=lambda _none: service.layers.remove(key, number),
    )
    return {}


def locate(caller: Caller, name: str) -> LayerKey:
    """The layer that a LayerName (a name or an ARN) means to this caller.

    Raises:
        ApiError: ResourceNotFoundException for one of another region.
    """
    named = parse_arn(name)
    if named is None:
        return LayerKey(caller.account, caller.region, name)
    key, _number = named
    if key.region != caller.region:
        raise not_there()
    return key


def locate_own(caller: Caller, name: str, action: str) -> LayerKey:
    """As `locate`, for what only the layer's own account may do."""
    key = locate(caller, name)
    if key.account != caller.account:
        raise not_allowed(caller, action, key.arn)
    return key


def check_number(number: int | None) -> None:
    """Raises ApiError InvalidParameterValueException for a version number below 1."""
    if number is not None and number < 1:
        raise ApiError("InvalidParameterValueException", "Layer Version Cannot be less than 1")


def not_there() -> ApiError:
    """ResourceNotFoundException for a layer version."""
    return ApiError("ResourceNotFoundException", "The resource you requested does not exist.")


def _get(service: "Lambda", caller: Caller, key: LayerKey, number: int | None) -> Shape:
    version = service.layers.find(key, number or 0)
    if key.account != caller.account and (version is None or not may_use(version, caller.account)):
        raise not_allowed(caller, "GetLayerVersion", key.version_arn(number or 0))
    if version is None:
        raise not_there()
    return _write_whole(service, caller, version)


def _fits(version: LayerVersion, params: Shape) -> bool:
    return version.fits(params.get("CompatibleRuntime"), params.get("CompatibleArchitecture"))


def _write_whole(service: "Lambda", caller: Caller, version: LayerVersion) -> Shape:
    content = {
        "Location": code_location.location(service, caller, version.code.digest),
        "CodeSha256": version.code.sha256,
        "CodeSize": version.code.zipped_bytes,
    }
    return {"Content": content, "LayerArn": version.key.arn, **_write(version)}


def _write(version: LayerVersion) -> Shape:
    """LayerVersionsListItem: what was not set is left out, but for the description."""
    shape: Shape = {
        "LayerVersionArn": version.arn,
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": write_moment(version.created_ms),
    }
    if version.runtimes:
        shape["CompatibleRuntimes"] = list(version.runtimes)
    if version.license_info is not None:
        shape["LicenseInfo"] = version.license_info
    if version.architectures:
        shape["CompatibleArchitectures"] = list(version.architectures)
    return shape
