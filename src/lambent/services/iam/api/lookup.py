"""Finding what a request names, or AWS's error for what is not there."""

from sqlalchemy import Connection

from lambent.dispatch import Shape
from lambent.services.iam import managed, model, paging, rows
from lambent.services.iam.model import InstanceProfile, Policy, Role, Version


def role(tx: Connection, account: str, name: str) -> Role:
    """The role of that name, or NoSuchEntity."""
    found = rows.role(tx, account, name)
    if found is None:
        raise model.no_role(name)
    return found


def profile(tx: Connection, account: str, name: str) -> InstanceProfile:
    """The instance profile of that name, or NoSuchEntity."""
    found = rows.profile(tx, account, name)
    if found is None:
        raise model.no_profile(name)
    return found


def own_policy(tx: Connection, account: str, arn: str) -> Policy:
    """The account's own policy with that ARN, or NoSuchEntity."""
    owner, path, name = model.split_policy_arn(arn)
    found = rows.policy(tx, owner, name) if owner == account else None
    if found is None or found.path != path:
        raise model.no_policy(arn)
    return found


def policy(tx: Connection, account: str, arn: str) -> tuple[Policy, list[Version]]:
    """A policy, the account's own or one that AWS manages, and its versions, or NoSuchEntity."""
    if arn in managed.KNOWN:
        known, version = managed.KNOWN[arn]
        return known, [version]
    found = own_policy(tx, account, arn)
    return found, rows.versions(tx, found.id)


def attachable(tx: Connection, account: str, arn: str) -> None:
    """Raises NoSuchEntity for what can be neither attached nor be a boundary.

    Any policy of AWS's is taken by its ARN: there are more than are known here.
    """
    owner, path, name = model.split_policy_arn(arn)
    if owner == "aws":
        return
    found = rows.policy(tx, owner, name) if owner == account else None
    if found is None or found.path != path:
        raise model.not_attachable(arn)


def tag_page(tags: dict[str, str], params: Shape) -> Shape:
    """A page of tags."""
    return paging.of_all("Tags", model.tag_list(tags), params, key=lambda tag: str(tag["Key"]), shape=dict)
