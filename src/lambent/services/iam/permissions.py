"""The policies of a principal, as the evaluator takes them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection

from lambent.aws.policy import Document, Permissions, Principal
from lambent.services.iam import managed, rows
from lambent.services.iam.model import Role, split_policy_arn

if TYPE_CHECKING:
    from lambent.services.iam.service import Iam


async def permissions_of(service: "Iam", principal: Principal) -> Permissions:
    """What is attached to a role, for its sessions; nothing for anybody else.

    The root user of an account needs nothing, and users are not kept here. A role that is not stored has no
    policies. A managed policy of AWS's whose document is not known here allows nothing.
    """
    if principal.role is None or principal.account is None:
        return Permissions()
    account, name = principal.account, principal.role.rsplit("/", 1)[-1]

    def query(tx: Connection) -> Permissions:
        role = rows.role(tx, account, name)
        return Permissions() if role is None else _of(tx, role)

    return await service.database.read(query)


def _of(tx: Connection, role: Role) -> Permissions:
    inline = rows.role_policies(tx, role.id).values()
    attached = (_document(tx, arn) for arn in sorted(rows.attached(tx, role.id)))
    boundary = None if role.boundary is None else _read([_document(tx, role.boundary)])
    return Permissions(identity=_read([*inline, *attached]), boundary=boundary)


def _document(tx: Connection, arn: str) -> str | None:
    """The document in force of a managed policy."""
    if arn in managed.KNOWN:
        return managed.KNOWN[arn][1].document
    account, _path, name = split_policy_arn(arn)
    policy = rows.policy(tx, account, name)
    if policy is None:
        return None
    versions = rows.versions(tx, policy.id)
    return next((version.document for version in versions if version.number == policy.default_version), None)


def _read(texts: Iterable[str | None]) -> tuple[Document, ...]:
    return tuple(msgspec.json.decode(text) for text in texts if text is not None)
