"""Policy documents: what IAM checks before it stores one. Pure; evaluating them is not done here.

Source: IAM User Guide, "Grammar of the IAM JSON policy language" and "IAM and AWS STS quotas".
"""

import re
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from lambent.aws.errors import ApiError

Kind = Literal["identity", "trust"]

MAX_TRUST: Final = 2048
MAX_INLINE_OF_ROLE: Final = 10_240
MAX_MANAGED: Final = 6144

_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9-]+:[\w*?]+", re.ASCII)
_RESOURCE: Final = re.compile(r"\*|arn:.*|\$\{.*", re.DOTALL)
_SPACE: Final = re.compile(r"\s+")


def check(document: str, kind: Kind) -> None:
    """Refuses what is not a policy document.

    `identity` says what its bearer may do (no principal), `trust` who may assume a role (no resource).

    Raises:
        ApiError: MalformedPolicyDocument, in AWS's words.
    """
    try:
        policy = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(
            "This policy contains invalid Json" if kind == "trust" else "Syntax errors in policy."
        ) from error
    if not isinstance(policy, dict) or not set(policy) <= {"Version", "Id", "Statement"}:
        raise _malformed("Syntax errors in policy.")
    if policy.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise _malformed("The policy must contain a valid version string")
    statements = _as_list(policy.get("Statement"))
    if not statements:
        raise _malformed("Syntax errors in policy.")
    for statement in statements:
        _check_statement(statement, kind)


def length(document: str) -> int:
    """The characters that count against a quota: all but white space."""
    return len(_SPACE.sub("", document))


def encoded(document: str) -> str:
    """A document as IAM's answers hold it: percent-encoded as RFC 3986 says."""
    return quote(document, safe="-_.~")


def _check_statement(statement: Any, kind: Kind) -> None:
    if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
        raise _malformed("Syntax errors in policy.")
    if not isinstance(statement.get("Condition", {}), dict):
        raise _malformed("Syntax errors in policy.")
    actions = _as_list(statement.get("Action", statement.get("NotAction")))
    if not actions:
        raise _malformed("Policy statement must contain actions.")
    for action in actions:
        if not isinstance(action, str) or not _ACTION.fullmatch(action):
            raise _malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    has_principal = "Principal" in statement or "NotPrincipal" in statement
    if kind == "trust":
        _check_trust(statement, has_principal=has_principal)
        return
    if has_principal:
        raise _malformed("Policy document should not specify a principal.")
    resources = _as_list(statement.get("Resource", statement.get("NotResource")))
    if not resources:
        raise _malformed("Policy statement must contain resources.")
    for resource in resources:
        if not isinstance(resource, str) or not _RESOURCE.fullmatch(resource):
            raise _malformed(f'Resource {resource} must be in ARN format or "*".')


def _check_trust(statement: dict[str, Any], *, has_principal: bool) -> None:
    if "Resource" in statement or "NotResource" in statement:
        raise _malformed("Has prohibited field Resource")
    if not has_principal:
        raise _malformed("Missing required field Principal")
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    if principal == "*":
        return
    if not isinstance(principal, dict) or not principal:
        raise _malformed("Invalid principal in policy")
    unknown = set(principal) - {"AWS", "Service", "Federated", "CanonicalUser"}
    names = [name for value in principal.values() for name in _as_list(value)]
    if unknown or not names or not all(isinstance(name, str) and name for name in names):
        raise _malformed("Invalid principal in policy")


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _malformed(message: str) -> ApiError:
    return ApiError("MalformedPolicyDocument", message)
