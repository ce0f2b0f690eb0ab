import pytest
from lambda_platform import ARN, platform

from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await scenario(lambda_)

    run(main)


def test_each_version_has_its_own_mode_and_keeps_it(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            created = await lambda_.create(Publish=True)
            await lambda_.settled(qualifier="1")
            runtime = created["RuntimeVersionConfig"]["RuntimeVersionArn"]
            get, put = "GetRuntimeManagementConfig", "PutRuntimeManagementConfig"
            assert await lambda_(get, FunctionName="fn") == {"UpdateRuntimeOn": "Auto", "FunctionArn": ARN}
            manual = await lambda_(put, FunctionName="fn", UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime)
            assert manual == {"UpdateRuntimeOn": "Manual", "FunctionArn": ARN, "RuntimeVersionArn": runtime}
            of_one = await lambda_(put, FunctionName="fn", Qualifier="1", UpdateRuntimeOn="FunctionUpdate")
            assert of_one == {"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": f"{ARN}:1"}
            assert await lambda_(get, FunctionName="fn", Qualifier="$LATEST") == manual | {
                "FunctionArn": f"{ARN}:$LATEST"
            }

    async def second(clock):
        async with platform(tmp_path, clock) as lambda_:
            which = {"FunctionName": "fn", "Qualifier": "1"}
            assert (await lambda_("GetRuntimeManagementConfig", **which))["UpdateRuntimeOn"] == "FunctionUpdate"
            await lambda_("DeleteFunction", **which)
            assert await lambda_.refused("GetRuntimeManagementConfig", **which) == (
                "ResourceNotFoundException",
                f"Function not found: {ARN}:1",
            )
            assert (await lambda_("GetRuntimeManagementConfig", FunctionName="fn"))["UpdateRuntimeOn"] == "Manual"
            await lambda_("PutRuntimeManagementConfig", FunctionName="fn", UpdateRuntimeOn="Auto")
            assert "RuntimeVersionArn" not in await lambda_("GetRuntimeManagementConfig", FunctionName="fn")

    run(first)
    run(second)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"UpdateRuntimeOn": "Manual"}, "RuntimeVersionArn must be set when UpdateRuntimeOn is Manual."),
        (
            {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": "arn:aws:lambda:eu-west-1::runtime:x"},
            "RuntimeVersionArn must not be set when UpdateRuntimeOn is Auto.",
        ),
        (
            {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": "arn:aws:lambda:eu-west-1::runtime:x"},
            "Runtime version arn:aws:lambda:eu-west-1::runtime:x is not there for python3.13; this platform has ",
        ),
        (
            {"UpdateRuntimeOn": "Auto", "Qualifier": "live"},
            "Runtime management configurations are supported on $LATEST and published versions only.",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, params, message):
    async def scenario(lambda_):
        await lambda_.create()
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="$LATEST")
        code, said = await lambda_.refused("PutRuntimeManagementConfig", FunctionName="fn", **params)
        assert (code, said.startswith(message)) == (INVALID, True), said

    on_a_platform(tmp_path, scenario)


def test_not_while_the_function_is_being_updated(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        await lambda_("UpdateFunctionConfiguration", FunctionName="fn", Timeout=9)
        assert await lambda_.refused("PutRuntimeManagementConfig", FunctionName="fn", UpdateRuntimeOn="Auto") == (
            "ResourceConflictException",
            f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}",
        )

    on_a_platform(tmp_path, scenario)
