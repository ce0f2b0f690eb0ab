"""Policy documents: what may be stored as one, and its statements as the evaluator reads them.

Source: IAM User Guide, "Grammar of the IAM JSON policy language".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from lambent.aws.policy import conditions
from lambent.aws.policy.malformed import SYNTAX, MalformedPolicyError

Document = Mapping[str, Any]
"""A policy document: JSON that was parsed."""

Kind = Literal["identity", "trust", "resource"]
"""`identity` says what its bearer may do (no principal), `trust` who may assume a role (no resource), `resource` who
may do what with a thing (both)."""

VARIABLES_SINCE: Final = "2012-10-17"
_VERSIONS: Final = (VARIABLES_SINCE, "2008-10-17")
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9-]+:[\w*?]+", re.ASCII)
_RESOURCE: Final = re.compile(r"\*|arn:.*|\$\{.*", re.DOTALL)
_PRINCIPALS: Final = frozenset(["AWS", "Service", "Federated", "CanonicalUser"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """An element and its opposite (Action and NotAction): exactly one of the two is there."""

    values: tuple[str, ...]
    is_not: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. `resources` and `principals` are None where the document has none."""

    sid: str
    allows: bool
    actions: Names
    resources: Names | None
    principals: Mapping[str, tuple[str, ...]] | None
    not_principals: bool
    conditions: tuple[conditions.Condition, ...]
    has_variables: bool
    """Whether `${...}` means a variable: in documents of version 2012-10-17 alone."""


# --- before it is stored


def decode(text: str, kind: Kind) -> Document:
    """The document in a text, checked.

    Raises:
        MalformedPolicyError: in AWS's words.
    """
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedPolicyError("This policy contains invalid Json" if kind == "trust" else SYNTAX) from error
    check(document, kind)
    return document  # type: ignore[no-any-return]


def check(document: Any, kind: Kind) -> None:
    """Refuses what may not be stored as a document of this kind.

    Raises:
        MalformedPolicyError: in AWS's words.
    """
    version, statements = _outline(document)
    if version not in _VERSIONS:
        raise MalformedPolicyError("The policy must contain a valid version string")
    for statement in statements:
        _check_statement(statement, kind)
    sids = [statement["Sid"] for statement in statements if "Sid" in statement]
    if len(set(map(str, sids))) < len(sids):
        raise MalformedPolicyError("Statement IDs (SID) in a single policy must be unique.")
    read(document)


def _outline(document: Any) -> tuple[Any, list[Any]]:
    """The version, and the statements as a list."""
    if not isinstance(document, Mapping) or not set(document) <= {"Version", "Id", "Statement"}:
        raise MalformedPolicyError
    version = document.get("Version", _VERSIONS[0])
    statements = _as_list(document.get("Statement"))
    if version in _VERSIONS and not statements:
        raise MalformedPolicyError
    return version, statements


def _check_statement(statement: Any, kind: Kind) -> None:
    if not isinstance(statement, Mapping) or statement.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyError
    if not isinstance(statement.get("Condition", {}), Mapping):
        raise MalformedPolicyError
    actions = _as_list(statement.get("Action", statement.get("NotAction")))
    if not actions:
        raise MalformedPolicyError("Policy statement must contain actions.")
    for action in actions:
        if not isinstance(action, str) or not _ACTION.fullmatch(action):
            raise MalformedPolicyError("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    has_principal = "Principal" in statement or "NotPrincipal" in statement
    if kind == "identity" and has_principal:
        raise MalformedPolicyError("Policy document should not specify a principal.")
    if kind == "trust" and ("Resource" in statement or "NotResource" in statement):
        raise MalformedPolicyError("Has prohibited field Resource")
    if kind != "identity":
        _check_principal(statement, has_principal=has_principal)
    if kind != "trust":
        _check_resources(statement)


def _check_resources(statement: Mapping[str, Any]) -> None:
    resources = _as_list(statement.get("Resource", statement.get("NotResource")))
    if not resources:
        raise MalformedPolicyError("Policy statement must contain resources.")
    for resource in resources:
        if not isinstance(resource, str) or not _RESOURCE.fullmatch(resource):
            raise MalformedPolicyError(f'Resource {resource} must be in ARN format or "*".')


def _check_principal(statement: Mapping[str, Any], *, has_principal: bool) -> None:
    if not has_principal:
        raise MalformedPolicyError("Missing required field Principal")
    _read_principals(statement.get("Principal", statement.get("NotPrincipal")))


# --- as the evaluator reads it


def read(document: Any) -> list[Statement]:
    """The statements of a document of any kind. Less strict than `check`: an older rule may have let it in.

    Raises:
        MalformedPolicyError: it cannot be evaluated.
    """
    version, statements = _outline(document)
    if version not in _VERSIONS:
        raise MalformedPolicyError("The policy must contain a valid version string")
    return [_read_statement(statement, has_variables=version == VARIABLES_SINCE) for statement in statements]


def _read_statement(statement: Any, *, has_variables: bool) -> Statement:
    if not isinstance(statement, Mapping) or statement.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyError
    actions = _names(statement, "Action")
    if actions is None:
        raise MalformedPolicyError("Policy statement must contain actions.")
    not_principals = "NotPrincipal" in statement
    if not_principals and "Principal" in statement:
        raise MalformedPolicyError
    principal = statement.get("NotPrincipal" if not_principals else "Principal")
    return Statement(
        sid=sid if isinstance(sid := statement.get("Sid", ""), str) else "",
        allows=statement["Effect"] == "Allow",
        actions=actions,
        resources=_names(statement, "Resource"),
        principals=None if principal is None and not not_principals else _read_principals(principal),
        not_principals=not_principals,
        conditions=conditions.read(statement.get("Condition", {})),
        has_variables=has_variables,
    )


def _names(statement: Mapping[str, Any], element: str) -> Names | None:
    is_not = f"Not{element}" in statement
    if is_not and element in statement:
        raise MalformedPolicyError
    values = _as_list(statement.get(f"Not{element}" if is_not else element))
    if not all(isinstance(value, str) for value in values):
        raise MalformedPolicyError
    return Names(values=tuple(values), is_not=is_not) if values else None


def _read_principals(principal: Any) -> dict[str, tuple[str, ...]]:
    if principal == "*":
        return {"*": ("*",)}
    if not isinstance(principal, Mapping) or not principal or not set(principal) <= _PRINCIPALS:
        raise MalformedPolicyError("Invalid principal in policy")
    found = {kind: tuple(_as_list(names)) for kind, names in principal.items()}
    names = [name for each in found.values() for name in each]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise MalformedPolicyError("Invalid principal in policy")
    return found


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
