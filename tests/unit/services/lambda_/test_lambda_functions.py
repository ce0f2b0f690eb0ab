import base64
import hashlib
import re

import pytest
from lambda_platform import ACCOUNT, ARN, CALLER, OTHER_ZIP, REGION, ROLE, ZIP, platform

from lambent.aws.caller import Caller
from lambent.testing.loop import run

SHA256 = base64.b64encode(hashlib.sha256(ZIP).digest()).decode()
INVALID = "InvalidParameterValueException"


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await scenario(lambda_)

    run(main)


def test_a_created_function_has_the_documented_defaults(tmp_path):
    async def scenario(lambda_):
        answer = await lambda_.create(wait=False)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", answer.pop("LastModified"))
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.pop("RevisionId"))
        assert answer.pop("RuntimeVersionConfig")["RuntimeVersionArn"].startswith(f"arn:aws:lambda:{REGION}::runtime:")
        assert answer == {
            "FunctionName": "fn",
            "FunctionArn": ARN,
            "Runtime": "python3.13",
            "Role": ROLE,
            "Handler": "app.handler",
            "CodeSize": len(ZIP),
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "CodeSha256": SHA256,
            "Version": "$LATEST",
            "TracingConfig": {"Mode": "PassThrough"},
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/fn"},
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
        }

    on_a_platform(tmp_path, scenario)


def test_everything_that_is_set_is_shown_again(tmp_path):
    given = {
        "Description": "d",
        "Timeout": 900,
        "MemorySize": 10_240,
        "EphemeralStorage": {"Size": 10_240},
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
        "Environment": {"Variables": {"KEY": "value"}},
        "KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
        "TracingConfig": {"Mode": "Active"},
        "FileSystemConfigs": [{"Arn": "arn:aws:elasticfilesystem:…", "LocalMountPath": "/mnt/x"}],
        "Architectures": ["arm64"],
        "SnapStart": {"ApplyOn": "None"},
        "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/mine", "SystemLogLevel": "WARN"},
        "Tags": {"team": "a"},
    }

    async def scenario(lambda_):
        await lambda_.create(**given)
        answer = await lambda_("GetFunction", FunctionName="fn")
        assert answer["Tags"] == {"team": "a"}
        shown = answer["Configuration"]
        expected = given | {
            "VpcConfig": {**given["VpcConfig"], "VpcId": "", "Ipv6AllowedForDualStack": False},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {**given["LoggingConfig"], "ApplicationLogLevel": "INFO"},
        }
        del expected["Tags"]
        assert {member: shown[member] for member in expected} == expected
        assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
        assert not {"StateReason", "StateReasonCode", "LastUpdateStatusReason"} & shown.keys()

    on_a_platform(tmp_path, scenario, file_systems=(f"{given['FileSystemConfigs'][0]['Arn']}={tmp_path}",))


def test_a_function_is_found_again_after_a_restart_and_becomes_active_then(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock, runs=False) as lambda_:
            await lambda_.create(wait=False)
            assert (await lambda_("GetFunction", FunctionName="fn"))["Configuration"]["State"] == "Pending"

    async def second(clock):
        async with platform(tmp_path, clock) as lambda_:
            assert (await lambda_.settled())["State"] == "Active"
            assert (await lambda_("Invoke", FunctionName="fn"))["Payload"] == b'"done"'

    run(first)
    run(second)


def test_a_function_stays_pending_for_the_time_set(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(wait=False)
        started = lambda_.clock.now()
        await lambda_.settled()
        assert lambda_.clock.now() - started >= 40

    on_a_platform(tmp_path, scenario, pending_s=40.0)


def test_while_pending_nothing_else_is_possible(tmp_path):
    in_pending = (
        "ResourceConflictException",
        "The operation cannot be performed at this time. The function is currently in the following state: Pending",
    )

    async def scenario(lambda_):
        await lambda_.create(wait=False)
        assert await lambda_.refused("Invoke", FunctionName="fn") == in_pending
        assert await lambda_.refused("UpdateFunctionCode", FunctionName="fn", ZipFile=ZIP) == in_pending
        assert await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", Timeout=9) == in_pending
        assert await lambda_.refused("PublishVersion", FunctionName="fn") == in_pending

    on_a_platform(tmp_path, scenario, runs=False)


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        ("python3.10", "No interpreter for python3.10 on this machine."),
    ],
)
def test_a_runtime_that_cannot_run_here_fails_with_what_is_missing(tmp_path, runtime, reason):
    async def scenario(lambda_):
        await lambda_.create(Runtime=runtime)
        shown = await lambda_.settled()
        assert (shown["State"], shown["StateReasonCode"], shown["StateReason"]) == ("Failed", "InvalidRuntime", reason)
        assert (shown["LastUpdateStatus"], shown["LastUpdateStatusReasonCode"]) == ("Failed", "InvalidRuntime")
        code, message = await lambda_.refused("Invoke", FunctionName="fn")
        assert code == "ResourceConflictException"
        assert message == (
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: Failed ({reason})"
        )
        assert (await lambda_.update(Runtime="python3.13"))["State"] == "Active"
        assert (await lambda_("Invoke", FunctionName="fn"))["StatusCode"] == 200

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"Timeout": 901}, "Value '901' at 'timeout' failed to satisfy constraint"),
        ({"MemorySize": 10_241}, "Value '10241' at 'memorySize'"),
        ({"EphemeralStorage": {"Size": 10_241}}, "Value '10241' at 'ephemeralStorage.size'"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "Reserved keys used in this request: AWS_REGION"),
        ({"Environment": {"Variables": {"KEY": "x" * 4096}}}, "exceeded the 4KB limit"),
        (
            {"Runtime": "python3.7"},
            "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions.",
        ),
        ({"Runtime": "python3.11", "SnapStart": {"ApplyOn": "PublishedVersions"}}, "python3.11 is not supported for"),
        (
            {"SnapStart": {"ApplyOn": "PublishedVersions"}, "EphemeralStorage": {"Size": 513}},
            "EphemeralStorage is 513 MB; SnapStart enabled functions have at most 512 MB.",
        ),
        (
            {"FileSystemConfigs": [{"Arn": "arn:aws:elasticfilesystem:…", "LocalMountPath": "/mnt/x"}]},
            "Function must be configured to execute in a VPC to reference access point arn:aws:elasticfilesystem:….",
        ),
        (
            {"ImageConfig": {"Command": ["x"]}},
            "Please don't provide ImageConfig when the intended function PackageType is Zip.",
        ),
        ({"Code": {"ImageUri": "1" * 12 + ".dkr.ecr.eu-west-1.amazonaws.com/a:1"}}, "Please provide a source for"),
        ({"PublishTo": "LATEST_PUBLISHED"}, "PublishTo LATEST_PUBLISHED is supported only for functions with a"),
        ({"Handler": ""}, "Runtime and Handler are mandatory parameters"),
        ({"Code": {}}, "Please provide a source for function code."),
        ({"Code": {"ZipFile": b""}}, "Uploaded file must be a non-empty zip"),
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip uploaded file."),
        ({"Code": {"ZipFile": ZIP, "S3Bucket": "b"}}, "Please do not provide other FunctionCode parameters"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "SubnetIds and SecurityIds must coexist or be both empty list."),
        (
            {"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "INFO"}},
            "LogLevel is not supported when LogFormat",
        ),
        ({"Tags": {f"{n}": "" for n in range(51)}}, "Number of tags exceeds resource tag limit."),
        (
            {"Layers": [f"arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:l:1"]},
            f"Layer version arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:l:1 does not exist.",
        ),
        ({"Layers": ["arn:aws:lambda:us-east-1:1:layer:l:1"]}, "Layers are expected to be in region eu-west-1."),
        ({"Layers": [f"arn:aws:lambda:eu-west-1:1:layer:l{n}:1" for n in range(6)]}, "Cannot reference more than 5"),
        (
            {"Layers": ["arn:aws:lambda:eu-west-1:1:layer:l:1", "arn:aws:lambda:eu-west-1:1:layer:l:2"]},
            "Two different versions of the same layer",
        ),
    ],
)
def test_what_aws_refuses_is_refused_in_its_words(tmp_path, params, message):
    async def scenario(lambda_):
        members = {"Runtime": "python3.13", "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": ZIP}} | params
        code, said = await lambda_.refused("CreateFunction", FunctionName="fn", **members)
        assert (code, message in said) == (INVALID, True), said
        assert (await lambda_("ListFunctions"))["Functions"] == []

    on_a_platform(tmp_path, scenario, runs=False)


@pytest.mark.parametrize(
    "params",
    [
        {"DurableConfig": {"ExecutionTimeout": 60}},
        {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
        {"RuntimeConfig": {"RuntimeArn": "a", "RuntimeAlias": "b"}},
        {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": "a"}}},
        {"AcceleratorConfig": {"AcceleratorMemorySize": 16}},
    ],
)
def test_what_comes_later_says_so(tmp_path, params):
    async def scenario(lambda_):
        members = {"Runtime": "python3.13", "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": ZIP}} | params
        code, message = await lambda_.refused("CreateFunction", FunctionName="fn", **members)
        assert code == "NotImplemented"
        assert "Lambent does not support" in message

    on_a_platform(tmp_path, scenario, runs=False)


def test_retired_runtimes_are_taken_where_the_settings_say_so(tmp_path):
    async def scenario(lambda_):
        assert (await lambda_.create(Runtime="python3.8"))["Runtime"] == "python3.8"

    on_a_platform(tmp_path, scenario, runtimes_retired=True)


def test_a_function_name_is_taken_once(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        again = await lambda_.refused(
            "CreateFunction", FunctionName=ARN, Runtime="python3.13", Handler="a.b", Role=ROLE, Code={"ZipFile": ZIP}
        )
        assert again == ("ResourceConflictException", "Function already exist: fn")
        elsewhere = Caller(account=ACCOUNT, region="us-east-1")
        members = {"Runtime": "python3.13", "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": ZIP}}
        await lambda_("CreateFunction", caller=elsewhere, FunctionName="fn", **members)

    on_a_platform(tmp_path, scenario)


def test_names_of_other_regions_and_unequal_qualifiers_are_refused(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        assert await lambda_.refused("GetFunction", FunctionName=ARN.replace(REGION, "us-east-1")) == (
            "ResourceNotFoundException",
            "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')",
        )
        assert await lambda_.refused("GetFunction", FunctionName="fn:1", Qualifier="2") == (
            INVALID,
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
        assert await lambda_.refused("GetFunction", FunctionName="no", Qualifier="2") == (
            "ResourceNotFoundException",
            f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:no:2",
        )
        code, message = await lambda_.refused("GetFunction", FunctionName="f" * 65)
        assert (code, "Member must have length less than or equal to 64" in message) == (INVALID, True)
        latest = await lambda_("GetFunctionConfiguration", FunctionName="fn", Qualifier="$LATEST")
        assert latest["FunctionArn"] == f"{ARN}:$LATEST"

    on_a_platform(tmp_path, scenario)


def test_the_code_location_gives_exactly_the_package_for_ten_minutes(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        location = (await lambda_("GetFunction", FunctionName="fn"))["Code"]["Location"]
        assert location.startswith("http://127.0.0.1:4566/_lambent/code/")
        path, _, query = location.removeprefix("http://127.0.0.1:4566").partition("?")
        page = lambda_.service.code_page
        status, headers, body = await page(path, query)
        assert (status, dict(headers)["content-type"], body) == (200, "application/zip", ZIP)
        assert (await page(path, query.replace("Signature=", "Signature=0")))[0] == 403
        assert (await page(path.replace("code/", "code/../"), query))[0] == 403
        assert (await page(path, ""))[0] == 403
        expires = int(query.partition("Expires=")[2].partition("&")[0])
        assert expires - lambda_.clock.now() <= 600
        later = type(lambda_.clock)(read=lambda: expires + 1.0)
        lambda_.service.clock = later
        assert (await page(path, query))[0] == 403

    on_a_platform(tmp_path, scenario)


def test_functions_are_listed_in_pages_without_their_states(tmp_path):
    async def scenario(lambda_):
        for n in range(53):
            await lambda_.create(f"fn-{n:02d}", wait=False)
        first = await lambda_("ListFunctions", MaxItems=10_000)
        assert [each["FunctionName"] for each in first["Functions"]] == [f"fn-{n:02d}" for n in range(50)]
        assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & first["Functions"][0].keys()
        await lambda_("DeleteFunction", FunctionName="fn-49")
        rest = await lambda_("ListFunctions", Marker=first["NextMarker"])
        assert [each["FunctionName"] for each in rest["Functions"]] == ["fn-50", "fn-51", "fn-52"]
        assert "NextMarker" not in rest
        two = await lambda_("ListFunctions", MaxItems=2)
        assert len(two["Functions"]) == 2
        code, message = await lambda_.refused("ListFunctions", Marker="nonsense")
        assert (code, "nonsense" in message) == (INVALID, True)
        assert (await lambda_("ListFunctions", caller=Caller()))["Functions"] == []

    on_a_platform(tmp_path, scenario, runs=False)


def test_listing_all_versions_gives_each_with_its_arn(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Publish=True)
        await lambda_.create("gn")
        listed = (await lambda_("ListFunctions", FunctionVersion="ALL"))["Functions"]
        gn = ARN.replace(":fn", ":gn")
        assert [each["FunctionArn"] for each in listed] == [f"{ARN}:$LATEST", f"{ARN}:1", f"{gn}:$LATEST"]

    on_a_platform(tmp_path, scenario)


def test_a_deleted_function_is_gone_and_its_environments_are_let_go(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Publish=True)
        assert await lambda_("DeleteFunction", FunctionName="fn") == {"StatusCode": 204}
        not_found = ("ResourceNotFoundException", f"Function not found: {ARN}")
        assert await lambda_.refused("GetFunction", FunctionName="fn") == not_found
        assert await lambda_.refused("Invoke", FunctionName="fn") == not_found
        assert await lambda_.refused("DeleteFunction", FunctionName="fn") == not_found
        await lambda_.create()
        assert lambda_.engine.retired[-1][0] == ARN
        assert (ARN, frozenset()) in lambda_.engine.retired
        assert (await lambda_("ListVersionsByFunction", FunctionName="fn"))["Versions"][-1]["Version"] == "$LATEST"

    on_a_platform(tmp_path, scenario)


def test_a_version_is_deleted_unless_an_alias_needs_it(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Publish=True)
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
        delete = {"operation": "DeleteFunction", "FunctionName": "fn"}
        assert await lambda_.refused(**delete, Qualifier="1") == (
            "ResourceConflictException",
            "Unable to delete version because the following aliases reference it: [live]",
        )
        assert await lambda_.refused(**delete, Qualifier="$LATEST") == (
            INVALID,
            "$LATEST version cannot be deleted without deleting the function.",
        )
        assert await lambda_.refused(**delete, Qualifier="live") == (
            INVALID,
            "Deletion of aliases is not currently supported.",
        )
        await lambda_("DeleteAlias", FunctionName="fn", Name="live")
        assert (await lambda_(**delete, Qualifier="99"))["StatusCode"] == 204
        assert (await lambda_(**delete, Qualifier="1"))["StatusCode"] == 204
        assert (await lambda_.refused("GetFunction", FunctionName="fn:1"))[1] == f"Function not found: {ARN}:1"
        assert (await lambda_("GetFunction", FunctionName="fn"))["Configuration"]["State"] == "Active"

    on_a_platform(tmp_path, scenario)


def test_packages_that_no_function_uses_go_after_a_while(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        await lambda_.create("gn", Code={"ZipFile": OTHER_ZIP})
        digests = [hashlib.sha256(data).hexdigest() for data in (ZIP, OTHER_ZIP)]
        packages = lambda_.service.packages
        await lambda_("DeleteFunction", FunctionName="fn")
        await packages.collect(lambda_.service.catalogue.digests)
        assert all(packages.folder(digest).is_dir() for digest in digests)
        lambda_.service.packages._clock = type(lambda_.clock)(read=lambda: lambda_.clock.now() + 1_001)
        await packages.collect(lambda_.service.catalogue.digests)
        assert [packages.folder(digest).is_dir() for digest in digests] == [False, True]
        assert set(packages.blobs.digests()) == {digests[1]}

    on_a_platform(tmp_path, scenario)


def test_what_a_crash_left_goes_at_the_next_start(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock, runs=False) as lambda_:
            await lambda_.create(wait=False)
            await lambda_.service.packages.add(OTHER_ZIP)

    async def second(clock):
        unpacked = tmp_path / "lambda/unpacked"
        (unpacked / "an-earlier-boot" / "x").mkdir(parents=True)
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.settled()
            packages = lambda_.service.packages
            await packages.collect(lambda_.service.catalogue.digests, at_start=True)
            assert set(packages.blobs.digests()) == {hashlib.sha256(ZIP).hexdigest()}
            assert len(list(unpacked.iterdir())) == 1

    run(first)
    run(second)


def test_the_callers_account_is_the_functions(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        other = Caller(account="210987654321", region=REGION)
        assert (await lambda_.refused("GetFunction", caller=other, FunctionName="fn"))[0] == "ResourceNotFoundException"
        assert await lambda_("GetFunction", caller=other, FunctionName=ARN)
        assert CALLER.account in ARN

    on_a_platform(tmp_path, scenario)
