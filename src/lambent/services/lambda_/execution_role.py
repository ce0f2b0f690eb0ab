"""Whether Lambda may be given a function's execution role."""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_LAMBDA = "lambda.amazonaws.com"


async def check_role(service: "Lambda", caller: Caller, role_arn: str) -> None:
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
    if not trusts_lambda(answer["Role"]["AssumeRolePolicyDocument"]):
        raise ApiError(
            "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."
        )


def trusts_lambda(document: str) -> bool:
    """Whether a trust policy, as JSON that may be percent-encoded, allows Lambda to assume the role."""
    try:
        statements = msgspec.json.decode(unquote(document))["Statement"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return False
    found = [statement["Effect"] for statement in _list(statements) if _is_for_lambda(statement)]
    return "Allow" in found and "Deny" not in found


def _is_for_lambda(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    services = _list(principal.get("Service", [])) if isinstance(principal, dict) else []
    actions = {str(action).lower() for action in _list(statement.get("Action", []))}
    return (principal == "*" or _LAMBDA in services) and not actions.isdisjoint({"sts:assumerole", "sts:*", "*"})


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
