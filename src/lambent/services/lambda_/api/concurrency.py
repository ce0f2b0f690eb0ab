"""PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency."""

from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller, Scope
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.names import locate_function
from lambent.services.lambda_.attached import ProvisionedConcurrency, ReservedConcurrency
from lambent.services.lambda_.catalogue import Catalogue
from lambent.services.lambda_.concurrency import Account

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def put_function_concurrency(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PutFunctionConcurrency: at least 100 of the account's limit stay unreserved. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    reserved = ReservedConcurrency(key=key, limit=params["ReservedConcurrentExecutions"])

    def change(tx: Connection) -> ReservedConcurrency:
        if rows.function(tx, key) is None:
            raise model.not_found(key)
        account_now(tx, key.scope, service.config.concurrent_executions).check_reserve(key, reserved.limit)
        rows.put_attached(tx, reserved)
        return reserved

    await service.database.write(change, committed=service.catalogue.put)
    return {"ReservedConcurrentExecutions": reserved.limit}


async def get_function_concurrency(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionConcurrency: empty where nothing is reserved. Source: AWS Lambda API Reference."""
    entry = service.catalogue.get(locate_function(caller, params["FunctionName"]))
    reserved = entry.its(ReservedConcurrency)
    return {"ReservedConcurrentExecutions": reserved.limit} if reserved else {}


async def delete_function_concurrency(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteFunctionConcurrency, also where nothing is reserved. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])

    def change(tx: Connection) -> None:
        if rows.function(tx, key) is None:
            raise model.not_found(key)
        rows.delete_attached(tx, key, ReservedConcurrency)

    def committed(_none: None) -> None:
        service.catalogue.remove_attached(key, ReservedConcurrency)

    await service.database.write(change, committed=committed)
    return {}


def account_now(tx: Connection, scope: Scope, limit: int) -> Account:
    """What an account has given away, as the transaction sees it."""
    reserved = rows.attached_of_account(tx, scope, ReservedConcurrency)
    return Account.of(limit, reserved, rows.attached_of_account(tx, scope, ProvisionedConcurrency))


def account_known(catalogue: Catalogue, scope: Scope, limit: int) -> Account:
    """The same from memory."""
    entries = catalogue.of(scope)
    reserved = [each for entry in entries for each in entry.all_its(ReservedConcurrency)]
    provisioned = [each for entry in entries for each in entry.all_its(ProvisionedConcurrency)]
    return Account.of(limit, reserved, provisioned)
