"""Whether Lambda may be given a function's execution role."""

from typing import TYPE_CHECKING
from urllib.parse import unquote

from lambent.aws import policy
from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


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
