"""Event source mappings beside a real SQS: what their pollers do with messages."""

import asyncio
import json

import pytest
from lambda_platform import ACCOUNT, ARN, CALLER, REGION, platform
from mapping_platform import (
    FIFO,
    QUEUE,
    URL,
    bodies,
    counts,
    empty,
    events,
    mapped,
    on_a_platform,
    send,
    state,
)
from msgspec.structs import replace
from sqlalchemy import text

from lambent.aws.errors import ApiError
from lambent.aws.trace import part
from lambent.engine.spec import InvocationResult
from lambent.services.lambda_.recursion import RUNS, check, lineage
from lambent.testing.loop import run


def test_the_event_is_awss_field_by_field(tmp_path):
    async def main(lambda_):
        await mapped(lambda_)
        attributes = {
            "name": {"DataType": "String", "StringValue": "Ada"},
            "data": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
        }
        await send(lambda_, "hello", MessageAttributes=attributes)
        await send(lambda_, "plain")
        await empty(lambda_)
        first, second = (record for event in events(lambda_) for record in event["Records"])
        assert list(first) == [
            "messageId",
            "receiptHandle",
            "body",
            "attributes",
            "messageAttributes",
            "md5OfBody",
            "md5OfMessageAttributes",
            "eventSource",
            "eventSourceARN",
            "awsRegion",
        ]
        assert list(first["attributes"]) == [
            "ApproximateReceiveCount",
            "SentTimestamp",
            "SenderId",
            "ApproximateFirstReceiveTimestamp",
        ]
        assert all(isinstance(value, str) for value in first["attributes"].values())
        empty_lists = {"stringListValues": [], "binaryListValues": []}
        assert first["messageAttributes"] == {
            "name": {"stringValue": "Ada", **empty_lists, "dataType": "String"},
            "data": {"binaryValue": "AP8=", **empty_lists, "dataType": "Binary.png"},
        }
        assert first["body"] == "hello"
        assert first["md5OfBody"] == "5d41402abc4b2a76b9719d911017c592"
        assert len(first["md5OfMessageAttributes"]) == 32
        assert (first["eventSource"], first["eventSourceARN"], first["awsRegion"]) == ("aws:sqs", QUEUE, REGION)
        assert (second["messageAttributes"], second["md5OfMessageAttributes"]) == ({}, None)

    on_a_platform(main, tmp_path)


def test_the_queue_is_asked_as_the_functions_execution_role(tmp_path):
    async def main(lambda_):
        await mapped(lambda_)
        await send(lambda_, "x")
        await empty(lambda_)
        asked = [(operation, caller.principal) for service, operation, _, caller in lambda_.calls if service == "sqs"]
        assert {operation for operation, _ in asked} == {"GetQueueAttributes", "ReceiveMessage", "DeleteMessageBatch"}
        assert {principal for _, principal in asked} == {f"arn:aws:sts::{ACCOUNT}:assumed-role/lambda/fn"}

    on_a_platform(main, tmp_path)


def test_an_alias_is_invoked_by_its_name(tmp_path):
    async def main(lambda_):
        await lambda_("PublishVersion", FunctionName="fn")
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
        await mapped(lambda_, FunctionName="fn:live")
        await send(lambda_, "x")
        await empty(lambda_)
        spec, invocation = lambda_.engine.invoked[0]
        assert (spec.version, invocation.invoked_arn) == ("1", f"{ARN}:live")

    on_a_platform(main, tmp_path)


def test_failures_end_in_the_dead_letter_queue_and_are_told(tmp_path):
    async def main(lambda_):
        await lambda_.queue("CreateQueue", QueueName="dead")
        redrive = json.dumps({"deadLetterTargetArn": f"{QUEUE[:-1]}dead", "maxReceiveCount": 3})
        await lambda_.queue("SetQueueAttributes", QueueUrl=URL, Attributes={"RedrivePolicy": redrive})
        lambda_.engine.result = InvocationResult(payload=b"{}", function_error="Unhandled")
        uuid = await mapped(lambda_)
        await send(lambda_, "poison")
        await empty(lambda_)
        assert bodies(lambda_) == ["poison"] * 3
        assert await counts(lambda_, URL[:-1] + "dead") == [1, 0]
        told = await lambda_("GetEventSourceMapping", UUID=uuid)
        assert told["LastProcessingResult"] == "PROBLEM: Function call failed"

    on_a_platform(main, tmp_path)


def test_a_fifo_queue_is_handed_on_group_by_group(tmp_path):
    async def main(lambda_):
        attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        await lambda_.queue("CreateQueue", QueueName="q.fifo", Attributes=attributes)
        await mapped(lambda_, EventSourceArn=FIFO, BatchSize=2)
        for number in range(6):
            for group in "ab":
                await send(lambda_, f"{group}{number}", url=f"{URL}.fifo", MessageGroupId=group)
        await empty(lambda_, f"{URL}.fifo")
        for group in "ab":
            mine = [body for body in bodies(lambda_) if body[0] == group]
            assert mine == [f"{group}{number}" for number in range(6)]
        attributes = events(lambda_)[0]["Records"][0]["attributes"]
        assert {"SequenceNumber", "MessageGroupId", "MessageDeduplicationId"} <= attributes.keys()

    on_a_platform(main, tmp_path)


def test_pollers_come_back_after_a_restart(tmp_path):
    async def main(lambda_):
        await mapped(lambda_)

    async def again(clock):
        async with platform(tmp_path, clock, queues=True) as lambda_:
            await send(lambda_, "after the restart")
            await empty(lambda_)
            assert bodies(lambda_) == ["after the restart"]

    on_a_platform(main, tmp_path)
    run(again)


def test_a_change_that_a_restart_cut_off_comes_into_force(tmp_path):
    async def main(lambda_):
        await lambda_("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="fn")

    async def again(clock):
        async with platform(tmp_path, clock, queues=True) as lambda_:
            (mapping,) = (await lambda_("ListEventSourceMappings"))["EventSourceMappings"]
            await state(lambda_, mapping["UUID"], "Enabled")

    on_a_platform(main, tmp_path)
    run(again)


def test_pollers_come_back_when_the_queue_is_made_again(tmp_path):
    async def main(lambda_):
        uuid = await mapped(lambda_)
        await lambda_.queue("DeleteQueue", QueueUrl=URL)
        await asyncio.sleep(60)
        told = await lambda_("GetEventSourceMapping", UUID=uuid)
        assert (told["State"], told["LastProcessingResult"][:8]) == ("Enabled", "PROBLEM:")
        await lambda_.queue("CreateQueue", QueueName="q")
        await send(lambda_, "again")
        await empty(lambda_, limit_s=10)
        assert bodies(lambda_) == ["again"]
        assert "LastProcessingResult" not in await lambda_("GetEventSourceMapping", UUID=uuid)

    on_a_platform(main, tmp_path)


def test_a_function_that_is_deleted_leaves_messages_where_they_are(tmp_path):
    async def main(lambda_):
        uuid = await mapped(lambda_)
        await lambda_("DeleteFunction", FunctionName="fn")
        await send(lambda_, "x")
        await asyncio.sleep(600)
        assert await counts(lambda_) == [1, 0]
        told = await lambda_("GetEventSourceMapping", UUID=uuid)
        assert told["LastProcessingResult"] == "PROBLEM: Function does not exist"
        await lambda_.create()
        await empty(lambda_)

    on_a_platform(main, tmp_path)


def test_an_update_while_it_runs_applies_to_the_next_batches(tmp_path):
    async def main(lambda_):
        uuid = await mapped(lambda_)
        await send(lambda_, *"abc")
        await empty(lambda_)
        await lambda_("UpdateEventSourceMapping", UUID=uuid, BatchSize=1)
        await state(lambda_, uuid, "Enabled")
        lambda_.engine.invoked.clear()
        await send(lambda_, *"defg")
        await empty(lambda_)
        assert sorted(bodies(lambda_)) == list("defg")
        assert {len(event["Records"]) for event in events(lambda_)} == {1}

    on_a_platform(main, tmp_path)


def test_metrics_are_there_for_who_asked_for_them(tmp_path):
    async def main(lambda_):
        uuid = await mapped(
            lambda_,
            MetricsConfig={"Metrics": ["EventCount"]},
            FilterCriteria={"Filters": [{"Pattern": '{"body": ["a", "b"]}'}]},
        )
        await send(lambda_, *"abc")
        await empty(lambda_)
        totals = {}
        for name, value, dimensions in lambda_.recorded:
            if dimensions == {"EventSourceMappingUUID": uuid}:
                totals[name] = totals.get(name, 0) + value
        assert totals == {
            "PolledEventCount": 3,
            "FilteredOutEventCount": 1,
            "InvokedEventCount": 2,
            "DeletedEventCount": 3,
        }

    on_a_platform(main, tmp_path)


def test_without_being_asked_there_are_no_metrics_of_a_mapping(tmp_path):
    async def main(lambda_):
        await mapped(lambda_)
        await send(lambda_, "x")
        await empty(lambda_)
        assert not [dimensions for _, _, dimensions in lambda_.recorded if "EventSourceMappingUUID" in dimensions]

    on_a_platform(main, tmp_path)


def test_a_loop_through_a_queue_is_stopped(tmp_path):
    async def main(lambda_):
        await mapped(lambda_)
        header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        for _ in range(RUNS):
            caller = replace(CALLER, trace_header=header)  # as the function's own SDK would send it
            await lambda_.queue("SendMessage", caller=caller, QueueUrl=URL, MessageBody="x")
            await empty(lambda_)
            header = lambda_.engine.invoked[-1][1].trace_header
        assert part(header, "Root") == "1-5759e988-bd862e3fe1be46a994272793"
        assert list(lineage(header).values()) == [RUNS - 1]
        caller = replace(CALLER, trace_header=header)
        await lambda_.queue("SendMessage", caller=caller, QueueUrl=URL, MessageBody="x")
        await asyncio.sleep(10)
        assert len(lambda_.engine.invoked) == RUNS
        assert sum(await counts(lambda_)) == 1
        assert [entry[0] for entry in lambda_.recorded].count("RecursiveInvocationsDropped") == 2

    on_a_platform(main, tmp_path)


def test_a_message_from_a_loop_does_not_keep_others_from_being_handed_on(tmp_path):
    async def main(lambda_):
        header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        for _ in range(RUNS):
            header = check(header, ARN)
        await send(lambda_, "before")
        caller = replace(CALLER, trace_header=header)
        await lambda_.queue("SendMessage", caller=caller, QueueUrl=URL, MessageBody="loops")
        await send(lambda_, "behind")
        await mapped(lambda_)
        await asyncio.sleep(10)
        assert bodies(lambda_) == ["before", "behind"]
        assert sum(await counts(lambda_)) == 1

    on_a_platform(main, tmp_path)


def test_hours_that_are_advanced_pass_at_once_beside_a_mapping(tmp_path):
    async def main(lambda_):
        await mapped(lambda_)
        await lambda_.clock.advance(30 * 86_400)
        await send(lambda_, "x")
        await empty(lambda_)

    on_a_platform(main, tmp_path)


def test_what_is_shown_again_while_time_is_advanced_is_received_in_that_time(tmp_path):
    async def main(lambda_):
        lambda_.engine.result = InvocationResult(payload=b"{}", function_error="Unhandled")
        await mapped(lambda_)
        await send(lambda_, "x")
        await asyncio.sleep(1)
        await lambda_.clock.advance(100)
        counts = [
            record["attributes"]["ApproximateReceiveCount"] for event in events(lambda_) for record in event["Records"]
        ]
        assert counts == ["1", "2", "3", "4"]

    on_a_platform(main, tmp_path)


def test_the_queue_says_no_and_the_mapping_says_so(tmp_path):
    async def main(lambda_):
        real = lambda_.service.call

        async def call(service, operation, params, *, caller):
            if operation == "ReceiveMessage":
                raise ApiError("AccessDenied", "Access to the resource is denied.")
            return await real(service, operation, params, caller=caller)

        lambda_.service.call = call
        uuid = await mapped(lambda_)
        await asyncio.sleep(10)
        told = await lambda_("GetEventSourceMapping", UUID=uuid)
        assert told["LastProcessingResult"] == "PROBLEM: Access to the resource is denied."

    on_a_platform(main, tmp_path)


def test_a_disk_that_refuses_deletions_loses_nothing(tmp_path):
    async def main(lambda_):
        refuse = "CREATE TRIGGER full BEFORE DELETE ON sqs_messages BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        await mapped(lambda_)
        await lambda_.service.database.write(lambda tx: tx.execute(text(refuse)))
        await send(lambda_, "a", "b")
        await asyncio.sleep(100)
        assert len(bodies(lambda_)) > 2, "what could not be deleted came again"
        await lambda_.service.database.write(lambda tx: tx.execute(text("DROP TRIGGER full")))
        await send(lambda_, "c")
        await empty(lambda_)
        assert set(bodies(lambda_)) == {"a", "b", "c"}

    on_a_platform(main, tmp_path)


@pytest.mark.parametrize("jump_s", [-7_200, 7_200])
def test_a_clock_that_jumps_holds_up_no_message(tmp_path, jump_s):
    async def main(lambda_):
        jumped, read = [0], lambda_.clock.read
        lambda_.clock.read = lambda: read() + jumped[0]
        await mapped(lambda_)
        lambda_.engine.result = InvocationResult(payload=b"{}", function_error="Unhandled")
        await send(lambda_, "fails once")
        await asyncio.sleep(1)
        jumped[0] = jump_s
        lambda_.engine.result = InvocationResult(payload=b"{}")
        await send(lambda_, "new")
        await empty(lambda_, limit_s=60)
        assert sorted(bodies(lambda_)) == ["fails once", "fails once", "new"]

    on_a_platform(main, tmp_path)
