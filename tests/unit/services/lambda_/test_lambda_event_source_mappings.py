"""Event source mappings beside a real SQS: the operations, their states and errors."""

import asyncio

import pytest
from lambda_platform import ACCOUNT, ARN, CALLER, REGION
from mapping_platform import (
    FIFO,
    INVALID,
    NOWHERE,
    QUEUE,
    URL,
    bodies,
    counts,
    empty,
    gone,
    mapped,
    on_a_platform,
    send,
    state,
)
from msgspec.structs import replace

from lambent.aws.policy import Permissions
from lambent.services.lambda_.identities import Identities


def test_a_mapping_is_made_comes_into_force_and_goes(tmp_path):
    async def main(lambda_):
        made = await lambda_("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="fn")
        uuid = made["UUID"]
        assert made == {
            "UUID": uuid,
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            "EventSourceArn": QUEUE,
            "FunctionArn": ARN,
            "LastModified": made["LastModified"],
            "State": "Creating",
            "StateTransitionReason": "USER_INITIATED",
            "EventSourceMappingArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}",
        }
        assert await state(lambda_, uuid, "Enabled") == {**made, "State": "Enabled"}
        assert (await lambda_("DeleteEventSourceMapping", UUID=uuid))["State"] == "Deleting"
        await gone(lambda_, uuid)
        refused = ("ResourceNotFoundException", "The resource you requested does not exist.")
        for operation in ("GetEventSourceMapping", "DeleteEventSourceMapping", "UpdateEventSourceMapping"):
            assert await lambda_.refused(operation, UUID=uuid) == refused

    on_a_platform(main, tmp_path)


def test_everything_that_was_set_is_shown(tmp_path):
    settings = {
        "BatchSize": 500,
        "MaximumBatchingWindowInSeconds": 20,
        "FilterCriteria": {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]},
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 7},
        "MetricsConfig": {"Metrics": ["EventCount"]},
    }

    async def main(lambda_):
        made = await lambda_("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="fn", **settings)
        assert settings.items() <= made.items()

    on_a_platform(main, tmp_path)


def test_an_update_changes_what_it_names_and_empty_criteria_take_away(tmp_path):
    async def main(lambda_):
        uuid = await mapped(
            lambda_,
            FilterCriteria={"Filters": [{"Pattern": '{"body": ["x"]}'}]},
            ScalingConfig={"MaximumConcurrency": 2},
        )
        update = await lambda_("UpdateEventSourceMapping", UUID=uuid, BatchSize=3, FilterCriteria={}, ScalingConfig={})
        assert (update["State"], update["BatchSize"]) == ("Updating", 3)
        assert not {"FilterCriteria", "ScalingConfig"} & update.keys()
        await state(lambda_, uuid, "Enabled")

    on_a_platform(main, tmp_path)


def test_disabling_and_enabling_go_through_their_states(tmp_path):
    async def main(lambda_):
        uuid = await mapped(lambda_)
        assert (await lambda_("UpdateEventSourceMapping", UUID=uuid, Enabled=False))["State"] == "Disabling"
        await state(lambda_, uuid, "Disabled")
        await send(lambda_, "waits")
        await asyncio.sleep(100)
        assert await counts(lambda_) == [1, 0]
        assert (await lambda_("UpdateEventSourceMapping", UUID=uuid, Enabled=True))["State"] == "Enabling"
        await empty(lambda_)
        assert bodies(lambda_) == ["waits"]

    on_a_platform(main, tmp_path)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_mapping_may_begin_disabled(tmp_path, enabled):
    async def main(lambda_):
        await mapped(lambda_, Enabled=enabled)

    on_a_platform(main, tmp_path)


def test_a_mapping_whose_queue_is_gone_can_be_disabled_and_not_enabled(tmp_path):
    async def main(lambda_):
        uuid = await mapped(lambda_)
        await lambda_.queue("DeleteQueue", QueueUrl=URL)
        await lambda_("UpdateEventSourceMapping", UUID=uuid, Enabled=False)
        await state(lambda_, uuid, "Disabled")
        code, message = await lambda_.refused("UpdateEventSourceMapping", UUID=uuid, Enabled=True)
        assert (code, "NonExistentQueue" in message) == (INVALID, True)

    on_a_platform(main, tmp_path)


def test_a_change_waits_for_the_one_before(tmp_path):
    async def main(lambda_):
        made = await lambda_("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="fn")
        for operation, verb in (("UpdateEventSourceMapping", "update"), ("DeleteEventSourceMapping", "delete")):
            code, message = await lambda_.refused(operation, UUID=made["UUID"])
            assert (code, message) == (
                "ResourceInUseException",
                f"Cannot {verb} the event source mapping because it is in use.",
            )

    on_a_platform(main, tmp_path)


def test_a_queue_feeds_a_function_once_and_its_alias_too(tmp_path):
    async def main(lambda_):
        uuid = await mapped(lambda_)
        assert await lambda_.refused("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName=ARN) == (
            "ResourceConflictException",
            f'An event source mapping with SQS arn (" {QUEUE} ") and function (" fn ") already exists. '
            f"Please update or delete the existing mapping with UUID {uuid}",
        )
        await lambda_("PublishVersion", FunctionName="fn")
        await lambda_("CreateAlias", FunctionName="fn", Name="live", FunctionVersion="1")
        for qualifier in ("1", "live"):
            made = await lambda_("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName=f"fn:{qualifier}")
            assert made["FunctionArn"] == f"{ARN}:{qualifier}"
        other = await state(lambda_, made["UUID"], "Enabled")
        code, _ = await lambda_.refused("UpdateEventSourceMapping", UUID=other["UUID"], FunctionName="fn")
        assert code == "ResourceConflictException"

    on_a_platform(main, tmp_path)


def test_lists_are_of_a_queue_of_a_function_and_in_pages(tmp_path):
    async def main(lambda_):
        await lambda_.create("other")
        await lambda_.queue("CreateQueue", QueueName="r")
        pairs = [("q", "fn"), ("q", "other"), ("r", "fn")]
        for queue, function in pairs:
            await mapped(lambda_, EventSourceArn=QUEUE[:-1] + queue, FunctionName=function)

        async def listed(**params):
            answer = await lambda_("ListEventSourceMappings", **params)
            return sorted(
                (each["EventSourceArn"][-1], each["FunctionArn"].rpartition(":")[2])
                for each in answer["EventSourceMappings"]
            )

        assert await listed() == sorted(pairs)
        assert await listed(EventSourceArn=QUEUE) == [("q", "fn"), ("q", "other")]
        assert await listed(FunctionName="fn") == [("q", "fn"), ("r", "fn")]
        assert await listed(FunctionName="fn", EventSourceArn=QUEUE) == [("q", "fn")]
        first = await lambda_("ListEventSourceMappings", MaxItems=2)
        rest = await lambda_("ListEventSourceMappings", MaxItems=2, Marker=first["NextMarker"])
        assert len(first["EventSourceMappings"] + rest["EventSourceMappings"]) == 3
        assert "NextMarker" not in rest
        assert (await lambda_.refused("ListEventSourceMappings", Marker="?"))[0] == INVALID
        assert await lambda_.refused("ListEventSourceMappings", FunctionName="gone") == (
            "ResourceNotFoundException",
            f"Function not found: {ARN[:-2]}gone",
        )
        elsewhere = replace(CALLER, account="000000000000")
        assert (await lambda_("ListEventSourceMappings", caller=elsewhere))["EventSourceMappings"] == []

    on_a_platform(main, tmp_path)


def test_tags_of_a_mapping(tmp_path):
    async def main(lambda_):
        uuid = await mapped(lambda_, Tags={"a": "1"})
        arn = (await lambda_("GetEventSourceMapping", UUID=uuid))["EventSourceMappingArn"]
        await lambda_("TagResource", Resource=arn, Tags={"b": "2"})
        await lambda_("UntagResource", Resource=arn, TagKeys=["a", "none"])
        assert await lambda_("ListTags", Resource=arn) == {"Tags": {"b": "2"}}
        many = {str(number): "x" for number in range(50)}
        assert await lambda_.refused("TagResource", Resource=arn, Tags=many) == (
            INVALID,
            "Number of tags exceeds resource tag limit.",
        )
        nowhere = arn[:-36] + NOWHERE
        for operation, params in (("ListTags", {}), ("TagResource", {"Tags": {}}), ("UntagResource", {"TagKeys": []})):
            assert await lambda_.refused(operation, Resource=nowhere, **params) == (
                "ResourceNotFoundException",
                f"Event source mapping not found: {nowhere}",
            )

    on_a_platform(main, tmp_path)


PATTERN = {"Filters": [{"Pattern": '{"body": 1}'}]}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"FunctionName": "gone"}, "Function does not exist"),
        ({"FunctionName": "fn:gone"}, "Function does not exist"),
        ({"EventSourceArn": "arn:aws:s3:::bucket"}, "Unrecognized event source."),
        ({"EventSourceArn": None}, "Unrecognized event source."),
        ({"EventSourceArn": QUEUE.replace(REGION, "us-east-1")}, "The queue is in us-east-1"),
        (
            {"EventSourceArn": f"{QUEUE}-gone"},
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist.",
        ),
        (
            {"BatchSize": 11},
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        ({"FilterCriteria": PATTERN}, "Invalid filter pattern definition."),
        ({"FilterCriteria": {"Filters": PATTERN["Filters"] * 6}}, "FilterCriteria has 6 filters; Lambda allows 5."),
        ({"StartingPosition": "LATEST"}, f"Unsupported starting position for arn type: {QUEUE}"),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        (
            {"MaximumRetryAttempts": 3},
            "Unsupported MaximumRetryAttempts parameter for given event source mapping type.",
        ),
        ({"MetricsConfig": {"Metrics": ["KafkaMetrics"]}}, "Metrics KafkaMetrics"),
        ({"EventSourceArn": FIFO, "MaximumBatchingWindowInSeconds": 1}, "Batching window is not supported"),
        ({"EventSourceArn": FIFO, "BatchSize": 11}, "BatchSize is 11; for FIFO queues Lambda allows up to 10."),
        (
            {"ScalingConfig": {"MaximumConcurrency": 2}, "ProvisionedPollerConfig": {"MinimumPollers": 2}},
            "ScalingConfig and ProvisionedPollerConfig cannot be used together.",
        ),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 1}}, "MinimumPollers is 1"),
        ({"ProvisionedPollerConfig": {"MaximumPollers": 2001}}, "MaximumPollers is 2001"),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 9, "MaximumPollers": 8}}, "MinimumPollers is 9, which is more"),
        ({"ProvisionedPollerConfig": {"PollerGroupName": "g"}}, "Unsupported PollerGroupName parameter"),
        ({"Tags": {str(number): "x" for number in range(51)}}, "Number of tags exceeds resource tag limit."),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, params, message):
    async def main(lambda_):
        given = {"EventSourceArn": QUEUE, "FunctionName": "fn", **params}
        given = {name: value for name, value in given.items() if value is not None}
        code, said = await lambda_.refused("CreateEventSourceMapping", **given)
        assert code == INVALID
        assert said.startswith(message)
        assert (await lambda_("ListEventSourceMappings"))["EventSourceMappings"] == []

    on_a_platform(main, tmp_path)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"EventSourceArn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"}, "from Kinesis streams"),
        ({"EventSourceArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/x"}, "from DynamoDB streams"),
        ({"EventSourceArn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/1"}, "from Amazon MSK"),
        ({"EventSourceArn": f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b"}, "from Amazon MQ"),
        ({"EventSourceArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:d"}, "from Amazon DocumentDB"),
        (
            {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["h:9092"]}}},
            "from self-managed Apache Kafka",
        ),
        ({"KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"}, "KMSKeyArn"),
    ],
)
def test_what_is_not_there_yet_is_named(tmp_path, params, says):
    async def main(lambda_):
        code, message = await lambda_.refused(
            "CreateEventSourceMapping", **{"EventSourceArn": QUEUE, "FunctionName": "fn", **params}
        )
        assert code == "NotImplemented"
        assert says in message

    on_a_platform(main, tmp_path)


def test_a_queue_has_to_hide_messages_as_long_as_the_function_may_run(tmp_path):
    async def main(lambda_):
        await lambda_.create("slow", Timeout=60)
        assert await lambda_.refused("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="slow") == (
            INVALID,
            "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds",
        )
        uuid = await mapped(lambda_)
        code, _ = await lambda_.refused("UpdateEventSourceMapping", UUID=uuid, FunctionName="slow")
        assert code == INVALID

    on_a_platform(main, tmp_path)


@pytest.mark.parametrize("allowed", [[], ["ReceiveMessage"], ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"]])
def test_where_policies_hold_the_execution_role_has_to_be_allowed(tmp_path, allowed):
    statement = {"Effect": "Allow", "Action": [f"sqs:{name}" for name in allowed], "Resource": QUEUE}
    document = {"Version": "2012-10-17", "Statement": [statement]}

    async def permissions(principal):
        assert principal.role == f"arn:aws:iam::{ACCOUNT}:role/lambda"
        return Permissions(identity=(document,) if allowed else ())

    async def main(lambda_):
        if len(allowed) == 3:
            await mapped(lambda_)
            return
        missing = "DeleteMessage" if allowed else "ReceiveMessage"
        assert await lambda_.refused("CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="fn") == (
            INVALID,
            f"The provided execution role does not have permissions to call {missing} on SQS",
        )

    on_a_platform(main, tmp_path, identities=Identities(permissions=permissions, are_enforced=True))
