"""What a role may do: inline policies, and managed ones attached to it."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.iam import documents, model, paging, rows
from lambent.services.iam.api import lookup

if TYPE_CHECKING:
    from lambent.services.iam.service import Iam


async def put_role_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """PutRolePolicy."""
    documents.check(params["PolicyDocument"], "identity")

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        texts = rows.role_policies(tx, role.id) | {params["PolicyName"]: params["PolicyDocument"]}
        model.check_inline_size(role.name, list(texts.values()))
        rows.put_role_policy(tx, role.id, params["PolicyName"], params["PolicyDocument"])

    await service.database.write(change)
    return {}


async def get_role_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """GetRolePolicy."""
    name = params["PolicyName"]

    def query(tx: Connection) -> Shape:
        role = lookup.role(tx, caller.account, params["RoleName"])
        document = rows.role_policies(tx, role.id).get(name)
        if document is None:
            raise _no_inline(name)
        return {"RoleName": role.name, "PolicyName": name, "PolicyDocument": documents.encoded(document)}

    return await service.database.read(query)


async def list_role_policies(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListRolePolicies: the names of the inline ones."""

    def query(tx: Connection) -> list[str]:
        return list(rows.role_policies(tx, lookup.role(tx, caller.account, params["RoleName"]).id))

    return paging.of_all("PolicyNames", await service.database.read(query), params, key=str, shape=str)


async def delete_role_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """DeleteRolePolicy."""

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        if params["PolicyName"] not in rows.role_policies(tx, role.id):
            raise _no_inline(params["PolicyName"])
        rows.delete_role_policy(tx, role.id, params["PolicyName"])

    await service.database.write(change)
    return {}


async def attach_role_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """AttachRolePolicy: doing it again changes nothing."""
    arn = params["PolicyArn"]

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        lookup.attachable(tx, caller.account, arn)
        attached = rows.attached(tx, role.id)
        if arn in attached:
            return
        if len(attached) >= model.MAX_ATTACHED:
            raise ApiError("LimitExceeded", f"Cannot exceed quota for PoliciesPerRole: {model.MAX_ATTACHED}")
        rows.attach(tx, role, arn)

    await service.database.write(change)
    return {}


async def detach_role_policy(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """DetachRolePolicy."""
    arn = params["PolicyArn"]

    def change(tx: Connection) -> None:
        role = lookup.role(tx, caller.account, params["RoleName"])
        if arn not in rows.attached(tx, role.id):
            raise model.no_policy(arn)
        rows.detach(tx, role.id, arn)

    await service.database.write(change)
    return {}


async def list_attached_role_policies(service: "Iam", caller: Caller, params: Shape) -> Shape:
    """ListAttachedRolePolicies."""
    prefix = params.get("PathPrefix", "/")

    def query(tx: Connection) -> list[Shape]:
        arns = rows.attached(tx, lookup.role(tx, caller.account, params["RoleName"]).id)
        parts = [(arn, *model.split_policy_arn(arn)) for arn in arns]
        return [{"PolicyName": name, "PolicyArn": arn} for arn, _, path, name in parts if path.startswith(prefix)]

    found = await service.database.read(query)
    return paging.of_all("AttachedPolicies", found, params, key=_name_and_arn, shape=dict)


def _name_and_arn(attached: Shape) -> str:
    return f"{attached['PolicyName']} {attached['PolicyArn']}"


def _no_inline(name: str) -> ApiError:
    return ApiError("NoSuchEntity", f"The role policy with name {name} cannot be found.")
