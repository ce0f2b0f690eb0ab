"""GetAccountSettings, and what deployment tools ask about a function that has no such setting."""

from typing import TYPE_CHECKING

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.api.names import find, locate_function

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def get_account_settings(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetAccountSettings: each function version's package counts. Source: AWS Lambda API Reference."""
    entries = service.catalogue.of(caller.scope)
    return {
        "AccountLimit": {
            "TotalCodeSize": quotas.TOTAL_CODE_BYTES,
            "CodeSizeUnzipped": quotas.UNZIPPED_BYTES,
            "CodeSizeZipped": quotas.ZIPPED_BYTES,
            "ConcurrentExecutions": service.config.concurrent_executions,
            "UnreservedConcurrentExecutions": service.config.concurrent_executions,  # nothing can be reserved yet
        },
        "AccountUsage": {
            "TotalCodeSize": sum(each.code.zipped_bytes for entry in entries for each in entry.versions.values()),
            "FunctionCount": len(entries),
        },
    }


async def get_policy(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetPolicy: as on AWS for a function without one. Source: AWS Lambda API Reference."""
    find(service, caller, params)
    raise ApiError("ResourceNotFoundException", "The resource you requested does not exist.")


async def get_function_code_signing_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionCodeSigningConfig of a function without one. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    service.catalogue.get(key)
    return {"FunctionName": key.name}


async def get_function_concurrency(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionConcurrency: empty, as nothing is reserved. Source: AWS Lambda API Reference."""
    service.catalogue.get(locate_function(caller, params["FunctionName"]))
    return {}


async def get_runtime_management_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetRuntimeManagementConfig: the default, Auto. Source: AWS Lambda API Reference."""
    _, version, qualifier = find(service, caller, params)
    return {"UpdateRuntimeOn": "Auto", "FunctionArn": version.key.arn(qualifier)}
