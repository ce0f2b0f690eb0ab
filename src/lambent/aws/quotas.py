"""Lambda's limits that are narrower than its service model, each with its source.

"MB" in AWS Lambda always means MiB. A limit that AWS raises on request is a setting in `Config` instead.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from lambent.aws.errors import ApiError

MIB: Final = 1_048_576

# AWS Lambda Developer Guide, "Lambda quotas". The model allows more, for managed instances.
FUNCTION_NAME_LENGTH: Final = 64
TIMEOUT_S: Final = 900
MEMORY_MB: Final = 10_240
EPHEMERAL_MB: Final = 10_240
ENVIRONMENT_BYTES: Final = 4_096
LAYERS: Final = 5
TAGS: Final = 50
POLICY_BYTES: Final = 20_480
IMAGE_CONFIG_BYTES: Final = 16_384
ZIPPED_BYTES: Final = 52_428_800
UNZIPPED_BYTES: Final = 262_144_000
REQUEST_BYTES: Final = 6_291_456
EVENT_BYTES: Final = MIB
CLIENT_CONTEXT_BYTES: Final = 3_583
TOTAL_CODE_BYTES: Final = 80_530_636_800  # what GetAccountSettings reports
LIST_PAGE: Final = 50  # AWS Lambda API Reference, ListFunctions: at most 50 items in each response

ENTRIES: Final = 100_000
"""Files and folders in one package. Ours (AWS states none): it bounds memory while a package is read."""

RESERVED_VARIABLES: Final = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
    ]
)
"""Environment variables that a function cannot set. Source: Developer Guide, "Defined runtime variables"."""

# Ids that the enum keeps and new functions may no longer have. Source: Developer Guide, "Lambda runtimes".
RETIRED_RUNTIMES: Final = frozenset(
    [
        "nodejs",
        "nodejs4.3",
        "nodejs4.3-edge",
        "nodejs6.10",
        "nodejs8.10",
        "nodejs10.x",
        "nodejs12.x",
        "nodejs14.x",
        "nodejs16.x",
        "nodejs18.x",
        "java8",
        "python2.7",
        "python3.6",
        "python3.7",
        "python3.8",
        "python3.9",
        "dotnetcore1.0",
        "dotnetcore2.0",
        "dotnetcore2.1",
        "dotnetcore3.1",
        "dotnet6",
        "go1.x",
        "ruby2.5",
        "ruby2.7",
        "provided",
    ]
)

# Runtimes of which AWS takes snapshots. Source: Developer Guide, "Lambda SnapStart", supported runtimes.
SNAP_START_RUNTIMES: Final = frozenset(
    [
        "python3.12",
        "python3.13",
        "python3.14",
        "python3.15",
        "java11",
        "java17",
        "java21",
        "java25",
        "java11.al2023",
        "java17.al2023",
        "dotnet8",
        "dotnet10",
    ]
)

_VARIABLE_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")


def check_most(member: str, value: int | None, most: int) -> None:
    """Raises ApiError in the words of AWS's own constraint, when the value is above the limit."""
    if value is not None and value > most:
        raise _constraint(member, str(value), f"Member must have value less than or equal to {most}")


def check_function_name(name: str) -> None:
    """Raises ApiError InvalidParameterValueException when a bare function name is over 64 characters."""
    if len(name) > FUNCTION_NAME_LENGTH:
        wanted = f"Member must have length less than or equal to {FUNCTION_NAME_LENGTH}"
        raise _constraint("functionName", name, wanted)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises ApiError InvalidParameterValueException for more than 50."""
    if len(tags) > TAGS:
        raise ApiError("InvalidParameterValueException", "Number of tags exceeds resource tag limit.")


def check_variables(variables: Mapping[str, str]) -> None:
    """Raises ApiError when environment variables are reserved, badly named, or over 4 KB as JSON."""
    for name in variables:
        if _VARIABLE_NAME.fullmatch(name) is None:
            raise _constraint(
                "environment.variables",
                "{" + ", ".join(f"{key}={value}" for key, value in variables.items()) + "}",
                "Map keys must satisfy constraint: "
                "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
            )
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise ApiError(
            "InvalidParameterValueException",
            f"{_UNABLE} contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}",
        )
    measured = msgspec.json.encode(dict(variables))
    if len(measured) > ENVIRONMENT_BYTES:
        raise ApiError(
            "InvalidParameterValueException",
            f"{_UNABLE} exceeded the 4KB limit. String measured: {measured.decode()}",
        )


_UNABLE: Final = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided"
)


def _constraint(member: str, value: str, wanted: str) -> ApiError:
    return ApiError(
        "InvalidParameterValueException",
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {wanted}",
    )
