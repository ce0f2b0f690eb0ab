import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_platform import ACCOUNT, ARN, OTHER_ZIP, REGION, ZIP, make_zip, platform

from lambent.services.lambda_.model import Alias, FunctionKey
from lambent.services.lambda_.run import choose
from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"
KEY = FunctionKey(ACCOUNT, REGION, "fn")
STALE = (
    "PreconditionFailedException",
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
)


def on_a_platform(folder, scenario, **settings):
    async def main(clock):
        async with platform(folder, clock, **settings) as lambda_:
            await scenario(lambda_)

    run(main)


def versions(answer):
    return [each["Version"] for each in answer["Versions"]]


def test_an_update_is_in_progress_and_then_successful(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        before = await lambda_.settled()
        answer = await lambda_("UpdateFunctionConfiguration", FunctionName="fn", Timeout=9)
        assert (answer["State"], answer["LastUpdateStatus"], answer["Timeout"]) == ("Active", "InProgress", 9)
        assert answer["LastUpdateStatusReason"] == "The function is being created."
        assert answer["LastUpdateStatusReasonCode"] == "Creating"
        busy = (
            "ResourceConflictException",
            f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}",
        )
        assert await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", Timeout=8) == busy
        assert await lambda_.refused("UpdateFunctionCode", FunctionName="fn", ZipFile=ZIP) == busy
        assert await lambda_.refused("PublishVersion", FunctionName="fn") == busy
        assert await lambda_.refused("TagResource", Resource=ARN, Tags={"a": "b"}) == busy
        after = await lambda_.settled()
        assert after["LastUpdateStatus"] == "Successful"
        assert "LastUpdateStatusReason" not in after
        revisions = {before["RevisionId"], answer["RevisionId"], after["RevisionId"]}
        assert len(revisions) == 3

    on_a_platform(tmp_path, scenario, pending_s=1.0)


def test_old_code_serves_until_the_new_is_in_force_and_its_environments_go_then(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        await lambda_("Invoke", FunctionName="fn")
        await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=OTHER_ZIP)
        await lambda_("Invoke", FunctionName="fn")
        await lambda_.settled()
        await lambda_("Invoke", FunctionName="fn")
        old, meanwhile, new = [spec for spec, _ in lambda_.engine.invoked]
        assert old.digest == meanwhile.digest != new.digest
        assert old.code_dir == meanwhile.code_dir != new.code_dir
        assert lambda_.engine.retired[-1] == (ARN, frozenset({new.digest}))

    on_a_platform(tmp_path, scenario)


def test_an_update_that_a_crash_cut_off_comes_into_force_at_the_next_start(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create()

    async def second(clock):
        async with platform(tmp_path, clock, runs=False) as lambda_:
            await lambda_("UpdateFunctionConfiguration", FunctionName="fn", Handler="app.other")

    async def third(clock):
        async with platform(tmp_path, clock, pending_s=60.0) as lambda_:
            await lambda_("Invoke", FunctionName="fn")
            await lambda_.settled()
            await lambda_("Invoke", FunctionName="fn")
            assert [spec.handler for spec, _ in lambda_.engine.invoked] == ["app.handler", "app.other"]

    for each in (first, second, third):
        run(each)


def test_a_failed_update_leaves_what_ran_in_force(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        shown = await lambda_.update(Runtime="python3.10")
        assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Failed")
        assert shown["LastUpdateStatusReasonCode"] == "InvalidRuntime"
        assert shown["Runtime"] == "python3.10"
        await lambda_("Invoke", FunctionName="fn")
        assert lambda_.engine.invoked[-1][0].runtime == "python3.13"
        assert (await lambda_.update(Runtime="python3.12"))["LastUpdateStatus"] == "Successful"

    on_a_platform(tmp_path, scenario)


def test_a_version_of_what_could_not_come_into_force_fails_too(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        await lambda_.update(Runtime="python3.10")
        published = await lambda_("PublishVersion", FunctionName="fn")
        assert (published["Version"], published["State"]) == ("1", "Pending")
        shown = await lambda_.settled(qualifier="1")
        assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InvalidRuntime")

    on_a_platform(tmp_path, scenario)


def test_a_stale_revision_id_is_refused(tmp_path):
    async def scenario(lambda_):
        created = await lambda_.create()
        stale = {"FunctionName": "fn", "RevisionId": created["RevisionId"]}
        assert await lambda_.refused("UpdateFunctionConfiguration", **stale) == STALE
        assert await lambda_.refused("UpdateFunctionCode", ZipFile=ZIP, **stale) == STALE
        assert await lambda_.refused("PublishVersion", **stale) == STALE
        fresh = (await lambda_.settled())["RevisionId"]
        await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=ZIP, RevisionId=fresh)

    on_a_platform(tmp_path, scenario)


def test_a_dry_run_shows_the_update_and_keeps_nothing(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        before = await lambda_.settled()
        answer = await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=OTHER_ZIP, DryRun=True)
        assert answer["CodeSha256"] != before["CodeSha256"]
        assert await lambda_.settled() == before
        assert len(set(lambda_.service.packages.blobs.digests())) == 1
        code, _ = await lambda_.refused("UpdateFunctionCode", FunctionName="fn", ZipFile=b"x", DryRun=True)
        assert code == INVALID

    on_a_platform(tmp_path, scenario)


def test_maps_are_replaced_whole_and_what_is_not_named_stays(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Environment={"Variables": {"AA": "1", "BB": "2"}}, Description="d", Timeout=7)
        shown = await lambda_.update(Environment={"Variables": {"CC": "3"}}, Layers=[])
        assert shown["Environment"] == {"Variables": {"CC": "3"}}
        assert (shown["Description"], shown["Timeout"]) == ("d", 7)
        assert (await lambda_.update(LoggingConfig={"LogFormat": "JSON"}))["LoggingConfig"] == {
            "LogFormat": "JSON",
            "LogGroup": "/aws/lambda/fn",
            "ApplicationLogLevel": "INFO",
            "SystemLogLevel": "INFO",
        }
        assert (await lambda_.update(LoggingConfig={"LogFormat": "Text"}))["LoggingConfig"] == {
            "LogFormat": "Text",
            "LogGroup": "/aws/lambda/fn",
        }
        code, _ = await lambda_.refused("UpdateFunctionConfiguration", FunctionName="fn", Timeout=901)
        assert code == INVALID
        assert (await lambda_.settled())["Timeout"] == 7

    on_a_platform(tmp_path, scenario)


def test_a_version_is_published_once_for_each_change(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        one = await lambda_("PublishVersion", FunctionName="fn", Description="first")
        assert (one["Version"], one["FunctionArn"], one["Description"]) == ("1", f"{ARN}:1", "first")
        assert (one["State"], one["LastUpdateStatus"]) == ("Active", "Successful")
        latest = await lambda_.settled()
        assert one["RevisionId"] != latest["RevisionId"]
        assert (await lambda_("PublishVersion", FunctionName="fn", Description="again"))["Version"] == "1"
        await lambda_.update(Timeout=9)
        assert (await lambda_("PublishVersion", FunctionName="fn"))["Version"] == "2"
        assert versions(await lambda_("ListVersionsByFunction", FunctionName="fn")) == ["$LATEST", "1", "2"]
        kept = await lambda_("GetFunctionConfiguration", FunctionName="fn", Qualifier="1")
        assert (kept["Timeout"], kept["Description"]) == (3, "first")
        await lambda_("Invoke", FunctionName="fn:1")
        assert (lambda_.engine.invoked[-1][0].timeout_s, lambda_.engine.invoked[-1][0].version) == (3, "1")

    on_a_platform(tmp_path, scenario)


def test_version_numbers_are_never_used_again(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Publish=True)
        await lambda_("DeleteFunction", FunctionName="fn", Qualifier="1")
        assert (await lambda_("PublishVersion", FunctionName="fn"))["Version"] == "2"
        await lambda_("DeleteFunction", FunctionName="fn")
        await lambda_.create(Publish=True)
        assert versions(await lambda_("ListVersionsByFunction", FunctionName="fn")) == ["$LATEST", "1"]

    on_a_platform(tmp_path, scenario)


def test_publishing_with_a_wrong_hash_is_refused(tmp_path):
    async def scenario(lambda_):
        created = await lambda_.create()
        sha256 = created["CodeSha256"]
        assert await lambda_.refused("PublishVersion", FunctionName="fn", CodeSha256="wrong") == (
            INVALID,
            f"CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ({sha256}). "
            "Please try again with the CodeSHA256 in $LATEST.",
        )
        assert (await lambda_("PublishVersion", FunctionName="fn", CodeSha256=sha256))["Version"] == "1"

    on_a_platform(tmp_path, scenario)


def test_create_and_update_can_publish(tmp_path):
    async def scenario(lambda_):
        created = await lambda_.create(Publish=True)
        assert (created["Version"], created["FunctionArn"], created["State"]) == ("1", ARN, "Pending")
        assert (await lambda_.settled(qualifier="1"))["State"] == "Active"
        answer = await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=OTHER_ZIP, Publish=True)
        assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("2", f"{ARN}:2", "Pending")
        await lambda_.settled()
        assert (await lambda_.settled(qualifier="2"))["State"] == "Active"
        same = await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=OTHER_ZIP, Publish=True)
        assert (same["Version"], same["State"]) == ("2", "Active")

    on_a_platform(tmp_path, scenario)


def test_versions_are_listed_in_pages(tmp_path):
    async def scenario(lambda_):
        await lambda_.create()
        for n in range(52):
            await lambda_.update(Description=f"{n}")
            await lambda_("PublishVersion", FunctionName="fn")
        first = await lambda_("ListVersionsByFunction", FunctionName="fn")
        assert versions(first) == ["$LATEST", *(str(n) for n in range(1, 50))]
        rest = await lambda_("ListVersionsByFunction", FunctionName="fn", Marker=first["NextMarker"])
        assert versions(rest) == ["50", "51", "52"]

    on_a_platform(tmp_path, scenario)


def test_an_alias_is_created_changed_listed_and_deleted(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Publish=True)
        await lambda_.update(Timeout=9)
        await lambda_("PublishVersion", FunctionName="fn")
        made = await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
        revision = made.pop("RevisionId")
        assert made == {"AliasArn": f"{ARN}:live", "Name": "live", "FunctionVersion": "1", "Description": ""}
        assert await lambda_.refused("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="2") == (
            "ResourceConflictException",
            f"Alias already exists: {ARN}:live",
        )
        weights = {"AdditionalVersionWeights": {"2": 0.25}}
        change = {"FunctionName": "fn", "Name": "live"}
        changed = await lambda_("UpdateAlias", **change, RoutingConfig=weights, Description="d", RevisionId=revision)
        assert (changed["RoutingConfig"], changed["Description"], changed["FunctionVersion"]) == (weights, "d", "1")
        assert await lambda_.refused("UpdateAlias", **change, RevisionId=revision) == STALE
        await lambda_("CreateAlias", FunctionName="fn", Name="other", FunctionVersion="$LATEST")
        listed = await lambda_("ListAliases", FunctionName="fn")
        assert [each["Name"] for each in listed["Aliases"]] == ["live", "other"]
        of_two = await lambda_("ListAliases", FunctionName="fn", FunctionVersion="2")
        assert of_two["Aliases"] == [changed] == [await lambda_("GetAlias", **change)]
        assert "RoutingConfig" not in await lambda_("UpdateAlias", **change, RoutingConfig={})
        assert await lambda_("DeleteAlias", **change) == {}
        assert await lambda_("DeleteAlias", **change) == {}
        assert await lambda_.refused("GetAlias", **change) == (
            "ResourceNotFoundException",
            f"Cannot find alias arn: {ARN}:live",
        )
        assert await lambda_.refused("UpdateAlias", **change) == (
            "ResourceNotFoundException",
            f"Alias not found: {ARN}:live",
        )

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize(
    ("version", "weights", "refusal"),
    [
        ("9", {}, ("ResourceNotFoundException", f"Function not found: {ARN}:9")),
        ("1", {"9": 0.1}, ("ResourceNotFoundException", f"Function not found: {ARN}:9")),
        ("1", {"2": 0.1, "3": 0.1}, (INVALID, "Number of items in AdditionalVersionWeights cannot be greater than 1")),
        ("$LATEST", {"1": 0.1}, (INVALID, "$LATEST is not supported for an alias pointing to more than 1 version")),
        (
            "1",
            {"1": 0.1},
            (
                INVALID,
                "Invalid function version 1. Function version 1 is already included in routing configuration.",
            ),
        ),
    ],
)
def test_an_alias_that_cannot_be_is_refused(tmp_path, version, weights, refusal):
    async def scenario(lambda_):
        await lambda_.create(Publish=True)
        routing = {"RoutingConfig": {"AdditionalVersionWeights": weights}}
        create = {"FunctionName": "fn", "Name": "a", "FunctionVersion": version}
        assert await lambda_.refused("CreateAlias", **create, **routing) == refusal

    on_a_platform(tmp_path, scenario)


@given(weight=st.floats(0, 1), sample=st.floats(0, 1, exclude_max=True))
def test_an_alias_chooses_by_its_weight(weight, sample):
    key = FunctionKey("1", "r", "fn")
    alias = Alias(
        key=key, name="a", function_version="1", revision_id="", additional_version="2", additional_weight=weight
    )
    assert alias.choose(sample) == ("2" if sample < weight else "1")
    assert replace(alias, additional_version=None).choose(sample) == "1"


def test_weights_are_honoured_and_the_version_is_told(tmp_path):
    async def scenario(lambda_):
        await lambda_.create(Publish=True)
        await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=OTHER_ZIP, Publish=True)
        await lambda_.settled()
        await lambda_.settled(qualifier="2")
        routing = {"AdditionalVersionWeights": {"2": 0.3}}
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1", RoutingConfig=routing)
        told = []
        for sample in (0.0, 0.29, 0.3, 0.99):
            lambda_.service.sample = lambda sample=sample: sample
            told.append((await lambda_("Invoke", FunctionName="fn", Qualifier="live"))["ExecutedVersion"])
        assert told == ["2", "2", "1", "1"]
        assert [spec.version for spec, _ in lambda_.engine.invoked] == told
        assert {invocation.invoked_arn for _, invocation in lambda_.engine.invoked} == {f"{ARN}:live"}
        shown = await lambda_("GetFunction", FunctionName="fn", Qualifier="live")
        assert shown["Configuration"]["FunctionArn"] == f"{ARN}:live"
        assert shown["Configuration"]["Version"] == "1"
        spec = await lambda_.service.ready_spec(choose(lambda_.service, KEY, "live"))
        assert spec.version == "1"

    on_a_platform(tmp_path, scenario)


def test_of_concurrent_changes_one_wins(tmp_path):
    async def scenario(lambda_):
        async def attempt(n):
            try:
                await lambda_("UpdateFunctionCode", FunctionName="fn", ZipFile=make_zip(app=f"x = {n}"))
            except Exception as error:
                return error.code
            return "ok"

        await lambda_.create()
        async with asyncio.TaskGroup() as tasks:
            attempts = [tasks.create_task(attempt(n)) for n in range(8)]
        codes = sorted(task.result() for task in attempts)
        assert codes == ["ResourceConflictException"] * 7 + ["ok"]

    on_a_platform(tmp_path, scenario, pending_s=30.0)
