"""What every operation refuses alike: functions, layers and names that are not there, and names that cannot be."""

import pytest
from lambda_platform import ACCOUNT, ARN, REGION, ROLE, ZIP, platform

from lambent.node import operations_there
from lambent.protocol import models
from lambent.testing.loop import run

MODEL = models.service("lambda")
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:nothing"
# The least that an operation needs besides the function's name.
NEEDED = {
    "AddPermission": {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"},
    "CreateEventSourceMapping": {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
    "CreateAlias": {"Name": "live", "FunctionVersion": "1"},
    "CreateFunction": {"Role": ROLE, "Code": {"ZipFile": ZIP}, "Runtime": "python3.13", "Handler": "app.handler"},
    "CreateFunctionUrlConfig": {"AuthType": "NONE"},
    "DeleteAlias": {"Name": "live"},
    "DeleteProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "GetAlias": {"Name": "live"},
    "GetProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "InvokeAsync": {"InvokeArgs": b"{}"},
    "PutFunctionConcurrency": {"ReservedConcurrentExecutions": 1},
    "PutFunctionRecursionConfig": {"RecursiveLoop": "Allow"},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "UpdateFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "PutProvisionedConcurrencyConfig": {"Qualifier": "1", "ProvisionedConcurrentExecutions": 1},
    "PutRuntimeManagementConfig": {"UpdateRuntimeOn": "Auto"},
    "RemovePermission": {"StatementId": "s"},
    "UpdateAlias": {"Name": "live"},
    "UpdateEventSourceMapping": {"UUID": "00000000-0000-0000-0000-000000000000"},
    "UpdateFunctionCode": {"ZipFile": ZIP},
}
THE_SAME_IN_OTHER_WORDS = [  # AWS's own, which differ from part to part
    "Function does not exist",
    "The function doesn't exist.",
    "The resource you requested does not exist.",
]
TAGGED = "Tags on function aliases and versions are not supported. Please specify a function ARN."
NOT_A_FUNCTION = "'arn:aws:s3:::b' is not the name or ARN of a function."
# The names of what is not there, by member; the function's is what the tests are about.
ELSEWHERE = {
    "AddLayerVersionPermission": {
        "LayerName": "nothing",
        "VersionNumber": 1,
        "StatementId": "s",
        "Action": "lambda:GetLayerVersion",
        "Principal": "*",
    },
    "DeleteResourcePolicy": {"ResourceArn": ARN},
    "GetLayerVersion": {"LayerName": "nothing", "VersionNumber": 1},
    "GetLayerVersionByArn": {"Arn": f"{LAYER}:1"},
    "GetLayerVersionPolicy": {"LayerName": "nothing", "VersionNumber": 1},
    "GetResourcePolicy": {"ResourceArn": ARN},
    "ListTags": {"Resource": ARN},
    "PutResourcePolicy": {"ResourceArn": ARN, "Policy": "{}"},
    "RemoveLayerVersionPermission": {"LayerName": "nothing", "VersionNumber": 1, "StatementId": "s"},
    "TagResource": {"Resource": ARN, "Tags": {"a": "b"}},
    "UntagResource": {"Resource": ARN, "TagKeys": ["a"]},
}
CREATING = ("CreateFunction", "CreateEventSourceMapping", "UpdateEventSourceMapping")  # the mappings say it otherwise
# Operations on one function, which the model lets answer that it is not there.
OF_FUNCTIONS = sorted(
    operation
    for operation in operations_there()["lambda"]
    if MODEL.input(operation) and "FunctionName" in MODEL.input(operation).members
)


def refused(tmp_path, operation, **params):
    async def main(clock):
        async with platform(tmp_path, clock, runs=False) as lambda_:
            return await lambda_.refused(operation, **params)

    return run(main)


@pytest.mark.parametrize("operation", [name for name in OF_FUNCTIONS if name not in CREATING])
def test_a_function_that_is_not_there(tmp_path, operation):
    code, message = refused(tmp_path, operation, FunctionName="fn", **NEEDED.get(operation, {}))
    assert code == "ResourceNotFoundException"
    assert ARN in message or message in THE_SAME_IN_OTHER_WORDS


@pytest.mark.parametrize("operation", OF_FUNCTIONS)
def test_a_function_name_that_is_too_long(tmp_path, operation):
    code, message = refused(tmp_path, operation, FunctionName="f" * 65, **NEEDED.get(operation, {}))
    assert code == "InvalidParameterValueException"
    assert message == (
        f"1 validation error detected: Value '{'f' * 65}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )


@pytest.mark.parametrize("operation", sorted(ELSEWHERE))
def test_something_else_that_is_not_there(tmp_path, operation):
    code, _message = refused(tmp_path, operation, **ELSEWHERE[operation])
    assert code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("operation", "params", "message"),
    [
        ("ListLayers", {"Marker": "?"}, "Marker is '?'; use a NextMarker of ours."),
        ("ListLayerVersions", {"LayerName": "nothing", "Marker": "?"}, "Marker is '?'; use a NextMarker of ours."),
        ("UntagResource", {"Resource": f"{ARN}:live", "TagKeys": ["a"]}, TAGGED),
        ("GetResourcePolicy", {"ResourceArn": "arn:aws:s3:::b"}, NOT_A_FUNCTION),
        ("DeleteResourcePolicy", {"ResourceArn": "arn:aws:s3:::b"}, NOT_A_FUNCTION),
    ],
)
def test_what_cannot_be(tmp_path, operation, params, message):
    assert refused(tmp_path, operation, **params) == ("InvalidParameterValueException", message)
