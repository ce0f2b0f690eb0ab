"""IAM through boto3: the query protocol, waiters and paginators."""

import json

import pytest

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
MAY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


@pytest.fixture
def iam(lambent):
    return lambent.client("iam")


def test_what_a_deployment_tool_does_around_a_function(iam):
    role = iam.create_role(
        RoleName="tool-role", AssumeRolePolicyDocument=json.dumps(TRUST), Tags=[{"Key": "a", "Value": "1"}]
    )["Role"]
    assert role["AssumeRolePolicyDocument"] == TRUST
    iam.get_waiter("role_exists").wait(RoleName="tool-role", WaiterConfig={"Delay": 1, "MaxAttempts": 1})
    policy = iam.create_policy(PolicyName="tool-policy", PolicyDocument=json.dumps(MAY))["Policy"]
    iam.get_waiter("policy_exists").wait(PolicyArn=policy["Arn"], WaiterConfig={"Delay": 1, "MaxAttempts": 1})
    for arn in (policy["Arn"], BASIC):
        iam.attach_role_policy(RoleName="tool-role", PolicyArn=arn)
    iam.put_role_policy(RoleName="tool-role", PolicyName="inline", PolicyDocument=json.dumps(MAY))
    assert iam.get_role_policy(RoleName="tool-role", PolicyName="inline")["PolicyDocument"] == MAY
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId="v1")["PolicyVersion"]
    assert version["Document"] == MAY
    pages = iam.get_paginator("list_attached_role_policies").paginate(
        RoleName="tool-role", PaginationConfig={"PageSize": 1}
    )
    assert [each["PolicyArn"] for page in pages for each in page["AttachedPolicies"]] == [BASIC, policy["Arn"]]
    with pytest.raises(iam.exceptions.DeleteConflictException, match="must delete policies first"):
        iam.delete_role(RoleName="tool-role")
    iam.delete_role_policy(RoleName="tool-role", PolicyName="inline")
    for arn in (policy["Arn"], BASIC):
        iam.detach_role_policy(RoleName="tool-role", PolicyArn=arn)
    iam.delete_policy(PolicyArn=policy["Arn"])
    iam.delete_role(RoleName="tool-role")
    with pytest.raises(iam.exceptions.NoSuchEntityException) as raised:
        iam.get_role(RoleName="tool-role")
    assert raised.value.response["Error"]["Message"] == "The role with name tool-role cannot be found."
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_role_is_the_same_in_every_region(lambent, iam):
    made = iam.create_role(RoleName="global-role", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    elsewhere = lambent.client("iam", region="eu-west-1").get_role(RoleName="global-role")["Role"]
    assert elsewhere["RoleId"] == made["RoleId"]
    other = lambent.client("iam", access_key="111122223333")
    assert "global-role" not in [role["RoleName"] for role in other.list_roles()["Roles"]]
    iam.delete_role(RoleName="global-role")


def test_an_instance_profile_through_the_query_protocol(iam):
    iam.create_role(RoleName="machine", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_instance_profile(InstanceProfileName="machines")
    iam.add_role_to_instance_profile(InstanceProfileName="machines", RoleName="machine")
    (profile,) = iam.list_instance_profiles_for_role(RoleName="machine")["InstanceProfiles"]
    assert profile["Roles"][0]["RoleName"] == "machine"
    iam.remove_role_from_instance_profile(InstanceProfileName="machines", RoleName="machine")
    iam.delete_instance_profile(InstanceProfileName="machines")
    iam.delete_role(RoleName="machine")


@pytest.mark.parametrize("document", ["{", json.dumps(MAY)])
def test_a_malformed_document_is_told(iam, document):
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_role(RoleName="bad", AssumeRolePolicyDocument=document)
