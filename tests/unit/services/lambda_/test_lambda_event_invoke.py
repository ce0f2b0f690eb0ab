"""EventInvokeConfigs, and what they make of an event."""

import pytest
from lambda_platform import ACCOUNT, ARN, REGION, ROLE, platform

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.engine.retries import Retries
from lambent.engine.rows import Event, Response
from lambent.services.lambda_.attached import ReservedConcurrency
from lambent.services.lambda_.model import FunctionKey
from lambent.testing.loop import START, run

FN = {"FunctionName": "fn"}
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:records"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:records"
NOTHING_GIVEN = (
    "InvalidParameterValueException",
    "You must specify at least one of error handling or destination setting.",
)


def on_a_platform(folder, scenario):
    async def main(clock):
        async with platform(folder, clock) as lambda_:
            await lambda_.create()
            await scenario(lambda_)

    run(main)


def not_there(qualifier, name="fn"):
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    return "ResourceNotFoundException", f"The function {arn}:{qualifier} doesn't have an EventInvokeConfig"


def event(qualifier=None, **fields):
    given = {"request_id": "r", "payload": b"{}", "arrived_ms": 0, "visible_ms": 0} | fields
    return Event(scope=Scope(ACCOUNT, REGION), function_arn=ARN, qualifier=qualifier, **given)


def test_put_answers_what_is_set_for_latest_by_default(tmp_path):
    async def scenario(lambda_):
        answer = await lambda_(
            "PutFunctionEventInvokeConfig", **FN, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=3600
        )
        assert answer.pop("LastModified").timestamp() == pytest.approx(lambda_.clock.now(), abs=1)
        assert answer == {
            "FunctionArn": f"{ARN}:$LATEST",
            "MaximumRetryAttempts": 0,
            "MaximumEventAgeInSeconds": 3600,
            "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
        }
        for name in ("fn", ARN, f"{ARN}:$LATEST"):
            found = await lambda_("GetFunctionEventInvokeConfig", FunctionName=name)
            assert {**found, "LastModified": 0} == {**answer, "LastModified": 0}

    on_a_platform(tmp_path, scenario)


def test_put_replaces_and_update_merges(tmp_path):
    async def scenario(lambda_):
        config = {"OnSuccess": {"Destination": QUEUE}, "OnFailure": {"Destination": TOPIC}}
        await lambda_("PutFunctionEventInvokeConfig", **FN, MaximumRetryAttempts=1, DestinationConfig=config)
        answer = await lambda_("UpdateFunctionEventInvokeConfig", **FN, MaximumEventAgeInSeconds=60)
        assert (answer["MaximumRetryAttempts"], answer["MaximumEventAgeInSeconds"]) == (1, 60)
        assert answer["DestinationConfig"] == config
        other = {"OnFailure": {"Destination": QUEUE}}
        answer = await lambda_("UpdateFunctionEventInvokeConfig", **FN, DestinationConfig=other)
        assert answer["DestinationConfig"] == {"OnSuccess": {"Destination": QUEUE}, **other}
        answer = await lambda_("UpdateFunctionEventInvokeConfig", **FN, DestinationConfig={"OnSuccess": {}})
        assert answer["DestinationConfig"] == {"OnSuccess": {}, **other}
        answer = await lambda_("PutFunctionEventInvokeConfig", **FN, MaximumEventAgeInSeconds=120)
        assert "MaximumRetryAttempts" not in answer
        assert answer["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}

    on_a_platform(tmp_path, scenario)


def test_an_update_changes_the_moment(tmp_path):
    async def scenario(lambda_):
        before = (await lambda_("PutFunctionEventInvokeConfig", **FN, MaximumRetryAttempts=1))["LastModified"]
        await lambda_.clock.sleep(5)
        after = (await lambda_("UpdateFunctionEventInvokeConfig", **FN, MaximumRetryAttempts=1))["LastModified"]
        assert (after - before).total_seconds() == pytest.approx(5, abs=0.1)
        assert before.timestamp() >= START

    on_a_platform(tmp_path, scenario)


def test_each_qualifier_has_its_own_which_goes_with_it(tmp_path):
    async def scenario(lambda_):
        await lambda_("PublishVersion", **FN)
        await lambda_("CreateAlias", **FN, Name="live", FunctionVersion="1")
        for number, qualifier in enumerate(["$LATEST", "1", "live"]):
            answer = await lambda_(
                "PutFunctionEventInvokeConfig", **FN, Qualifier=qualifier, MaximumRetryAttempts=number
            )
            assert answer["FunctionArn"] == f"{ARN}:{qualifier}"
        listed = (await lambda_("ListFunctionEventInvokeConfigs", **FN))["FunctionEventInvokeConfigs"]
        assert [(each["FunctionArn"], each["MaximumRetryAttempts"]) for each in listed] == [
            (f"{ARN}:$LATEST", 0),
            (f"{ARN}:1", 1),
            (f"{ARN}:live", 2),
        ]
        await lambda_("DeleteAlias", **FN, Name="live")
        assert await lambda_.refused("GetFunctionEventInvokeConfig", FunctionName="fn:live") == not_there("live")
        assert await lambda_("DeleteFunctionEventInvokeConfig", **FN) == {}
        assert await lambda_.refused("DeleteFunctionEventInvokeConfig", **FN) == not_there("$LATEST")
        assert len((await lambda_("ListFunctionEventInvokeConfigs", **FN))["FunctionEventInvokeConfigs"]) == 1

    on_a_platform(tmp_path, scenario)


def test_lists_come_in_pages(tmp_path):
    async def scenario(lambda_):
        names = [f"alias-{number}" for number in range(7)]
        for name in names:
            await lambda_("CreateAlias", **FN, Name=name, FunctionVersion="$LATEST")
            await lambda_("PutFunctionEventInvokeConfig", **FN, Qualifier=name, MaximumRetryAttempts=1)
        found, marker = [], {}
        while True:
            page = await lambda_("ListFunctionEventInvokeConfigs", **FN, MaxItems=3, **marker)
            assert len(page["FunctionEventInvokeConfigs"]) <= 3
            found += [each["FunctionArn"].rpartition(":")[2] for each in page["FunctionEventInvokeConfigs"]]
            if "NextMarker" not in page:
                break
            marker = {"Marker": page["NextMarker"]}
        assert found == names

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize("operation", ["Put", "Update"])
def test_something_must_be_said(tmp_path, operation):
    async def scenario(lambda_):
        assert await lambda_.refused(f"{operation}FunctionEventInvokeConfig", **FN) == NOTHING_GIVEN

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize("operation", ["Get", "Update", "Delete"])
def test_a_config_that_is_not_there(tmp_path, operation):
    async def scenario(lambda_):
        params = {"MaximumRetryAttempts": 1} if operation == "Update" else {}
        called = f"{operation}FunctionEventInvokeConfig"
        assert await lambda_.refused(called, **FN, **params) == not_there("$LATEST")
        assert await lambda_.refused(called, FunctionName="gone", **params) == not_there("$LATEST", "gone")

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize("name", ["gone", "fn:7", "fn:gone"])
def test_a_function_that_is_not_there(tmp_path, name):
    async def scenario(lambda_):
        missing = ("ResourceNotFoundException", "The function doesn't exist.")
        put = {"FunctionName": name, "MaximumRetryAttempts": 1}
        assert await lambda_.refused("PutFunctionEventInvokeConfig", **put) == missing
        if name == "gone":
            assert await lambda_.refused("ListFunctionEventInvokeConfigs", FunctionName=name) == missing

    on_a_platform(tmp_path, scenario)


@pytest.mark.parametrize("operation", ["Put", "Update"])
def test_destinations_are_checked(tmp_path, operation):
    async def scenario(lambda_):
        await lambda_("PutFunctionEventInvokeConfig", **FN, MaximumRetryAttempts=1)
        for target, words in {
            ARN: "You can't specify the function as a destination for itself.",
            f"{ARN}-gone": f"The destination ARN {ARN}-gone is invalid.",
            f"{QUEUE}.fifo": f"The destination ARN {QUEUE}.fifo is invalid.",
            ROLE: f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={ROLE}), "
            "onFailure=null) is invalid.",
        }.items():
            config = {"OnSuccess": {"Destination": target}}
            refused = await lambda_.refused(f"{operation}FunctionEventInvokeConfig", **FN, DestinationConfig=config)
            assert refused == ("InvalidParameterValueException", words)

    on_a_platform(tmp_path, scenario)


def test_a_dead_letter_queue_is_checked_and_frozen_by_publishing(tmp_path):
    async def scenario(lambda_):
        bad = {"DeadLetterConfig": {"TargetArn": ROLE}}
        words = f"Invalid dead letter ARN: {ROLE} is not the ARN of an SQS queue or an SNS topic."
        refused = await lambda_.refused("UpdateFunctionConfiguration", **FN, **bad)
        assert refused == ("InvalidParameterValueException", words)
        await lambda_.update(DeadLetterConfig={"TargetArn": QUEUE})
        await lambda_("PublishVersion", **FN)
        await lambda_.update(DeadLetterConfig={"TargetArn": TOPIC})
        functions = lambda_.service.asynchronous
        for qualifier, target in ((None, TOPIC), ("$LATEST", TOPIC), ("1", QUEUE)):
            found = functions.deliveries(event(qualifier), "RetriesExhausted")
            assert [(each.target, each.role, each.failure_metric) for each in found] == [
                (target, ROLE, "DeadLetterErrors")
            ]
            assert functions.deliveries(event(qualifier), "Success") == []

    on_a_platform(tmp_path, scenario)


def test_a_weighted_aliass_dead_letters_go_where_the_version_that_ran_says(tmp_path):
    async def scenario(lambda_):
        await lambda_.update(DeadLetterConfig={"TargetArn": QUEUE})
        await lambda_("PublishVersion", **FN)
        await lambda_.update(DeadLetterConfig={"TargetArn": TOPIC})
        await lambda_("PublishVersion", **FN)
        weights = {"AdditionalVersionWeights": {"2": 0.5}}
        await lambda_("CreateAlias", **FN, Name="live", FunctionVersion="1", RoutingConfig=weights)
        for version, target in (("1", QUEUE), ("2", TOPIC)):
            failed = event("live", response=Response(executed_version=version, function_error="Unhandled"))
            found = lambda_.service.asynchronous.deliveries(failed, "RetriesExhausted")
            assert [each.target for each in found] == [target]

    on_a_platform(tmp_path, scenario)


def test_destination_and_dead_letter_queue_both_hear_of_a_failure(tmp_path):
    async def scenario(lambda_):
        await lambda_.update(DeadLetterConfig={"TargetArn": QUEUE})
        config = {"OnSuccess": {"Destination": QUEUE}, "OnFailure": {"Destination": TOPIC}}
        await lambda_("PutFunctionEventInvokeConfig", **FN, DestinationConfig=config)
        functions = lambda_.service.asynchronous
        failed = functions.deliveries(event(), "EventAgeExceeded")
        assert [(each.kind, each.target) for each in failed] == [("DeadLetter", QUEUE), ("Destination", TOPIC)]
        succeeded = functions.deliveries(event(), "Success")
        assert [(each.kind, each.target) for each in succeeded] == [("Destination", QUEUE)]
        await lambda_("CreateAlias", **FN, Name="live", FunctionVersion="$LATEST")
        assert functions.deliveries(event("live"), "Success") == []  # another qualifier's are its own

    on_a_platform(tmp_path, scenario)


def test_events_are_treated_as_their_qualifiers_config_says(tmp_path):
    async def scenario(lambda_):
        functions = lambda_.service.asynchronous
        assert functions.retries(event()) == Retries(max_retries=2, max_age_s=21_600)
        await lambda_("PutFunctionEventInvokeConfig", **FN, MaximumRetryAttempts=0)
        assert functions.retries(event()) == Retries(max_retries=0, max_age_s=21_600)
        await lambda_("CreateAlias", **FN, Name="live", FunctionVersion="$LATEST")
        await lambda_("PutFunctionEventInvokeConfig", **FN, Qualifier="live", MaximumEventAgeInSeconds=60)
        assert functions.retries(event("live")) == Retries(max_retries=2, max_age_s=60)
        key = FunctionKey(ACCOUNT, REGION, "fn")
        lambda_.service.catalogue.put(ReservedConcurrency(key=key, limit=0))
        assert not functions.retries(event("live")).is_allowed
        lambda_.service.catalogue.put(ReservedConcurrency(key=key, limit=1))
        assert functions.retries(event("live")).is_allowed
        with pytest.raises(ApiError) as raised:
            functions.retries(event("gone"))
        assert raised.value.code == "ResourceNotFoundException"

    on_a_platform(tmp_path, scenario)


def test_an_event_runs_with_its_own_id_and_header_at_each_attempt(tmp_path):
    async def scenario(lambda_):
        asked = event("$LATEST", request_id="the-id", payload=b"[1]", trace_header="Root=1-0-0")
        for _attempt in range(2):
            response = await lambda_.service.asynchronous.run(asked)
            assert response == Response(executed_version="$LATEST", payload=b'"done"')
        for _spec, invocation in lambda_.engine.invoked:
            assert (invocation.request_id, invocation.payload) == ("the-id", b"[1]")
            assert invocation.invoked_arn == f"{ARN}:$LATEST"
            assert invocation.trace_header.startswith("Root=1-0-0;Sampled=0;Lineage=")
            assert invocation.trace_header.endswith(":0")  # a retry is no further turn of a loop

    on_a_platform(tmp_path, scenario)


def test_records_go_out_as_the_functions_role_and_in_its_trace(tmp_path):
    async def scenario(lambda_):
        await lambda_.create("other")
        target = f"{ARN.removesuffix('fn')}other"
        config = {"OnSuccess": {"Destination": target}}
        await lambda_("PutFunctionEventInvokeConfig", **FN, DestinationConfig=config)
        ended = event(condition="Success", ended_ms=0, trace_header="Root=1-0-0", response=Response(payload=b"1"))
        functions = lambda_.service.asynchronous
        (delivery,) = functions.deliveries(ended, "Success")
        await functions.deliver(ended, delivery)
        service, operation, params, caller = lambda_.calls[-1]
        assert (service, operation, params["FunctionName"]) == ("lambda", "Invoke", target)
        assert caller.principal == f"arn:aws:sts::{ACCOUNT}:assumed-role/lambda/fn"
        assert caller.trace_header.startswith("Root=1-0-0;Lineage=")
        assert lambda_.events.kept[-1][1] == target

    on_a_platform(tmp_path, scenario)
