"""Resource policies through boto3, and a function's role at another function's URL."""

import json

import pytest
from botocore.exceptions import ClientError
from tests.node.lambda_.functions_on_a_node import call, create

ACCOUNT = "000000000000"
ECHO = "def handler(event, context): return event"
# Signs a request with the execution role's credentials and sends it to the URL that the event names.
CALLS = """
import os, urllib.error, urllib.request
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

def handler(event, context):
    signed = AWSRequest("GET", f"http://{event['host']}/orders")
    credentials = botocore.session.get_session().get_credentials()
    SigV4Auth(credentials, "lambda", os.environ["AWS_REGION"]).add_auth(signed)
    headers = {"Host": event["host"], **dict(signed.headers.items())}
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + "/orders", headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
"""
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


@pytest.fixture(scope="module")
def client(lambent):
    return lambent.client("lambda")


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def refusal(operation, **params):
    with pytest.raises(ClientError) as raised:
        operation(**params)
    error = raised.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def test_a_policy_statement_by_statement(client):
    name = create(client, ECHO)
    params = {"FunctionName": name, "StatementId": "s3", "Action": "lambda:InvokeFunction"}
    answer = client.add_permission(**params, Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::bucket")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    shown = client.get_policy(FunctionName=name)
    assert json.loads(shown["Policy"])["Statement"] == [json.loads(answer["Statement"])]
    status, code, message = refusal(client.add_permission, **params, Principal="s3.amazonaws.com")
    assert (status, code) == (409, "ResourceConflictException")
    assert message.startswith("The statement id (s3) provided already exists.")
    assert refusal(client.add_permission, **params, Principal="nobody") == (
        400,
        "InvalidParameterValueException",
        "The provided principal was invalid. Please check the principal and try again.",
    )
    status, code, message = refusal(client.remove_permission, FunctionName=name, StatementId="s3", RevisionId="another")
    assert (status, code) == (412, "PreconditionFailedException")
    assert "Call the GetPolicy API" in message
    removed = client.remove_permission(FunctionName=name, StatementId="s3", RevisionId=shown["RevisionId"])
    assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal(client.get_policy, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )


def test_a_policy_as_a_whole(client):
    name = create(client, ECHO)
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    statement = {"Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": arn}
    put = client.put_resource_policy(ResourceArn=arn, Policy=document(statement))
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 200
    shown = client.get_resource_policy(ResourceArn=arn)
    assert (shown["Policy"], shown["RevisionId"]) == (document(statement).replace(" ", ""), put["RevisionId"])
    stale = {"RevisionId": "00000000-0000-0000-0000-000000000000"}
    assert refusal(client.delete_resource_policy, ResourceArn=arn, **stale)[:2] == (412, "PreconditionFailedException")
    deleted = client.delete_resource_policy(ResourceArn=arn, RevisionId=put["RevisionId"])
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refusal(client.get_resource_policy, ResourceArn=arn)[:2] == (404, "ResourceNotFoundException")


def test_a_functions_role_is_what_another_functions_url_asks(client, lambent):
    iam = lambent.client("iam")
    role = iam.create_role(RoleName="url-caller", AssumeRolePolicyDocument=document(TRUST))["Role"]["Arn"]
    target = create(client, ECHO)
    url = client.create_function_url_config(FunctionName=target, AuthType="AWS_IAM")["FunctionUrl"]
    event = {"host": url.removeprefix("http://").removesuffix("/")}
    caller = create(client, CALLS, Role=role, Timeout=30)
    assert call(client, caller, event) == 403

    actions = ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]
    may = {"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:lambda:*:{ACCOUNT}:function:{target}"}
    iam.put_role_policy(RoleName="url-caller", PolicyName="may", PolicyDocument=document(may))
    assert call(client, caller, event) == 200

    one = may | {"Action": actions[1]}
    iam.put_role_policy(RoleName="url-caller", PolicyName="may", PolicyDocument=document(one))
    assert call(client, caller, event) == 403  # the function may be invoked, but not by its URL
    iam.put_role_policy(RoleName="url-caller", PolicyName="may", PolicyDocument=document(may))

    none = document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    bounds = iam.create_policy(PolicyName="bounds", PolicyDocument=none)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="url-caller", PermissionsBoundary=bounds)
    assert call(client, caller, event) == 403
    iam.delete_role_permissions_boundary(RoleName="url-caller")
    assert call(client, caller, event) == 200

    deny = {"Sid": "no", "Effect": "Deny", "Principal": {"AWS": role}, "Action": "lambda:*", "Resource": "*"}
    arn = client.get_function(FunctionName=target)["Configuration"]["FunctionArn"]
    client.put_resource_policy(ResourceArn=arn, Policy=document(deny))
    assert call(client, caller, event) == 403
