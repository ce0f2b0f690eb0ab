"""STS's operations."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Shape
from lambent.services.sts.service import Sts

NOW = 1_790_000_000
CALLER = Caller(account="111122223333", principal="arn:aws:iam::111122223333:root", user_id="111122223333")
ROLE = "arn:aws:iam::444455556666:role/ci/deployer"
STORED = {"Arn": ROLE, "RoleId": "AROASTOREDROLE1234567", "MaxSessionDuration": 7200}


async def iam(service: str, operation: str, params: Shape, *, caller: Caller) -> Shape:
    assert (service, operation) == ("iam", "GetRole")
    if (caller.account, params["RoleName"]) != ("444455556666", "deployer"):
        raise ApiError("NoSuchEntity", f"The role with name {params['RoleName']} cannot be found.")
    return {"Role": STORED}


STS = Sts(secret=b"s" * 32, clock=Clock(read=lambda: NOW + 0.7), call=iam)


def call(operation: str, caller: Caller = CALLER, **params: Any) -> Shape:
    handled = STS.operations()[operation](caller, params)
    assert isinstance(handled, Coroutine)
    return asyncio.run(handled)


def test_the_caller_learns_who_it_is() -> None:
    assert call("GetCallerIdentity") == {
        "Account": "111122223333",
        "Arn": "arn:aws:iam::111122223333:root",
        "UserId": "111122223333",
    }


def test_a_session_carries_its_roles_account() -> None:
    answer = call("AssumeRole", RoleArn=ROLE, RoleSessionName="build-7", SourceIdentity="me")
    assert answer["AssumedRoleUser"] == {
        "Arn": "arn:aws:sts::444455556666:assumed-role/deployer/build-7",
        "AssumedRoleId": "AROASTOREDROLE1234567:build-7",
    }
    assert answer["SourceIdentity"] == "me"
    issued = answer["Credentials"]
    assert issued["Expiration"] == datetime.fromtimestamp(NOW + 3600, UTC)
    identity = STS.identity(issued["AccessKeyId"], issued["SessionToken"])
    assert identity is not None
    assert (identity.account, identity.principal) == ("444455556666", answer["AssumedRoleUser"]["Arn"])
    assert identity.user_id == "AROASTOREDROLE1234567:build-7"
    assert identity.expires_at == NOW + 3600
    assert STS.secret_key(issued["AccessKeyId"]) == issued["SecretAccessKey"]


def test_a_role_that_is_not_stored_can_be_assumed() -> None:
    answer = call("AssumeRole", RoleArn="arn:aws:iam::999999999999:role/elsewhere", RoleSessionName="x1")
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::999999999999:assumed-role/elsewhere/x1"
    assert (
        call("AssumeRole", RoleArn="arn:aws:iam::999999999999:role/elsewhere", RoleSessionName="x1")["AssumedRoleUser"]
        == (answer["AssumedRoleUser"])
    )


def test_the_longest_session_is_the_roles() -> None:
    call("AssumeRole", RoleArn=ROLE, RoleSessionName="xx", DurationSeconds=7200)
    with pytest.raises(ApiError, match="exceeds the MaxSessionDuration set for this role") as raised:
        call("AssumeRole", RoleArn=ROLE, RoleSessionName="xx", DurationSeconds=7201)
    assert raised.value.code == "ValidationError"


def test_a_chain_of_roles_lasts_an_hour() -> None:
    session = Caller(account="444455556666", principal="arn:aws:sts::444455556666:assumed-role/deployer/a")
    call("AssumeRole", session, RoleArn=ROLE, RoleSessionName="xx", DurationSeconds=3600)
    with pytest.raises(ApiError, match="1 hour session limit for roles assumed by role chaining"):
        call("AssumeRole", session, RoleArn=ROLE, RoleSessionName="xx", DurationSeconds=3601)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::444455556666:user/deployer",
        "arn:aws:iam::4444:role/deployer-of-things",
        "arn:aws:iam::444455556666:role/",
        "arn:aws:iam::444455556666:role/a b",
        "arn:aws:iam::444455556666:role/" + "r" * 65,
    ],
)
def test_what_is_not_a_roles_arn_is_refused(arn: str) -> None:
    with pytest.raises(ApiError, match="Request ARN is invalid"):
        call("AssumeRole", RoleArn=arn, RoleSessionName="xx")


def test_a_session_token_keeps_the_callers_identity() -> None:
    issued = call("GetSessionToken", DurationSeconds=900)["Credentials"]
    identity = STS.identity(issued["AccessKeyId"], issued["SessionToken"])
    assert identity is not None
    assert (identity.principal, identity.user_id) == (CALLER.principal, CALLER.user_id)
    assert identity.expires_at == NOW + 900


def test_an_access_key_tells_its_account() -> None:
    issued = call("GetSessionToken")["Credentials"]
    assert call("GetAccessKeyInfo", AccessKeyId=issued["AccessKeyId"]) == {"Account": "111122223333"}
    with pytest.raises(ApiError, match="malformed"):
        call("GetAccessKeyInfo", AccessKeyId="nothing-like-a-key")


def test_an_environment_signs_as_its_role_and_function() -> None:
    issued = STS.role_credentials("arn:aws:iam::123456789012:role/service-role/worker", "hello", 43_200)
    identity = STS.identity(issued.access_key_id, issued.session_token)
    assert identity is not None
    assert identity.principal == "arn:aws:sts::123456789012:assumed-role/worker/hello"
    assert identity.expires_at == issued.expires_at == NOW + 43_200
