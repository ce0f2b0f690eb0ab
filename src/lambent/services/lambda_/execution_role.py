"""Whether Lambda may be given a function's execution role, and who it is then."""

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from lambent.aws import policy
from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.services.lambda_.model import FunctionKey

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_ROLE: Final = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/(?:.*/)?([^/]+)", re.ASCII)


def role_caller(role: str, key: FunctionKey, *, region: str | None = None, trace_header: str | None = None) -> Caller:
    """A function's execution role as who asks another service, in the function's own region unless one is given."""
    match = _ROLE.fullmatch(role)
    partition, account, name = match.groups() if match else ("aws", key.account, "unknown")
    return Caller(
        account=account,
        region=region or key.region,
        principal=f"arn:{partition}:sts::{account}:assumed-role/{name}/{key.name}",
        user_id=f"{name}:{key.name}",
        trace_header=trace_header,
    )


async def check_role(service: "Lambda", caller: Caller, role_arn: str, function_arn: str) -> None:
    """Refuses a role whose trust policy does not let Lambda assume it.

    A role that does not exist here is accepted, other than on AWS: whoever tries a function out has no roles.

    Raises:
        ApiError: InvalidParameterValueException.

    Source: AWS Lambda Developer Guide, "Lambda execution role"; message as recorded.
    """
    arn = Arn.parse(role_arn)
    owner = Caller(account=arn.account, region=caller.region, principal=caller.principal)
    try:
        answer = await service.call("iam", "GetRole", {"RoleName": arn.resource.rpartition("/")[2]}, caller=owner)
    except ApiError as error:
        if error.code in ("NoSuchEntity", "NotImplemented", "ValidationError"):
            return
        raise
    if not trusts_lambda(answer["Role"]["AssumeRolePolicyDocument"], role_arn, function_arn):
        raise ApiError(
            "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."
        )


def trusts_lambda(document: str, role_arn: str, function_arn: str) -> bool:
    """Whether a trust policy, as JSON that may be percent-encoded, lets Lambda assume the role for a function."""
    context = {"aws:SourceAccount": Arn.parse(function_arn).account, "aws:SourceArn": function_arn}
    asked = policy.Request(
        action="sts:AssumeRole",
        resource=role_arn,
        principal=policy.Principal.service("lambda.amazonaws.com"),
        context=context,
    )
    try:
        return policy.evaluate(asked, identity=(), resource=[policy.decode(unquote(document), "trust")]).allowed
    except policy.MalformedPolicyError:
        return False
