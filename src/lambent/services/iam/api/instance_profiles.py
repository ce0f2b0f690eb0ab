"""Instance profiles, each with at most one role."""

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.iam import model, paging, rows
from lambent.services.iam.api import lookup
from lambent.services.iam.model import InstanceProfile, Role

if TYPE_CHECKING:
    from lambent.services.iam.service import Iam


async def create_instance_profile(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """CreateInstanceProfile."""
    profile = InstanceProfile(
        id=model.new_id("AIPA"),
        account=caller.account,
        name=params["InstanceProfileName"],
        path=params.get("Path", "/"),
        created_at=service.now(),
        tags=model.with_tags({}, params.get("Tags", [])),
    )

    def change(tx: Connection) -> None:
        if rows.profile(tx, caller.account, profile.name):
            raise ApiError("EntityAlreadyExists", f"Instance Profile {profile.name} already exists.")
        rows.insert_profile(tx, profile)

    await service.database.write(change)
    return {"InstanceProfile": profile.to_shape([])}


async def get_instance_profile(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """GetInstanceProfile."""

    def query(tx: Connection) -> Shape:
        profile = lookup.profile(tx, caller.account, params["InstanceProfileName"])
        return profile.to_shape(_roles(tx, [profile]))

    return {"InstanceProfile": await service.database.read(query)}


async def delete_instance_profile(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """DeleteInstanceProfile: refused while it holds a role."""

    def change(tx: Connection) -> None:
        profile = lookup.profile(tx, caller.account, params["InstanceProfileName"])
        if profile.role_id is not None:
            raise ApiError("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
        rows.delete_profile(tx, profile.id)

    await service.database.write(change)
    return {}


async def list_instance_profiles(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListInstanceProfiles: in the order of their names."""
    after = paging.after(params)

    def query(tx: Connection) -> tuple[list[InstanceProfile], list[Role]]:
        prefix = params.get("PathPrefix", "/")
        found = rows.profiles(tx, caller.account, path_prefix=prefix, after=after, limit=paging.size(params) + 1)
        return found, _roles(tx, found)

    found, roles = await service.database.read(query)
    return paging.answer(
        "InstanceProfiles",
        found,
        params,
        key=lambda profile: profile.name,
        shape=lambda profile: profile.to_shape(roles, listed=True),
    )


async def list_instance_profiles_for_role(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListInstanceProfilesForRole."""

    def query(tx: Connection) -> tuple[list[InstanceProfile], Role]:
        role = lookup.role(tx, caller.account, params["RoleName"])
        return rows.profiles_of_role(tx, caller.account, role.id), role

    found, role = await service.database.read(query)
    return paging.of_all(
        "InstanceProfiles",
        found,
        params,
        key=lambda profile: profile.name,
        shape=lambda profile: profile.to_shape([role], listed=True),
    )


async def add_role_to_instance_profile(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """AddRoleToInstanceProfile."""

    def change(tx: Connection) -> None:
        profile = lookup.profile(tx, caller.account, params["InstanceProfileName"])
        role = lookup.role(tx, caller.account, params["RoleName"])
        if profile.role_id is not None:
            raise ApiError("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
        rows.update_profile(tx, replace(profile, role_id=role.id))

    await service.database.write(change)
    return {}


async def remove_role_from_instance_profile(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """RemoveRoleFromInstanceProfile."""

    def change(tx: Connection) -> None:
        profile = lookup.profile(tx, caller.account, params["InstanceProfileName"])
        role = lookup.role(tx, caller.account, params["RoleName"])
        if profile.role_id != role.id:
            raise model.no_role(params["RoleName"])
        rows.update_profile(tx, replace(profile, role_id=None))

    await service.database.write(change)
    return {}


async def tag_instance_profile(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """TagInstanceProfile."""

    def change(tx: Connection) -> None:
        profile = lookup.profile(tx, caller.account, params["InstanceProfileName"])
        rows.update_profile(tx, replace(profile, tags=model.with_tags(profile.tags, params["Tags"])))

    await service.database.write(change)
    return {}


async def untag_instance_profile(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """UntagInstanceProfile."""

    def change(tx: Connection) -> None:
        profile = lookup.profile(tx, caller.account, params["InstanceProfileName"])
        rows.update_profile(tx, replace(profile, tags=model.without_tags(profile.tags, params["TagKeys"])))

    await service.database.write(change)
    return {}


async def list_instance_profile_tags(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListInstanceProfileTags."""
    name = params["InstanceProfileName"]
    profile = await service.database.read(lambda tx: lookup.profile(tx, caller.account, name))
    return lookup.tag_page(profile.tags, params)


def _roles(tx: Connection, profiles: list[InstanceProfile]) -> list[Role]:
    return rows.roles_by_id(tx, sorted({profile.role_id for profile in profiles if profile.role_id is not None}))
