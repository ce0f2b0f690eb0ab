"""Roles and sessions as STS sees them. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sts.credentials import Identity, unique_id

_ROLE: Final = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/((?:[\x21-\x7e]+/)?)([\w+=,.@-]{1,64})", re.ASCII)

DEFAULT_SECONDS: Final = 3600
# Source: STS API Reference, AssumeRole: at most one hour when a role assumes a role.
MAX_CHAINED_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Role:
    """What AssumeRole needs to know about a role."""

    partition: str
    account: str
    name: str
    role_id: str
    max_seconds: int | None = None
    """Its MaxSessionDuration; None for a role that is not stored here."""

    def session(self, session_name: str, expires_at: int) -> Identity:
        """The identity that a session of the role has."""
        principal = f"arn:{self.partition}:sts::{self.account}:assumed-role/{self.name}/{session_name}"
        return Identity(self.account, principal, f"{self.role_id}:{session_name}", expires_at)


def role_of(arn: str) -> Role:
    """The role that an ARN names, as far as the ARN says.

    Raises:
        ApiError: ValidationError, when it is not a role's ARN.
    """
    match = _ROLE.fullmatch(arn)
    if match is None:
        raise ApiError("ValidationError", "Request ARN is invalid")
    partition, account, _, name = match.groups()
    return Role(partition, account, name, unique_id("AROA", arn))


def stored(role: Role, shape: Shape) -> Role:
    """The role with what IAM says of it (`Role` of GetRole's answer)."""
    return Role(role.partition, role.account, role.name, shape["RoleId"], shape["MaxSessionDuration"])


def check_duration(seconds: int, role: Role, *, is_chained: bool) -> None:
    """Refuses a session longer than the role, or a chain of roles, allows.

    Raises:
        ApiError: ValidationError.
    """
    if role.max_seconds is not None and seconds > role.max_seconds:
        raise ApiError(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    if is_chained and seconds > MAX_CHAINED_SECONDS:
        raise ApiError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )
