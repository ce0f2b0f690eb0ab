"""Reserved and provisioned concurrency: who may have how much, in AWS's words, and what the engine is told."""

import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_platform import ARN, CALLER, OTHER_ZIP, REGION, platform
from msgspec import structs

from lambent.engine.admission import Allotment
from lambent.engine.provisioned import Progress, Status
from lambent.services.lambda_.concurrency import shares, together
from lambent.services.lambda_.model import Alias, FunctionKey
from lambent.testing.loop import run

INVALID = "InvalidParameterValueException"
CONFLICT = "ResourceConflictException"
NOT_FOUND = "ResourceNotFoundException"
FLOOR = (
    INVALID,
    "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
    "minimum value of [100].",
)
PROVISIONED_FLOOR = (
    INVALID,
    "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum "
    "value of [100].",
)
ALREADY = (
    CONFLICT,
    "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
)
POINTED = (CONFLICT, "Version is pointed by a Provisioned Concurrency alias")
UNPUBLISHED = (INVALID, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
NOT_ONE = (INVALID, "The function resource provided must be an alias or a published version.")
NONE = (
    "ProvisionedConcurrencyConfigNotFoundException",
    "No Provisioned Concurrency Config found for this function",
)
PUT = "PutProvisionedConcurrencyConfig"


def play(tmp_path, script, **settings):
    async def main(clock):
        async with platform(tmp_path, clock, **settings) as given:
            await script(given)

    run(main)


async def reserve(platform, amount, name="fn"):
    return await platform("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=amount)


async def cannot_reserve(platform, amount, name="fn"):
    return await platform.refused("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=amount)


async def provision(platform, qualifier, amount, name="fn"):
    return await platform(PUT, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=amount)


async def cannot_provision(platform, qualifier, amount=1, name="fn"):
    return await platform.refused(PUT, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=amount)


async def publish(platform, name="fn"):
    """Another version, with other code."""
    await platform("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP)
    await platform.settled(name)
    return (await platform("PublishVersion", FunctionName=name))["Version"]


async def unreserved(platform):
    return (await platform("GetAccountSettings"))["AccountLimit"]["UnreservedConcurrentExecutions"]


def test_what_is_reserved_is_told_and_taken_from_everybody_else(tmp_path):
    async def script(platform):
        await platform.create()
        assert await platform("GetFunctionConcurrency", FunctionName="fn") == {}
        assert await reserve(platform, 5) == {"ReservedConcurrentExecutions": 5}
        assert await platform("GetFunctionConcurrency", FunctionName="fn") == {"ReservedConcurrentExecutions": 5}
        assert (await platform("GetFunction", FunctionName="fn"))["Concurrency"] == {"ReservedConcurrentExecutions": 5}
        assert await unreserved(platform) == 995
        assert platform.engine.allotments[ARN] == Allotment(reserved=5)
        await platform("Invoke", FunctionName="fn")
        assert platform.engine.invoked[-1][0].reserved == 5
        await platform("DeleteFunctionConcurrency", FunctionName="fn")
        await platform("DeleteFunctionConcurrency", FunctionName="fn")
        assert await platform("GetFunctionConcurrency", FunctionName="fn") == {}
        assert "Concurrency" not in await platform("GetFunction", FunctionName="fn")
        assert platform.engine.allotments[ARN] == Allotment()
        await platform("Invoke", FunctionName="fn")
        assert platform.engine.invoked[-1][0].reserved is None

    play(tmp_path, script)


def test_a_change_of_the_function_keeps_what_is_reserved(tmp_path):
    async def script(platform):
        await platform.create()
        before = platform.service.catalogue.get(FunctionKey(CALLER.account, REGION, "fn")).specs["$LATEST"]
        await reserve(platform, 0)
        entry = platform.service.catalogue.get(FunctionKey(CALLER.account, REGION, "fn"))
        assert entry.specs["$LATEST"].reserved == 0
        assert entry.specs["$LATEST"].digest == before.digest  # warm environments stay
        await platform.update(Timeout=9)
        assert (entry.specs["$LATEST"].timeout_s, entry.specs["$LATEST"].reserved) == (9, 0)

    play(tmp_path, script)


def test_a_hundred_stay_unreserved(tmp_path):
    async def script(platform):
        await platform.create()
        await platform.create("other")
        assert await cannot_reserve(platform, 901) == FLOOR
        await reserve(platform, 900)
        assert await unreserved(platform) == 100
        assert await cannot_reserve(platform, 1, "other") == FLOOR
        await reserve(platform, 0, "other")
        await reserve(platform, 899)  # what a function gives back is there again
        await reserve(platform, 1, "other")
        await platform("DeleteFunction", FunctionName="fn")
        assert await unreserved(platform) == 999

    play(tmp_path, script)


def test_an_account_below_the_floor_can_only_reserve_nothing(tmp_path):
    async def script(platform):
        await platform.create()
        await reserve(platform, 0)
        assert await cannot_reserve(platform, 1) == (FLOOR[0], FLOOR[1].replace("[100]", "[50]"))

    play(tmp_path, script, concurrent_executions=50)


def test_each_account_and_region_has_its_own_limit(tmp_path):
    async def script(platform):
        await platform.create()
        await reserve(platform, 900)
        elsewhere = structs.replace(CALLER, region="us-west-2")
        assert (await platform("GetAccountSettings", caller=elsewhere))["AccountLimit"][
            "UnreservedConcurrentExecutions"
        ] == 1000

    play(tmp_path, script)


@pytest.mark.parametrize("operation", ["Get", "Delete", "Put"])
def test_concurrency_of_what_is_not_there(tmp_path, operation):
    async def script(platform):
        members = {"ReservedConcurrentExecutions": 1} if operation == "Put" else {}
        assert await platform.refused(f"{operation}FunctionConcurrency", FunctionName="gone", **members) == (
            NOT_FOUND,
            f"Function not found: {ARN.replace(':fn', ':gone')}",
        )
        await platform.create()
        code, message = await platform.refused(f"{operation}FunctionConcurrency", FunctionName="fn:1", **members)
        assert code == INVALID
        assert message.startswith("This operation is permitted on Lambda functions only.")

    play(tmp_path, script)


def test_a_version_is_provisioned_and_told_as_the_engine_goes_on(tmp_path):
    async def script(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        answer = await provision(platform, "1", 2)
        assert answer == {
            "RequestedProvisionedConcurrentExecutions": 2,
            "AvailableProvisionedConcurrentExecutions": 0,
            "AllocatedProvisionedConcurrentExecutions": 0,
            "Status": "IN_PROGRESS",
            "LastModified": answer["LastModified"],
        }
        assert len(answer["LastModified"]) == len("2026-09-21T14:13:20+0000")
        assert answer["LastModified"].endswith("+0000")
        assert platform.engine.allotments[ARN] == Allotment(provisioned=2)
        plan = (await planned(platform))[0]
        assert (plan.spec.version, plan.qualifier, plan.count) == ("1", "1", 2)
        ready = Progress(status=Status.READY, allocated=2, available=2)
        platform.engine.progresses[plan.key] = ready
        shown = answer | {
            "Status": "READY",
            "AvailableProvisionedConcurrentExecutions": 2,
            "AllocatedProvisionedConcurrentExecutions": 2,
        }
        where = {"FunctionName": "fn", "Qualifier": "1"}
        assert await platform("GetProvisionedConcurrencyConfig", **where) == shown
        listed = await platform("ListProvisionedConcurrencyConfigs", FunctionName="fn")
        assert listed == {"ProvisionedConcurrencyConfigs": [{"FunctionArn": f"{ARN}:1", **shown}]}
        platform.engine.progresses[plan.key] = replace(ready, status=Status.FAILED, available=0, reason="WHY")
        failed = await platform("GetProvisionedConcurrencyConfig", **where)
        assert (failed["Status"], failed["StatusReason"]) == ("FAILED", "WHY")
        assert await platform("DeleteProvisionedConcurrencyConfig", **where) == {}
        assert await platform("DeleteProvisionedConcurrencyConfig", **where) == {}
        assert platform.engine.plans[ARN] == []
        assert platform.engine.allotments[ARN] == Allotment()
        assert await platform.refused("GetProvisionedConcurrencyConfig", **where) == NONE

    play(tmp_path, script)


async def planned(platform):
    """The plans that the engine has, once the worker told it of all."""
    await platform.clock.sleep(1)
    return platform.engine.plans[ARN]


def test_an_aliass_amount_is_split_by_weight_and_moves_with_it(tmp_path):
    async def script(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        assert await publish(platform) == "2"
        await platform("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
        await provision(platform, "live", 10)
        assert [(plan.spec.version, plan.count) for plan in await planned(platform)] == [("1", 10)]
        await platform(
            "UpdateAlias", FunctionName="fn", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.3}}
        )
        plans = await planned(platform)
        assert [(plan.spec.version, plan.count) for plan in plans] == [("1", 7), ("2", 3)]
        platform.engine.progresses[plans[0].key] = Progress(status=Status.READY, allocated=7, available=7)
        where = {"FunctionName": "fn", "Qualifier": "live"}
        shown = await platform("GetProvisionedConcurrencyConfig", **where)
        assert (shown["Status"], shown["AllocatedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 7)
        await platform("UpdateAlias", FunctionName="fn", Name="live", FunctionVersion="2", RoutingConfig={})
        assert [(plan.spec.version, plan.count) for plan in await planned(platform)] == [("2", 10)]
        assert (await platform("GetProvisionedConcurrencyConfig", **where))["Status"] == "IN_PROGRESS"
        await platform("DeleteAlias", FunctionName="fn", Name="live")
        assert platform.engine.plans[ARN] == []

    play(tmp_path, script)


def test_only_aliases_and_published_versions_that_are_there(tmp_path):
    async def script(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        await platform("CreateAlias", FunctionName="fn", Name="newest", FunctionVersion="$LATEST")
        assert await cannot_provision(platform, "$LATEST") == UNPUBLISHED
        assert await cannot_provision(platform, "newest") == UNPUBLISHED
        gone = (NOT_FOUND, f"Function not found: {ARN}:7")
        no_alias = (NOT_FOUND, f"Cannot find alias arn: {ARN}:none")
        no_function = (NOT_FOUND, f"Function not found: {ARN.replace(':fn', ':other')}:1")
        assert await cannot_provision(platform, "7") == gone
        assert await cannot_provision(platform, "none") == no_alias
        assert await cannot_provision(platform, "1", name="other") == no_function
        for operation in ("GetProvisionedConcurrencyConfig", "DeleteProvisionedConcurrencyConfig"):
            assert await platform.refused(operation, FunctionName="fn", Qualifier="$LATEST") == NOT_ONE
            assert await platform.refused(operation, FunctionName="fn", Qualifier="7") == gone
            assert await platform.refused(operation, FunctionName="fn", Qualifier="none") == no_alias
            assert await platform.refused(operation, FunctionName="other", Qualifier="1") == no_function
        assert await platform.refused("GetProvisionedConcurrencyConfig", FunctionName="fn", Qualifier="1") == NONE
        assert platform.engine.plans == {}

    play(tmp_path, script)


def test_a_version_is_provisioned_once_for_itself_or_for_one_alias(tmp_path):
    async def script(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        assert await publish(platform) == "2"
        for name, version in (("live", "1"), ("same", "1"), ("next", "2")):
            await platform("CreateAlias", FunctionName="fn", Name=name, FunctionVersion=version)
        await provision(platform, "live", 1)
        assert await cannot_provision(platform, "1") == POINTED
        assert await cannot_provision(platform, "same") == ALREADY
        await provision(platform, "live", 2)  # again, for itself
        await provision(platform, "2", 1)
        assert await cannot_provision(platform, "next") == ALREADY
        move = {"FunctionName": "fn", "Name": "live"}
        assert await platform.refused("UpdateAlias", **move, FunctionVersion="2") == ALREADY
        weights = {"AdditionalVersionWeights": {"2": 0.5}}
        assert await platform.refused("UpdateAlias", **move, RoutingConfig=weights) == ALREADY
        assert await platform.refused("UpdateAlias", **move, FunctionVersion="$LATEST") == UNPUBLISHED
        assert (await platform("GetAlias", **move))["FunctionVersion"] == "1"
        await platform("UpdateAlias", **move, Description="stays")
        await platform("DeleteProvisionedConcurrencyConfig", FunctionName="fn", Qualifier="2")
        await platform("UpdateAlias", **move, FunctionVersion="2")
        await provision(platform, "1", 1)

    play(tmp_path, script)


def test_a_version_with_snap_start_is_not_provisioned(tmp_path):
    async def script(platform):
        await platform.create(Publish=True, SnapStart={"ApplyOn": "PublishedVersions"})
        await platform.settled(qualifier="1")
        code, message = await cannot_provision(platform, "1")
        assert (code, "SnapStart" in message) == (INVALID, True)

    play(tmp_path, script)


def test_what_is_provisioned_stays_within_what_is_reserved(tmp_path):
    async def script(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        await publish(platform)
        await reserve(platform, 3)
        too_much = (
            INVALID,
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        )
        assert await cannot_provision(platform, "1", 4) == too_much
        await provision(platform, "1", 2)
        assert await cannot_provision(platform, "2", 2) == too_much
        await provision(platform, "2", 1)
        assert await cannot_reserve(platform, 2) == (
            INVALID,
            " ReservedConcurrentExecutions  2 should not be lower than function's total provisioned concurrency [3].",
        )
        assert await unreserved(platform) == 997
        await reserve(platform, 4)
        assert platform.engine.allotments[ARN] == Allotment(reserved=4, provisioned=3)
        await platform("DeleteFunctionConcurrency", FunctionName="fn")
        assert await unreserved(platform) == 997

    play(tmp_path, script)


def test_what_is_provisioned_without_a_reservation_leaves_a_hundred(tmp_path):
    async def script(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        await platform.create("other")
        assert await cannot_provision(platform, "1", 1001) == (
            INVALID,
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
        )
        assert await cannot_provision(platform, "1", 901) == PROVISIONED_FLOOR
        await provision(platform, "1", 900)
        await provision(platform, "1", 900)  # it is counted once
        assert await unreserved(platform) == 100
        assert await cannot_reserve(platform, 1, "other") == FLOOR
        await reserve(platform, 900)  # it takes over what was provisioned
        assert await unreserved(platform) == 100
        await platform("DeleteFunction", FunctionName="fn", Qualifier="1")
        assert await unreserved(platform) == 100
        assert platform.engine.plans[ARN] == []
        await platform("DeleteFunction", FunctionName="fn")
        assert await unreserved(platform) == 1000
        assert platform.engine.allotments[ARN] is None

    play(tmp_path, script)


def test_a_version_that_is_pending_is_provisioned_once_it_is_active(tmp_path):
    async def script(platform):
        await platform.create(Publish=True, wait=False)
        assert (await provision(platform, "1", 1))["Status"] == "IN_PROGRESS"
        await platform.clock.sleep(0.1)
        assert platform.engine.plans.get(ARN, []) == []
        await platform.settled(qualifier="1")
        assert [plan.count for plan in await planned(platform)] == [1]

    play(tmp_path, script, pending_s=5.0)


def test_a_version_that_failed_is_not_provisioned(tmp_path):
    async def script(platform):
        await platform.create(Publish=True, Runtime="python3.10")
        await platform.settled(qualifier="1")
        code, message = await cannot_provision(platform, "1")
        assert code == CONFLICT
        assert message.startswith("The operation cannot be performed at this time. The function is currently in")

    play(tmp_path, script)


def test_configurations_are_listed_in_pages(tmp_path):
    async def script(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        assert await publish(platform) == "2"
        await platform("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="2")
        for qualifier in ("1", "live"):
            await provision(platform, qualifier, 1)
        first = await platform("ListProvisionedConcurrencyConfigs", FunctionName="fn", MaxItems=1)
        assert [each["FunctionArn"] for each in first["ProvisionedConcurrencyConfigs"]] == [f"{ARN}:1"]
        rest = await platform(
            "ListProvisionedConcurrencyConfigs", FunctionName="fn", MaxItems=1, Marker=first["NextMarker"]
        )
        assert [each["FunctionArn"] for each in rest["ProvisionedConcurrencyConfigs"]] == [f"{ARN}:live"]
        assert "NextMarker" not in rest
        assert (await platform.refused("ListProvisionedConcurrencyConfigs", FunctionName="gone"))[0] == NOT_FOUND

    play(tmp_path, script)


def test_a_restart_finds_what_was_reserved_and_provisioned(tmp_path):
    async def before(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        await reserve(platform, 5)
        await provision(platform, "1", 2)

    async def after(platform):
        assert platform.engine.allotments[ARN] == Allotment(reserved=5, provisioned=2)
        assert [(plan.qualifier, plan.count) for plan in await planned(platform)] == [("1", 2)]
        shown = await platform("GetProvisionedConcurrencyConfig", FunctionName="fn", Qualifier="1")
        assert shown["Status"] == "IN_PROGRESS"
        assert platform.engine.allotments.keys() == {ARN}

    play(tmp_path, before)
    play(tmp_path, after)


def test_a_package_that_cannot_be_unpacked_now_is_tried_again(tmp_path):
    async def before(platform):
        await platform.create(Publish=True)
        await platform.settled(qualifier="1")
        await provision(platform, "1", 1)

    async def after(platform):
        await platform.clock.sleep(1)
        assert platform.engine.plans.get(ARN, []) == []
        damaged.write_bytes(whole)
        await platform.clock.sleep(10)
        assert [plan.count for plan in platform.engine.plans[ARN]] == [1]

    play(tmp_path, before)
    damaged, whole = package_of(tmp_path)
    damaged.write_bytes(b"not a zip")
    play(tmp_path, after)


def package_of(folder):
    """The one package's file, with the folder it was unpacked to gone."""
    blobs = [path for path in (folder / "lambda").rglob("*") if path.is_file() and path.read_bytes()[:2] == b"PK"]
    assert len(blobs) == 1
    for unpacked in {path.parent for path in (folder / "lambda").rglob("app.py")}:
        shutil.rmtree(unpacked)
    return blobs[0], blobs[0].read_bytes()


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_shares_add_up(amount, weight):
    key = FunctionKey("123456789012", REGION, "fn")
    alias = Alias(
        key=key, name="a", function_version="1", revision_id="r", additional_version="2", additional_weight=weight
    )
    split = shares(amount, alias)
    assert sum(split.values()) == amount
    assert all(share >= 0 for share in split.values())
    assert abs(split["2"] - amount * weight) <= 0.5


def test_an_alias_is_as_far_as_its_slowest_version():
    ready = Progress(status=Status.READY, allocated=2, available=2)
    under_way = Progress(status=Status.IN_PROGRESS, allocated=1, available=0)
    failed = Progress(status=Status.FAILED, allocated=0, available=0, reason="WHY")
    assert together([ready, ready]) == Progress(status=Status.READY, allocated=4, available=4)
    assert together([ready, under_way]) == Progress(status=Status.IN_PROGRESS, allocated=3, available=2)
    assert together([ready, None]) == Progress(status=Status.IN_PROGRESS, allocated=2, available=2)
    assert together([under_way, failed]) == Progress(status=Status.FAILED, allocated=1, available=0, reason="WHY")
