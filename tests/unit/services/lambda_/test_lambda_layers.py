import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_platform import ACCOUNT, ARN, CALLER, OTHER_ZIP, REGION, ZIP, make_zip, platform

from lambent.aws.caller import Caller
from lambent.services.lambda_.layers.model import Grant, LayerKey, LayerVersion, may_use, parse_arn
from lambent.services.lambda_.model import Code
from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"
NOT_THERE = ("ResourceNotFoundException", "The resource you requested does not exist.")
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l"
OTHER = Caller(account="999999999999", region=REGION, principal="arn:aws:iam::999999999999:root")
CONTENT = {"ZipFile": ZIP}


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await scenario(lambda_)

    run(main)


def numbers(answer):
    return [each["Version"] for each in answer["LayerVersions"]]


def test_a_version_is_published_with_what_was_said_of_it(tmp_path):
    async def scenario(lambda_):
        answer = await lambda_(
            "PublishLayerVersion",
            LayerName="l",
            Content=CONTENT,
            Description="d",
            LicenseInfo="MIT",
            CompatibleRuntimes=["python3.13", "python3.12"],
            CompatibleArchitectures=["arm64"],
        )
        content = answer["Content"]
        assert content.pop("Location").startswith("http://127.0.0.1:4566/_lambent/code/")
        assert content == {"CodeSha256": (await lambda_.create())["CodeSha256"], "CodeSize": len(ZIP)}
        shown = {name: value for name, value in answer.items() if name not in ("Content", "CreatedDate")}
        assert shown == {
            "LayerArn": LAYER,
            "LayerVersionArn": f"{LAYER}:1",
            "Version": 1,
            "Description": "d",
            "LicenseInfo": "MIT",
            "CompatibleRuntimes": ["python3.13", "python3.12"],
            "CompatibleArchitectures": ["arm64"],
        }
        assert answer["CreatedDate"].endswith("+0000")
        found = await lambda_("GetLayerVersion", LayerName=LAYER, VersionNumber=1)
        assert found | {"Content": None} == answer | {"Content": None}
        assert (await lambda_("GetLayerVersionByArn", Arn=f"{LAYER}:1"))["Content"].keys() == found["Content"].keys()

    on_a_platform(tmp_path, scenario)


def test_what_was_not_said_is_left_out_but_for_the_description(tmp_path):
    async def scenario(lambda_):
        answer = await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
        wanted = ["Content", "LayerArn", "LayerVersionArn", "Version", "Description", "CreatedDate"]
        assert (list(answer), answer["Description"]) == (wanted, "")

    on_a_platform(tmp_path, scenario)


def test_numbers_are_never_used_again_also_after_a_restart(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            for _ in range(3):
                await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
            for number in (2, 3, 3, 7):
                assert await lambda_("DeleteLayerVersion", LayerName="l", VersionNumber=number) == {}
            assert numbers(await lambda_("ListLayerVersions", LayerName="l")) == [1]
            await lambda_("DeleteLayerVersion", LayerName="l", VersionNumber=1)
            assert await lambda_("ListLayers") == {"Layers": []}
            assert await lambda_("ListLayerVersions", LayerName="l") == {"LayerVersions": []}

    async def second(clock):
        async with platform(tmp_path, clock) as lambda_:
            assert (await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT))["Version"] == 4
            assert numbers(await lambda_("ListLayerVersions", LayerName="l")) == [4]

    run(first)
    run(second)


def test_lists_are_newest_first_in_pages_and_by_what_fits(tmp_path):
    async def scenario(lambda_):
        for number in range(1, 8):
            runtimes = {"CompatibleRuntimes": ["python3.13"]} if number % 2 else {}
            architectures = {"CompatibleArchitectures": ["arm64"]} if number < 4 else {}
            await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT, **runtimes, **architectures)
        await lambda_("PublishLayerVersion", LayerName="k", Content=CONTENT)
        seen, marker = [], None
        while True:
            page = await lambda_(
                "ListLayerVersions", LayerName="l", MaxItems=3, **({"Marker": marker} if marker else {})
            )
            seen.append(numbers(page))
            marker = page.get("NextMarker")
            if marker is None:
                break
        assert seen == [[7, 6, 5], [4, 3, 2], [1]]
        fitting = {"CompatibleRuntime": "python3.13", "CompatibleArchitecture": "arm64"}
        assert numbers(await lambda_("ListLayerVersions", LayerName="l", **fitting)) == [3, 1]
        layers = (await lambda_("ListLayers"))["Layers"]
        assert [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in layers] == [
            ("k", 1),
            ("l", 7),
        ]
        assert list(layers[0]) == ["LayerName", "LayerArn", "LatestMatchingVersion"]
        (layer,) = (await lambda_("ListLayers", **fitting))["Layers"]
        assert (layer["LayerArn"], layer["LatestMatchingVersion"]["Version"]) == (LAYER, 3)
        page = await lambda_("ListLayers", MaxItems=1)
        assert [layer["LayerName"] for layer in page["Layers"]] == ["k"]
        page = await lambda_("ListLayers", MaxItems=1, Marker=page["NextMarker"])
        assert ([layer["LayerName"] for layer in page["Layers"]], "NextMarker" in page) == (["l"], False)

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("operation", "params", "refusal"),
    [
        ("GetLayerVersion", {"LayerName": "l", "VersionNumber": 2}, NOT_THERE),
        ("GetLayerVersion", {"LayerName": "l", "VersionNumber": 0}, (INVALID, "Layer Version Cannot be less than 1")),
        (
            "DeleteLayerVersion",
            {"LayerName": "l", "VersionNumber": -1},
            (INVALID, "Layer Version Cannot be less than 1"),
        ),
        ("GetLayerVersionByArn", {"Arn": f"{LAYER}:2"}, NOT_THERE),
        ("GetLayerVersionByArn", {"Arn": f"{LAYER}:1".replace(REGION, "us-east-1")}, NOT_THERE),
        ("GetLayerVersionByArn", {"Arn": "arn:aws:lambda:::awslayer:some"}, NOT_THERE),
        (
            "PublishLayerVersion",
            {"LayerName": "l", "Content": {"ZipFile": b"no"}},
            (INVALID, "Could not unzip uploaded file. Please check your file, then try to upload again."),
        ),
        (
            "PublishLayerVersion",
            {"LayerName": LAYER.replace(ACCOUNT, "999999999999"), "Content": CONTENT},
            (
                "AccessDeniedException",
                f"User: {CALLER.principal} is not authorized to perform: lambda:PublishLayerVersion on resource: "
                f"{LAYER.replace(ACCOUNT, '999999999999')} because no resource-based policy allows the "
                "lambda:PublishLayerVersion action",
            ),
        ),
        (
            "GetLayerVersionPolicy",
            {"LayerName": "l", "VersionNumber": 1},
            ("ResourceNotFoundException", "No policy is associated with the given resource."),
        ),
        (
            "GetLayerVersionPolicy",
            {"LayerName": "l", "VersionNumber": 2},
            ("ResourceNotFoundException", f"Layer version {LAYER}:2 does not exist."),
        ),
        (
            "RemoveLayerVersionPermission",
            {"LayerName": "l", "VersionNumber": 1, "StatementId": "s"},
            ("ResourceNotFoundException", "Statement s is not found in resource policy."),
        ),
    ],
)
def test_what_is_refused_is_refused_in_aws_words(tmp_path, operation, params, refusal):
    async def scenario(lambda_):
        await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
        assert await lambda_.refused(operation, **params) == refusal

    on_a_platform(tmp_path, scenario, runs=False)


def test_a_policy_grows_and_shrinks_by_statements(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
        which = {"LayerName": "l", "VersionNumber": 1}
        get = {**which, "Action": "lambda:GetLayerVersion"}
        first = await lambda_("AddLayerVersionPermission", **get, StatementId="a", Principal="999999999999")
        assert json.loads(first["Statement"]) == {
            "Sid": "a",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
            "Action": "lambda:GetLayerVersion",
            "Resource": f"{LAYER}:1",
        }
        taken = (
            "ResourceConflictException",
            "The statement id (a) provided already exists. "
            "Please provide a new statement id, or remove the existing statement.",
        )
        assert await lambda_.refused("AddLayerVersionPermission", **get, StatementId="a", Principal="*") == taken
        second = await lambda_(
            "AddLayerVersionPermission",
            **get,
            StatementId="b",
            Principal="*",
            OrganizationId="o-0123456789",
            RevisionId=first["RevisionId"],
        )
        assert json.loads(second["Statement"])["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}
        found = await lambda_("GetLayerVersionPolicy", **which)
        document = json.loads(found["Policy"])
        assert (document["Version"], document["Id"], len(document["Statement"])) == ("2012-10-17", "default", 2)
        assert found["RevisionId"] == second["RevisionId"] != first["RevisionId"]
        stale = (
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetLayerPolicy API to retrieve the latest Revision Id",
        )
        old = {"RevisionId": first["RevisionId"]}
        assert await lambda_.refused("AddLayerVersionPermission", **get, StatementId="c", Principal="*", **old) == stale
        assert await lambda_.refused("RemoveLayerVersionPermission", **which, StatementId="a", **old) == stale
        for sid in ("a", "b"):
            await lambda_("RemoveLayerVersionPermission", **which, StatementId=sid)
        code, _ = await lambda_.refused("GetLayerVersionPolicy", **which)
        assert code == "ResourceNotFoundException"

    on_a_platform(tmp_path, scenario)


def test_a_policy_of_20_kb_fits_and_one_byte_more_does_not(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
        which = {"LayerName": "l", "VersionNumber": 1, "Action": "lambda:GetLayerVersion", "Principal": "*"}
        empty = len(b'{"Version":"2012-10-17","Id":"default","Statement":[]}')
        answer = await lambda_("AddLayerVersionPermission", **which, StatementId="000")
        each = len(answer["Statement"]) + 1
        room = 20_480 - empty + 1
        for number in range(1, room // each - 1):
            await lambda_("AddLayerVersionPermission", **which, StatementId=f"{number:03}")
        left = room - each * (room // each - 1) - (each - 3)
        too_long = await lambda_.refused("AddLayerVersionPermission", **which, StatementId="x" * (left + 1))
        assert too_long == (
            "PolicyLengthExceededException",
            "The final policy size (20481) is bigger than the limit (20480).",
        )
        await lambda_("AddLayerVersionPermission", **which, StatementId="x" * left)
        policy = (await lambda_("GetLayerVersionPolicy", LayerName="l", VersionNumber=1))["Policy"]
        assert len(policy) == 20_480

    on_a_platform(tmp_path, scenario)


def test_another_account_needs_the_layers_permission(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
        members = {"Runtime": "python3.13", "Handler": "a.b", "Role": ROLE_OF_OTHER, "Code": CONTENT}
        use = {"FunctionName": "theirs", **members, "Layers": [f"{LAYER}:1"]}
        denied = (
            "AccessDeniedException",
            "User: arn:aws:iam::999999999999:root is not authorized to perform: lambda:GetLayerVersion on resource: "
            f"{LAYER}:1 because no resource-based policy allows the lambda:GetLayerVersion action",
        )
        assert await lambda_.refused("CreateFunction", caller=OTHER, **use) == denied
        assert await lambda_.refused("GetLayerVersionByArn", caller=OTHER, Arn=f"{LAYER}:1") == denied
        nowhere = await lambda_.refused("CreateFunction", caller=OTHER, **use | {"Layers": [f"{LAYER}:9"]})
        assert nowhere == (denied[0], denied[1].replace("l:1 ", "l:9 "))
        grant = {"LayerName": "l", "VersionNumber": 1, "Action": "lambda:GetLayerVersion"}
        await lambda_(
            "AddLayerVersionPermission", **grant, StatementId="o", Principal="*", OrganizationId="o-0123456789"
        )
        assert await lambda_.refused("CreateFunction", caller=OTHER, **use) == denied
        await lambda_("AddLayerVersionPermission", **grant, StatementId="a", Principal="999999999999")
        assert (await lambda_("GetLayerVersionByArn", caller=OTHER, Arn=f"{LAYER}:1"))["Version"] == 1
        created = await lambda_("CreateFunction", caller=OTHER, **use)
        assert created["Layers"] == [{"Arn": f"{LAYER}:1", "CodeSize": len(ZIP)}]

    on_a_platform(tmp_path, scenario)


ROLE_OF_OTHER = "arn:aws:iam::999999999999:role/lambda"


def test_a_function_runs_with_its_layers_in_order_and_they_are_part_of_its_version(tmp_path):
    async def scenario(lambda_):
        for name, package in (("one", ZIP), ("two", OTHER_ZIP)):
            await lambda_("PublishLayerVersion", LayerName=name, Content={"ZipFile": package})
        one, two = (f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}:1" for name in ("one", "two"))
        shown = await lambda_.create(Layers=[two, one], Publish=True)
        sizes = {one: len(ZIP), two: len(OTHER_ZIP)}
        assert shown["Layers"] == [{"Arn": arn, "CodeSize": sizes[arn]} for arn in (two, one)]
        await lambda_.settled(qualifier="1")
        await lambda_("Invoke", FunctionName="fn")
        await lambda_("UpdateFunctionConfiguration", FunctionName="fn", Layers=[one])
        await lambda_("Invoke", FunctionName="fn")  # what ran before goes on until the update is in force
        await lambda_.settled()
        await lambda_("Invoke", FunctionName="fn")
        await lambda_("Invoke", FunctionName="fn", Qualifier="1")
        before, meanwhile, after, published = [spec for spec, _ in lambda_.engine.invoked]
        folders = {
            arn: lambda_.service.packages.folder(digest_of(package)) for arn, package in ((one, ZIP), (two, OTHER_ZIP))
        }
        assert before.layer_dirs == (folders[two], folders[one]) == published.layer_dirs
        assert meanwhile.digest == before.digest != after.digest
        assert after.layer_dirs == (folders[one],)
        assert (await lambda_("PublishVersion", FunctionName="fn"))["Version"] == "2"
        assert "Layers" not in await lambda_.update(Layers=[])

    on_a_platform(tmp_path, scenario)


def digest_of(package):
    import hashlib

    return hashlib.sha256(package).hexdigest()


def test_a_deleted_layer_version_stays_for_its_functions_and_goes_with_the_last(tmp_path):
    layer_zip = make_zip(only_the_layer="1")

    async def scenario(lambda_):
        packages = lambda_.service.packages
        await lambda_("PublishLayerVersion", LayerName="l", Content={"ZipFile": layer_zip})
        await lambda_.create(Layers=[f"{LAYER}:1"])
        await lambda_("DeleteLayerVersion", LayerName="l", VersionNumber=1)
        missing = (INVALID, f"Layer version {LAYER}:1 does not exist.")
        assert await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", Layers=[f"{LAYER}:1"]) == missing
        await asyncio.sleep(3_000)
        assert packages.is_ready(digest_of(layer_zip))
        assert (await lambda_.update(Timeout=4))["Layers"] == [{"Arn": f"{LAYER}:1", "CodeSize": len(layer_zip)}]
        await lambda_("Invoke", FunctionName="fn")
        await lambda_("DeleteFunction", FunctionName="fn")
        await asyncio.sleep(3_000)
        assert not packages.is_ready(digest_of(layer_zip))
        assert digest_of(layer_zip) not in set(packages.blobs.digests())

    on_a_platform(tmp_path, scenario)


def test_an_unused_layer_version_keeps_its_package_also_after_a_restart(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
            await asyncio.sleep(3_000)

    async def second(clock):
        async with platform(tmp_path, clock) as lambda_:
            await asyncio.sleep(3_000)
            await lambda_.create(Code={"ZipFile": OTHER_ZIP}, Layers=[f"{LAYER}:1"])
            await lambda_("Invoke", FunctionName="fn")
            (folder,) = lambda_.engine.invoked[-1][0].layer_dirs
            assert (folder / "app.py").exists()

    run(first)
    run(second)


def test_code_and_layers_may_be_250_mb_and_not_a_byte_more(tmp_path):
    half = 131_072_000

    async def scenario(lambda_):
        service = lambda_.service
        await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
        await lambda_.create()
        code = next(iter(service.catalogue.all())).latest.code.unzipped_bytes
        key = LayerKey(ACCOUNT, REGION, "big")
        for number, size in ((1, half), (2, half - code), (3, half - code + 1), (4, 2 * half + 1)):
            made = Code(digest=digest_of(ZIP), zipped_bytes=1, unzipped_bytes=size)
            service.layers.put(LayerVersion(key=key, number=number, code=made, created_ms=0))
            twin = LayerKey(ACCOUNT, REGION, f"big{number}")
            service.layers.put(LayerVersion(key=twin, number=1, code=made, created_ms=0))
        first = f"{key.arn}:1"
        too_large = (
            INVALID,
            "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. "
            "The actual size is 262144001 bytes.",
        )
        change = {"FunctionName": "fn"}
        twins = {number: f"{key.arn}{number}:1" for number in (2, 3, 4)}
        assert await lambda_.refused("UpdateFunctionConfiguration", **change, Layers=[first, twins[3]]) == too_large
        layers_alone = (INVALID, "Layers consume more than the available size of 262144000 bytes")
        assert await lambda_.refused("UpdateFunctionConfiguration", **change, Layers=[twins[4]]) == layers_alone
        await lambda_.update(Layers=[first, twins[2]])
        bigger = make_zip(app="def handler(event, context): return 1 ")
        assert (await lambda_.refused("UpdateFunctionCode", **change, ZipFile=bigger)) == too_large
        await lambda_("UpdateFunctionCode", **change, ZipFile=ZIP)

    on_a_platform(tmp_path, scenario)


def test_layers_count_in_the_accounts_code_storage_and_it_has_a_limit(tmp_path):
    size = len(ZIP)

    async def scenario(lambda_):
        await lambda_("PublishLayerVersion", LayerName="l", Content=CONTENT)
        await lambda_.create()
        await lambda_("PublishVersion", FunctionName="fn")
        settings = await lambda_("GetAccountSettings")
        assert settings["AccountUsage"] == {"TotalCodeSize": 3 * size, "FunctionCount": 1}
        assert settings["AccountLimit"]["TotalCodeSize"] == 3 * size
        full = ("CodeStorageExceededException", "Code storage limit exceeded.")
        assert await lambda_.refused("PublishLayerVersion", LayerName="l", Content=CONTENT) == full
        members = {"Runtime": "python3.13", "Handler": "a.b", "Role": ROLE_OF_OTHER, "Code": CONTENT}
        assert await lambda_.refused("CreateFunction", FunctionName="other", **members) == full
        await lambda_.update(Timeout=4)
        assert await lambda_.refused("PublishVersion", FunctionName="fn") == full
        larger = make_zip(app="def handler(event, context): return 'much more than before, and not to be compressed'")
        assert await lambda_.refused("UpdateFunctionCode", FunctionName="fn", ZipFile=larger) == full
        await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=ZIP)  # in the place of as much
        await lambda_("DeleteLayerVersion", LayerName="l", VersionNumber=1)
        await lambda_.settled()
        assert (await lambda_("PublishVersion", FunctionName="fn"))["Version"] == "2"
        elsewhere = Caller(account="999999999999", region=REGION, base_url="http://h")
        await lambda_("PublishLayerVersion", caller=elsewhere, LayerName="l", Content=CONTENT)

    on_a_platform(tmp_path, scenario, code_storage_bytes=3 * size)


@given(st.text())
def test_any_text_is_a_layers_arn_or_is_not(text):
    found = parse_arn(text)
    assert found is None or text.startswith("arn:")


@given(
    st.from_regex(r"[0-9]{12}", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True),
    st.integers(min_value=1, max_value=10**17),
)
def test_an_arn_is_read_as_it_was_written(account, name, number):
    key = LayerKey(account, "eu-west-1", name)
    assert parse_arn(key.version_arn(number)) == (key, number)
    assert parse_arn(key.arn) == (key, None)


@given(st.lists(st.tuples(st.sampled_from(["*", "1" * 12, "2" * 12, f"arn:aws:iam::{'3' * 12}:root"]), st.booleans())))
def test_an_account_may_use_what_a_statement_without_a_condition_grants_it(grants):
    statements = tuple(
        Grant(
            sid=str(n), action="lambda:GetLayerVersion", principal=who, organization="o-1" if of_org else None
        ).statement(ARN)
        for n, (who, of_org) in enumerate(grants)
    )
    version = LayerVersion(
        key=LayerKey(ACCOUNT, REGION, "l"),
        number=1,
        code=Code(digest="0" * 64, zipped_bytes=1),
        created_ms=0,
        statements=statements,
    )
    for account in ("1" * 12, "2" * 12, "3" * 12, "4" * 12):
        named = {"*", account, f"arn:aws:iam::{account}:root"}
        assert may_use(version, account) == any(who in named and not of_org for who, of_org in grants)
