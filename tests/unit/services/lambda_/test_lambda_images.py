import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_platform import ACCOUNT, ARN, REGION, ROLE, ZIP, platform

from lambent.aws.errors import ApiError
from lambent.services.lambda_.images import read_image, resolved_uri
from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
TAGGED = f"{REGISTRY}/team/app:1.0"
DIGEST = "ab" * 32
PINNED = f"{REGISTRY}/team/app@sha256:{DIGEST}"
REASON = (
    "Lambent does not run container images yet: the function was checked and is kept, and cannot be invoked. "
    "Deploy the code as a .zip file archive."
)


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await scenario(lambda_)

    run(main)


def image(uri=TAGGED, **members):
    return {"FunctionName": "fn", "Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": uri}} | members


def test_an_image_is_kept_and_fails_with_the_reason(tmp_path):
    config = {"EntryPoint": ["/bin/e"], "Command": ["app.handler"], "WorkingDirectory": "/w"}

    async def scenario(lambda_):
        created = await lambda_("CreateFunction", **image(ImageConfig=config, Architectures=["arm64"]))
        absent = {"Runtime", "Handler", "CodeSha256", "RuntimeVersionConfig"}
        assert (created["PackageType"], created["CodeSize"], absent & created.keys()) == ("Image", 0, set())
        assert created["ImageConfigResponse"] == {"ImageConfig": config}
        assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
        shown = await lambda_.settled()
        assert (shown["State"], shown["StateReason"], shown["StateReasonCode"]) == ("Failed", REASON, "InvalidImage")
        assert (await lambda_("GetFunction", FunctionName="fn"))["Code"] == {
            "RepositoryType": "ECR",
            "ImageUri": TAGGED,
        }
        assert await lambda_.refused("Invoke", FunctionName="fn") == (
            "ResourceConflictException",
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: Failed ({REASON})",
        )
        await lambda_("UpdateFunctionCode", FunctionName="fn", ImageUri=PINNED)
        shown = await lambda_.settled()
        assert (shown["State"], shown["CodeSha256"], shown["Architectures"]) == ("Failed", DIGEST, ["arm64"])
        assert (await lambda_("GetFunction", FunctionName="fn"))["Code"]["ResolvedImageUri"] == PINNED
        assert "ImageConfigResponse" not in await lambda_.update(ImageConfig={})
        assert (await lambda_.update(Timeout=9))["Timeout"] == 9
        await lambda_("DeleteFunction", FunctionName="fn")

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    "params",
    [
        {"Handler": "app.handler"},
        {"Runtime": "python3.13"},
        {"Layers": [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1"]},
    ],
)
def test_an_image_has_no_handler_runtime_or_layers(tmp_path, params):
    wrong = (
        INVALID,
        "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
    )

    async def scenario(lambda_):
        assert await lambda_.refused("CreateFunction", **image(), **params) == wrong
        await lambda_("CreateFunction", **image())
        await lambda_.settled()
        assert await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", **params) == wrong

    on_a_platform(tmp_path, scenario)


def test_the_package_type_stays(tmp_path):
    async def scenario(lambda_):
        await lambda_("CreateFunction", **image())
        await lambda_.settled()
        assert await lambda_.refused("UpdateFunctionCode", FunctionName="fn", ZipFile=ZIP) == (
            INVALID,
            "Please provide ImageUri when updating a function with packageType Image.",
        )
        await lambda_.create("zip")
        assert await lambda_.refused("UpdateFunctionCode", FunctionName="zip", ImageUri=TAGGED) == (
            INVALID,
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        )
        assert await lambda_.refused(
            "UpdateFunctionConfiguration", FunctionName="zip", ImageConfig={"Command": ["a"]}
        ) == (
            INVALID,
            "Please don't provide ImageConfig when the intended function PackageType is Zip.",
        )
        snap = {"SnapStart": {"ApplyOn": "PublishedVersions"}}
        assert await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", **snap) == (
            INVALID,
            "SnapStart is not supported for functions with packageType Image.",
        )

    on_a_platform(tmp_path, scenario)


def test_image_settings_of_16_kb_fit_and_one_byte_more_does_not(tmp_path):
    def config(size):
        return {"Command": ["x" * (size - len(json.dumps({"Command": [""]}, separators=(",", ":"))))]}

    async def scenario(lambda_):
        wrong = (INVALID, "ImageConfig is 16385 bytes; Lambda allows 16384 bytes.")
        assert await lambda_.refused("CreateFunction", **image(ImageConfig=config(16_385))) == wrong
        await lambda_("CreateFunction", **image(ImageConfig=config(16_384)))

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    "uri",
    [
        TAGGED,
        PINNED,
        f"{REGISTRY}/app:1@sha256:{DIGEST}",
        f"{ACCOUNT}.dkr.ecr-fips.{REGION}.amazonaws.com/app:latest",
        f"{ACCOUNT}.dkr.ecr.{REGION}.localhost:4566/app:latest",
    ],
)
def test_an_image_of_a_registry_is_taken(uri):
    assert read_image(uri, REGION).image_uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "app:1",
        "public.ecr.aws/lambda/python:3.13",
        f"{REGISTRY}/app",
        f"{REGISTRY}/App:1",
        f"{REGISTRY}/app:1@sha256:abc",
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/app:1",
        f"{REGISTRY}/app:1\n",
        f"{REGISTRY}/{'a' * 2048}:1",
    ],
)
def test_anything_else_is_no_image(uri):
    with pytest.raises(ApiError) as raised:
        read_image(uri, REGION)
    said = f"Source image {uri} is not valid. Provide a valid source image."
    assert (raised.value.code, raised.value.message) == (INVALID, said)


@given(st.text() | st.from_regex(r"[0-9]{12}\.dkr\.ecr\.eu-west-1\.amazonaws\.com/[a-z./:@-]*", fullmatch=True))
def test_any_text_is_an_image_or_refused(text):
    code = image_or_code(text)
    if code != INVALID:
        assert (code.image_uri, code.digest, code.sha256) == (text, "", text.partition("@sha256:")[2])
        assert (resolved_uri(text) is None) == ("@" not in text)


def image_or_code(uri):
    """The image, or the code of the refusal."""
    try:
        return read_image(uri, REGION)
    except ApiError as error:
        return error.code


def test_a_tag_is_no_part_of_the_resolved_address():
    assert resolved_uri(f"{REGISTRY}/team/app:1.0@sha256:{DIGEST}") == PINNED
    assert resolved_uri(f"h:4566/app:1@sha256:{DIGEST}") == f"h:4566/app@sha256:{DIGEST}"
    assert resolved_uri(TAGGED) is None


def test_an_images_version_is_published_once(tmp_path):
    async def scenario(lambda_):
        await lambda_("CreateFunction", **image(), Publish=True)
        assert (await lambda_.settled(qualifier="1"))["State"] == "Failed"
        await lambda_.settled()
        assert (await lambda_("PublishVersion", FunctionName="fn"))["FunctionArn"] == f"{ARN}:1"
        await lambda_("UpdateFunctionCode", FunctionName="fn", ImageUri=PINNED)
        await lambda_.settled()
        assert (await lambda_("PublishVersion", FunctionName="fn"))["FunctionArn"] == f"{ARN}:2"

    on_a_platform(tmp_path, scenario)
