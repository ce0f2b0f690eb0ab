import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_platform import ACCOUNT, ARN, CALLER, REGION, ROLE, ZIP, platform

from lambent.aws.errors import ApiError
from lambent.services.lambda_.api.code_source import read_package
from lambent.services.lambda_.execution_role import check_role, trusts_lambda
from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"


@dataclass
class Elsewhere:
    """Another service that gives one answer, or refuses."""

    answer: object
    asked: list = field(default_factory=list)

    async def call(self, service, operation, params, *, caller):
        self.asked.append((service, operation, params, caller))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def read(service, **shape):
    return asyncio.run(read_package(service, CALLER, shape))


async def pieces(data):
    for start in range(0, len(data), 7):
        yield data[start : start + 7]


@given(st.binary(min_size=1), st.booleans())
def test_an_object_in_s3_is_the_package_whole_or_in_pieces(data, is_streamed):
    s3 = Elsewhere({"Body": pieces(data) if is_streamed else data})
    assert read(s3, S3Bucket="b", S3Key="k", S3ObjectVersion="v", S3ObjectStorageMode="COPY") == data
    assert s3.asked == [("s3", "GetObject", {"Bucket": "b", "Key": "k", "VersionId": "v"}, CALLER)]


@pytest.mark.parametrize(
    ("answer", "shape", "refusal"),
    [
        (
            ApiError("NoSuchKey", "The specified key does not exist."),
            {"S3Bucket": "b", "S3Key": "k"},
            (
                INVALID,
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. "
                "S3 Error Message: The specified key does not exist.",
            ),
        ),
        (
            {"Body": ZIP, "ContentLength": 262_144_001},
            {"S3Bucket": "b", "S3Key": "k"},
            (INVALID, "Unzipped size must be smaller than 262144000 bytes"),
        ),
        ({"Body": b""}, {"S3Bucket": "b", "S3Key": "k"}, (INVALID, "Uploaded file must be a non-empty zip")),
        (
            {"Body": ZIP},
            {"S3Bucket": "b", "S3Key": "k", "S3ObjectStorageMode": "REFERENCE"},
            ("NotImplemented", "S3ObjectStorageMode: Lambent does not run code straight from a bucket yet."),
        ),
        (
            {"Body": ZIP},
            {"S3Bucket": "b"},
            (INVALID, "S3Bucket and S3Key are both required when a package comes from Amazon S3."),
        ),
        ({"Body": ZIP}, {}, (INVALID, "Please provide a source for function code.")),
        (
            {"Body": ZIP},
            {"S3Bucket": "b", "S3Key": "k", "ZipFile": ZIP},
            (INVALID, "Please do not provide other FunctionCode parameters when providing a ZipFile."),
        ),
    ],
)
def test_what_is_no_package_is_refused(answer, shape, refusal):
    with pytest.raises(ApiError) as raised:
        read(Elsewhere(answer), **shape)
    assert (raised.value.code, raised.value.message) == refusal


def trust(principal, effect="Allow", action="sts:AssumeRole", **more):
    import json

    statement = {"Effect": effect, "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


LAMBDA = {"Service": "lambda.amazonaws.com"}
ACCOUNT_IS = {"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}
OTHER_ACCOUNT_IS = {"Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}


@pytest.mark.parametrize(
    ("document", "is_trusted"),
    [
        (trust(LAMBDA), True),
        (
            trust(
                {"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}, action=["sts:AssumeRole", "sts:TagSession"]
            ),
            True,
        ),
        (trust({"Service": "ec2.amazonaws.com"}), False),
        (trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), False),
        (trust(LAMBDA, action="sts:TagSession"), False),
        (trust(LAMBDA, effect="Deny"), False),
        (trust(LAMBDA, **ACCOUNT_IS), True),
        (trust(LAMBDA, **OTHER_ACCOUNT_IS), False),
        ("no policy", False),
    ],
)
def test_a_role_is_lambdas_when_its_trust_policy_says_so(document, is_trusted):
    assert trusts_lambda(document, ROLE, ARN) is is_trusted
    iam = Elsewhere({"Role": {"AssumeRolePolicyDocument": document}})
    role = ROLE.replace("role/", "role/a/path/")
    if is_trusted:
        asyncio.run(check_role(iam, CALLER, role, ARN))
    else:
        with pytest.raises(ApiError) as raised:
            asyncio.run(check_role(iam, CALLER, role, ARN))
        said = (raised.value.code, raised.value.message)
        assert said == (INVALID, "The role defined for the function cannot be assumed by Lambda.")
    ((service, operation, params, caller),) = iam.asked
    assert (service, operation, params, caller.account) == ("iam", "GetRole", {"RoleName": "lambda"}, ACCOUNT)


def test_a_role_that_does_not_exist_is_taken():
    asyncio.run(check_role(Elsewhere(ApiError("NoSuchEntity", "no")), CALLER, ROLE, ARN))
    with pytest.raises(ApiError):
        asyncio.run(check_role(Elsewhere(ApiError("ServiceUnavailable", "later")), CALLER, ROLE, ARN))


def test_the_key_of_a_packages_bucket_is_shown_with_the_code(tmp_path):
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"

    async def main(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create(Code={"ZipFile": ZIP, "SourceKMSKeyArn": key})
            assert (await lambda_("GetFunction", FunctionName="fn"))["Code"]["SourceKMSKeyArn"] == key
            await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=ZIP)
            assert "SourceKMSKeyArn" not in (await lambda_("GetFunction", FunctionName="fn"))["Code"]

    run(main)
