"""Which policies are whose: what the evaluator is given for a principal."""

import json

from lambent.aws.caller import Caller
from lambent.aws.policy import ANONYMOUS, Permissions, Principal
from lambent.services.iam.service import Iam
from lambent.store.database import Database
from lambent.store.schema import MAIN
from lambent.testing.loop import run

ACCOUNT = "123456789012"
CALLER = Caller(account=ACCOUNT, region="eu-west-1")
TRUST = json.dumps(
    {"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}}
)
SESSION = Principal.of_arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/Reader/app")
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
UNKNOWN = "arn:aws:iam::aws:policy/SomethingNobodyKnows"


def document(action):
    return {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}}


def test_a_sessions_permissions_are_its_roles(tmp_path):
    async def scenario(clock):
        async with Database.open(tmp_path / "main.db", metadata=MAIN, durable=False) as database:
            iam = Iam(database=database, clock=clock)

            async def do(operation, **params):
                return await iam.operations()[operation](CALLER, params)

            assert await iam.permissions(SESSION) == Permissions()  # a role that is not stored
            await do("CreateRole", RoleName="Reader", Path="/team/", AssumeRolePolicyDocument=TRUST)
            assert await iam.permissions(SESSION) == Permissions()

            one = json.dumps(document("s3:GetObject"))
            await do("PutRolePolicy", RoleName="Reader", PolicyName="inline", PolicyDocument=one)
            own = (await do("CreatePolicy", PolicyName="own", PolicyDocument=one))["Policy"]["Arn"]
            two = json.dumps(document("s3:PutObject"))
            await do("CreatePolicyVersion", PolicyArn=own, PolicyDocument=two, SetAsDefault=True)
            await do("CreatePolicyVersion", PolicyArn=own, PolicyDocument=one)
            for arn in (own, BASIC, UNKNOWN):
                await do("AttachRolePolicy", RoleName="Reader", PolicyArn=arn)
            permissions = await iam.permissions(SESSION)
            inline, attached, basic = permissions.identity
            assert (inline, attached) == (document("s3:GetObject"), document("s3:PutObject"))
            assert "logs:PutLogEvents" in basic["Statement"][0]["Action"]
            assert permissions.boundary is None

            await do("PutRolePermissionsBoundary", RoleName="Reader", PermissionsBoundary=own)
            assert (await iam.permissions(SESSION)).boundary == (document("s3:PutObject"),)
            await do("PutRolePermissionsBoundary", RoleName="Reader", PermissionsBoundary=UNKNOWN)
            assert (await iam.permissions(SESSION)).boundary == ()  # it bounds to nothing

            foreign = Principal.of_arn("arn:aws:sts::999999999999:assumed-role/Reader/app")
            for nobody in (ANONYMOUS, foreign, Principal.of_arn(f"arn:aws:iam::{ACCOUNT}:root")):
                assert await iam.permissions(nobody) == Permissions()

    run(scenario)
