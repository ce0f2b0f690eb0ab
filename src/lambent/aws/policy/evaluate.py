"""What a set of policies decides about one request.

Source: IAM User Guide, "Policy evaluation logic", "Policy evaluation for requests within a single account" and
"Cross-account policy evaluation logic".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from lambent.aws.arn import Arn
from lambent.aws.policy import conditions, principals, wildcards
from lambent.aws.policy.conditions import Value
from lambent.aws.policy.document import Document, Names, Statement, read
from lambent.aws.policy.principals import Match, Principal

PolicyType = Literal["identity-based policy", "resource-based policy", "permissions boundary", "session policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for.

    `action` is `service:Operation`, `resource` an ARN. `context` has the values of condition keys; those that say
    who asks (aws:PrincipalArn and its like) are the principal's and need not be given.
    """

    action: str
    resource: str
    principal: Principal
    context: Mapping[str, Value] = field(default_factory=dict)

    @property
    def resource_account(self) -> str | None:
        """The account in the resource's ARN, if it has one."""
        try:
            return Arn.parse(self.resource).account or None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The policies of a principal: those attached to it, and what bounds them (None: nothing does)."""

    identity: Sequence[Document] = ()
    boundary: Sequence[Document] | None = None
    session: Sequence[Document] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`reason` says which kind of policy allowed it, denied it, or should have allowed it."""

    allowed: bool
    reason: str
    policy_type: PolicyType
    is_explicit: bool = False
    """Whether a Deny decided."""


def evaluate(
    request: Request,
    *,
    identity: Sequence[Document],
    resource: Sequence[Document],
    boundary: Sequence[Document] | None = None,
    session: Sequence[Document] | None = None,
) -> Decision:
    """Whether the request is allowed, and by what.

    An explicit Deny anywhere decides. Within one account an Allow of an identity-based or of a resource-based policy
    is enough; across accounts both are needed. A boundary or a session policy must allow, too, what identity-based
    policies do, and what the resource's policy allows to the role rather than to the session or user itself. The
    root user of an account needs no policy of its own.

    Raises:
        MalformedPolicyError: one of them is not a policy document. Who asks must take it for a denial.
    """
    found = {
        "identity-based policy": _Statements(request, identity),
        "resource-based policy": _Statements(request, resource, has_principals=True),
        "permissions boundary": _Statements(request, boundary or ()),
        "session policy": _Statements(request, session or ()),
    }
    for kind, statements in found.items():
        if statements.denies:
            return _denied(kind, is_explicit=True)
    missing: PolicyType | None = None
    if boundary is not None and not found["permissions boundary"].allows:
        missing = "permissions boundary"
    elif session is not None and not found["session policy"].allows:
        missing = "session policy"
    by_resource = found["resource-based policy"].allows
    by_identity = bool(found["identity-based policy"].allows) or request.principal.is_root
    if request.principal.kind != "AWS":
        return _allowed("resource-based policy") if by_resource else _denied("resource-based policy")
    if request.principal.account == request.resource_account:
        return _in_one_account(by_identity, by_resource, missing)
    if not by_identity:
        return _denied("identity-based policy")
    if missing:
        return _denied(missing)
    return _allowed("resource-based policy") if by_resource else _denied("resource-based policy")


def _in_one_account(by_identity: bool, by_resource: Match | None, missing: PolicyType | None) -> Decision:
    if by_resource == "itself":
        return _allowed("resource-based policy")
    # An account's own ARN as the principal hands the decision to the account's identity-based policies.
    is_granted = by_resource in ("role", "everyone")
    if not (by_identity or is_granted):
        return _denied("identity-based policy")
    if missing:
        return _denied(missing)
    return _allowed("identity-based policy" if by_identity else "resource-based policy")


def denial(request: Request, decision: Decision) -> str:
    """AWS's words for a request that was denied.

    Source: IAM User Guide, "Troubleshoot access denied error messages".
    """
    who = request.principal.name or "anonymous"
    start = f"User: {who} is not authorized to perform: {request.action} on resource: {request.resource}"
    article = "an" if decision.policy_type[0] in "aeiou" else "a"
    if decision.is_explicit:
        return f"{start} with an explicit deny in {article} {decision.policy_type}"
    return f"{start} because no {decision.policy_type} allows the {request.action} action"


def _allowed(kind: PolicyType) -> Decision:
    return Decision(allowed=True, reason=f"allowed by {kind}", policy_type=kind)


def _denied(kind: str, *, is_explicit: bool = False) -> Decision:
    policy_type: PolicyType = kind  # type: ignore[assignment]
    reason = f"explicit deny in {kind}" if is_explicit else f"implicit deny: no {kind} allows it"
    return Decision(allowed=False, reason=reason, policy_type=policy_type, is_explicit=is_explicit)


class _Statements:
    """What the statements of one kind of policy say about a request."""

    def __init__(self, request: Request, documents: Sequence[Document], *, has_principals: bool = False) -> None:
        context = conditions.context_of({**request.principal.context, **request.context})
        self.denies = False
        self.allows: Match | None = None
        for statement in (statement for document in documents for statement in read(document)):
            how = _applies(statement, request, context, has_principals=has_principals)
            if how is None:
                continue
            if not statement.allows:
                self.denies = True
            elif self.allows is None or _CLOSEST.index(how) < _CLOSEST.index(self.allows):
                self.allows = how


_CLOSEST: Final[tuple[Match, ...]] = ("itself", "role", "everyone", "account")


def _applies(
    statement: Statement, request: Request, context: conditions.Context, *, has_principals: bool
) -> Match | None:
    how: Match | None = _principal(statement, request.principal) if has_principals else "itself"
    if how is None:
        return None
    lookup = partial(conditions.variable, context) if statement.has_variables else None
    if not _named(statement.actions, partial(_is_action, request.action.lower())):
        return None
    if statement.resources and not _named(statement.resources, partial(_is_resource, request.resource, lookup)):
        return None
    return how if conditions.hold(statement.conditions, context, has_variables=statement.has_variables) else None


def _principal(statement: Statement, principal: Principal) -> Match | None:
    if statement.principals is None:  # of no kind that is attached to a resource: it speaks of nobody
        return None
    if not statement.not_principals:
        return principals.match(statement.principals, principal)
    if statement.allows:
        return None if principals.match(statement.principals, principal) else "everyone"
    return None if principals.is_spared(statement.principals, principal) else "everyone"


def _named(names: Names, is_one: Callable[[str], bool]) -> bool:
    return any(map(is_one, names.values)) != names.is_not


def _is_action(action: str, name: str) -> bool:
    pattern = wildcards.compiled(name.lower(), None)
    assert pattern is not None
    return wildcards.matches(pattern, action)


def _is_resource(resource: str, lookup: wildcards.Lookup | None, name: str) -> bool:
    pattern = wildcards.compiled(name, lookup)
    return pattern is not None and wildcards.arn_matches(pattern, resource)
