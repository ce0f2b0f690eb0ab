"""GetAccountSettings, and what deployment tools ask about a function that has no such setting."""

from typing import TYPE_CHECKING

from lambent.aws import quotas
from lambent.aws.caller import Caller, Scope
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.api.concurrency import account_known
from lambent.services.lambda_.api.names import locate_function

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def get_account_settings(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetAccountSettings: each function version's package counts. Source: AWS Lambda API Reference."""
    entries, limit = service.catalogue.of(caller.scope), service.config.concurrent_executions
    return {
        "AccountLimit": {
            "TotalCodeSize": service.config.code_storage_bytes,
            "CodeSizeUnzipped": quotas.UNZIPPED_BYTES,
            "CodeSizeZipped": quotas.ZIPPED_BYTES,
            "ConcurrentExecutions": limit,
            "UnreservedConcurrentExecutions": account_known(service.catalogue, caller.scope, limit).unreserved,
        },
        "AccountUsage": {
            "TotalCodeSize": used_code_bytes(service, caller.scope),
            "FunctionCount": len(entries),
        },
    }


def used_code_bytes(service: "Lambda", scope: Scope) -> int:
    """What an account's packages take: of each function version, and of each layer version."""
    versions = (version for entry in service.catalogue.of(scope) for version in entry.versions.values())
    return sum(version.code.zipped_bytes for version in versions) + service.layers.zipped_bytes(scope)


def check_code_storage(service: "Lambda", scope: Scope, more_bytes: int) -> None:
    """Raises ApiError CodeStorageExceededException when so much more does not fit into the account's code storage.

    Source: AWS Lambda Developer Guide, "Lambda quotas"; message as users of AWS report it.
    """
    if more_bytes and used_code_bytes(service, scope) + more_bytes > service.config.code_storage_bytes:
        raise ApiError("CodeStorageExceededException", "Code storage limit exceeded.")


async def get_function_code_signing_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionCodeSigningConfig of a function without one. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    service.catalogue.get(key)
    return {"FunctionName": key.name}
