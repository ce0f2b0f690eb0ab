"""AWS's shapes to our data and back."""

import base64
import binascii
import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from lambent.aws import quotas
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.model import LATEST, Alias, Configuration, FunctionVersion, LayerUse, Logging, Vpc
from lambent.services.lambda_.sealed import CANNOT_DECRYPT, CannotOpenError, Seal, SealedVariables

T = TypeVar("T")

# Members that change how a function runs in ways that are not there yet: refused rather than forgotten.
_LATER: Final = {
    "AcceleratorConfig": "accelerators",
    "CapacityProviderConfig": "capacity providers",
    "DurableConfig": "durable functions",
    "RuntimeConfig": "customer-managed runtimes",
    "TenancyConfig": "tenant isolation",
}


def check_supported(params: Shape) -> None:
    """Raises ApiError for members whose meaning Lambent does not have yet, and for PublishTo.

    AWS allows PublishTo for functions on managed instances only, and there are none here.
    """
    for member, feature in _LATER.items():
        if params.get(member):
            raise ApiError("NotImplemented", f"{member}: Lambent does not support {feature} yet.")
    if params.get("PublishTo"):
        raise ApiError(
            "InvalidParameterValueException",
            f"PublishTo {params['PublishTo']} is supported only for functions with a capacity provider.",
        )
    if params.get("CodeSigningConfigArn"):
        raise ApiError(
            "CodeSigningConfigNotFoundException", "The Lambda code signing configuration ARN can not be found."
        )


def read_environment(params: Shape, seal: Seal, arn: str) -> SealedVariables | None:
    """The environment variables of a request, sealed for the function with this ARN; None where none are named.

    Raises:
        ApiError: InvalidParameterValueException for variables that cannot be.
    """
    if "Environment" not in params:
        return None
    variables = params["Environment"].get("Variables", {})
    quotas.check_variables(variables)
    return seal.close(variables, arn)


def read_configuration(
    params: Shape,
    base: Configuration,
    *,
    environment: SealedVariables | None = None,
    layers: tuple[LayerUse, ...] | None = None,
) -> Configuration:
    """The configuration that results when what a request names replaces what was. Maps are replaced whole.

    `environment` and `layers` are what was read of the members of these names; None is "not named".

    Raises:
        ApiError: InvalidParameterValueException for log levels that cannot be.
    """
    changes: dict[str, Any] = {
        field: read(params[member]) for member, (field, read) in _MEMBERS.items() if member in params
    }
    if "LoggingConfig" in params:
        changes["logging"] = _read_logging(params["LoggingConfig"], base.logging)
    if environment is not None:
        changes["environment"] = environment
    if layers is not None:
        changes["layers"] = layers
    return replace(base, **changes)


def _read_logging(shape: Shape, base: Logging) -> Logging:
    """A level may be given with JSON only; with JSON each level is INFO unless given.

    Source: AWS Lambda Developer Guide, "Configuring advanced logging controls".
    """
    log_format = shape.get("LogFormat", base.log_format)
    log_group = shape.get("LogGroup", base.log_group)
    if log_format == "Text":
        if "ApplicationLogLevel" in shape or "SystemLogLevel" in shape:
            raise ApiError(
                "InvalidParameterValueException",
                'LogLevel is not supported when LogFormat is set to "Text". '
                'Remove LogLevel from your request or change the LogFormat to "JSON" and try again.',
            )
        return Logging(log_group=log_group)
    return Logging(
        log_group=log_group,
        log_format=log_format,
        application_log_level=shape.get("ApplicationLogLevel", base.application_log_level or "INFO"),
        system_log_level=shape.get("SystemLogLevel", base.system_log_level or "INFO"),
    )


def _read_vpc(shape: Shape) -> Vpc:
    return Vpc(
        subnet_ids=tuple(shape.get("SubnetIds", ())),
        security_group_ids=tuple(shape.get("SecurityGroupIds", ())),
        ipv6_allowed=shape.get("Ipv6AllowedForDualStack", False),
    )


_MEMBERS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "Role": ("role", str),
    "Handler": ("handler", str),
    "Runtime": ("runtime", str),
    "Description": ("description", str),
    "Timeout": ("timeout_s", int),
    "MemorySize": ("memory_mb", int),
    "KMSKeyArn": ("kms_key_arn", str),
    "FileSystemConfigs": ("file_systems", tuple),
    "VpcConfig": ("vpc", _read_vpc),
    "EphemeralStorage": ("ephemeral_mb", lambda shape: shape["Size"]),
    "Architectures": ("architecture", lambda shape: shape[0]),
    "TracingConfig": ("tracing_mode", lambda shape: shape.get("Mode", "PassThrough")),
    "SnapStart": ("snap_start", lambda shape: shape.get("ApplyOn", "None")),
    "DeadLetterConfig": ("dead_letter_arn", lambda shape: shape.get("TargetArn", "")),
    "PackageType": ("package_type", str),
    "ImageConfig": ("image_config", dict),
}


def write_version(version: FunctionVersion, seal: Seal, *, arn: str, with_state: bool = True) -> Shape:
    """FunctionConfiguration: what was not set is left out. Lists leave out the states and the runtime version too.

    Source: AWS Lambda API Reference, FunctionConfiguration; ListFunctions.
    """
    configuration = version.configuration
    is_image = configuration.package_type == "Image"
    shape: Shape = {
        "FunctionName": version.key.name,
        "FunctionArn": arn,
        **({} if is_image else {"Runtime": configuration.runtime}),
        "Role": configuration.role,
        **({} if is_image else {"Handler": configuration.handler}),
        "CodeSize": version.code.zipped_bytes,
        "Description": configuration.description,
        "Timeout": configuration.timeout_s,
        "MemorySize": configuration.memory_mb,
        "LastModified": write_moment(version.last_modified_ms),
        **({"CodeSha256": version.code.sha256} if version.code.sha256 else {}),
        "Version": version.version,
        **_write_optional(configuration),
        **_write_environment(version, seal),
        "TracingConfig": {"Mode": configuration.tracing_mode},
        "RevisionId": version.revision_id,
        "PackageType": configuration.package_type,
        "Architectures": [configuration.architecture],
        "EphemeralStorage": {"Size": configuration.ephemeral_mb},
        "SnapStart": {
            "ApplyOn": configuration.snap_start,
            "OptimizationStatus": "On" if version.takes_snapshots and version.state.value == "Active" else "Off",
        },
        "LoggingConfig": _write_logging(configuration.logging),
    }
    return shape | _write_state(version) if with_state else shape


def _write_optional(configuration: Configuration) -> Shape:
    shape: Shape = {}
    if configuration.vpc is not None:
        shape["VpcConfig"] = {
            "SubnetIds": list(configuration.vpc.subnet_ids),
            "SecurityGroupIds": list(configuration.vpc.security_group_ids),
            "VpcId": "",  # which one the subnets are in, no service here knows
            "Ipv6AllowedForDualStack": configuration.vpc.ipv6_allowed,
        }
    if configuration.dead_letter_arn:
        shape["DeadLetterConfig"] = {"TargetArn": configuration.dead_letter_arn}
    if configuration.kms_key_arn:
        shape["KMSKeyArn"] = configuration.kms_key_arn
    if configuration.file_systems:
        shape["FileSystemConfigs"] = [dict(each) for each in configuration.file_systems]
    if configuration.layers:
        shape["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.code.zipped_bytes} for layer in configuration.layers]
    if configuration.image_config:
        shape["ImageConfigResponse"] = {"ImageConfig": dict(configuration.image_config)}
    return shape


def _write_environment(version: FunctionVersion, seal: Seal) -> Shape:
    """The variables, or why they cannot be shown: the data folder has another secret than it had."""
    sealed = version.configuration.environment
    if sealed is None:
        return {}
    try:
        return {"Environment": {"Variables": seal.open(sealed, version.key.arn())}}
    except CannotOpenError as error:
        return {
            "Environment": {"Error": {"ErrorCode": "AccessDeniedException", "Message": f"{CANNOT_DECRYPT} {error}"}}
        }


def _write_logging(logging: Logging) -> Shape:
    shape = {"LogFormat": logging.log_format, "LogGroup": logging.log_group}
    if logging.log_format == "JSON":
        shape["ApplicationLogLevel"] = logging.application_log_level or "INFO"
        shape["SystemLogLevel"] = logging.system_log_level or "INFO"
    return shape


def _write_state(version: FunctionVersion) -> Shape:
    shape: Shape = {}
    for name, status in (("State", version.state), ("LastUpdateStatus", version.last_update)):
        if status is not None:
            shape[name] = status.value
            if status.reason is not None:
                shape[f"{name}Reason"] = status.reason
                shape[f"{name}ReasonCode"] = status.code
    if version.configuration.runtime:
        arn = runtime_version_arn(version.key.region, version.configuration.runtime)
        shape["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn}
    return shape


def runtime_version_arn(region: str, runtime: str) -> str:
    """The ARN of the runtime's version, as INIT_START shows it: we have one version of each runtime."""
    return f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"


def write_moment(milliseconds: int) -> str:
    """A moment as Lambda writes it: 2026-01-01T12:00:00.000+0000."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}+0000"


def write_alias(alias: Alias) -> Shape:
    """AliasConfiguration."""
    shape: Shape = {
        "AliasArn": alias.arn,
        "Name": alias.name,
        "FunctionVersion": alias.function_version,
        "Description": alias.description,
    }
    if alias.additional_version is not None:
        shape["RoutingConfig"] = {"AdditionalVersionWeights": {alias.additional_version: alias.additional_weight}}
    return shape | {"RevisionId": alias.revision_id}


def read_routing(shape: Shape | None) -> tuple[str | None, float]:
    """The second version of an alias and its share, or None.

    Raises:
        ApiError: there is more than one.
    """
    weights: dict[str, float] = (shape or {}).get("AdditionalVersionWeights") or {}
    if len(weights) > 1:
        raise ApiError(
            "InvalidParameterValueException", "Number of items in AdditionalVersionWeights cannot be greater than 1"
        )
    for version, weight in weights.items():
        return version, weight
    return None, 0.0


def page(
    items: Sequence[T], params: Shape, *, key: Callable[[T], tuple[str, int]], most: int = quotas.LIST_PAGE
) -> tuple[list[T], Shape]:
    """A page of `items`, which are sorted by `key`, and {"NextMarker": …} if there are more.

    A marker names the last item of the page before, so what comes and goes in between moves nothing.
    """
    start = bisect_right(items, _read_marker(params["Marker"]), key=key) if params.get("Marker") else 0
    most = min(params.get("MaxItems") or most, most)
    chosen = list(items[start : start + most])
    more = start + most < len(items)
    return chosen, {"NextMarker": _write_marker(key(chosen[-1]))} if more else {}


def _write_marker(key: tuple[str, int]) -> str:
    name, number = key
    return base64.urlsafe_b64encode(f"{number}:{name}".encode()).decode()


def _read_marker(marker: str) -> tuple[str, int]:
    try:
        number, _, name = base64.urlsafe_b64decode(marker.encode()).decode().partition(":")
        return name, int(number)
    except (binascii.Error, ValueError):
        raise ApiError("InvalidParameterValueException", f"Marker is {marker!r}; use a NextMarker of ours.") from None


def arn_of(version: FunctionVersion, *, qualified: bool = True) -> str:
    """The ARN that answers show: with the version, unless `$LATEST` was not asked for by name."""
    return version.key.arn(version.version if qualified else None)


def is_version(qualifier: str) -> bool:
    """Whether a qualifier names a version, not an alias."""
    return qualifier == LATEST or qualifier.isdigit()
