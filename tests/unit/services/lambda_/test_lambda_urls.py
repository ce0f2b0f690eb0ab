"""The operations on function URLs."""

import re

import pytest
from lambda_platform import ACCOUNT, ARN, CALLER, REGION, platform

from lambent.aws.caller import Caller
from lambent.testing.loop import run

NO_CONFIG = ("ResourceNotFoundException", "The resource you requested does not exist.")
NO_FUNCTION = ("ResourceNotFoundException", "Function does not exist")
CORS = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["GET", "*"], "MaxAge": 60}


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await scenario(lambda_)

    run(main)


async def with_alias(lambda_, name="live"):
    await lambda_.create()
    await lambda_("PublishVersion", FunctionName="fn")
    await lambda_("CreateAlias", FunctionName="fn", Name=name, FunctionVersion="1")


def url_id(answer):
    return re.fullmatch(r"http://([a-z0-9]{32})\.lambda-url\.eu-west-1\.localhost:4566/", answer["FunctionUrl"])[1]


def test_create_says_what_was_given_and_get_the_rest(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        made = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE")
        assert list(made) == ["FunctionUrl", "FunctionArn", "AuthType", "CreationTime"]
        assert (made["FunctionArn"], made["AuthType"]) == (ARN, "NONE")
        assert len(url_id(made)) == 32
        assert re.fullmatch(r"2026-09-21T14:13:\d\d\.\d{6}Z", made["CreationTime"])
        found = await lambda_("GetFunctionUrlConfig", FunctionName="fn")
        assert found == {**made, "LastModifiedTime": made["CreationTime"], "InvokeMode": "BUFFERED"}

    on_a_platform(tmp_path, scenario)


def test_create_shows_cors_and_the_invoke_mode_when_they_were_given(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        given = {"Cors": CORS, "InvokeMode": "RESPONSE_STREAM"}
        made = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="AWS_IAM", **given)
        assert list(made) == ["FunctionUrl", "FunctionArn", "AuthType", "Cors", "CreationTime", "InvokeMode"]
        assert (made["Cors"], made["InvokeMode"]) == (CORS, "RESPONSE_STREAM")

    on_a_platform(tmp_path, scenario)


def test_a_function_has_one_url_and_each_alias_another(tmp_path):
    async def scenario(lambda_):
        await with_alias(lambda_)
        own = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE")
        alias = await lambda_("CreateFunctionUrlConfig", FunctionName="fn:live", AuthType="NONE")
        assert alias["FunctionArn"] == f"{ARN}:live"
        assert url_id(own) != url_id(alias)
        for qualifier, arn in (({}, ARN), ({"Qualifier": "live"}, f"{ARN}:live")):
            assert await lambda_.refused(
                "CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE", **qualifier
            ) == (
                "ResourceConflictException",
                f"Failed to create function url config for [functionArn = {arn}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function",
            )
        listed = await lambda_("ListFunctionUrlConfigs", FunctionName="fn")
        assert [each["FunctionArn"] for each in listed["FunctionUrlConfigs"]] == [ARN, f"{ARN}:live"]
        assert "NextMarker" not in listed

    on_a_platform(tmp_path, scenario)


def test_lists_have_pages(tmp_path):
    async def scenario(lambda_):
        await with_alias(lambda_, "a")
        await lambda_("CreateAlias", FunctionName="fn", Name="b", FunctionVersion="1")
        for name in ("fn", "fn:a", "fn:b"):
            await lambda_("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE")
        first = await lambda_("ListFunctionUrlConfigs", FunctionName="fn", MaxItems=2)
        rest = await lambda_("ListFunctionUrlConfigs", FunctionName="fn", MaxItems=2, Marker=first["NextMarker"])
        arns = [each["FunctionArn"] for page in (first, rest) for each in page["FunctionUrlConfigs"]]
        assert arns == [ARN, f"{ARN}:a", f"{ARN}:b"]
        assert "NextMarker" not in rest

    on_a_platform(tmp_path, scenario)


def test_what_is_not_there_is_not_found(tmp_path):
    async def scenario(lambda_):
        assert await lambda_.refused("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE") == NO_FUNCTION
        assert await lambda_.refused("ListFunctionUrlConfigs", FunctionName="fn") == NO_FUNCTION
        await lambda_.create()
        assert await lambda_.refused("CreateFunctionUrlConfig", FunctionName="fn:no", AuthType="NONE") == NO_FUNCTION
        for operation in ("GetFunctionUrlConfig", "UpdateFunctionUrlConfig", "DeleteFunctionUrlConfig"):
            for name in ("fn", "fn:no", "nobody"):
                assert await lambda_.refused(operation, FunctionName=name) == NO_CONFIG
        assert await lambda_("ListFunctionUrlConfigs", FunctionName="fn") == {"FunctionUrlConfigs": []}

    on_a_platform(tmp_path, scenario)


def test_an_update_changes_what_it_names(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        made = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE", Cors=CORS)
        await lambda_.clock.sleep(60)
        after = await lambda_("UpdateFunctionUrlConfig", FunctionName="fn", AuthType="AWS_IAM")
        assert after["LastModifiedTime"] > after["CreationTime"] == made["CreationTime"]
        assert (after["FunctionUrl"], after["AuthType"], after["Cors"]) == (made["FunctionUrl"], "AWS_IAM", CORS)
        after = await lambda_("UpdateFunctionUrlConfig", FunctionName="fn", Cors={"AllowOrigins": ["*"]})
        assert (after["AuthType"], after["Cors"]) == ("AWS_IAM", {"AllowOrigins": ["*"]})
        after = await lambda_("UpdateFunctionUrlConfig", FunctionName="fn", Cors={}, InvokeMode="RESPONSE_STREAM")
        assert "Cors" not in after
        assert after == await lambda_("GetFunctionUrlConfig", FunctionName="fn")
        assert after["InvokeMode"] == "RESPONSE_STREAM"

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize("method", ["TRACE", "get", ""])
def test_cors_has_no_other_methods(tmp_path, method):
    async def scenario(lambda_):
        await lambda_.create()
        await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE")
        for operation in ("CreateFunctionUrlConfig", "UpdateFunctionUrlConfig"):
            cors = {"AllowMethods": ["GET", method]}
            code, message = await lambda_.refused(operation, FunctionName="fn", AuthType="NONE", Cors=cors)
            assert code == "InvalidParameterValueException"
            assert message.endswith("You can use GET, PUT, POST, DELETE, HEAD, PATCH, and the wildcard character (*).")

    on_a_platform(tmp_path, scenario)


def test_a_url_that_is_deleted_never_comes_back(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        first = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE")
        assert lambda_.service.catalogue.url(url_id(first)) is not None
        assert await lambda_("DeleteFunctionUrlConfig", FunctionName="fn") == {}
        assert await lambda_.refused("GetFunctionUrlConfig", FunctionName="fn") == NO_CONFIG
        assert lambda_.service.catalogue.url(url_id(first)) is None
        second = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE")
        assert url_id(first) != url_id(second)

    on_a_platform(tmp_path, scenario)


def test_urls_go_with_their_alias_and_their_function(tmp_path):
    async def scenario(lambda_):
        await with_alias(lambda_)
        own = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE")
        alias = await lambda_("CreateFunctionUrlConfig", FunctionName="fn:live", AuthType="NONE")
        find = lambda_.service.catalogue.url
        await lambda_("DeleteAlias", FunctionName="fn", Name="live")
        assert find(url_id(alias)) is None
        assert find(url_id(own)) is not None
        await lambda_("DeleteFunction", FunctionName="fn")
        assert find(url_id(own)) is None
        await lambda_.create()
        assert await lambda_("ListFunctionUrlConfigs", FunctionName="fn") == {"FunctionUrlConfigs": []}

    on_a_platform(tmp_path, scenario)


def test_urls_are_there_after_a_restart(tmp_path):
    made = {}

    async def before(lambda_):
        await lambda_.create()
        made.update(await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE", Cors=CORS))

    async def after(lambda_):
        assert lambda_.service.catalogue.url(url_id(made)).arn == ARN
        found = await lambda_("GetFunctionUrlConfig", FunctionName="fn")
        assert made.items() <= found.items()

    on_a_platform(tmp_path, before)
    on_a_platform(tmp_path, after)


@pytest.mark.parametrize(
    ("base_url", "shown"),
    [
        ("http://127.0.0.1:4566", "http://{id}.lambda-url.eu-west-1.localhost:4566/"),
        ("http://localhost:80", "http://{id}.lambda-url.eu-west-1.localhost:80/"),
        ("http://localhost", "http://{id}.lambda-url.eu-west-1.localhost/"),
        ("http://s3.localhost:4566", "http://{id}.lambda-url.eu-west-1.localhost:4566/"),
        ("http://[::1]:4566", "http://{id}.lambda-url.eu-west-1.localhost:4566/"),
        ("http://10.0.0.5:4566", "http://10.0.0.5:4566/_lambent/url/{id}/"),
        ("http://lambent.internal:9000", "http://lambent.internal:9000/_lambent/url/{id}/"),
    ],
)
def test_the_address_works_for_the_client_that_asked(tmp_path, base_url, shown):
    async def scenario(lambda_):
        await lambda_.create()
        made = await lambda_("CreateFunctionUrlConfig", FunctionName="fn", AuthType="NONE")
        caller = Caller(account=ACCOUNT, region=REGION, base_url=base_url)
        found = await lambda_("GetFunctionUrlConfig", FunctionName="fn", caller=caller)
        assert found["FunctionUrl"] == shown.format(id=url_id(made))

    on_a_platform(tmp_path, scenario)


def test_a_function_of_another_region_is_not_reachable(tmp_path):
    async def scenario(lambda_):
        other = f"arn:aws:lambda:us-west-2:{ACCOUNT}:function:fn"
        assert await lambda_.refused("GetFunctionUrlConfig", FunctionName=other, caller=CALLER) == (
            "ResourceNotFoundException",
            "Functions from 'us-west-2' are not reachable in this region ('eu-west-1')",
        )

    on_a_platform(tmp_path, scenario)
