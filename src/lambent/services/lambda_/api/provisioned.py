"""PutProvisionedConcurrencyConfig, GetProvisionedConcurrencyConfig, DeleteProvisionedConcurrencyConfig,
ListProvisionedConcurrencyConfigs.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.engine.provisioned import Progress, Status
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.concurrency import account_now
from lambent.services.lambda_.api.names import locate, locate_function
from lambent.services.lambda_.api.shapes import is_version, page
from lambent.services.lambda_.attached import ProvisionedConcurrency
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.concurrency import check_free, check_provisionable, plans_of, together
from lambent.services.lambda_.model import LATEST, Alias, FunctionKey, FunctionVersion

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LATEST: Final = 0


async def put_provisioned_concurrency_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PutProvisionedConcurrencyConfig: the answer is IN_PROGRESS, also where the amount was there already.

    Source: AWS Lambda API Reference.
    """
    key, qualifier = _locate(caller, params)
    config = ProvisionedConcurrency(
        key=key,
        qualifier=qualifier,
        requested=params["ProvisionedConcurrentExecutions"],
        last_modified_ms=service.clock.now_ms(),
    )

    def change(tx: Connection) -> ProvisionedConcurrency:
        _check(tx, config)
        limit = service.config.concurrent_executions
        account_now(tx, key.scope, limit).check_provision(key, qualifier, config.requested)
        rows.put_attached(tx, config)
        return config

    before = _progress(service, key, qualifier)
    await service.database.write(change, committed=service.catalogue.put)
    under_way = Progress(
        status=Status.IN_PROGRESS,
        allocated=min(before.allocated, config.requested),
        available=min(before.available, config.requested),
    )
    return _write(config, under_way)


def check_aliased(tx: Connection, alias: Alias) -> None:
    """Raises ApiError when an alias with provisioned concurrency is about to name versions that cannot have it."""
    if rows.attached(tx, alias.key, ProvisionedConcurrency, alias.name):
        _check_versions(tx, alias.key, alias.name, alias)


def _check(tx: Connection, config: ProvisionedConcurrency) -> None:
    """The qualifier names what can be provisioned, and no version of it is already."""
    key, qualifier = config.key, config.qualifier
    if rows.function(tx, key) is None:
        raise model.not_found(key, qualifier)
    alias = None
    if not is_version(qualifier):
        alias = rows.alias(tx, key, qualifier)
        if alias is None:
            raise _no_alias(key, qualifier)
    _check_versions(tx, key, qualifier, alias)


def _check_versions(tx: Connection, key: FunctionKey, qualifier: str, alias: Alias | None) -> None:
    for name in sorted(alias.versions if alias else {qualifier}):
        version = _version(tx, key, name)
        check_provisionable(version)
        if version.state != model.PENDING:  # until it is Active, the configuration is IN_PROGRESS
            model.check_may_run(version)
    provisioned = {each.qualifier for each in rows.attached_of_kind(tx, key, ProvisionedConcurrency)}
    check_free(qualifier, alias, rows.aliases(tx, key), provisioned)


def _version(tx: Connection, key: FunctionKey, name: str) -> FunctionVersion:
    version = rows.version(tx, key, _LATEST if name == LATEST else int(name))
    if version is None:
        raise model.not_found(key, name)
    return version


async def get_provisioned_concurrency_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetProvisionedConcurrencyConfig. Source: AWS Lambda API Reference."""
    key, qualifier = _locate(caller, params)
    entry = _find(service, key, qualifier)
    config = entry.its(ProvisionedConcurrency, qualifier)
    if config is None:
        raise ApiError(
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
        )
    return _write(config, _progress(service, key, qualifier))


async def delete_provisioned_concurrency_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteProvisionedConcurrencyConfig, also where there is none. Source: AWS Lambda API Reference."""
    key, qualifier = _locate(caller, params)
    _find(service, key, qualifier)

    def committed(_none: None) -> None:
        service.catalogue.remove_attached(key, ProvisionedConcurrency, qualifier)

    def change(tx: Connection) -> None:
        if rows.function(tx, key) is None:
            raise model.not_found(key, qualifier)
        rows.delete_attached(tx, key, ProvisionedConcurrency, qualifier)

    await service.database.write(change, committed=committed)
    return {}


async def list_provisioned_concurrency_configs(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListProvisionedConcurrencyConfigs, by qualifier. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    configs = service.catalogue.get(key).all_its(ProvisionedConcurrency)
    shown, more = page(configs, params, key=lambda config: (config.qualifier, 0))
    items = [{"FunctionArn": each.arn} | _write(each, _progress(service, key, each.qualifier)) for each in shown]
    return {"ProvisionedConcurrencyConfigs": items, **more}


def _locate(caller: Caller, params: Shape) -> tuple[FunctionKey, str]:
    key, qualifier = locate(caller, params["FunctionName"], params["Qualifier"])
    if not qualifier:
        raise ApiError(
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
        )
    return key, qualifier


def _find(service: "Lambda", key: FunctionKey, qualifier: str) -> Entry:
    """The function, which has a published version or an alias of this name."""
    if qualifier == LATEST:
        raise ApiError(
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
        )
    entry = service.catalogue.find(key)
    if entry is None or (is_version(qualifier) and qualifier not in entry.versions):
        raise model.not_found(key, qualifier)
    if not is_version(qualifier) and qualifier not in entry.aliases:
        raise _no_alias(key, qualifier)
    return entry


def _no_alias(key: FunctionKey, name: str) -> ApiError:
    return ApiError("ResourceNotFoundException", f"Cannot find alias arn: {key.arn(name)}")


def _progress(service: "Lambda", key: FunctionKey, qualifier: str) -> Progress:
    entry = service.catalogue.find(key)
    config = entry.its(ProvisionedConcurrency, qualifier) if entry else None
    parts = plans_of(entry, config) if entry and config else []
    return together([service.engine.progress(plan.key) for plan in parts] or [None])


def _write(config: ProvisionedConcurrency, progress: Progress) -> Shape:
    modified = datetime.fromtimestamp(config.last_modified_ms // 1000, UTC)
    shape: Shape = {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": progress.available,
        "AllocatedProvisionedConcurrentExecutions": progress.allocated,
        "Status": progress.status.value,
        "LastModified": f"{modified:%Y-%m-%dT%H:%M:%S}+0000",
    }
    if progress.reason is not None:
        shape["StatusReason"] = progress.reason
    return shape
