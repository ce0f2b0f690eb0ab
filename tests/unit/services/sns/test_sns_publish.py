"""What may be published, and what single protocols are told."""

import json

import pytest
from sns_service import with_sns

MISTYPED = (
    "The message attribute 'x' has an invalid message attribute type, the set of supported type prefixes is Binary, "
    "Number, and String."
)
SHORT = {"DataType": "String", "StringValue": "v"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"Message": ""}, "Invalid parameter: Empty message"),
        ({"Subject": "x" * 101}, "Invalid parameter: Subject"),
        ({"Subject": ""}, "Invalid parameter: Subject"),
        ({"Subject": "two\nlines"}, "Invalid parameter: Subject"),
        ({"Message": "\x00"}, None),
        ({"MessageStructure": "xml"}, "Invalid parameter: MessageStructure"),
        (
            {"MessageStructure": "json"},
            "Invalid parameter: Message Structure - JSON message body failed to parse",
        ),
        (
            {"MessageStructure": "json", "Message": '{"sqs": "x"}'},
            "Invalid parameter: Message Structure - No default entry in JSON message body",
        ),
        ({"MessageStructure": "json", "Message": '{"default": "d", "sqs": {}}'}, None),
        ({"MessageGroupId": "a b"}, None),
        (
            {"MessageDeduplicationId": "d"},
            "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter "
            "that is not valid for this topic type",
        ),
    ],
)
def test_messages_that_cannot_be(params, message, tmp_path):
    async def test(client):
        topic = await client.topic()
        async with client.refused("InvalidParameter", message):
            await client("Publish", **{"TopicArn": topic, "Message": "m", **params})
        assert await client("Publish", TopicArn=topic, Message="m", Subject="x" * 100)

    with_sns(tmp_path, test)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"DataType": "Text", "StringValue": "v"}, MISTYPED),
        (
            {"DataType": "", "StringValue": "v"},
            "The message attribute 'x' must contain non-empty message attribute type.",
        ),
        ({"DataType": "String", "StringValue": ""}, None),
        ({"DataType": "Binary", "StringValue": "v"}, None),
        ({"DataType": "Number", "StringValue": "v"}, "Could not cast message attribute 'x' value to number."),
        ({"DataType": "String.Array", "StringValue": "v"}, None),
        ({"DataType": "String.Array", "StringValue": '[{"a": 1}]'}, None),
    ],
)
def test_attributes_that_no_message_has(value, message, tmp_path):
    async def test(client):
        topic = await client.topic()
        async with client.refused("ParameterValueInvalid", message):
            await client("Publish", TopicArn=topic, Message="m", MessageAttributes={"x": value})
        for name in ("", ".a", "a.", "a..b", "a b", "x" * 257, "Amazon.x"):
            async with client.refused("ParameterValueInvalid"):
                await client("Publish", TopicArn=topic, Message="m", MessageAttributes={name: SHORT})

    with_sns(tmp_path, test)


def test_a_message_has_256_kib_with_its_attributes(tmp_path):
    async def test(client):
        topic, attributes = await client.topic(), {"n": SHORT}  # n, String and v: 8 bytes
        await client("Publish", TopicArn=topic, Message="x" * 262_136, MessageAttributes=attributes)
        async with client.refused("InvalidParameter", "Invalid parameter: Message too long"):
            await client("Publish", TopicArn=topic, Message="x" * 262_137, MessageAttributes=attributes)
        await client("Publish", TopicArn=topic, Message="\u00e9" * 131_072)
        async with client.refused("InvalidParameter"):
            await client("Publish", TopicArn=topic, Message="\u00e9" * 131_072 + "x")
        await client("SetTopicAttributes", TopicArn=topic, AttributeName="MaximumMessageSize", AttributeValue="1024")
        await client("Publish", TopicArn=topic, Message="x" * 1024)
        async with client.refused("InvalidParameter"):
            await client("Publish", TopicArn=topic, Message="x" * 1025)

    with_sns(tmp_path, test)


def test_the_largest_message_arrives(tmp_path):
    async def test(client):
        topic, queue = await client.topic(MaximumMessageSize="1048576"), await client.queue()
        await client.subscribe(topic, queue, RawMessageDelivery="true")
        await client("Publish", TopicArn=topic, Message="x" * 1_048_576)
        assert [len(message["Body"]) for message in await client.receive(queue, 1)] == [1_048_576]

    with_sns(tmp_path, test)


def test_each_protocol_is_told_its_own(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        await client.subscribe(topic, queue)
        await client.subscribe(topic, client.functions.allow("f", topic), "lambda")
        for said in ({"default": "d"}, {"default": "d", "sqs": "q", "lambda": "f", "unknown": 1}):
            await client("Publish", TopicArn=topic, Message=json.dumps(said), MessageStructure="json")
        assert set(await client.bodies(queue, 2)) == {"d", "q"}
        assert {event["Records"][0]["Sns"]["Message"] for _f, event, _c in client.functions.invoked} == {"d", "f"}

    with_sns(tmp_path, test)


def test_a_batch_is_published_and_some_of_it_may_fail(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        await client.subscribe(topic, queue)
        entries = [{"Id": "good", "Message": "m"}, {"Id": "bad", "Message": ""}]
        answer = await client("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
        assert [each["Id"] for each in answer["Successful"]] == ["good"]
        assert answer["Failed"] == [
            {
                "Id": "bad",
                "Code": "InvalidParameter",
                "Message": "Invalid parameter: Empty message",
                "SenderFault": True,
            }
        ]
        assert await client.bodies(queue, 1) == ["m"]

    with_sns(tmp_path, test)


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(number), "Message": "m"} for number in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "a", "Message": "m"}, {"Id": "a", "Message": "m"}], "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "Message": "m"}], "InvalidBatchEntryId"),
        ([{"Id": "a", "Message": "x" * 200_000}, {"Id": "b", "Message": "x" * 62_145}], "BatchRequestTooLong"),
    ],
)
def test_batches_that_are_refused(entries, code, tmp_path):
    async def test(client):
        topic = await client.topic()
        async with client.refused(code):
            await client("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
        most = [{"Id": "a", "Message": "x" * 200_000}, {"Id": "b", "Message": "x" * 62_144}]
        answer = await client("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=most)
        assert len(answer["Successful"]) == 2

    with_sns(tmp_path, test)


def test_what_goes_to_phones_is_refused_by_name(tmp_path):
    async def test(client):
        async with client.refused(
            "NotImplemented", "Publish with PhoneNumber sends an SMS, which Lambent does not do."
        ):
            await client("Publish", PhoneNumber="+15551234567", Message="m")
        async with client.refused("NotImplemented"):
            await client("Publish", TargetArn="arn:aws:sns:eu-west-1:123456789012:endpoint/GCM/a/b", Message="m")
        for operation in ("CreatePlatformApplication", "SetSMSAttributes"):
            async with client.refused("NotImplemented"):
                await client(operation)
        async with client.refused("InvalidParameter"):
            await client("Publish", Message="m")

    with_sns(tmp_path, test)
