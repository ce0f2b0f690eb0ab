"""Roles: made, listed, changed, tagged, removed."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.iam import documents, model, paging, rows
from lambent.services.iam.api import lookup
from lambent.services.iam.model import Role

if TYPE_CHECKING:
    from lambent.services.iam.service import Iam


async def create_role(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """CreateRole."""
    documents.check(params["AssumeRolePolicyDocument"], "trust")
    model.check_trust_size(params["AssumeRolePolicyDocument"])
    role = Role(
        id=model.new_id("AROA"),
        account=caller.account,
        name=params["RoleName"],
        path=params.get("Path", "/"),
        trust=params["AssumeRolePolicyDocument"],
        description=params.get("Description"),
        max_session_s=params.get("MaxSessionDuration", model.DEFAULT_SESSION_S),
        boundary=params.get("PermissionsBoundary"),
        created_at=service.now(),
        tags=model.with_tags({}, params.get("Tags", [])),
    )

    def change(tx: Connection) -> None:
        if rows.role(tx, caller.account, role.name):
            raise ApiError("EntityAlreadyExists", f"Role with name {role.name} already exists.")
        if role.boundary is not None:
            lookup.attachable(tx, caller.account, role.boundary)
        rows.insert_role(tx, role)

    await service.database.write(change)
    shape = role.to_shape()
    del shape["RoleLastUsed"]
    return {"Role": shape}


async def get_role(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """GetRole."""
    role = await service.database.read(lambda tx: lookup.role(tx, caller.account, params["RoleName"]))
    return {"Role": role.to_shape()}


async def list_roles(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListRoles: in the order of their names."""
    after = paging.after(params)
    found = await service.database.read(
        lambda tx: rows.roles(
            tx,
            caller.account,
            path_prefix=params.get("PathPrefix", "/"),
            after=after,
            limit=paging.size(params) + 1,
        )
    )
    return paging.answer(
        "Roles", found, params, key=lambda role: role.name, shape=lambda role: role.to_shape(listed=True)
    )


async def delete_role(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """DeleteRole: refused while anything hangs on it."""

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        if rows.profiles_of_role(tx, caller.account, role.id):
            raise _conflict("must remove roles from instance profile first.")
        if rows.role_policies(tx, role.id):
            raise _conflict("must delete policies first.")
        if rows.attached(tx, role.id):
            raise _conflict("must detach all policies first.")
        rows.delete_role(tx, role.id)

    await service.database.write(change)
    return {}


async def update_role(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """UpdateRole: what is not given stays."""
    columns = {"Description": "description", "MaxSessionDuration": "max_session_s"}
    values = {column: params[member] for member, column in columns.items() if member in params}
    await _update(service, caller, params["RoleName"], values)
    return {}


async def update_role_description(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """UpdateRoleDescription."""
    await _update(service, caller, params["RoleName"], {"description": params["Description"]})
    return await get_role(service, caller, params)


async def update_assume_role_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """UpdateAssumeRolePolicy."""
    documents.check(params["PolicyDocument"], "trust")
    model.check_trust_size(params["PolicyDocument"])
    await _update(service, caller, params["RoleName"], {"trust": params["PolicyDocument"]})
    return {}


async def put_role_permissions_boundary(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """PutRolePermissionsBoundary."""

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        lookup.attachable(tx, caller.account, params["PermissionsBoundary"])
        rows.update_role(tx, replace(role, boundary=params["PermissionsBoundary"]))

    await service.database.write(change)
    return {}


async def delete_role_permissions_boundary(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """DeleteRolePermissionsBoundary."""
    await _update(service, caller, params["RoleName"], {"boundary": None})
    return {}


async def tag_role(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """TagRole."""

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        rows.update_role(tx, replace(role, tags=model.with_tags(role.tags, params["Tags"])))

    await service.database.write(change)
    return {}


async def untag_role(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """UntagRole."""

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        rows.update_role(tx, replace(role, tags=model.without_tags(role.tags, params["TagKeys"])))

    await service.database.write(change)
    return {}


async def list_role_tags(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListRoleTags."""
    role = await service.database.read(lambda tx: lookup.role(tx, caller.account, params["RoleName"]))
    return lookup.tag_page(role.tags, params)


async def _update(service: "Iam", caller: Caller, name: str, values: dict[str, Any]) -> None:
    await service.database.write(
        lambda tx: rows.update_role(tx, replace(lookup.role(tx, caller.account, name), **values))
    )


def _conflict(what: str) -> ApiError:
    return ApiError("DeleteConflict", f"Cannot delete entity, {what}")
