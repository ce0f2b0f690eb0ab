"""STS's operations, one function each. Source: AWS Security Token Service API Reference."""

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sts import credentials, model
from lambent.services.sts.credentials import Identity

if TYPE_CHECKING:
    from lambent.services.sts.service import Sts

_DEFAULT_SESSION_SECONDS: Final = 43_200


async def get_caller_identity(service: "Sts", caller: Caller, params: Shape) -> Shape:
    """GetCallerIdentity."""
    return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.principal}


async def assume_role(service: "Sts", caller: Caller, params: Shape) -> Shape:
    """AssumeRole: a session of any role, stored here or not.

    Open mode trusts everyone, and deployment tools assume roles that exist only in the real account. What IAM
    knows of a stored role (its id, its longest session) holds.
    """
    role = await _known(service, caller, params["RoleArn"])
    seconds = params.get("DurationSeconds", model.DEFAULT_SECONDS)
    model.check_duration(seconds, role, is_chained=":assumed-role/" in caller.principal)
    session = role.session(params["RoleSessionName"], service.expiry(seconds))
    issued = credentials.issue(session, service.secret)
    answer: Shape = {
        "Credentials": issued.to_shape(),
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.principal},
    }
    if "SourceIdentity" in params:
        answer["SourceIdentity"] = params["SourceIdentity"]
    return answer


async def get_session_token(service: "Sts", caller: Caller, params: Shape) -> Shape:
    """GetSessionToken: temporary credentials of the caller's own identity."""
    if ":assumed-role/" in caller.principal:
        raise ApiError("AccessDenied", "Cannot call GetSessionToken with session credentials")
    expires_at = service.expiry(params.get("DurationSeconds", _DEFAULT_SESSION_SECONDS))
    identity = Identity(caller.account, caller.principal, caller.user_id, expires_at)
    return {"Credentials": credentials.issue(identity, service.secret).to_shape()}


async def get_access_key_info(service: "Sts", caller: Caller, params: Shape) -> Shape:
    """GetAccessKeyInfo: the account in the key's own characters."""
    account = credentials.account_of(params["AccessKeyId"])
    if account is None:
        raise ApiError("ValidationError", "The access key is malformed.")
    return {"Account": account}


async def _known(service: "Sts", caller: Caller, arn: str) -> model.Role:
    role = model.role_of(arn)
    owner = replace(caller, account=role.account)
    try:
        answer = await service.call("iam", "GetRole", {"RoleName": role.name}, caller=owner)
    except ApiError as error:
        if error.code != "NoSuchEntity":
            raise
        return role
    return model.stored(role, answer["Role"]) if answer["Role"]["Arn"] == arn else role
