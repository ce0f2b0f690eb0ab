"""STS through boto3: what it issues is known again."""

import json

import boto3

ROLE = "arn:aws:iam::444455556666:role/deployer"


def session_client(lambent, service, credentials, region="us-east-1"):
    return boto3.client(
        service,
        endpoint_url=lambent.endpoint,
        region_name=region,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


def test_the_access_key_is_the_account(lambent):
    identity = lambent.client("sts", access_key="123456789012").get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == ("123456789012", "arn:aws:iam::123456789012:root")


def test_a_session_acts_in_its_roles_account(lambent):
    issued = lambent.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="ci")["Credentials"]
    identity = session_client(lambent, "sts", issued).get_caller_identity()
    assert identity["Account"] == "444455556666"
    assert identity["Arn"] == "arn:aws:sts::444455556666:assumed-role/deployer/ci"
    session_client(lambent, "logs", issued).create_log_group(logGroupName="made-by-a-session")
    other = lambent.client("logs", access_key="444455556666")
    assert [group["logGroupName"] for group in other.describe_log_groups()["logGroups"]] == ["made-by-a-session"]
    forged = issued | {"SessionToken": issued["SessionToken"][:-8] + "AAAAAAA="}
    assert session_client(lambent, "sts", forged).get_caller_identity()["Account"] == "000000000000"


def test_a_stored_roles_id_is_in_its_sessions(lambent):
    iam, sts = lambent.client("iam"), lambent.client("sts")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    role = iam.create_role(RoleName="stored", AssumeRolePolicyDocument=document)["Role"]
    user = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me")["AssumedRoleUser"]
    assert user["AssumedRoleId"] == f"{role['RoleId']}:me"
    iam.delete_role(RoleName="stored")


def test_a_function_is_its_roles_session(lambent, make_function):
    source = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    identity = boto3.client('sts').get_caller_identity()\n"
        "    return [identity['Account'], identity['Arn']]\n"
    )
    name = make_function(source, Role=ROLE.replace("deployer", "service-role/worker"), Timeout=30)
    answer = lambent.client("lambda").invoke(FunctionName=name)
    expected = ["444455556666", f"arn:aws:sts::444455556666:assumed-role/worker/{name}"]
    assert json.loads(answer["Payload"].read()) == expected
