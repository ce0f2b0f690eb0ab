"""Resource policies: statement by statement, as a whole, and what they say of a function URL."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from lambda_platform import ACCOUNT, ARN, REGION, platform

from lambent.aws import sigv4
from lambent.aws.errors import ApiError
from lambent.aws.policy import ANONYMOUS, Permissions, Principal
from lambent.protocol.http import HttpRequest
from lambent.services.lambda_ import policies
from lambent.services.lambda_.identities import Identities
from lambent.services.lambda_.policies import UrlAccess
from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"
NOT_FOUND = "ResourceNotFoundException"
NOTHING = (NOT_FOUND, "The resource you requested does not exist.")
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the latest Revision Id"
)
S3 = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
OTHER = "999999999999"


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await lambda_.create()
            await scenario(lambda_)

    run(main)


async def published(lambda_):
    await lambda_("PublishVersion", FunctionName="fn")
    await lambda_.settled(qualifier="1")
    await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")


async def document(lambda_, **params):
    return json.loads((await lambda_("GetPolicy", FunctionName="fn", **params))["Policy"])


# --- one statement at a time


def test_a_permission_is_a_statement_of_the_policy(tmp_path):
    async def scenario(lambda_):
        answer = await lambda_(
            "AddPermission", FunctionName="fn", **S3, SourceArn="arn:aws:s3:::bucket", SourceAccount=ACCOUNT
        )
        # The order of keys is AWS's.
        assert answer == {
            "Statement": '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
            f'"Action":"lambda:InvokeFunction","Resource":"{ARN}",'
            f'"Condition":{{"StringEquals":{{"AWS:SourceAccount":"{ACCOUNT}"}},'
            '"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}}'
        }
        shown = await lambda_("GetPolicy", FunctionName="fn")
        assert shown["Policy"] == ('{"Version":"2012-10-17","Id":"default","Statement":[' + answer["Statement"] + "]}")
        assert len(shown["RevisionId"]) == 36

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("*", "*"),
        (OTHER, {"AWS": f"arn:aws:iam::{OTHER}:root"}),
        (f"arn:aws:iam::{OTHER}:root", {"AWS": f"arn:aws:iam::{OTHER}:root"}),
        (f"arn:aws:iam::{OTHER}:user/team/ann", {"AWS": f"arn:aws:iam::{OTHER}:user/team/ann"}),
        (f"arn:aws:iam::{OTHER}:role/reader", {"AWS": f"arn:aws:iam::{OTHER}:role/reader"}),
        (f"arn:aws:sts::{OTHER}:assumed-role/r/s", {"AWS": f"arn:aws:sts::{OTHER}:assumed-role/r/s"}),
        ("events.amazonaws.com", {"Service": "events.amazonaws.com"}),
        ("logs.eu-west-1.amazonaws.com", {"Service": "logs.eu-west-1.amazonaws.com"}),
        ("alexa-connectedhome.amazon.com", {"Service": "alexa-connectedhome.amazon.com"}),
    ],
)
def test_principals_are_written_as_aws_does(given, shown):
    permission = policies.Permission(sid="one", action="lambda:InvokeFunction", principal=given)
    assert permission.to_statement(ARN)["Principal"] == shown


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ann",
        "12345",
        "invalid.nonaws.com",
        "amazonaws.com",
        "arn:aws:s3:::bucket",
        f"arn:aws:iam::{OTHER}:role/",
        "**",
    ],
)
def test_what_is_no_principal_is_refused(given):
    with pytest.raises(ApiError) as raised:
        policies.Permission(sid="one", action="lambda:InvokeFunction", principal=given).to_statement(ARN)
    assert (raised.value.code, raised.value.message) == (
        INVALID,
        "The provided principal was invalid. Please check the principal and try again.",
    )


URL = {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}


@pytest.mark.parametrize(
    ("params", "condition"),
    [
        ({}, None),
        ({"PrincipalOrgID": "o-abcdefghij"}, {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}}),
        ({"EventSourceToken": "amzn1.ask"}, {"StringEquals": {"lambda:EventSourceToken": "amzn1.ask"}}),
        ({"SourceArn": "arn:aws:sns:eu-west-1:1:t"}, {"ArnLike": {"AWS:SourceArn": "arn:aws:sns:eu-west-1:1:t"}}),
        (URL, {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
        ({"InvokedViaFunctionUrl": True}, {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}),
        ({"InvokedViaFunctionUrl": False}, {"Bool": {"lambda:InvokedViaFunctionUrl": "false"}}),
    ],
)
def test_conditions_are_laid_out_as_on_aws(tmp_path, params, condition):
    async def scenario(lambda_):
        answer = await lambda_("AddPermission", FunctionName="fn", **(S3 | params))
        assert json.loads(answer["Statement"]).get("Condition") == condition

    on_a_platform(tmp_path, scenario)


def test_conditions_of_another_action_are_refused(tmp_path):
    async def scenario(lambda_):
        assert await lambda_.refused("AddPermission", FunctionName="fn", **S3, FunctionUrlAuthType="NONE") == (
            INVALID,
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        )
        assert await lambda_.refused("AddPermission", FunctionName="fn", **(S3 | URL), InvokedViaFunctionUrl=True) == (
            INVALID,
            "InvokedViaFunctionUrl is only supported for lambda:InvokeFunction action",
        )

    on_a_platform(tmp_path, scenario)


def test_a_statement_id_is_there_once(tmp_path):
    async def scenario(lambda_):
        await lambda_("AddPermission", FunctionName="fn", **S3)
        assert await lambda_.refused("AddPermission", FunctionName="fn", **S3) == (
            "ResourceConflictException",
            "The statement id (s3) provided already exists. "
            "Please provide a new statement id, or remove the existing statement.",
        )

    on_a_platform(tmp_path, scenario)


def test_each_qualifier_has_a_policy_of_its_own(tmp_path):
    async def scenario(lambda_):
        await published(lambda_)
        for name, arn in (("fn", ARN), ("fn:1", f"{ARN}:1"), ("fn:live", f"{ARN}:live")):
            answer = await lambda_("AddPermission", FunctionName=name, **S3)
            assert json.loads(answer["Statement"])["Resource"] == arn
        assert (await document(lambda_, Qualifier="live"))["Statement"][0]["Resource"] == f"{ARN}:live"
        await lambda_("RemovePermission", FunctionName="fn", StatementId="s3", Qualifier="live")
        assert await lambda_.refused("GetPolicy", FunctionName="fn", Qualifier="live") == NOTHING
        assert len((await document(lambda_, Qualifier="1"))["Statement"]) == 1
        assert len((await document(lambda_))["Statement"]) == 1
        # They go with what they hang on.
        await lambda_("AddPermission", FunctionName="fn", Qualifier="live", **S3)
        await lambda_("DeleteAlias", FunctionName="fn", Name="live")
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
        assert await lambda_.refused("GetPolicy", FunctionName="fn", Qualifier="live") == NOTHING

    on_a_platform(tmp_path, scenario)


def test_what_cannot_have_a_policy_is_refused(tmp_path):
    async def scenario(lambda_):
        refused = lambda_.refused
        latest = (INVALID, "We currently do not support adding policies for $LATEST.")
        assert await refused("AddPermission", FunctionName="fn", Qualifier="$LATEST", **S3) == latest
        assert await refused("AddPermission", FunctionName="fn:$LATEST", **S3) == latest
        assert await refused("PutResourcePolicy", ResourceArn=f"{ARN}:$LATEST", Policy="{}") == latest
        assert await refused("AddPermission", FunctionName="fn", Qualifier="7", **S3) == (
            NOT_FOUND,
            f"Function not found: {ARN}:7",
        )
        assert await refused("AddPermission", FunctionName="fn", Qualifier="live", **S3) == (
            NOT_FOUND,
            f"Cannot find alias arn: {ARN}:live",
        )
        assert await refused("AddPermission", FunctionName="no", **S3) == (
            NOT_FOUND,
            f"Function not found: {ARN[:-2]}no",
        )
        assert await refused("GetPolicy", FunctionName="no") == (NOT_FOUND, f"Function not found: {ARN[:-2]}no")
        assert await refused("RemovePermission", FunctionName="no", StatementId="s3") == (
            NOT_FOUND,
            f"No policy found for: {ARN[:-2]}no",
        )
        runtime = f"arn:aws:lambda:{REGION}:{ACCOUNT}:runtime/own"
        assert (await refused("GetResourcePolicy", ResourceArn=runtime))[0] == "NotImplemented"

    on_a_platform(tmp_path, scenario)


def test_the_last_statement_takes_the_policy_with_it(tmp_path):
    async def scenario(lambda_):
        refused, remove = lambda_.refused, {"FunctionName": "fn", "StatementId": "s3"}
        assert await refused("RemovePermission", **remove) == (
            NOT_FOUND,
            "No policy is associated with the given resource.",
        )
        await lambda_("AddPermission", FunctionName="fn", **S3)
        await lambda_("AddPermission", FunctionName="fn", **(S3 | {"StatementId": "two"}))
        assert await lambda_("RemovePermission", **remove) == {}
        assert await refused("RemovePermission", **remove) == (
            NOT_FOUND,
            "Statement s3 is not found in resource policy.",
        )
        assert [each["Sid"] for each in (await document(lambda_))["Statement"]] == ["two"]
        await lambda_("RemovePermission", FunctionName="fn", StatementId="two")
        assert await refused("GetPolicy", FunctionName="fn") == NOTHING

    on_a_platform(tmp_path, scenario)


def test_a_revision_that_is_not_the_latest_is_refused(tmp_path):
    async def scenario(lambda_):
        stale = ("PreconditionFailedException", STALE.format("GetPolicy"))
        assert await lambda_.refused("AddPermission", FunctionName="fn", **S3, RevisionId="x") == stale
        function = (await lambda_("GetFunctionConfiguration", FunctionName="fn"))["RevisionId"]
        await lambda_("AddPermission", FunctionName="fn", **S3, RevisionId=function)
        first = (await lambda_("GetPolicy", FunctionName="fn"))["RevisionId"]
        await lambda_("AddPermission", FunctionName="fn", **(S3 | {"StatementId": "two"}), RevisionId=first)
        second = (await lambda_("GetPolicy", FunctionName="fn"))["RevisionId"]
        assert second != first
        assert (await lambda_("GetFunctionConfiguration", FunctionName="fn"))["RevisionId"] == second
        remove = {"FunctionName": "fn", "StatementId": "two"}
        assert await lambda_.refused("RemovePermission", **remove, RevisionId=first) == stale
        await lambda_("RemovePermission", **remove, RevisionId=second)

    on_a_platform(tmp_path, scenario)


def test_a_policy_has_at_most_20_480_bytes(tmp_path):
    async def scenario(lambda_):
        params = S3 | {"FunctionName": "fn", "EventSourceToken": "x" * 200}
        number, size = 0, 0
        while size < 19_400:
            await lambda_("AddPermission", **(params | {"StatementId": f"s{number:03}"}))
            number += 1
            size = len((await lambda_("GetPolicy", FunctionName="fn"))["Policy"])
        rest = 20_480 - size
        one = {**params, "StatementId": "last", "EventSourceToken": "x"}
        bare = len((await lambda_("AddPermission", **one))["Statement"]) + 1  # and its comma
        await lambda_("RemovePermission", FunctionName="fn", StatementId="last")
        fitting = one | {"SourceArn": "arn:aws:s3:::b"}
        longer = len((await lambda_("AddPermission", **fitting))["Statement"]) + 1
        await lambda_("RemovePermission", FunctionName="fn", StatementId="last")
        assert bare < longer < rest
        exact = fitting | {"SourceArn": "arn:aws:s3:::b" + "y" * (rest - longer)}
        assert await lambda_.refused("AddPermission", **(exact | {"SourceArn": exact["SourceArn"] + "y"})) == (
            "PolicyLengthExceededException",
            "The final policy size (20481) is bigger than the limit (20480).",
        )
        await lambda_("AddPermission", **exact)
        assert len((await lambda_("GetPolicy", FunctionName="fn"))["Policy"]) == 20_480

    on_a_platform(tmp_path, scenario)


def test_policies_outlive_the_node_and_go_with_the_function(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create()
            await lambda_("AddPermission", FunctionName="fn", **S3)

    async def second(clock):
        async with platform(tmp_path, clock) as lambda_:
            assert (await document(lambda_))["Statement"][0]["Sid"] == "s3"
            await lambda_("DeleteFunction", FunctionName="fn")
            await lambda_.create()
            assert await lambda_.refused("GetPolicy", FunctionName="fn") == NOTHING

    run(first)
    run(second)


# --- the whole document

DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": {"Sid": "one", "Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": ARN},
}


def test_a_policy_given_while_the_function_is_created_does_not_keep_it_pending(tmp_path):
    async def scenario(lambda_):
        await lambda_.create("slow", wait=False)
        await lambda_("AddPermission", FunctionName="slow", **S3)
        assert (await lambda_.settled("slow"))["State"] == "Active"

    on_a_platform(tmp_path, scenario)


def test_a_policy_of_an_alias_is_a_revision_of_the_alias(tmp_path):
    async def scenario(lambda_):
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="$LATEST")
        function = (await lambda_("GetFunctionConfiguration", FunctionName="fn"))["RevisionId"]
        await lambda_("AddPermission", FunctionName="fn", Qualifier="live", **S3)
        shown = (await lambda_("GetPolicy", FunctionName="fn", Qualifier="live"))["RevisionId"]
        assert (await lambda_("GetAlias", FunctionName="fn", Name="live"))["RevisionId"] == shown
        assert (await lambda_("GetFunctionConfiguration", FunctionName="fn"))["RevisionId"] == function

    on_a_platform(tmp_path, scenario)


def test_a_whole_policy_is_put_read_changed_and_deleted(tmp_path):
    async def scenario(lambda_):
        refused = lambda_.refused
        assert await refused("GetResourcePolicy", ResourceArn=ARN) == NOTHING
        assert await refused("DeleteResourcePolicy", ResourceArn=ARN) == NOTHING
        put = await lambda_("PutResourcePolicy", ResourceArn=ARN, Policy=json.dumps(DOCUMENT))
        assert json.loads(put["Policy"]) == DOCUMENT
        assert await lambda_("GetResourcePolicy", ResourceArn=ARN) == put
        assert await lambda_("GetPolicy", FunctionName="fn") == put  # it is the same policy
        await lambda_("AddPermission", FunctionName="fn", **S3)
        both = await lambda_("GetResourcePolicy", ResourceArn=ARN)
        assert [each["Sid"] for each in json.loads(both["Policy"])["Statement"]] == ["one", "s3"]
        stale = ("PreconditionFailedException", STALE.format("GetResourcePolicy"))
        again = {"ResourceArn": ARN, "Policy": json.dumps(DOCUMENT)}
        assert await refused("PutResourcePolicy", **again, RevisionId=put["RevisionId"]) == stale
        assert await refused("DeleteResourcePolicy", ResourceArn=ARN, RevisionId=put["RevisionId"]) == stale
        replaced = await lambda_("PutResourcePolicy", **again, RevisionId=both["RevisionId"])
        assert await lambda_("DeleteResourcePolicy", ResourceArn=ARN, RevisionId=replaced["RevisionId"]) == {}
        assert await refused("GetPolicy", FunctionName="fn") == NOTHING

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Syntax errors in policy."),
        (json.dumps(DOCUMENT | {"Version": "2026-01-01"}), "The policy must contain a valid version string"),
        (json.dumps(DOCUMENT | {"Statement": []}), "Syntax errors in policy."),
        (
            json.dumps(DOCUMENT | {"Statement": {**DOCUMENT["Statement"], "Resource": "fn"}}),
            'Resource fn must be in ARN format or "*".',
        ),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path, text, message):
    async def scenario(lambda_):
        assert await lambda_.refused("PutResourcePolicy", ResourceArn=ARN, Policy=text) == (INVALID, message)

    on_a_platform(tmp_path, scenario)


def test_an_alias_can_have_a_whole_policy(tmp_path):
    async def scenario(lambda_):
        await published(lambda_)
        put = await lambda_("PutResourcePolicy", ResourceArn=f"{ARN}:live", Policy=json.dumps(DOCUMENT))
        assert await lambda_("GetPolicy", FunctionName="fn", Qualifier="live") == put
        assert await lambda_.refused("GetResourcePolicy", ResourceArn=ARN) == NOTHING

    on_a_platform(tmp_path, scenario)


# --- function URLs

PUBLIC = (
    {"StatementId": "url", **URL},
    {"StatementId": "fn", "Action": "lambda:InvokeFunction", "Principal": "*", "InvokedViaFunctionUrl": True},
)
ROOT = Principal.of_arn(f"arn:aws:iam::{ACCOUNT}:root")
SESSION = Principal.of_arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/app")
BOTH = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"], "Resource": "*"},
}


async def may(lambda_, auth_type, principal=ANONYMOUS, qualifier="", **options):
    entry = next(iter(lambda_.service.catalogue.all()))
    access = await policies.may_call_url(lambda_.service, entry, qualifier, auth_type, principal, **options)
    return access is UrlAccess.YES


def test_a_public_url_needs_both_permissions(tmp_path):
    async def scenario(lambda_):
        assert not await may(lambda_, "NONE")
        await lambda_("AddPermission", FunctionName="fn", **PUBLIC[0])
        assert not await may(lambda_, "NONE")
        await lambda_("AddPermission", FunctionName="fn", **PUBLIC[1])
        assert await may(lambda_, "NONE")
        assert not await may(lambda_, "AWS_IAM", SESSION)  # its statement is about NONE
        assert await may(lambda_, "AWS_IAM", ROOT)
        await lambda_("RemovePermission", FunctionName="fn", StatementId="url")
        assert not await may(lambda_, "NONE")

    on_a_platform(tmp_path, scenario)


def test_a_policy_from_before_there_were_two_permissions_is_enough_unless_it_denies_or_both_are_asked_for(tmp_path):
    async def access(lambda_):
        entry = next(iter(lambda_.service.catalogue.all()))
        return await policies.may_call_url(lambda_.service, entry, "", "NONE")

    async def lenient(lambda_):
        assert await access(lambda_) is UrlAccess.NO
        await lambda_("AddPermission", FunctionName="fn", **PUBLIC[0])
        assert await access(lambda_) is UrlAccess.BY_ONE
        denied = {"Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN}
        allowed = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": ARN}
        document = {"Version": "2012-10-17", "Statement": [allowed, denied]}
        await lambda_("PutResourcePolicy", ResourceArn=ARN, Policy=json.dumps(document))
        assert await access(lambda_) is UrlAccess.NO

    async def strict(lambda_):
        await lambda_("AddPermission", FunctionName="fn", **PUBLIC[0])
        assert await access(lambda_) is UrlAccess.NO

    folders = tmp_path / "one", tmp_path / "both"
    for folder in folders:
        folder.mkdir()
    on_a_platform(folders[0], lenient)
    on_a_platform(folders[1], strict, function_url_permissions="both")


def test_a_url_without_authorization_asks_nobody_who_they_are(tmp_path):
    async def scenario(lambda_):
        assert not await may(lambda_, "NONE", ROOT)

    on_a_platform(tmp_path, scenario)


def test_the_url_of_an_alias_asks_the_policy_of_the_alias(tmp_path):
    async def scenario(lambda_):
        await published(lambda_)
        for permission in PUBLIC:
            await lambda_("AddPermission", FunctionName="fn", **permission)
        assert not await may(lambda_, "NONE", qualifier="live")
        for permission in PUBLIC:
            await lambda_("AddPermission", FunctionName="fn:live", **permission)
        assert await may(lambda_, "NONE", qualifier="live")

    on_a_platform(tmp_path, scenario)


def test_a_role_needs_its_own_policy_or_the_functions(tmp_path):
    async def scenario(lambda_):
        assert not await may(lambda_, "AWS_IAM", SESSION)

        async def permissions(principal):
            assert principal == SESSION
            return Permissions(identity=[BOTH])

        lambda_.service.identities = Identities(permissions=permissions)
        assert await may(lambda_, "AWS_IAM", SESSION)

        async def bounded(_principal):
            return Permissions(identity=[BOTH], boundary=[])

        lambda_.service.identities = Identities(permissions=bounded)
        assert not await may(lambda_, "AWS_IAM", SESSION)
        lambda_.service.identities = Identities(permissions=permissions)
        deny = {
            "Sid": "no",
            "Effect": "Deny",
            "Principal": {"AWS": SESSION.role},
            "Action": "lambda:*",
            "Resource": ARN,
        }
        outside = deny | {"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}
        await lambda_("PutResourcePolicy", ResourceArn=ARN, Policy=json.dumps(DOCUMENT | {"Statement": outside}))
        assert await may(lambda_, "AWS_IAM", SESSION, context={"aws:SourceIp": "10.1.2.3"})
        assert not await may(lambda_, "AWS_IAM", SESSION, context={"aws:SourceIp": "192.0.2.1"})
        lambda_.service.identities = Identities()
        both = {"Principal": f"arn:aws:iam::{ACCOUNT}:role/reader", "FunctionName": "fn"}
        url = {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "AWS_IAM", "StatementId": "a"}
        await lambda_("DeleteResourcePolicy", ResourceArn=ARN)
        await lambda_("AddPermission", **both, **url)
        await lambda_("AddPermission", **both, Action="lambda:InvokeFunction", StatementId="b")
        assert await may(lambda_, "AWS_IAM", SESSION)

    on_a_platform(tmp_path, scenario)


def test_a_policy_that_cannot_be_read_allows_nobody(tmp_path):
    async def scenario(lambda_):
        async def permissions(_principal):
            return Permissions(identity=[{"Statement": [{"Effect": "Maybe"}]}])

        lambda_.service.identities = Identities(permissions=permissions)
        assert not await may(lambda_, "AWS_IAM", ROOT)

    on_a_platform(tmp_path, scenario)


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECRET = "the secret"
ISSUED = SimpleNamespace(account=ACCOUNT, principal=SESSION.name, expires_at=int(NOW.timestamp()) + 60)


def signed(access_key="ASIAISSUED", secret=SECRET, token="token", at=NOW, region=REGION):
    request = HttpRequest("GET", "/", "", {"host": "abc.lambda-url.localhost"}, b"")
    key = sigv4.Key(access_key=access_key, secret_key=secret, session_token=token)
    headers = sigv4.sign(request, key, region=region, service="lambda", at=at)
    return HttpRequest("GET", "/", "", {**request.headers, **headers}, b"")


IDENTITIES = Identities(
    issued=lambda key, token: ISSUED if (key, token) == ("ASIAISSUED", "token") else None,
    secret_key={"ASIAISSUED": SECRET}.__getitem__,
)


@pytest.mark.parametrize(
    ("request_", "arn"),
    [
        (signed(), SESSION.name),
        (signed("111122223333", "any", None), "arn:aws:iam::111122223333:root"),
        (signed("AKIAOTHER", "any", None), "arn:aws:iam::000000000000:root"),
        (signed("ASIAISSUED", SECRET, "another"), "arn:aws:iam::000000000000:root"),
    ],
)
def test_whoever_signed_is_known_by_the_key(request_, arn):
    assert IDENTITIES.of(request_, region=REGION, now=NOW).name == arn


@pytest.mark.parametrize(
    ("request_", "now", "code", "start"),
    [
        (HttpRequest("GET", "/", "", {}, b""), NOW, "MissingAuthenticationTokenException", "Missing Authentication"),
        (signed(secret="wrong"), NOW, "InvalidSignatureException", "The request signature we calculated does not"),
        (signed(), NOW + timedelta(seconds=60), "ExpiredTokenException", "The security token included in the request"),
        (signed(), NOW + timedelta(minutes=6), "InvalidSignatureException", "Signature expired: "),
        (signed("AKIA", "any", None), NOW + timedelta(minutes=6), "InvalidSignatureException", "Signature expired: "),
        (signed(region="us-east-1"), NOW, "InvalidSignatureException", "Credential should be scoped to a valid region"),
    ],
)
def test_a_signature_must_be_right_as_far_as_the_key_is_known(request_, now, code, start):
    with pytest.raises(ApiError) as raised:
        IDENTITIES.of(request_, region=REGION, now=now)
    assert raised.value.code == code
    assert raised.value.message.startswith(start)
