"""Who asks, as policies name them, and which of a statement's principals that is.

Source: IAM User Guide, "AWS JSON policy elements: Principal" and "NotPrincipal".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lambent.aws.arn import Arn

PrincipalKind = Literal["AWS", "Service", "Federated", "CanonicalUser", "anonymous"]

Match = Literal["itself", "role", "everyone", "account"]
"""By what a statement names a principal: its own ARN, its role's, `*`, or its whole account."""

_ACCOUNT: Final = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who makes a request: use the constructors, or `ANONYMOUS`.

    `name` is an ARN, a service's name (`s3.amazonaws.com`), a provider's or a canonical user's id. A session of a role
    has its role's ARN in `role`, as far as it is known: without its path it is the one that the session's ARN gives.
    """

    kind: PrincipalKind
    name: str = ""
    account: str | None = None
    role: str | None = None

    @classmethod
    def of_arn(cls, arn: str, *, role: str | None = None) -> "Principal":
        """The account's root, user, role, or session of a role with this ARN.

        Raises:
            ValueError: it is no ARN.
        """
        parsed = Arn.parse(arn)
        if role is None and parsed.service == "sts" and parsed.resource.startswith("assumed-role/"):
            name = parsed.resource.split("/")[1]
            role = f"arn:{parsed.partition}:iam::{parsed.account}:role/{name}"
        return cls(kind="AWS", name=arn, account=parsed.account, role=role)

    @classmethod
    def service(cls, name: str) -> "Principal":
        """An AWS service that acts for itself, such as `s3.amazonaws.com`."""
        return cls(kind="Service", name=name)

    @property
    def is_root(self) -> bool:
        """Whether it is the root user of an account."""
        return self.kind == "AWS" and Arn.parse(self.name).resource == "root"

    @property
    def context(self) -> dict[str, str]:
        """The global condition keys that say who asks. Source: IAM User Guide, "AWS global condition context keys"."""
        if self.kind == "Service":
            return {"aws:PrincipalServiceName": self.name, "aws:PrincipalIsAWSService": "true"}
        if self.kind != "AWS" or self.account is None:
            return {"aws:PrincipalType": "Anonymous", "aws:PrincipalIsAWSService": "false"}
        resource = Arn.parse(self.name).resource
        known = {
            "aws:PrincipalArn": self.role or self.name,
            "aws:PrincipalAccount": self.account,
            "aws:PrincipalIsAWSService": "false",
            "aws:PrincipalType": "AssumedRole" if self.role else "Account" if resource == "root" else "User",
        }
        return known | ({"aws:username": resource.rsplit("/", 1)[-1]} if resource.startswith("user/") else {})


ANONYMOUS: Final = Principal(kind="anonymous")
"""Who did not sign."""


def match(named: Mapping[str, tuple[str, ...]], principal: Principal) -> Match | None:
    """By what these principals name this one: the closest; None when they do not."""
    if "*" in named or "*" in named.get("AWS", ()):
        best: Match | None = "everyone"
    else:
        best = None
    if principal.kind == "anonymous":
        return best
    for name in named.get(principal.kind, ()):
        how = _how(name, principal)
        if how is not None and (best is None or _CLOSER.index(how) < _CLOSER.index(best)):
            best = how
    return best


_CLOSER: Final[tuple[Match, ...]] = ("itself", "role", "everyone", "account")


def _how(name: str, principal: Principal) -> Match | None:
    if name == principal.name:
        return "itself"
    if principal.kind != "AWS" or principal.account is None:
        return None
    if principal.role is not None and _same_role(name, principal.role):
        return "role"
    if name == principal.account or name == _root(principal):
        return "account"
    return None


def _root(principal: Principal) -> str:
    return f"arn:{Arn.parse(principal.name).partition}:iam::{principal.account}:root"


def _same_role(name: str, role: str) -> bool:
    """Role names are unique in an account, whatever their path: a session does not tell its role's path."""
    prefix, _, rest = role.partition(":role/")
    return name.startswith(f"{prefix}:role/") and name.rsplit("/", 1)[-1] == rest.rsplit("/", 1)[-1]


def is_spared(named: Mapping[str, tuple[str, ...]], principal: Principal) -> bool:
    """Whether NotPrincipal leaves this one out of a Deny: all that it is must be named.

    A session is itself, its role and its account. Naming the session alone would deny it by its role.
    """
    if match(named, principal) == "everyone":
        return True
    if principal.kind != "AWS" or principal.account is None:
        return match(named, principal) is not None
    names = named.get("AWS", ())
    is_role_named = principal.role is None or any(_same_role(name, principal.role) for name in names)
    is_account_named = _ACCOUNT.fullmatch(principal.account) is None or any(
        name in (principal.account, _root(principal)) for name in names
    )
    return principal.name in names and is_role_named and is_account_named
