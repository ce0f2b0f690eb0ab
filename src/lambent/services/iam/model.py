"""Roles, policies and instance profiles, and the rules for them. Pure.

Source: IAM API Reference; IAM User Guide, "IAM identifiers" and "IAM and AWS STS quotas".
"""

import base64
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.iam import documents

MAX_TAGS: Final = 50
MAX_VERSIONS: Final = 5
# AWS begins at 10 and raises it to at most 25 on request; whoever asked must be able to deploy here, too.
MAX_ATTACHED: Final = 25
DEFAULT_SESSION_S: Final = 3600

_POLICY_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy(/(?:[\x21-\x7e]+/)?)([\w+=,.@-]{1,128})", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """An IAM role."""

    id: str
    account: str
    name: str
    path: str
    trust: str
    """The document that says who may assume it."""
    description: str | None = None
    max_session_s: int = DEFAULT_SESSION_S
    boundary: str | None = None
    """The ARN of the policy that bounds its permissions."""
    created_at: int
    """Seconds since the epoch, as all times of this service."""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"

    def to_shape(self, *, listed: bool = False) -> Shape:
        """As GetRole shows it, or as lists do: without tags, boundary and last use."""
        shape: Shape = {
            "Path": self.path,
            "RoleName": self.name,
            "RoleId": self.id,
            "Arn": self.arn,
            "CreateDate": moment(self.created_at),
            "AssumeRolePolicyDocument": documents.encoded(self.trust),
            "MaxSessionDuration": self.max_session_s,
        }
        if self.description is not None:
            shape["Description"] = self.description
        if listed:
            return shape
        if self.boundary is not None:
            shape["PermissionsBoundary"] = {
                "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
                "PermissionsBoundaryArn": self.boundary,
            }
        if self.tags:
            shape["Tags"] = tag_list(self.tags)
        return shape | {"RoleLastUsed": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A managed policy; its documents are its versions'."""

    id: str
    account: str
    """`aws` for those that AWS manages."""
    name: str
    path: str
    description: str | None = None
    default_version: int = 1
    last_version: int = 1
    """The highest number ever given: numbers are not used again."""
    created_at: int
    updated_at: int
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return policy_arn(self.account, self.path, self.name)

    def to_shape(self, *, attached: int, bounding: int, listed: bool = False) -> Shape:
        """As GetPolicy shows it, or as lists do: without description and tags."""
        shape: Shape = {
            "PolicyName": self.name,
            "PolicyId": self.id,
            "Arn": self.arn,
            "Path": self.path,
            "DefaultVersionId": f"v{self.default_version}",
            "AttachmentCount": attached,
            "PermissionsBoundaryUsageCount": bounding,
            "IsAttachable": True,
            "CreateDate": moment(self.created_at),
            "UpdateDate": moment(self.updated_at),
        }
        if listed:
            return shape
        if self.description is not None:
            shape["Description"] = self.description
        return shape | {"Tags": tag_list(self.tags)}


@dataclass(frozen=True, slots=True)
class Version:
    """One document of a managed policy."""

    number: int
    document: str
    created_at: int

    def to_shape(self, default_version: int, *, with_document: bool) -> Shape:
        shape: Shape = {
            "VersionId": f"v{self.number}",
            "IsDefaultVersion": self.number == default_version,
            "CreateDate": moment(self.created_at),
        }
        return shape | ({"Document": documents.encoded(self.document)} if with_document else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceProfile:
    """What hands a role to a machine."""

    id: str
    account: str
    name: str
    path: str
    role_id: str | None = None
    created_at: int
    tags: dict[str, str] = field(default_factory=dict)

    def to_shape(self, roles: list[Role], *, listed: bool = False) -> Shape:
        shape: Shape = {
            "Path": self.path,
            "InstanceProfileName": self.name,
            "InstanceProfileId": self.id,
            "Arn": f"arn:aws:iam::{self.account}:instance-profile{self.path}{self.name}",
            "CreateDate": moment(self.created_at),
            "Roles": [role.to_shape(listed=True) for role in roles if role.id == self.role_id],
        }
        return shape | ({"Tags": tag_list(self.tags)} if self.tags and not listed else {})


def new_id(prefix: str) -> str:
    """An id of AWS's form: four letters that say what it is of, and 17 more."""
    return prefix + base64.b32encode(secrets.token_bytes(11)).decode()[:17]


def moment(seconds: int) -> datetime:
    """A stored time as answers hold it."""
    return datetime.fromtimestamp(seconds, UTC)


def policy_arn(account: str, path: str, name: str) -> str:
    """The ARN of a managed policy."""
    return f"arn:aws:iam::{account}:policy{path}{name}"


def split_policy_arn(arn: str) -> tuple[str, str, str]:
    """The account (or `aws`), path and name in a managed policy's ARN.

    Raises:
        ApiError: InvalidInput.
    """
    match = _POLICY_ARN.fullmatch(arn)
    if match is None:
        raise ApiError("InvalidInput", f"ARN {arn} is not valid.")
    return match[1], match[2], match[3]


def version_number(version_id: str) -> int:
    """The number in `v7`. The model admits nothing else, apart from what v1.abc would be: never there."""
    digits = version_id[1:]
    return int(digits) if digits.isdigit() else 0


def tag_list(tags: dict[str, str]) -> list[Shape]:
    """Tags as answers hold them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def with_tags(existing: dict[str, str], added: list[Shape]) -> dict[str, str]:
    """The tags after these were added or changed.

    Raises:
        ApiError: InvalidInput for a key that is there twice, LimitExceeded beyond 50 tags.
    """
    if len({tag["Key"].lower() for tag in added}) < len(added):
        raise ApiError("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    new_keys = {tag["Key"].lower() for tag in added}
    merged = {key: value for key, value in existing.items() if key.lower() not in new_keys}
    merged |= {tag["Key"]: tag.get("Value", "") for tag in added}
    if len(merged) > MAX_TAGS:
        raise ApiError("LimitExceeded", "The number of tags has reached the maximum limit.")
    return merged


def without_tags(existing: dict[str, str], keys: list[str]) -> dict[str, str]:
    """The tags that are left. Keys that are not there do no harm."""
    gone = {key.lower() for key in keys}
    return {key: value for key, value in existing.items() if key.lower() not in gone}


def check_trust_size(document: str) -> None:
    """Refuses a trust policy beyond the quota."""
    if documents.length(document) > documents.MAX_TRUST:
        raise ApiError("LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {documents.MAX_TRUST}")


def check_inline_size(role_name: str, texts: list[str]) -> None:
    """Refuses inline policies that together are beyond a role's quota."""
    if sum(map(documents.length, texts)) > documents.MAX_INLINE_OF_ROLE:
        raise ApiError(
            "LimitExceeded",
            f"Maximum policy size of {documents.MAX_INLINE_OF_ROLE} bytes exceeded for role {role_name}",
        )


def check_managed_size(document: str) -> None:
    """Refuses a managed policy's document beyond the quota."""
    if documents.length(document) > documents.MAX_MANAGED:
        raise ApiError("LimitExceeded", f"Cannot exceed quota for PolicySize: {documents.MAX_MANAGED}")


def no_role(name: str) -> ApiError:
    """AWS's words for a role that is not there."""
    return ApiError("NoSuchEntity", f"The role with name {name} cannot be found.")


def no_policy(arn: str) -> ApiError:
    """AWS's words for a managed policy that is not there."""
    return ApiError("NoSuchEntity", f"Policy {arn} was not found.")


def not_attachable(arn: str) -> ApiError:
    """AWS's words for attaching a managed policy that is not there."""
    return ApiError("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")


def no_version(arn: str, version_id: str) -> ApiError:
    """AWS's words for a policy version that is not there."""
    return ApiError("NoSuchEntity", f"Policy {arn} version {version_id} does not exist or is not attachable.")


def no_profile(name: str) -> ApiError:
    """AWS's words for an instance profile that is not there."""
    return ApiError("NoSuchEntity", f"Instance Profile {name} cannot be found.")
