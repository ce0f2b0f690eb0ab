"""Managed policies: made, listed, tagged, removed; whom they are attached to."""

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.iam import documents, managed, model, paging, rows
from lambent.services.iam.api import lookup
from lambent.services.iam.model import Policy, Role, Version

if TYPE_CHECKING:
    from lambent.services.iam.service import Iam


async def create_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """CreatePolicy: with its document as version v1."""
    documents.check(params["PolicyDocument"], "identity")
    model.check_managed_size(params["PolicyDocument"])
    now = service.now()
    policy = Policy(
        id=model.new_id("ANPA"),
        account=caller.account,
        name=params["PolicyName"],
        path=params.get("Path", "/"),
        description=params.get("Description"),
        created_at=now,
        updated_at=now,
        tags=model.with_tags({}, params.get("Tags", [])),
    )

    def change(tx: Connection) -> None:
        if rows.policy(tx, caller.account, policy.name):
            raise ApiError(
                "EntityAlreadyExists", f"A policy called {policy.name} already exists. Duplicate names are not allowed."
            )
        rows.insert_policy(tx, policy)
        rows.insert_version(tx, policy.id, Version(1, params["PolicyDocument"], now))

    await service.database.write(change)
    shape = policy.to_shape(attached=0, bounding=0, listed=True)
    return {"Policy": shape | ({"Tags": model.tag_list(policy.tags)} if policy.tags else {})}


async def get_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """GetPolicy."""

    def query(tx: Connection) -> Shape:
        policy, _ = lookup.policy(tx, caller.account, params["PolicyArn"])
        return policy.to_shape(
            attached=rows.attachment_counts(tx, caller.account).get(policy.arn, 0),
            bounding=rows.boundary_counts(tx, caller.account).get(policy.arn, 0),
        )

    return {"Policy": await service.database.read(query)}


async def list_policies(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListPolicies: the account's own, and those of AWS's that are known here."""
    scope = params.get("Scope", "All")
    prefix = params.get("PathPrefix", "/")
    usage = params.get("PolicyUsageFilter")

    def query(tx: Connection) -> list[tuple[Policy, int, int]]:
        own = [] if scope == "AWS" else rows.policies(tx, caller.account)
        of_aws = [] if scope == "Local" else [policy for policy, _ in managed.KNOWN.values()]
        attached = rows.attachment_counts(tx, caller.account)
        bounding = rows.boundary_counts(tx, caller.account)
        return [(each, attached.get(each.arn, 0), bounding.get(each.arn, 0)) for each in [*own, *of_aws]]

    def is_wanted(found: tuple[Policy, int, int]) -> bool:
        policy, attached, bounding = found
        used = {"PermissionsPolicy": attached, "PermissionsBoundary": bounding, None: attached + bounding}[usage]
        must_be_used = usage is not None or params.get("OnlyAttached", False)
        return policy.path.startswith(prefix) and (used > 0 or not must_be_used)

    found = [each for each in await service.database.read(query) if is_wanted(each)]
    return paging.of_all(
        "Policies",
        found,
        params,
        key=lambda each: f"{each[0].name} {each[0].arn}",
        shape=lambda each: each[0].to_shape(attached=each[1], bounding=each[2], listed=True),
    )


async def delete_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """DeletePolicy: refused while it is used, or has versions besides the default."""

    def change(tx: Connection) -> None:
        policy = lookup.own_policy(tx, caller.account, params["PolicyArn"])
        counts = rows.attachment_counts(tx, caller.account) | rows.boundary_counts(tx, caller.account)
        if policy.arn in counts:
            raise ApiError("DeleteConflict", "Cannot delete a policy attached to entities.")
        if len(rows.versions(tx, policy.id)) > 1:
            raise ApiError(
                "DeleteConflict",
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy.",
            )
        rows.delete_policy(tx, policy.id)

    await service.database.write(change)
    return {}


async def tag_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """TagPolicy."""

    def change(tx: Connection) -> None:
        policy = lookup.own_policy(tx, caller.account, params["PolicyArn"])
        rows.update_policy(tx, replace(policy, tags=model.with_tags(policy.tags, params["Tags"])))

    await service.database.write(change)
    return {}


async def untag_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """UntagPolicy."""

    def change(tx: Connection) -> None:
        policy = lookup.own_policy(tx, caller.account, params["PolicyArn"])
        rows.update_policy(tx, replace(policy, tags=model.without_tags(policy.tags, params["TagKeys"])))

    await service.database.write(change)
    return {}


async def list_policy_tags(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListPolicyTags."""
    policy, _ = await service.database.read(lambda tx: lookup.policy(tx, caller.account, params["PolicyArn"]))
    return lookup.tag_page(policy.tags, params)


async def list_entities_for_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListEntitiesForPolicy: roles, the only entities there are here."""
    usage = params.get("PolicyUsageFilter")

    def query(tx: Connection) -> list[Role]:
        arn = params["PolicyArn"]
        account, _, _ = model.split_policy_arn(arn)
        if account != "aws":
            lookup.own_policy(tx, caller.account, arn)
        attached = [] if usage == "PermissionsBoundary" else rows.roles_with(tx, caller.account, arn)
        bounded = [] if usage == "PermissionsPolicy" else rows.roles_bounded_by(tx, caller.account, arn)
        return list({role.id: role for role in [*attached, *bounded]}.values())

    prefix = params.get("PathPrefix", "/")
    found = [role for role in await service.database.read(query) if role.path.startswith(prefix)]
    if params.get("EntityFilter", "Role") != "Role":
        found = []
    page = paging.of_all(
        "PolicyRoles",
        found,
        params,
        key=lambda role: role.name,
        shape=lambda role: {"RoleName": role.name, "RoleId": role.id},
    )
    return {"PolicyGroups": [], "PolicyUsers": []} | page
