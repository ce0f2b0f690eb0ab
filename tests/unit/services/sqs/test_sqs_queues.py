"""Queues: names, attributes, tags, permissions, lists."""

import asyncio
import json

import pytest
from tests.unit.services.sqs.sqs_service import ARN, CALLER, Client, opened, with_sqs

from lambent.aws.caller import Caller
from lambent.testing.loop import run

NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
FIFO_NAME = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo "
    "suffix and be 1 to 80 in length"
)


def test_a_new_queue_has_the_documented_defaults(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        assert url == "http://127.0.0.1:4566/123456789012/q"
        found = await sqs.attribute(url)
        created = found.pop("CreatedTimestamp")
        assert found.pop("LastModifiedTimestamp") == created
        assert abs(int(created) - sqs.clock.now()) < 2
        assert found == {
            "ApproximateNumberOfMessages": "0",
            "ApproximateNumberOfMessagesDelayed": "0",
            "ApproximateNumberOfMessagesNotVisible": "0",
            "DelaySeconds": "0",
            "MaximumMessageSize": "1048576",
            "MessageRetentionPeriod": "345600",
            "QueueArn": f"{ARN}q",
            "ReceiveMessageWaitTimeSeconds": "0",
            "SqsManagedSseEnabled": "true",
            "VisibilityTimeout": "30",
        }
        fifo = await sqs.attribute(await sqs.queue("f.fifo"))
        assert {
            name: fifo[name] for name in fifo.keys() - found.keys() - {"CreatedTimestamp", "LastModifiedTimestamp"}
        } == {
            "ContentBasedDeduplication": "false",
            "DeduplicationScope": "queue",
            "FifoQueue": "true",
            "FifoThroughputLimit": "perQueue",
        }
        assert await sqs("GetQueueAttributes", QueueUrl=url) == {}

    with_sqs(tmp_path, test)


def test_a_queue_is_created_once(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue(VisibilityTimeout=40)
        assert await sqs.queue() == await sqs.queue(VisibilityTimeout=40, DelaySeconds=0) == url
        text = "A queue already exists with the same name and a different value for attribute VisibilityTimeout"
        async with sqs.refused("QueueNameExists", text):
            await sqs.queue(VisibilityTimeout=41)
        await sqs("DeleteQueue", QueueUrl=url)
        async with sqs.refused("QueueDoesNotExist", "The specified queue does not exist."):
            await sqs.send(url, "a")
        again = await sqs.queue(VisibilityTimeout=41)
        assert (again, await sqs.counts(again)) == (url, (0, 0, 0))

    with_sqs(tmp_path, test)


def test_the_name_of_a_deleted_queue_can_be_kept_as_on_aws(tmp_path):
    async def test(sqs: Client) -> None:
        await sqs("DeleteQueue", QueueUrl=await sqs.queue())
        text = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
        async with sqs.refused("QueueDeletedRecently", text):
            await sqs.queue()
        await sqs.clock.sleep(60)
        await sqs.queue()

    with_sqs(tmp_path, test, name_kept_s=60)


def test_a_deleted_queue_takes_its_messages_along_and_ends_polls(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        await sqs.receive(url)
        async with asyncio.TaskGroup() as tasks:

            async def poll() -> None:
                async with sqs.refused("QueueDoesNotExist"):
                    await sqs.receive(url, WaitTimeSeconds=20)

            tasks.create_task(poll())
            await sqs.clock.sleep(1)
            await sqs("DeleteQueue", QueueUrl=url)
        url = await sqs.queue()
        await sqs.clock.sleep(100)
        assert await sqs.receive(url) == []

    with_sqs(tmp_path, test)


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("", {}, NAME),
        ("q" * 81, {}, NAME),
        ("a.b", {}, NAME),
        ("q.fifo", {}, NAME),
        ("q", {"FifoQueue": "true"}, FIFO_NAME),
        ("q" * 76 + ".fifo", {"FifoQueue": "true"}, FIFO_NAME),
    ],
)
def test_names_that_no_queue_has(tmp_path, name, attributes, message):
    async def test(sqs: Client) -> None:
        async with sqs.refused("InvalidParameterValue", message):
            await sqs("CreateQueue", QueueName=name, Attributes=attributes)
        await sqs.queue("q" * 80)
        await sqs.queue("q" * 75 + ".fifo")

    with_sqs(tmp_path, test)


RANGES = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1_024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}


def test_attributes_at_their_limits_and_one_past_them(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        for name, (low, high) in RANGES.items():
            for value in (low, high):
                await sqs("SetQueueAttributes", QueueUrl=url, Attributes={name: str(value)})
                assert (await sqs.attribute(url, name))[name] == str(value)
            for value in (low - 1, high + 1, "x", "1.5", ""):
                async with sqs.refused("InvalidAttributeValue", f"Invalid value for the parameter {name}."):
                    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={name: str(value)})

    with_sqs(tmp_path, test)


def test_attributes_that_cannot_be(tmp_path):
    async def test(sqs: Client) -> None:
        url, fifo = await sqs.queue(), await sqs.queue("f.fifo")
        for name in ("Nonsense", "QueueArn", "ContentBasedDeduplication", "FifoQueue"):
            async with sqs.refused("InvalidAttributeName", f"Unknown Attribute {name}."):
                await sqs("SetQueueAttributes", QueueUrl=url, Attributes={name: "true"})
        async with sqs.refused("InvalidAttributeName", "Unknown Attribute Nonsense."):
            await sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=["Nonsense"])
        for wrong in (
            "no json",
            "[]",
            "{}",
            '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:q"}',
            json.dumps({"deadLetterTargetArn": f"{ARN}q", "maxReceiveCount": 0}),
            json.dumps({"deadLetterTargetArn": f"{ARN}q", "maxReceiveCount": 1001}),
            json.dumps({"deadLetterTargetArn": f"{ARN}nowhere", "maxReceiveCount": 1}),
            json.dumps({"deadLetterTargetArn": f"{ARN}f.fifo", "maxReceiveCount": 1}),
            json.dumps({"deadLetterTargetArn": "arn:aws:sns:eu-west-1:123456789012:q", "maxReceiveCount": 1}),
            json.dumps({"deadLetterTargetArn": f"{ARN}q", "maxReceiveCount": 1, "more": 1}),
        ):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": wrong})
        for wrong in (
            "[]",
            "{}",
            '{"redrivePermission": "byQueue"}',
            '{"redrivePermission": "byQueue", "sourceQueueArns": ["x"]}',
            '{"redrivePermission": "denyAll", "sourceQueueArns": []}',
            json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}{n}" for n in range(11)]}),
        ):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"RedriveAllowPolicy": wrong})
        for wrong in ("x", "{}"):
            async with sqs.refused("InvalidAttributeValue", "Invalid value for the parameter Policy."):
                await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": wrong})
        async with sqs.refused("InvalidParameterValue"):
            await sqs("SetQueueAttributes", QueueUrl=fifo, Attributes={"FifoThroughputLimit": "perMessageGroupId"})
        both = {"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup"}
        await sqs("SetQueueAttributes", QueueUrl=fifo, Attributes=both)
        for value in ("maybe", ""):
            async with sqs.refused("InvalidAttributeValue"):
                await sqs("SetQueueAttributes", QueueUrl=fifo, Attributes={"ContentBasedDeduplication": value})
        async with sqs.refused("InvalidParameterValue"):
            keys = {"KmsMasterKeyId": "alias/aws/sqs", "SqsManagedSseEnabled": "true"}
            await sqs("SetQueueAttributes", QueueUrl=url, Attributes=keys)

    with_sqs(tmp_path, test)


def test_a_queue_with_attributes_that_cannot_be_is_not_created(tmp_path):
    async def test(sqs: Client) -> None:
        async with sqs.refused("InvalidAttributeName", "Unknown Attribute Nonsense."):
            await sqs.queue(Nonsense="1")
        async with sqs.refused("InvalidAttributeValue", "Invalid value for the parameter DelaySeconds."):
            await sqs.queue(DelaySeconds=901)
        assert await sqs("ListQueues") == {}

    with_sqs(tmp_path, test)


def test_queues_are_listed_in_pages(tmp_path):
    async def test(sqs: Client) -> None:
        assert await sqs("ListQueues") == {}
        urls = [await sqs.queue(f"q{number}") for number in range(5)]
        await sqs.queue("other")
        await sqs("CreateQueue", Caller(account="999999999999", region="eu-west-1"), QueueName="q9")
        assert (await sqs("ListQueues", QueueNamePrefix="q"))["QueueUrls"] == urls
        first = await sqs("ListQueues", QueueNamePrefix="q", MaxResults=3)
        rest = await sqs("ListQueues", QueueNamePrefix="q", MaxResults=3, NextToken=first["NextToken"])
        assert first["QueueUrls"] + rest["QueueUrls"] == urls
        assert "NextToken" not in rest
        for most in (0, 1001):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("ListQueues", MaxResults=most)
        async with sqs.refused("InvalidParameterValue"):
            await sqs("ListQueues", MaxResults=1, NextToken="?")

    with_sqs(tmp_path, test)


@pytest.mark.parametrize(
    "url",
    [
        "http://anything.example:99/123456789012/q",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
        "https://eu-west-1.queue.amazonaws.com/123456789012/q",
        "/123456789012/q",
        "http://sqs.eu-west-1.localhost.localstack.cloud:4566/123456789012/q/",
        "http://localhost:4566/queue/eu-west-1/123456789012/q",
    ],
)
def test_a_queue_is_found_by_a_url_with_any_host(tmp_path, url):
    async def test(sqs: Client) -> None:
        await sqs.queue()
        await sqs.send(url, "a")
        assert await sqs.bodies(url) == ["a"]

    with_sqs(tmp_path, test)


def test_urls_that_name_no_queue(tmp_path):
    async def test(sqs: Client) -> None:
        await sqs.queue()
        for url in ("q", "http://127.0.0.1:4566/q", "http://[/1/q", ""):
            async with sqs.refused("InvalidAddress", f"The address {url} is not valid for this endpoint."):
                await sqs.send(url, "a")
        async with sqs.refused("QueueDoesNotExist"):
            await sqs.send("https://sqs.us-west-2.amazonaws.com/123456789012/q", "a")
        inner = await sqs("GetQueueUrl", Caller(account="123456789012", region="eu-west-1"), QueueName="q")
        assert inner == {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}
        other = Caller(account="999999999999", region="eu-west-1")
        named = {"QueueName": "q", "QueueOwnerAWSAccountId": "123456789012"}
        assert (await sqs("GetQueueUrl", other, **named))["QueueUrl"].endswith("/123456789012/q")
        async with sqs.refused("QueueDoesNotExist"):
            await sqs("GetQueueUrl", other, QueueName="q")

    with_sqs(tmp_path, test)


def test_tags(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            url = (await sqs("CreateQueue", QueueName="q", tags={"a": "1"}))["QueueUrl"]
            await sqs("TagQueue", QueueUrl=url, Tags={"a": "2", "b": "", "c": "3"})
            await sqs("UntagQueue", QueueUrl=url, TagKeys=["c", "never"])
        async with opened(tmp_path, clock) as sqs:
            assert await sqs("ListQueueTags", QueueUrl=url) == {"Tags": {"a": "2", "b": ""}}
            await sqs("TagQueue", QueueUrl=url, Tags={str(number): "x" * 256 for number in range(48)})
            for tags in ({"51": ""}, {"a": "x" * 257}, {"k" * 129: ""}, {"": ""}):
                async with sqs.refused("InvalidParameterValue"):
                    await sqs("TagQueue", QueueUrl=url, Tags=tags)
            await sqs("UntagQueue", QueueUrl=url, TagKeys=["a", "b", *map(str, range(48))])
            assert await sqs("ListQueueTags", QueueUrl=url) == {}

    run(main)


def test_permissions_are_statements_of_the_policy(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        add = {"QueueUrl": url, "Label": "one", "AWSAccountIds": ["111111111111"], "Actions": ["SendMessage"]}
        await sqs("AddPermission", **add)
        await sqs("AddPermission", **add | {"Label": "two", "AWSAccountIds": ["1" * 12, "2" * 12], "Actions": ["*"]})
        policy = json.loads((await sqs.attribute(url, "Policy"))["Policy"])
        assert policy["Version"], policy["Id"] == ("2012-10-17", f"{ARN}q/SQSDefaultPolicy")
        one, two = policy["Statement"]
        assert one == {
            "Sid": "one",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
            "Action": "SQS:SendMessage",
            "Resource": f"{ARN}q",
        }
        assert two["Principal"]["AWS"] == ["arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root"]
        text = "Value one for parameter Label is invalid. Reason: Already exists."
        async with sqs.refused("InvalidParameterValue", text):
            await sqs("AddPermission", **add)
        for wrong in ({"Label": "a b"}, {"AWSAccountIds": ["x"]}, {"Actions": ["CreateQueue"]}):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("AddPermission", **add | {"Label": "new"} | wrong)
        async with sqs.refused("OverLimit", "8 Actions were found, maximum allowed is 7."):
            await sqs("AddPermission", **add | {"Label": "new", "Actions": ["SendMessage"] * 8})
        await sqs("RemovePermission", QueueUrl=url, Label="one")
        text = "Value one for parameter Label is invalid. Reason: can't find label."
        async with sqs.refused("InvalidParameterValue", text):
            await sqs("RemovePermission", QueueUrl=url, Label="one")
        await sqs("RemovePermission", QueueUrl=url, Label="two")
        assert "Policy" not in await sqs.attribute(url)
        document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:*"}}
        document["Statement"]["Resource"] = f"{ARN}q"
        await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": json.dumps(document)})
        await sqs("AddPermission", **add)
        assert len(json.loads((await sqs.attribute(url, "Policy"))["Policy"])["Statement"]) == 2
        await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": ""})
        assert "Policy" not in await sqs.attribute(url)

    with_sqs(tmp_path, test)


def test_each_operation_says_that_a_queue_is_not_there(tmp_path):
    async def test(sqs: Client) -> None:
        nowhere = {"QueueUrl": f"{CALLER.base_url}/123456789012/nowhere"}
        entry = {"Id": "x", "MessageBody": "a", "ReceiptHandle": "h", "VisibilityTimeout": 1}
        more = {
            "AddPermission": {"Label": "l", "AWSAccountIds": ["1" * 12], "Actions": ["*"]},
            "ChangeMessageVisibility": {"ReceiptHandle": "h", "VisibilityTimeout": 1},
            "ChangeMessageVisibilityBatch": {"Entries": [entry]},
            "DeleteMessage": {"ReceiptHandle": "h"},
            "DeleteMessageBatch": {"Entries": [entry]},
            "DeleteQueue": {},
            "GetQueueAttributes": {},
            "ListDeadLetterSourceQueues": {},
            "ListQueueTags": {},
            "PurgeQueue": {},
            "ReceiveMessage": {},
            "RemovePermission": {"Label": "l"},
            "SendMessage": {"MessageBody": "a"},
            "SendMessageBatch": {"Entries": [entry]},
            "SetQueueAttributes": {"Attributes": {}},
            "TagQueue": {"Tags": {"a": "b"}},
            "UntagQueue": {"TagKeys": ["a"]},
        }
        for operation, params in more.items():
            async with sqs.refused("QueueDoesNotExist", "The specified queue does not exist."):
                await sqs(operation, **nowhere, **params)
            async with sqs.refused("InvalidAddress"):
                await sqs(operation, **{"QueueUrl": "nonsense", **params})

    with_sqs(tmp_path, test)
