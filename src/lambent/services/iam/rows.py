"""All SQL of IAM. Everything is keyed by account alone: IAM has no regions."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)

from lambent.services.iam.model import InstanceProfile, Policy, Role, Version
from lambent.store.schema import MAIN

K = TypeVar("K", Role, Policy, InstanceProfile)

_TOP: Final = "\U0010ffff"  # sorts behind any continuation of a prefix

# Names are shown as they were given, and are taken whatever their case: `name_key` is in lower case.
ROLES: Final = Table(
    "iam_roles",
    MAIN,
    Column("id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("name", String, nullable=False),
    Column("name_key", String, nullable=False),
    Column("path", String, nullable=False),
    Column("trust", Text, nullable=False),
    Column("description", Text),
    Column("max_session_s", Integer, nullable=False),
    Column("boundary", String),
    Column("created_at", BigInteger, nullable=False),
    Column("tags", JSON, nullable=False),
    UniqueConstraint("account", "name_key"),
)
ROLE_POLICIES: Final = Table(
    "iam_role_policies",
    MAIN,
    Column("role_id", String, ForeignKey("iam_roles.id"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("document", Text, nullable=False),
)
ATTACHMENTS: Final = Table(
    "iam_attachments",
    MAIN,
    Column("role_id", String, ForeignKey("iam_roles.id"), primary_key=True),
    Column("policy_arn", String, primary_key=True),
    Column("account", String, nullable=False),
    Index("iam_attachments_of_policy", "account", "policy_arn"),
)
POLICIES: Final = Table(
    "iam_policies",
    MAIN,
    Column("id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("name", String, nullable=False),
    Column("name_key", String, nullable=False),
    Column("path", String, nullable=False),
    Column("description", Text),
    Column("default_version", Integer, nullable=False),
    Column("last_version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("tags", JSON, nullable=False),
    UniqueConstraint("account", "name_key"),
)
VERSIONS: Final = Table(
    "iam_policy_versions",
    MAIN,
    Column("policy_id", String, ForeignKey("iam_policies.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
PROFILES: Final = Table(
    "iam_instance_profiles",
    MAIN,
    Column("id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("name", String, nullable=False),
    Column("name_key", String, nullable=False),
    Column("path", String, nullable=False),
    Column("role_id", String, ForeignKey("iam_roles.id")),
    Column("created_at", BigInteger, nullable=False),
    Column("tags", JSON, nullable=False),
    UniqueConstraint("account", "name_key"),
)

# --- roles


def insert_role(tx: Connection, role: Role) -> None:
    """Stores a new role."""
    tx.execute(insert(ROLES).values(_columns(role)))


def role(tx: Connection, account: str, name: str) -> Role | None:
    """The role of that name, whatever its case."""
    query = select(ROLES).where(ROLES.c.account == account, ROLES.c.name_key == name.lower())
    row = tx.execute(query).first()
    return None if row is None else _read(Role, row)


def roles(tx: Connection, account: str, *, path_prefix: str, after: str, limit: int) -> list[Role]:
    """Roles in the order of their names, those behind `after`."""
    query = select(ROLES).where(ROLES.c.account == account, ROLES.c.name > after)
    query = query.where(ROLES.c.path >= path_prefix, ROLES.c.path < path_prefix + _TOP)
    return [_read(Role, row) for row in tx.execute(query.order_by(ROLES.c.name).limit(limit))]


def roles_by_id(tx: Connection, role_ids: Sequence[str]) -> list[Role]:
    """The roles with these ids, in no order."""
    return [_read(Role, row) for row in tx.execute(select(ROLES).where(ROLES.c.id.in_(role_ids)))]


def update_role(tx: Connection, role: Role) -> None:
    """Stores what of a role can change."""
    tx.execute(
        update(ROLES)
        .where(ROLES.c.id == role.id)
        .values(
            trust=role.trust,
            description=role.description,
            max_session_s=role.max_session_s,
            boundary=role.boundary,
            tags=role.tags,
        )
    )


def delete_role(tx: Connection, role_id: str) -> None:
    """Deletes a role that nothing hangs on any more."""
    tx.execute(delete(ROLES).where(ROLES.c.id == role_id))


# --- inline policies


def put_role_policy(tx: Connection, role_id: str, name: str, document: str) -> None:
    """Stores an inline policy in place of any of the same name."""
    delete_role_policy(tx, role_id, name)
    tx.execute(insert(ROLE_POLICIES).values(role_id=role_id, name=name, document=document))


def role_policies(tx: Connection, role_id: str) -> dict[str, str]:
    """The documents of a role's inline policies, by name."""
    query = select(ROLE_POLICIES.c.name, ROLE_POLICIES.c.document).where(ROLE_POLICIES.c.role_id == role_id)
    return {row.name: row.document for row in tx.execute(query)}


def delete_role_policy(tx: Connection, role_id: str, name: str) -> None:
    """Deletes an inline policy, if it is there."""
    tx.execute(delete(ROLE_POLICIES).where(ROLE_POLICIES.c.role_id == role_id, ROLE_POLICIES.c.name == name))


# --- attachments of managed policies


def attach(tx: Connection, role: Role, arn: str) -> None:
    """Attaches a policy that is not attached yet."""
    tx.execute(insert(ATTACHMENTS).values(role_id=role.id, policy_arn=arn, account=role.account))


def detach(tx: Connection, role_id: str, arn: str) -> None:
    """Detaches a policy."""
    tx.execute(delete(ATTACHMENTS).where(ATTACHMENTS.c.role_id == role_id, ATTACHMENTS.c.policy_arn == arn))


def attached(tx: Connection, role_id: str) -> list[str]:
    """The ARNs of the policies attached to a role, in no order."""
    query = select(ATTACHMENTS.c.policy_arn).where(ATTACHMENTS.c.role_id == role_id)
    return [row.policy_arn for row in tx.execute(query)]


def roles_with(tx: Connection, account: str, arn: str) -> list[Role]:
    """The roles that a policy is attached to, in no order."""
    query = select(ROLES).join(ATTACHMENTS, ATTACHMENTS.c.role_id == ROLES.c.id)
    query = query.where(ATTACHMENTS.c.account == account, ATTACHMENTS.c.policy_arn == arn)
    return [_read(Role, row) for row in tx.execute(query)]


def roles_bounded_by(tx: Connection, account: str, arn: str) -> list[Role]:
    """The roles whose permissions boundary a policy is, in no order."""
    return [
        _read(Role, row) for row in tx.execute(select(ROLES).where(ROLES.c.account == account, ROLES.c.boundary == arn))
    ]


def attachment_counts(tx: Connection, account: str) -> dict[str, int]:
    """To how many roles each policy is attached, by ARN; those that are to none are left out."""
    arn = ATTACHMENTS.c.policy_arn
    query = select(arn, func.count()).where(ATTACHMENTS.c.account == account).group_by(arn)
    return {found: int(count) for found, count in tx.execute(query)}


def boundary_counts(tx: Connection, account: str) -> dict[str, int]:
    """Of how many roles each policy is the boundary, by ARN; those that are of none are left out."""
    arn = ROLES.c.boundary
    query = select(arn, func.count()).where(ROLES.c.account == account, arn.is_not(None)).group_by(arn)
    return {found: int(count) for found, count in tx.execute(query)}


# --- managed policies


def insert_policy(tx: Connection, policy: Policy) -> None:
    """Stores a new policy."""
    tx.execute(insert(POLICIES).values(_columns(policy)))


def policy(tx: Connection, account: str, name: str) -> Policy | None:
    """The account's own policy of that name, whatever its case and path."""
    query = select(POLICIES).where(POLICIES.c.account == account, POLICIES.c.name_key == name.lower())
    row = tx.execute(query).first()
    return None if row is None else _read(Policy, row)


def policies(tx: Connection, account: str) -> list[Policy]:
    """The account's own policies, in no order."""
    return [_read(Policy, row) for row in tx.execute(select(POLICIES).where(POLICIES.c.account == account))]


def update_policy(tx: Connection, policy: Policy) -> None:
    """Stores what of a policy can change."""
    tx.execute(
        update(POLICIES)
        .where(POLICIES.c.id == policy.id)
        .values(
            default_version=policy.default_version,
            last_version=policy.last_version,
            updated_at=policy.updated_at,
            tags=policy.tags,
        )
    )


def delete_policy(tx: Connection, policy_id: str) -> None:
    """Deletes a policy with its versions."""
    tx.execute(delete(VERSIONS).where(VERSIONS.c.policy_id == policy_id))
    tx.execute(delete(POLICIES).where(POLICIES.c.id == policy_id))


def insert_version(tx: Connection, policy_id: str, version: Version) -> None:
    """Stores a new version of a policy."""
    values = {"number": version.number, "document": version.document, "created_at": version.created_at}
    tx.execute(insert(VERSIONS).values(policy_id=policy_id, **values))


def versions(tx: Connection, policy_id: str) -> list[Version]:
    """A policy's versions, the newest first."""
    columns = (VERSIONS.c.number, VERSIONS.c.document, VERSIONS.c.created_at)
    query = select(*columns).where(VERSIONS.c.policy_id == policy_id).order_by(VERSIONS.c.number.desc())
    return [Version(*row) for row in tx.execute(query)]


def delete_version(tx: Connection, policy_id: str, number: int) -> None:
    """Deletes a version of a policy."""
    tx.execute(delete(VERSIONS).where(VERSIONS.c.policy_id == policy_id, VERSIONS.c.number == number))


# --- instance profiles


def insert_profile(tx: Connection, profile: InstanceProfile) -> None:
    """Stores a new instance profile."""
    tx.execute(insert(PROFILES).values(_columns(profile)))


def profile(tx: Connection, account: str, name: str) -> InstanceProfile | None:
    """The instance profile of that name, whatever its case."""
    query = select(PROFILES).where(PROFILES.c.account == account, PROFILES.c.name_key == name.lower())
    row = tx.execute(query).first()
    return None if row is None else _read(InstanceProfile, row)


def profiles(tx: Connection, account: str, *, path_prefix: str, after: str, limit: int) -> list[InstanceProfile]:
    """Instance profiles in the order of their names, those behind `after`."""
    query = select(PROFILES).where(PROFILES.c.account == account, PROFILES.c.name > after)
    query = query.where(PROFILES.c.path >= path_prefix, PROFILES.c.path < path_prefix + _TOP)
    return [_read(InstanceProfile, row) for row in tx.execute(query.order_by(PROFILES.c.name).limit(limit))]


def profiles_of_role(tx: Connection, account: str, role_id: str) -> list[InstanceProfile]:
    """The instance profiles that hold a role, in no order."""
    query = select(PROFILES).where(PROFILES.c.account == account, PROFILES.c.role_id == role_id)
    return [_read(InstanceProfile, row) for row in tx.execute(query)]


def update_profile(tx: Connection, profile: InstanceProfile) -> None:
    """Stores what of an instance profile can change."""
    values = {"role_id": profile.role_id, "tags": profile.tags}
    tx.execute(update(PROFILES).where(PROFILES.c.id == profile.id).values(values))


def delete_profile(tx: Connection, profile_id: str) -> None:
    """Deletes an instance profile."""
    tx.execute(delete(PROFILES).where(PROFILES.c.id == profile_id))


# --- what roles, policies and profiles have in common: a column for each field, and the name as it is looked up


def _columns(thing: Role | Policy | InstanceProfile) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in fields(thing)} | {"name_key": thing.name.lower()}


def _read(kind: type[K], row: Row[Any]) -> K:
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})
