"""Whatever is asked, the answer is one of the model's shapes or an error that AWS knows: nothing else comes out.

Requests are generated from the service model, with values for the well-known members that often mean something here.
"""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kept_platform import KeptPlatform
from lambda_platform import ACCOUNT, ARN, CALLER, OTHER_ZIP, REGION, ROLE, ZIP

from lambent.aws.errors import UNMODELLED_STATUS, ApiError
from lambent.node import operations_there
from lambent.protocol import models
from lambent.protocol.validate import validate
from lambent.testing.strategies import likely_requests

OPERATIONS = operations_there()["lambda"]
MODEL = models.service("lambda")
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:shared"

NAMES = st.sampled_from(["fn", "fn", "fn", "other", "nobody", ARN, f"{ACCOUNT}:function:fn", f"{ARN}:live", "fn:1"])
VERSIONS = st.sampled_from(["$LATEST", "1", "2", "live", "nothing", "$LATEST.PUBLISHED"])
CODE = st.fixed_dictionaries({}, optional={"ZipFile": st.sampled_from([ZIP, OTHER_ZIP, b"", b"PK"])})
POLICY = st.sampled_from(
    [
        "{}",
        "[]",
        '{"Version": "2012-10-17", "Statement": []}',
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {"Effect": "Allow", "Principal": "*", "Action": "lambda:*", "Resource": ARN},
            }
        ),
    ]
)
LIKELY = {
    "Action": st.sampled_from(["lambda:InvokeFunction", "lambda:InvokeFunctionUrl", "lambda:GetLayerVersion"]),
    "Architectures": st.sampled_from([["x86_64"], ["arm64"]]),
    "Arn": st.sampled_from([f"{LAYER}:1", f"{LAYER}:9", ARN]),
    "AuthType": st.sampled_from(["NONE", "AWS_IAM"]),
    "Code": CODE,
    "Content": CODE,
    "Description": st.text(max_size=5),
    "FunctionName": NAMES,
    "FunctionVersion": VERSIONS,
    "Handler": st.just("app.handler"),
    "InvocationType": st.sampled_from(["RequestResponse", "Event", "DryRun"]),
    "LayerName": st.sampled_from(["shared", "shared", LAYER, "nobody"]),
    "Layers": st.lists(st.sampled_from([f"{LAYER}:1", f"{LAYER}:2", LAYER]), max_size=6),
    "Marker": st.sampled_from(["", "x", "fn", "MQ=="]),
    "MaxItems": st.integers(1, 60),
    "MaximumEventAgeInSeconds": st.integers(59, 21_601),
    "MaximumRetryAttempts": st.integers(0, 3),
    "MemorySize": st.integers(127, 10_241),
    "Name": st.sampled_from(["live", "live", "next", "1"]),
    "OrganizationId": st.just("o-1234567890"),
    "Payload": st.sampled_from([b"", b"{}", b"null", b"{", b'"\xff"']),
    "Policy": POLICY,
    "Principal": st.sampled_from(["s3.amazonaws.com", ACCOUNT, "*", f"arn:aws:iam::{ACCOUNT}:root"]),
    "ProvisionedConcurrentExecutions": st.integers(1, 200),
    "Qualifier": VERSIONS,
    "RecursiveLoop": st.sampled_from(["Allow", "Terminate"]),
    "ReservedConcurrentExecutions": st.integers(0, 1_001),
    "Resource": st.sampled_from([ARN, f"{ARN}:live", LAYER, "arn:aws:s3:::b"]),
    "ResourceArn": st.sampled_from([ARN, f"{ARN}:live", f"{ARN}:9", LAYER]),
    "RevisionId": st.just("0a1b2c3d-0000-4000-8000-000000000000"),
    "Role": st.just(ROLE),
    "RoutingConfig": st.fixed_dictionaries(
        {"AdditionalVersionWeights": st.dictionaries(st.sampled_from(["1", "2", "$LATEST"]), st.floats(0, 1))}
    ),
    "Runtime": st.sampled_from(["python3.13", "python3.10", "ruby3.4", "python2.7"]),
    "SourceAccount": st.just(ACCOUNT),
    "SourceArn": st.just("arn:aws:s3:::bucket"),
    "StatementId": st.sampled_from(["one", "two"]),
    "Timeout": st.integers(1, 901),
    "VersionNumber": st.integers(0, 3),
    "ZipFile": st.sampled_from([ZIP, OTHER_ZIP, b"PK"]),
}


class Asked(KeptPlatform):
    """Checks each answer."""

    async def furnish(self):
        """Something for the requests to find: a function with a version and an alias, and a layer."""
        there = {entry.function.key.name for entry in self.platform.service.catalogue.all()}
        if "fn" not in there:
            await self.platform.create()
            await self.platform("PublishVersion", FunctionName="fn")
            await self.platform("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
            if "PublishLayerVersion" in OPERATIONS:
                await self.platform("PublishLayerVersion", LayerName="shared", Content={"ZipFile": ZIP})

    async def ask(self, operation, params):
        await self.furnish()
        answer, refused = {}, None
        try:
            validate("lambda", operation, params)
            answer = await self.platform.service.operations()[operation](CALLER, params)
        except ApiError as error:
            refused = error
        if refused:
            assert MODEL.error(refused.code) or refused.code in UNMODELLED_STATUS
            assert refused.code not in ("ServiceException", "InternalFailure")
            assert refused.message
        output = MODEL.output(operation)
        answer.pop(":headers", None)  # those that no model has
        assert set(answer) <= (set(MODEL.members(output)) if output else set())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    one = Asked(tmp_path_factory.mktemp("any"), pending_s=0.0)
    yield one
    one.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_any_request_has_an_answer_that_aws_knows(kept, operation):
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(params=likely_requests("lambda", operation, LIKELY))
    def ask(params):
        kept.do(kept.ask(operation, params))

    ask()
