"""Lambda's quotas as callers meet them: at the limit, and one past it."""

import pytest
from lambda_platform import ARN, ROLE, ZIP, platform

from lambent.aws import quotas
from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"


def on_a_platform(tmp_path, scenario):
    async def main(clock):
        async with platform(tmp_path, clock) as lambda_:
            await scenario(lambda_)

    run(main)


@pytest.mark.parametrize(
    ("member", "limit", "where"),
    [
        ("Timeout", quotas.TIMEOUT_S, "timeout"),
        ("MemorySize", quotas.MEMORY_MB, "memorySize"),
    ],
)
def test_numbers_of_a_configuration(tmp_path, member, limit, where):
    async def scenario(lambda_):
        wanted = f"failed to satisfy constraint: Member must have value less than or equal to {limit}"
        refusal = (INVALID, f"1 validation error detected: Value '{limit + 1}' at '{where}' {wanted}")
        new = {"FunctionName": "fn", "Runtime": "python3.13", "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": ZIP}}
        assert await lambda_.refused("CreateFunction", **new, **{member: limit + 1}) == refusal
        answer = await lambda_.create(**{member: limit})
        assert answer[member] == limit
        assert await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", **{member: limit + 1}) == refusal
        assert (await lambda_.update(**{member: limit}))[member] == limit

    on_a_platform(tmp_path, scenario)


def test_the_size_of_tmp(tmp_path):
    async def scenario(lambda_):
        most = {"Size": quotas.EPHEMERAL_MB}
        assert (await lambda_.create(EphemeralStorage=most))["EphemeralStorage"] == most
        code, message = await lambda_.refused(
            "UpdateFunctionConfiguration", FunctionName="fn", EphemeralStorage={"Size": quotas.EPHEMERAL_MB + 1}
        )
        assert code == INVALID
        assert message.endswith("Member must have value less than or equal to 10240")

    on_a_platform(tmp_path, scenario)


def test_fifty_tags(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Tags={f"tag-{number}": "x" for number in range(quotas.TAGS)})
        await lambda_("TagResource", Resource=ARN, Tags={"tag-0": "new"})
        code, _message = await lambda_.refused("TagResource", Resource=ARN, Tags={"one-more": "x"})
        assert code == INVALID
        assert len((await lambda_("ListTags", Resource=ARN))["Tags"]) == quotas.TAGS

    on_a_platform(tmp_path, scenario)


def test_five_layers(tmp_path):
    async def scenario(lambda_):
        layers = [
            (await lambda_("PublishLayerVersion", LayerName=f"layer-{number}", Content={"ZipFile": ZIP}))
            for number in range(quotas.LAYERS + 1)
        ]
        arns = [layer["LayerVersionArn"] for layer in layers]
        answer = await lambda_.create(Layers=arns[: quotas.LAYERS])
        assert [layer["Arn"] for layer in answer["Layers"]] == arns[: quotas.LAYERS]
        code, _message = await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", Layers=arns)
        assert code == INVALID

    on_a_platform(tmp_path, scenario)


def test_fifty_functions_on_a_page(tmp_path):
    async def scenario(lambda_):
        for number in range(quotas.LIST_PAGE + 1):
            await lambda_.create(f"fn-{number:03}", wait=False)
        first = await lambda_("ListFunctions", MaxItems=10_000)
        assert len(first["Functions"]) == quotas.LIST_PAGE
        rest = await lambda_("ListFunctions", Marker=first["NextMarker"])
        assert [each["FunctionName"] for each in rest["Functions"]] == ["fn-050"]
        assert "NextMarker" not in rest

    on_a_platform(tmp_path, scenario)


def test_the_account_knows_its_limits(tmp_path):
    async def scenario(lambda_):
        limit = (await lambda_("GetAccountSettings"))["AccountLimit"]
        assert limit["TotalCodeSize"] == quotas.TOTAL_CODE_BYTES
        assert limit["CodeSizeUnzipped"] == quotas.UNZIPPED_BYTES
        assert limit["CodeSizeZipped"] == quotas.ZIPPED_BYTES
        assert limit["ConcurrentExecutions"] == 1000

    on_a_platform(tmp_path, scenario)
