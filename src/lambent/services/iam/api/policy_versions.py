"""The versions of managed policies."""

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.iam import documents, model, paging, rows
from lambent.services.iam.api import lookup
from lambent.services.iam.model import Policy, Version

if TYPE_CHECKING:
    from lambent.services.iam.service import Iam


async def create_policy_version(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """CreatePolicyVersion: at most five at a time; a number is never used again."""
    documents.check(params["PolicyDocument"], "identity")
    model.check_managed_size(params["PolicyDocument"])

    def change(tx: Connection) -> Shape:
        policy = lookup.own_policy(tx, caller.account, params["PolicyArn"])
        if len(rows.versions(tx, policy.id)) >= model.MAX_VERSIONS:
            raise ApiError(
                "LimitExceeded",
                f"A managed policy can have up to {model.MAX_VERSIONS} versions. "
                "Before you create a new version, you must delete an existing version.",
            )
        version = Version(policy.last_version + 1, params["PolicyDocument"], service.now())
        default = version.number if params.get("SetAsDefault", False) else policy.default_version
        rows.insert_version(tx, policy.id, version)
        updated = replace(policy, last_version=version.number, default_version=default, updated_at=version.created_at)
        rows.update_policy(tx, updated)
        return version.to_shape(default, with_document=False)

    return {"PolicyVersion": await service.database.write(change)}


async def get_policy_version(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """GetPolicyVersion."""

    def query(tx: Connection) -> Shape:
        policy, versions = lookup.policy(tx, caller.account, params["PolicyArn"])
        version = _version(policy, versions, params["VersionId"])
        return version.to_shape(policy.default_version, with_document=True)

    return {"PolicyVersion": await service.database.read(query)}


async def list_policy_versions(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListPolicyVersions: the newest first, without documents."""
    policy, versions = await service.database.read(lambda tx: lookup.policy(tx, caller.account, params["PolicyArn"]))
    return paging.of_all(
        "Versions",
        versions,
        params,
        key=lambda version: f"{10**9 - version.number}",
        shape=lambda version: version.to_shape(policy.default_version, with_document=False),
    )


async def set_default_policy_version(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """SetDefaultPolicyVersion."""

    def change(tx: Connection) -> None:
        policy = lookup.own_policy(tx, caller.account, params["PolicyArn"])
        version = _version(policy, rows.versions(tx, policy.id), params["VersionId"])
        rows.update_policy(tx, replace(policy, default_version=version.number, updated_at=service.now()))

    await service.database.write(change)
    return {}


async def delete_policy_version(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """DeletePolicyVersion: not the default one."""

    def change(tx: Connection) -> None:
        policy = lookup.own_policy(tx, caller.account, params["PolicyArn"])
        version = _version(policy, rows.versions(tx, policy.id), params["VersionId"])
        if version.number == policy.default_version:
            raise ApiError("DeleteConflict", "Cannot delete the default version of a policy.")
        rows.delete_version(tx, policy.id, version.number)

    await service.database.write(change)
    return {}


def _version(policy: Policy, versions: list[Version], version_id: str) -> Version:
    number = model.version_number(version_id)
    found = next((version for version in versions if version.number == number), None)
    if found is None:
        raise model.no_version(policy.arn, version_id)
    return found
