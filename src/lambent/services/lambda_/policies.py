"""Resource policies of functions, versions and aliases, and what they decide. Pure but for `may_call_url`.

Each qualifier has a policy of its own: that of an alias says nothing about its version, nor about the function.

AWS can refuse a policy for being public (PublicPolicyException) where an account blocks public access. There is no
such setting in the service model, hence none here: a public policy is accepted, as in an account without that block.

Source: AWS Lambda Developer Guide, "Viewing resource-based IAM policies in Lambda" and "Control access to Lambda
function URLs"; AWS Lambda API Reference, AddPermission.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from lambent.aws import policy
from lambent.aws.errors import ApiError
from lambent.aws.policy import ANONYMOUS, Document, Principal, Value
from lambent.services.lambda_.attached import ResourcePolicy
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.model import LATEST, not_found

if TYPE_CHECKING:
    from lambent.aws import sigv4
    from lambent.services.lambda_.service import Lambda

_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_PERSON: Final = re.compile(
    r"arn:aws[a-z-]*:(?:iam::[0-9]{12}:(?:root|(?:user|role)/[\x21-\x7e]+)"
    r"|sts::[0-9]{12}:(?:assumed-role/[^/\s]+|federated-user)/[^/\s]+)"
)
_SERVICE: Final = re.compile(r"(?:[a-z0-9-]+\.)+(?:amazonaws\.com(?:\.cn)?|amazon\.com|aws\.internal)", re.ASCII)


# --- function URLs


async def url_identity(service: "Lambda", entry: Entry, request: "sigv4.Signed") -> Principal:
    """Who signed a request to a function URL of type AWS_IAM. With NONE nobody is asked: it is `ANONYMOUS`.

    `request` is the `HttpRequest` as it came: path, query and headers raw.

    Raises:
        ApiError: no signature, or one that is wrong, expired or for something else. A function URL answers all of
            them with 403.
    """
    ahead = timedelta(seconds=service.clock.ahead_s)
    return service.identities.of(request, region=entry.function.key.region, now=service.clock.utc(), ahead=ahead)


class UrlAccess(Enum):
    """What policies say of a request to a function URL."""

    YES = "both actions are allowed"
    BY_ONE = "lambda:InvokeFunctionUrl is allowed, lambda:InvokeFunction is not"
    NO = "no"


async def may_call_url(
    service: "Lambda",
    entry: Entry,
    qualifier: str,
    auth_type: str,
    principal: Principal = ANONYMOUS,
    *,
    context: Mapping[str, Value] | None = None,
) -> UrlAccess:
    """Whether the principal may call the URL of this function (empty qualifier) or alias.

    Since November 2026 AWS wants both lambda:InvokeFunctionUrl and lambda:InvokeFunction allowed; policies written
    before have the first only. By the setting `function_url_permissions` that is enough, unless the other is denied.
    With NONE who asks is anonymous, whatever the request's headers say, so the resource policy must allow everyone.
    `context` has further condition keys, such as aws:SourceIp.
    """
    who = principal if auth_type == "AWS_IAM" else ANONYMOUS
    permissions = await service.identities.permissions(who) if who.kind == "AWS" else policy.Permissions()
    now = service.clock.utc()
    known = {"aws:CurrentTime": f"{now:%Y-%m-%dT%H:%M:%SZ}", "aws:EpochTime": str(int(now.timestamp()))}
    asked: dict[str, dict[str, Value]] = {
        "lambda:InvokeFunctionUrl": {"lambda:FunctionUrlAuthType": auth_type},
        "lambda:InvokeFunction": {"lambda:InvokedViaFunctionUrl": True},
    }
    try:
        url, function = (
            policy.evaluate(
                policy.Request(
                    action=action,
                    resource=entry.function.key.arn(qualifier or None),
                    principal=who,
                    context={**known, **(context or {}), **keys},
                ),
                identity=permissions.identity,
                resource=statements_of(entry, qualifier),
                boundary=permissions.boundary,
                session=permissions.session,
            )
            for action, keys in asked.items()
        )
    except policy.MalformedPolicyError:
        return UrlAccess.NO
    if url.allowed and function.allowed:
        return UrlAccess.YES
    is_enough = service.config.function_url_permissions == "one" and not function.is_explicit
    return UrlAccess.BY_ONE if url.allowed and is_enough else UrlAccess.NO


def statements_of(entry: Entry, qualifier: str | None) -> Sequence[Document]:
    """The resource policy of a qualifier (empty or None: of the function), as the evaluator takes it."""
    found = entry.its(ResourcePolicy, qualifier or "")
    return [] if found is None else [found.document]


# --- one statement at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What AddPermission grants. None is "not given"."""

    sid: str
    action: str
    principal: str
    source_arn: str | None = None
    source_account: str | None = None
    organization: str | None = None
    event_source_token: str | None = None
    url_auth_type: str | None = None
    via_url: bool | None = None

    def to_statement(self, resource_arn: str) -> dict[str, Any]:
        """The statement as AWS lays it out.

        Raises:
            ApiError: InvalidParameterValueException, when the principal is none, or a condition is of another action.
        """
        if self.url_auth_type is not None and self.action != "lambda:InvokeFunctionUrl":
            raise _invalid("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
        if self.via_url is not None and self.action != "lambda:InvokeFunction":
            raise _invalid("InvokedViaFunctionUrl is only supported for lambda:InvokeFunction action")
        statement = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Principal": _principal(self.principal),
            "Action": self.action,
            "Resource": resource_arn,
        }
        conditions = self._conditions()
        return statement | ({"Condition": conditions} if conditions else {})

    def _conditions(self) -> dict[str, dict[str, str]]:
        equal = {
            "AWS:SourceAccount": self.source_account,
            "aws:PrincipalOrgID": self.organization,
            "lambda:EventSourceToken": self.event_source_token,
            "lambda:FunctionUrlAuthType": self.url_auth_type,
        }
        via_url = None if self.via_url is None else str(self.via_url).lower()
        found = {
            "StringEquals": {key: value for key, value in equal.items() if value is not None},
            "Bool": {} if via_url is None else {"lambda:InvokedViaFunctionUrl": via_url},
            "ArnLike": {} if self.source_arn is None else {"AWS:SourceArn": self.source_arn},
        }
        return {operator: keys for operator, keys in found.items() if keys}


def _principal(name: str) -> str | dict[str, str]:
    if name == "*":
        return name
    if _ACCOUNT.fullmatch(name):
        return {"AWS": f"arn:aws:iam::{name}:root"}
    if _PERSON.fullmatch(name):
        return {"AWS": name}
    if _SERVICE.fullmatch(name):
        return {"Service": name}
    raise _invalid("The provided principal was invalid. Please check the principal and try again.")


# --- the whole document


def read_document(text: str) -> Document:
    """The document that PutResourcePolicy is given.

    Raises:
        ApiError: InvalidParameterValueException, when it is not a policy that can be attached to a function.
    """
    try:
        return policy.decode(text, "resource")
    except policy.MalformedPolicyError as error:
        raise _invalid(error.message) from error


def check_qualifier(entry: Entry, qualifier: str | None) -> None:
    """Refuses what cannot have a policy of its own: `$LATEST`, and versions and aliases that are not there.

    Raises:
        ApiError: InvalidParameterValueException, ResourceNotFoundException.
    """
    if qualifier is None:
        return
    if qualifier.startswith(LATEST):
        raise _invalid(f"We currently do not support adding policies for {LATEST}.")
    if qualifier in entry.aliases or qualifier in entry.versions:
        return
    key = entry.function.key
    if qualifier.isdigit():
        raise not_found(key, qualifier)
    raise ApiError("ResourceNotFoundException", f"Cannot find alias arn: {key.arn(qualifier)}")


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
