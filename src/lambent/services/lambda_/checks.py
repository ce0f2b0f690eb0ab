"""Whether a function may be configured like this: the rules that the service model does not state. Pure."""

import re
from typing import Final

from lambent.aws import quotas
from lambent.aws.errors import ApiError
from lambent.services.lambda_.model import Configuration, Vpc

_LAYER: Final = re.compile(r"(arn:[^:]*:lambda:([^:]*):[^:]*:layer:[^:]*):(\d+)")


def check_configuration(configuration: Configuration, *, accept_retired: bool) -> None:
    """Raises ApiError InvalidParameterValueException for what AWS refuses.

    Source: AWS Lambda API Reference, CreateFunction; AWS Lambda Developer Guide, "Lambda quotas".
    """
    quotas.check_most("timeout", configuration.timeout_s, quotas.TIMEOUT_S)
    quotas.check_most("memorySize", configuration.memory_mb, quotas.MEMORY_MB)
    quotas.check_most("ephemeralStorage.size", configuration.ephemeral_mb, quotas.EPHEMERAL_MB)
    _check_runtime(configuration.runtime, accept_retired=accept_retired)
    if not (configuration.runtime and configuration.handler):
        raise _invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    if configuration.environment is not None:
        quotas.check_variables(configuration.environment)
    if configuration.snap_start != "None" and configuration.runtime not in quotas.SNAP_START_RUNTIMES:
        raise _invalid(f"{configuration.runtime} is not supported for SnapStart enabled functions.")
    if configuration.vpc is not None:
        _check_vpc(configuration.vpc)


def check_layers(layers: list[str], region: str) -> None:
    """Raises ApiError for layers that cannot be used. Until layers can be published, that is every one."""
    if len(layers) > quotas.LAYERS:
        raise _invalid(f"Cannot reference more than {quotas.LAYERS} layers.")
    seen: dict[str, str] = {}
    for layer in layers:
        match = _LAYER.fullmatch(layer)
        if match is None:
            raise _no_layer(layer)
        name, its_region, _number = match.groups()
        if its_region != region:
            raise _invalid(
                f"Layers are not in the same region as the function. Layers are expected to be in region {region}."
            )
        if seen.setdefault(name, layer) != layer:
            raise _invalid(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[name]} and {layer} are versions of the same layer."
            )
    if layers:
        raise _no_layer(layers[0])


def _check_runtime(runtime: str, *, accept_retired: bool) -> None:
    if runtime in quotas.RETIRED_RUNTIMES and not accept_retired:
        raise _invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )


def _check_vpc(vpc: Vpc) -> None:
    if bool(vpc.subnet_ids) != bool(vpc.security_group_ids):
        raise _invalid("SubnetIds and SecurityIds must coexist or be both empty list.")


def _no_layer(arn: str) -> ApiError:
    return _invalid(f"Layer version {arn} does not exist.")


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
