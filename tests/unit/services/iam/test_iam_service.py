"""IAM's operations."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from msgspec.structs import replace

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Shape
from lambent.services.iam import documents
from lambent.services.iam.service import Iam
from lambent.store.database import Database
from lambent.store.schema import MAIN
from lambent.testing.loop import START, run

CALLER = Caller(account="123456789012", region="eu-west-1")
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
MAY = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def may_of(length: int) -> str:
    """A policy document that counts so many characters."""
    statement = {"Sid": "", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    bare = json.dumps({"Version": "2012-10-17", "Statement": statement})
    statement["Sid"] = "x" * (length - documents.length(bare))
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


class Client:
    def __init__(self, iam: Iam) -> None:
        self._operations = iam.operations()

    async def __call__(self, operation: str, caller: Caller = CALLER, **params: Any) -> Shape:
        return await self._operations[operation](caller, params)

    async def role(self, name: str = "worker", **params: Any) -> Shape:
        answer = await self("CreateRole", **{"RoleName": name, "AssumeRolePolicyDocument": TRUST} | params)
        role: Shape = answer["Role"]
        return role

    async def policy(self, name: str = "may", **params: Any) -> str:
        answer = await self("CreatePolicy", **{"PolicyName": name, "PolicyDocument": MAY} | params)
        return str(answer["Policy"]["Arn"])

    async def fails(self, code: str, message: str, operation: str, **params: Any) -> None:
        with pytest.raises(ApiError) as raised:
            await self(operation, **params)
        assert (raised.value.code, raised.value.message) == (code, message)


def with_iam(folder: Path, test: Callable[[Client], Awaitable[None]]) -> None:
    async def main(clock: Clock) -> None:
        async with Database.open(folder / "main.db", metadata=MAIN, durable=True) as database:
            await test(Client(Iam(database=database, clock=clock)))

    run(main)


def test_a_role_is_shown_as_aws_does(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        made = await iam.role(Path="/team/", Description="does it", Tags=[{"Key": "a", "Value": "1"}])
        assert made["Arn"] == "arn:aws:iam::123456789012:role/team/worker"
        assert len(made["RoleId"]) == 21
        assert made["RoleId"].startswith("AROA")
        role = (await iam("GetRole", RoleName="worker"))["Role"]
        assert role == made | {"RoleLastUsed": {}}
        assert role["MaxSessionDuration"] == 3600
        assert role["CreateDate"].timestamp() == START
        assert role["Tags"] == [{"Key": "a", "Value": "1"}]
        assert unquote(role["AssumeRolePolicyDocument"]) == TRUST
        (listed,) = (await iam("ListRoles"))["Roles"]
        assert set(role) - set(listed) == {"Tags", "RoleLastUsed"}

    with_iam(tmp_path, test)


def test_names_are_taken_once_in_an_account_whatever_their_case_and_region(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        await iam.role("Worker")
        await iam.fails(
            "EntityAlreadyExists",
            "Role with name worker already exists.",
            "CreateRole",
            RoleName="worker",
            AssumeRolePolicyDocument=TRUST,
        )
        elsewhere = await iam("GetRole", replace(CALLER, region="us-east-1"), RoleName="Worker")
        assert elsewhere["Role"]["RoleName"] == "Worker"
        with pytest.raises(ApiError, match="NoSuchEntity: The role with name Worker cannot be found"):
            await iam("GetRole", replace(CALLER, account="000000000000"), RoleName="Worker")

    with_iam(tmp_path, test)


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("GetRole", {}),
        ("DeleteRole", {}),
        ("UpdateRole", {"Description": "x"}),
        ("UpdateRoleDescription", {"Description": "x"}),
        ("UpdateAssumeRolePolicy", {"PolicyDocument": TRUST}),
        ("TagRole", {"Tags": []}),
        ("UntagRole", {"TagKeys": []}),
        ("ListRoleTags", {}),
        ("PutRolePolicy", {"PolicyName": "p", "PolicyDocument": MAY}),
        ("GetRolePolicy", {"PolicyName": "p"}),
        ("ListRolePolicies", {}),
        ("DeleteRolePolicy", {"PolicyName": "p"}),
        ("AttachRolePolicy", {"PolicyArn": BASIC}),
        ("DetachRolePolicy", {"PolicyArn": BASIC}),
        ("ListAttachedRolePolicies", {}),
        ("ListInstanceProfilesForRole", {}),
        ("PutRolePermissionsBoundary", {"PermissionsBoundary": BASIC}),
        ("DeleteRolePermissionsBoundary", {}),
    ],
)
def test_a_role_that_is_not_there_cannot_be_found(tmp_path: Path, operation: str, params: Shape) -> None:
    async def test(iam: Client) -> None:
        await iam.fails(
            "NoSuchEntity", "The role with name none cannot be found.", operation, RoleName="none", **params
        )

    with_iam(tmp_path, test)


def test_a_role_can_be_changed(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        await iam.role(Description="old")
        await iam("UpdateRole", RoleName="worker", MaxSessionDuration=7200)
        await iam("UpdateAssumeRolePolicy", RoleName="worker", PolicyDocument=TRUST.replace("lambda", "ec2"))
        answer = await iam("UpdateRoleDescription", RoleName="worker", Description="new")
        assert answer["Role"]["Description"] == "new"
        assert answer["Role"]["MaxSessionDuration"] == 7200
        assert "ec2.amazonaws.com" in unquote(answer["Role"]["AssumeRolePolicyDocument"])
        await iam("PutRolePermissionsBoundary", RoleName="worker", PermissionsBoundary=BASIC)
        role = (await iam("GetRole", RoleName="worker"))["Role"]
        assert role["PermissionsBoundary"] == {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": BASIC,
        }
        assert (await iam("GetPolicy", PolicyArn=BASIC))["Policy"]["PermissionsBoundaryUsageCount"] == 1
        await iam("DeleteRolePermissionsBoundary", RoleName="worker")
        assert "PermissionsBoundary" not in (await iam("GetRole", RoleName="worker"))["Role"]

    with_iam(tmp_path, test)


def test_roles_are_listed_by_name_and_path_in_pages(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        for n in range(5):
            await iam.role(f"r{4 - n}", Path="/even/" if n % 2 == 0 else "/odd/")
        first = await iam("ListRoles", MaxItems=2)
        assert [role["RoleName"] for role in first["Roles"]] == ["r0", "r1"]
        assert first["IsTruncated"] is True
        second = await iam("ListRoles", MaxItems=3, Marker=first["Marker"])
        assert [role["RoleName"] for role in second["Roles"]] == ["r2", "r3", "r4"]
        assert second["IsTruncated"] is False
        assert "Marker" not in second
        odd = await iam("ListRoles", PathPrefix="/odd/")
        assert [role["RoleName"] for role in odd["Roles"]] == ["r1", "r3"]
        for marker in ("x", "AAAA", "é"):
            await iam.fails("ValidationError", "Invalid Marker.", "ListRoles", Marker=marker)

    with_iam(tmp_path, test)


def test_a_role_in_use_cannot_be_deleted(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        role = {"RoleName": "worker"}
        await iam.role()
        await iam("CreateInstanceProfile", InstanceProfileName="p")
        await iam("AddRoleToInstanceProfile", InstanceProfileName="p", **role)
        await iam("PutRolePolicy", PolicyName="inline", PolicyDocument=MAY, **role)
        await iam("AttachRolePolicy", PolicyArn=BASIC, **role)
        steps: list[tuple[str, str, Shape]] = [
            (
                "must remove roles from instance profile first.",
                "RemoveRoleFromInstanceProfile",
                {"InstanceProfileName": "p"},
            ),
            ("must delete policies first.", "DeleteRolePolicy", {"PolicyName": "inline"}),
            ("must detach all policies first.", "DetachRolePolicy", {"PolicyArn": BASIC}),
        ]
        for message, remedy, params in steps:
            await iam.fails("DeleteConflict", f"Cannot delete entity, {message}", "DeleteRole", **role)
            await iam(remedy, **role, **params)
        await iam("DeleteRole", **role)
        await iam.fails("NoSuchEntity", "The role with name worker cannot be found.", "GetRole", **role)

    with_iam(tmp_path, test)


def test_inline_policies(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        await iam.role()
        for name in ("b", "a"):
            await iam("PutRolePolicy", RoleName="worker", PolicyName=name, PolicyDocument=MAY)
        await iam("PutRolePolicy", RoleName="worker", PolicyName="a", PolicyDocument=MAY.replace("s3", "sqs"))
        assert (await iam("ListRolePolicies", RoleName="worker"))["PolicyNames"] == ["a", "b"]
        got = await iam("GetRolePolicy", RoleName="worker", PolicyName="a")
        assert unquote(got.pop("PolicyDocument")) == MAY.replace("s3", "sqs")
        assert got == {"RoleName": "worker", "PolicyName": "a"}
        for operation in ("GetRolePolicy", "DeleteRolePolicy"):
            message = "The role policy with name c cannot be found."
            await iam.fails("NoSuchEntity", message, operation, RoleName="worker", PolicyName="c")

    with_iam(tmp_path, test)


def test_documents_have_quotas(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        await iam.role()
        inline = {"RoleName": "worker", "PolicyName": "b"}
        await iam("PutRolePolicy", RoleName="worker", PolicyName="a", PolicyDocument=may_of(240))
        await iam("PutRolePolicy", **inline, PolicyDocument=may_of(10_000) + " " * 100)
        message = "Maximum policy size of 10240 bytes exceeded for role worker"
        await iam.fails("LimitExceeded", message, "PutRolePolicy", **inline, PolicyDocument=may_of(10_001))
        await iam.policy(PolicyDocument=may_of(6144))
        message = "Cannot exceed quota for PolicySize: 6144"
        await iam.fails("LimitExceeded", message, "CreatePolicy", PolicyName="big", PolicyDocument=may_of(6145))
        service = "x" * (2048 - documents.length(TRUST) + len("lambda.amazonaws.com"))
        await iam(
            "UpdateAssumeRolePolicy", RoleName="worker", PolicyDocument=TRUST.replace("lambda.amazonaws.com", service)
        )
        message = "Cannot exceed quota for ACLSizePerRole: 2048"
        too_big = TRUST.replace("lambda.amazonaws.com", service + "x")
        await iam.fails("LimitExceeded", message, "UpdateAssumeRolePolicy", RoleName="worker", PolicyDocument=too_big)

    with_iam(tmp_path, test)


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ("CreateRole", "AssumeRolePolicyDocument"),
        ("UpdateAssumeRolePolicy", "PolicyDocument"),
        ("PutRolePolicy", "PolicyDocument"),
        ("CreatePolicy", "PolicyDocument"),
        ("CreatePolicyVersion", "PolicyDocument"),
    ],
)
def test_a_malformed_document_is_refused(tmp_path: Path, operation: str, member: str) -> None:
    async def test(iam: Client) -> None:
        with pytest.raises(ApiError, match="MalformedPolicyDocument"):
            await iam(operation, RoleName="worker", PolicyName="p", PolicyArn="arn:x", **{member: "{"})

    with_iam(tmp_path, test)


def test_managed_policies_are_attached(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        await iam.role()
        own = await iam.policy("own", Path="/team/")
        unknown = "arn:aws:iam::aws:policy/SomethingThatAwsAddedYesterday"
        for arn in (own, BASIC, unknown, own):
            await iam("AttachRolePolicy", RoleName="worker", PolicyArn=arn)
        listed = (await iam("ListAttachedRolePolicies", RoleName="worker"))["AttachedPolicies"]
        assert listed == [
            {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC},
            {"PolicyName": "SomethingThatAwsAddedYesterday", "PolicyArn": unknown},
            {"PolicyName": "own", "PolicyArn": own},
        ]
        of_team = await iam("ListAttachedRolePolicies", RoleName="worker", PathPrefix="/team/")
        assert [policy["PolicyName"] for policy in of_team["AttachedPolicies"]] == ["own"]
        assert (await iam("GetPolicy", PolicyArn=own))["Policy"]["AttachmentCount"] == 1
        entities = await iam("ListEntitiesForPolicy", PolicyArn=unknown)
        assert [role["RoleName"] for role in entities["PolicyRoles"]] == ["worker"]
        assert (await iam("ListEntitiesForPolicy", PolicyArn=own, EntityFilter="User"))["PolicyRoles"] == []
        conflict = "Cannot delete a policy attached to entities."
        await iam.fails("DeleteConflict", conflict, "DeletePolicy", PolicyArn=own)
        await iam("DetachRolePolicy", RoleName="worker", PolicyArn=own)
        await iam.fails(
            "NoSuchEntity", f"Policy {own} was not found.", "DetachRolePolicy", RoleName="worker", PolicyArn=own
        )
        await iam("DeletePolicy", PolicyArn=own)
        message = f"Policy {own} does not exist or is not attachable."
        await iam.fails("NoSuchEntity", message, "AttachRolePolicy", RoleName="worker", PolicyArn=own)
        await iam.fails("NoSuchEntity", f"Policy {unknown} was not found.", "GetPolicy", PolicyArn=unknown)
        bad = "arn:aws:s3:::a-bucket-of-mine"
        await iam.fails(
            "InvalidInput", f"ARN {bad} is not valid.", "AttachRolePolicy", RoleName="worker", PolicyArn=bad
        )

    with_iam(tmp_path, test)


def test_twenty_five_policies_can_be_attached(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        await iam.role()
        for n in range(25):
            await iam("AttachRolePolicy", RoleName="worker", PolicyArn=f"arn:aws:iam::aws:policy/P{n}")
        message = "Cannot exceed quota for PoliciesPerRole: 25"
        await iam.fails("LimitExceeded", message, "AttachRolePolicy", RoleName="worker", PolicyArn=BASIC)

    with_iam(tmp_path, test)


def test_a_policy_is_shown_as_aws_does(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        arn = await iam.policy(Path="/p/", Description="may", Tags=[{"Key": "a", "Value": "1"}])
        policy = (await iam("GetPolicy", PolicyArn=arn))["Policy"]
        assert policy.pop("PolicyId").startswith("ANPA")
        assert policy.pop("CreateDate") == policy.pop("UpdateDate")
        assert policy == {
            "PolicyName": "may",
            "Arn": "arn:aws:iam::123456789012:policy/p/may",
            "Path": "/p/",
            "DefaultVersionId": "v1",
            "AttachmentCount": 0,
            "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": True,
            "Description": "may",
            "Tags": [{"Key": "a", "Value": "1"}],
        }
        message = "A policy called MAY already exists. Duplicate names are not allowed."
        await iam.fails("EntityAlreadyExists", message, "CreatePolicy", PolicyName="MAY", PolicyDocument=MAY)
        other = arn.replace("/p/", "/")
        await iam.fails("NoSuchEntity", f"Policy {other} was not found.", "GetPolicy", PolicyArn=other)

    with_iam(tmp_path, test)


def test_policies_are_listed_by_scope_and_use(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        async def listed(**params: Any) -> list[str]:
            return [policy["PolicyName"] for policy in (await iam("ListPolicies", **params))["Policies"]]

        await iam.role(PermissionsBoundary=await iam.policy("bound"))
        await iam("AttachRolePolicy", RoleName="worker", PolicyArn=BASIC)
        await iam.policy("unused", Path="/p/")
        assert await listed(Scope="Local") == ["bound", "unused"]
        assert "AWSLambdaBasicExecutionRole" in await listed(Scope="AWS")
        assert "unused" not in await listed(Scope="AWS")
        assert await listed(OnlyAttached=True) == ["AWSLambdaBasicExecutionRole", "bound"]
        assert await listed(PolicyUsageFilter="PermissionsPolicy") == ["AWSLambdaBasicExecutionRole"]
        assert await listed(PolicyUsageFilter="PermissionsBoundary") == ["bound"]
        assert await listed(PathPrefix="/p/") == ["unused"]

    with_iam(tmp_path, test)


def test_a_policy_has_up_to_five_versions(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        arn = await iam.policy()

        async def version(**params: Any) -> Shape:
            answer = await iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=MAY, **params)
            shape: Shape = answer["PolicyVersion"]
            return shape

        async def default() -> str:
            return str((await iam("GetPolicy", PolicyArn=arn))["Policy"]["DefaultVersionId"])

        assert (await version())["IsDefaultVersion"] is False
        assert (await version(SetAsDefault=True))["VersionId"] == "v3"
        assert await default() == "v3"
        await version()
        await version()
        with pytest.raises(ApiError, match="LimitExceeded: A managed policy can have up to 5 versions"):
            await version()
        message = "Cannot delete the default version of a policy."
        await iam.fails("DeleteConflict", message, "DeletePolicyVersion", PolicyArn=arn, VersionId="v3")
        with pytest.raises(ApiError, match="DeleteConflict: This policy has more than one version"):
            await iam("DeletePolicy", PolicyArn=arn)
        await iam("DeletePolicyVersion", PolicyArn=arn, VersionId="v5")
        assert (await version())["VersionId"] == "v6"
        await iam("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v1")
        assert await default() == "v1"
        page = await iam("ListPolicyVersions", PolicyArn=arn, MaxItems=2)
        assert [each["VersionId"] for each in page["Versions"]] == ["v6", "v4"]
        rest = await iam("ListPolicyVersions", PolicyArn=arn, Marker=page["Marker"])
        assert [each["VersionId"] for each in rest["Versions"]] == ["v3", "v2", "v1"]
        for operation in ("GetPolicyVersion", "DeletePolicyVersion", "SetDefaultPolicyVersion"):
            message = f"Policy {arn} version v5 does not exist or is not attachable."
            await iam.fails("NoSuchEntity", message, operation, PolicyArn=arn, VersionId="v5")
        for number in (2, 3, 4, 6):
            await iam("DeletePolicyVersion", PolicyArn=arn, VersionId=f"v{number}")
        await iam("DeletePolicy", PolicyArn=arn)
        assert await iam.policy() == arn

    with_iam(tmp_path, test)


def test_a_known_policy_of_aws_can_be_read_but_not_changed(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        policy = (await iam("GetPolicy", PolicyArn=BASIC))["Policy"]
        assert (policy["Path"], policy["PolicyName"]) == ("/service-role/", "AWSLambdaBasicExecutionRole")
        version = await iam("GetPolicyVersion", PolicyArn=BASIC, VersionId=policy["DefaultVersionId"])
        document = json.loads(unquote(version["PolicyVersion"]["Document"]))
        assert document["Statement"][0]["Action"] == [
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ]
        await iam.fails("NoSuchEntity", f"Policy {BASIC} was not found.", "DeletePolicy", PolicyArn=BASIC)

    with_iam(tmp_path, test)


def test_an_instance_profile_holds_one_role(tmp_path: Path) -> None:
    async def test(iam: Client) -> None:
        await iam.role()
        await iam.role("other")
        named = {"InstanceProfileName": "machines"}
        made = (await iam("CreateInstanceProfile", **named, Path="/m/"))["InstanceProfile"]
        assert made["Arn"] == "arn:aws:iam::123456789012:instance-profile/m/machines"
        assert made["InstanceProfileId"].startswith("AIPA")
        assert made["Roles"] == []
        message = "Instance Profile machines already exists."
        await iam.fails("EntityAlreadyExists", message, "CreateInstanceProfile", **named)
        await iam("AddRoleToInstanceProfile", **named, RoleName="worker")
        message = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
        await iam.fails("LimitExceeded", message, "AddRoleToInstanceProfile", **named, RoleName="other")
        profile = (await iam("GetInstanceProfile", **named))["InstanceProfile"]
        assert [role["RoleName"] for role in profile["Roles"]] == ["worker"]
        for answer in (await iam("ListInstanceProfiles"), await iam("ListInstanceProfilesForRole", RoleName="worker")):
            assert answer["InstanceProfiles"] == [profile]
        assert (await iam("ListInstanceProfiles", PathPrefix="/n/"))["InstanceProfiles"] == []
        message = "Cannot delete entity, must remove roles from instance profile first."
        await iam.fails("DeleteConflict", message, "DeleteInstanceProfile", **named)
        message = "The role with name other cannot be found."
        await iam.fails("NoSuchEntity", message, "RemoveRoleFromInstanceProfile", **named, RoleName="other")
        await iam("RemoveRoleFromInstanceProfile", **named, RoleName="worker")
        await iam("DeleteInstanceProfile", **named)
        message = "Instance Profile machines cannot be found."
        await iam.fails("NoSuchEntity", message, "GetInstanceProfile", **named)

    with_iam(tmp_path, test)


@pytest.mark.parametrize("kind", ["Role", "Policy", "InstanceProfile"])
def test_tags_of_everything(tmp_path: Path, kind: str) -> None:
    async def test(iam: Client) -> None:
        await iam.role()
        await iam("CreateInstanceProfile", InstanceProfileName="p")
        named = {
            "Role": {"RoleName": "worker"},
            "Policy": {"PolicyArn": await iam.policy()},
            "InstanceProfile": {"InstanceProfileName": "p"},
        }[kind]
        await iam(f"Tag{kind}", **named, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
        await iam(f"Tag{kind}", **named, Tags=[{"Key": "A", "Value": "3"}])
        await iam(f"Untag{kind}", **named, TagKeys=["B", "none"])
        answer = await iam(f"List{kind}Tags", **named)
        assert answer == {"Tags": [{"Key": "A", "Value": "3"}], "IsTruncated": False}
        await iam(f"Tag{kind}", **named, Tags=[{"Key": str(n), "Value": ""} for n in range(49)])
        message = "The number of tags has reached the maximum limit."
        await iam.fails("LimitExceeded", message, f"Tag{kind}", **named, Tags=[{"Key": "51st", "Value": ""}])
        message = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        twice = [{"Key": "x", "Value": ""}, {"Key": "X", "Value": ""}]
        await iam.fails("InvalidInput", message, f"Tag{kind}", **named, Tags=twice)

    with_iam(tmp_path, test)
