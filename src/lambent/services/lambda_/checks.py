"""Whether a function may be configured like this: the rules that the service model does not state. Pure."""

from typing import Final

from lambent.aws import quotas
from lambent.aws.errors import ApiError
from lambent.services.lambda_.destinations import check_dead_letter
from lambent.services.lambda_.images import check_image_config
from lambent.services.lambda_.model import Configuration, Vpc

_SNAP_START_EPHEMERAL_MB: Final = 512


def check_configuration(configuration: Configuration, *, accept_retired: bool) -> None:
    """Raises ApiError InvalidParameterValueException for what AWS refuses.

    Source: AWS Lambda API Reference, CreateFunction; AWS Lambda Developer Guide, "Lambda quotas".
    """
    quotas.check_most("timeout", configuration.timeout_s, quotas.TIMEOUT_S)
    quotas.check_most("memorySize", configuration.memory_mb, quotas.MEMORY_MB)
    quotas.check_most("ephemeralStorage.size", configuration.ephemeral_mb, quotas.EPHEMERAL_MB)
    if configuration.package_type == "Zip":
        _check_runtime(configuration.runtime, accept_retired=accept_retired)
        if not (configuration.runtime and configuration.handler):
            raise _invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
    if configuration.image_config:
        check_image_config(configuration.image_config)
    if configuration.file_systems and not (configuration.vpc and configuration.vpc.subnet_ids):
        raise _invalid(
            "Function must be configured to execute in a VPC to reference access point "
            f"{configuration.file_systems[0]['Arn']}."
        )
    if configuration.snap_start != "None":
        _check_snap_start(configuration)
    if configuration.vpc is not None:
        _check_vpc(configuration.vpc)
    check_dead_letter(configuration.dead_letter_arn)


def _check_runtime(runtime: str, *, accept_retired: bool) -> None:
    if runtime in quotas.RETIRED_RUNTIMES and not accept_retired:
        raise _invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )


def _check_snap_start(configuration: Configuration) -> None:
    """Source: AWS Lambda Developer Guide, "Lambda SnapStart": supported features and limitations."""
    if configuration.package_type == "Image":
        raise _invalid("SnapStart is not supported for functions with packageType Image.")
    if configuration.runtime not in quotas.SNAP_START_RUNTIMES:
        raise _invalid(f"{configuration.runtime} is not supported for SnapStart enabled functions.")
    if configuration.ephemeral_mb > _SNAP_START_EPHEMERAL_MB:
        raise _invalid(
            f"EphemeralStorage is {configuration.ephemeral_mb} MB; "
            f"SnapStart enabled functions have at most {_SNAP_START_EPHEMERAL_MB} MB."
        )
    if configuration.file_systems:
        raise _invalid("FileSystemConfigs are not supported for SnapStart enabled functions.")


def _check_vpc(vpc: Vpc) -> None:
    if bool(vpc.subnet_ids) != bool(vpc.security_group_ids):
        raise _invalid("SubnetIds and SecurityIds must coexist or be both empty list.")


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
