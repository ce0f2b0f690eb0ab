"""CreateAlias, UpdateAlias, GetAlias, ListAliases, DeleteAlias."""

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_ import model, rows
from lambent.services.lambda_.api.names import locate_function
from lambent.services.lambda_.api.provisioned import check_aliased
from lambent.services.lambda_.api.shapes import page, read_routing, write_alias
from lambent.services.lambda_.model import LATEST, Alias

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def create_alias(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """CreateAlias. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    additional_version, additional_weight = read_routing(params.get("RoutingConfig"))
    alias = Alias(
        key=key,
        name=params["Name"],
        function_version=params["FunctionVersion"],
        description=params.get("Description", ""),
        additional_version=additional_version,
        additional_weight=additional_weight,
        revision_id=str(uuid.uuid4()),
    )

    def change(tx: Connection) -> Alias:
        if rows.function(tx, key) is None:
            raise model.not_found(key)
        _check(tx, alias)
        if rows.alias(tx, key, alias.name):
            raise ApiError("ResourceConflictException", f"Alias already exists: {alias.arn}")
        rows.insert_alias(tx, alias)
        return alias

    return write_alias(await service.database.write(change, committed=service.catalogue.put))


async def update_alias(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """UpdateAlias: what is not named stays. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    changes = {
        field: params[member]
        for member, field in (("FunctionVersion", "function_version"), ("Description", "description"))
        if member in params
    }
    if "RoutingConfig" in params:
        changes["additional_version"], changes["additional_weight"] = read_routing(params["RoutingConfig"])

    def change(tx: Connection) -> Alias:
        if rows.function(tx, key) is None:
            raise model.not_found(key)
        before = rows.alias(tx, key, params["Name"])
        if before is None:
            raise ApiError("ResourceNotFoundException", f"Alias not found: {key.arn(params['Name'])}")
        model.check_revision(params.get("RevisionId"), before.revision_id)
        after: Alias = replace(before, **changes, revision_id=str(uuid.uuid4()))
        _check(tx, after)
        check_aliased(tx, after)
        rows.update_alias(tx, after)
        return after

    return write_alias(await service.database.write(change, committed=service.catalogue.put))


def _check(tx: Connection, alias: Alias) -> None:
    """Both versions may share an alias, and exist."""
    model.check_routing(alias)
    for version in sorted(alias.versions):
        if not (version == LATEST or version.isdigit()) or rows.version(tx, alias.key, _number(version)) is None:
            raise model.not_found(alias.key, version)


def _number(version: str) -> int:
    return 0 if version == LATEST else int(version)


async def get_alias(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetAlias. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    alias = service.catalogue.get(key).aliases.get(params["Name"])
    if alias is None:
        raise ApiError("ResourceNotFoundException", f"Cannot find alias arn: {key.arn(params['Name'])}")
    return write_alias(alias)


async def list_aliases(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """ListAliases, of one version (also where it has a weight only) or of all. Source: AWS Lambda API Reference."""
    entry = service.catalogue.get(locate_function(caller, params["FunctionName"]))
    version = params.get("FunctionVersion")
    aliases = [alias for _, alias in sorted(entry.aliases.items()) if version is None or version in alias.versions]
    shown, more = page(aliases, params, key=lambda alias: (alias.name, 0))
    return {"Aliases": [write_alias(alias) for alias in shown], **more}


async def delete_alias(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """DeleteAlias. One that is not there is deleted. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])

    def change(tx: Connection) -> None:
        if rows.function(tx, key) is None:
            raise model.not_found(key)
        rows.delete_alias(tx, key, params["Name"])

    await service.database.write(change, committed=lambda _none: service.catalogue.remove_alias(key, params["Name"]))
    return {}
