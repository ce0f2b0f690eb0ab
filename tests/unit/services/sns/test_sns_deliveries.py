"""What is published reaches every subscription, in the form that its protocol has."""

import asyncio
import json

import pytest
from sns_service import ARN, FUNCTION, QUEUE, opened, with_sns

from lambent.aws.errors import ApiError
from lambent.testing.loop import run

NOTES = {
    "a": {"DataType": "String", "StringValue": "b"},
    "c": {"DataType": "Binary", "BinaryValue": b"\x00"},
}


def test_a_message_reaches_every_queue_in_an_envelope(tmp_path):
    async def test(client):
        topic = await client.topic()
        queues = [await client.queue(f"q{number}") for number in range(3)]
        arns = [await client.subscribe(topic, queue) for queue in queues]
        answer = await client("Publish", TopicArn=topic, Message="h\u00e9llo", Subject="s", MessageAttributes=NOTES)
        for queue, arn in zip(queues, arns, strict=True):
            (message,) = await client.receive(queue, 1)
            said = json.loads(message["Body"])
            assert list(said) == [
                *("Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion"),
                *("Signature", "SigningCertURL", "UnsubscribeURL", "MessageAttributes"),
            ]
            assert said["Type"] == "Notification"
            assert said["MessageId"] == answer["MessageId"]
            assert (said["TopicArn"], said["Subject"], said["Message"]) == (ARN + "t", "s", "h\u00e9llo")
            assert said["UnsubscribeURL"] == f"http://127.0.0.1:4566/?Action=Unsubscribe&SubscriptionArn={arn}"
            assert said["MessageAttributes"] == {
                "a": {"Type": "String", "Value": "b"},
                "c": {"Type": "Binary", "Value": "AA=="},
            }
            assert message["Body"].startswith('{\n  "Type" : "Notification",\n  "MessageId" : "')
            assert '  "MessageAttributes" : {\n    "a" : {"Type":"String","Value":"b"},\n' in message["Body"]
            assert "MessageAttributes" not in message
            assert message["Attributes"]["SenderId"] != "AIDA"
        assert client.counted("NumberOfMessagesPublished") == 1
        assert client.counted("NumberOfNotificationsDelivered") == 3

    with_sns(tmp_path, test)


def test_a_raw_delivery_is_the_message_itself(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        await client.subscribe(topic, queue, RawMessageDelivery="true")
        await client("Publish", TopicArn=topic, Message="plain", Subject="lost", MessageAttributes=NOTES)
        (message,) = await client.receive(queue, 1)
        assert (message["Body"], message["MessageAttributes"]) == ("plain", NOTES)

    with_sns(tmp_path, test)


def test_what_a_queue_cannot_take_raw_goes_to_the_dead_letters(tmp_path):
    async def test(client):
        topic, queue, dead = await client.topic(), await client.queue(), await client.queue("dead")
        redrive = json.dumps({"deadLetterTargetArn": dead})
        await client.subscribe(topic, queue, RawMessageDelivery="true", RedrivePolicy=redrive)
        eleven = {f"a{number}": NOTES["a"] for number in range(11)}
        await client("Publish", TopicArn=topic, Message="too many", MessageAttributes=eleven)
        (message,) = await client.receive(dead, 1)
        assert message["Body"] == "too many"
        assert message["MessageAttributes"]["ErrorCode"]["StringValue"] == "InvalidParameterValue"

    with_sns(tmp_path, test)


def test_the_group_of_a_message_is_handed_on_to_standard_queues(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        await client.subscribe(topic, queue)
        await client("Publish", TopicArn=topic, Message="m", MessageGroupId="tenant")
        (message,) = await client.receive(queue, 1)
        assert message["Attributes"]["MessageGroupId"] == "tenant"

    with_sns(tmp_path, test)


def test_a_function_is_given_an_event(tmp_path):
    async def test(client):
        topic = await client.topic()
        arn = await client.subscribe(topic, client.functions.allow("f", topic), "lambda")
        answer = await client("Publish", TopicArn=topic, Message="m", MessageAttributes=NOTES)
        await client.clock.sleep(1)
        ((name, event, caller),) = client.functions.invoked
        assert name == FUNCTION + "f"
        assert caller.principal == "sns.amazonaws.com"
        (record,) = event["Records"]
        sns = record.pop("Sns")
        assert record == {"EventVersion": "1.0", "EventSubscriptionArn": arn, "EventSource": "aws:sns"}
        assert list(sns) == [
            *("SignatureVersion", "Timestamp", "Signature", "SigningCertUrl", "MessageId", "Message"),
            *("MessageAttributes", "Type", "UnsubscribeUrl", "TopicArn", "Subject"),
        ]
        assert (sns["MessageId"], sns["Message"], sns["Subject"]) == (answer["MessageId"], "m", None)
        assert sns["MessageAttributes"]["c"] == {"Type": "Binary", "Value": "AA=="}

    with_sns(tmp_path, test)


@pytest.mark.parametrize("case", ["no policy", "another topic", "another action", "no function"])
def test_a_function_that_does_not_let_the_topic_in_is_not_invoked(case, tmp_path):
    async def test(client):
        topic, dead = await client.topic(), await client.queue("dead")
        if case == "another topic":
            client.functions.allow("f", ARN + "other")
        if case == "another action":
            client.functions.allow("f", topic, Action="lambda:GetFunction")
        if case == "no policy":
            client.functions.allow("f", topic, Effect="Deny")
        redrive = json.dumps({"deadLetterTargetArn": dead})
        await client.subscribe(topic, FUNCTION + "f", "lambda", RedrivePolicy=redrive)
        await client("Publish", TopicArn=topic, Message="m")
        (message,) = await client.receive(dead, 1)
        wanted = "ResourceNotFoundException" if case == "no function" else "AccessDeniedException"
        assert message["MessageAttributes"]["ErrorCode"]["StringValue"] == wanted
        assert json.loads(message["Body"])["Message"] == "m"
        assert client.functions.invoked == []
        assert client.counted("NumberOfNotificationsFailed") == 1
        assert client.counted("NumberOfNotificationsRedrivenToDlq") == 1

    with_sns(tmp_path, test)


@pytest.mark.parametrize(("source", "arrives"), [(ARN + "t", True), (ARN + "other", False)])
def test_a_queue_with_a_policy_is_asked(source, arrives, tmp_path):
    async def test(client):
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": QUEUE + "q",
                    "Condition": {"ArnEquals": {"aws:SourceArn": source}},
                }
            ],
        }
        topic, queue = await client.topic(), await client.queue(Policy=json.dumps(policy))
        await client.subscribe(topic, queue)
        await client("Publish", TopicArn=topic, Message="m")
        assert await client.bodies(queue, 1) == (["m"] if arrives else [])

    with_sns(tmp_path, test)


def test_a_queue_of_another_account_needs_a_policy(tmp_path):
    async def test(client):
        topic, dead = await client.topic(), await client.queue("dead")
        redrive = json.dumps({"deadLetterTargetArn": dead})
        await client.subscribe(topic, QUEUE.replace("123456789012", "210987654321") + "q", RedrivePolicy=redrive)
        await client("Publish", TopicArn=topic, Message="m")
        assert len(await client.receive(dead, 1)) == 1

    with_sns(tmp_path, test)


def test_a_busy_endpoint_is_tried_again(tmp_path):
    async def test(client):
        topic = await client.topic()
        await client.subscribe(topic, client.functions.allow("f", topic), "lambda")
        client.functions.refusals += [ApiError("TooManyRequestsException", "Rate Exceeded.")] * 7
        before = client.clock.now()
        await client("Publish", TopicArn=topic, Message="m")
        while not client.functions.invoked:
            await client.clock.sleep(0.5)
        # Three at once, two a second apart, then 1 and 2 seconds.
        assert 5 <= client.clock.now() - before <= 6
        assert client.counted("NumberOfNotificationsFailed") == 0

    with_sns(tmp_path, test)


def test_a_dead_letter_queue_that_is_not_there_is_counted(tmp_path):
    async def test(client):
        topic = await client.topic()
        redrive = json.dumps({"deadLetterTargetArn": QUEUE + "absent"})
        await client.subscribe(topic, FUNCTION + "absent", "lambda", RedrivePolicy=redrive)
        await client("Publish", TopicArn=topic, Message="m")
        await client.clock.sleep(1)
        assert client.counted("NumberOfNotificationsFailedToRedriveToDlq") == 1

    with_sns(tmp_path, test)


def test_the_trace_goes_on_through_topics(tmp_path):
    async def test(client):
        from msgspec.structs import replace
        from sns_service import CALLER

        topic = await client.topic()
        await client.subscribe(topic, client.functions.allow("f", topic), "lambda")
        traced = replace(CALLER, trace_header="Root=1-0-0;Lineage=0a0b0c0d:3")
        await client("Publish", caller=traced, TopicArn=topic, Message="m")
        await client.clock.sleep(1)
        assert client.functions.invoked[0][2].trace_header == "Root=1-0-0;Lineage=0a0b0c0d:3"

    with_sns(tmp_path, test)


def test_an_endpoint_that_hangs_holds_up_nobody_else(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        gate, invoke = asyncio.Event(), client.functions.invoke

        async def hang(caller, params):
            await gate.wait()
            return await invoke(caller, params)

        client.dispatch.operations["lambda"]["Invoke"] = hang
        await client.subscribe(topic, client.functions.allow("f", topic), "lambda")
        await client.subscribe(topic, queue)
        for number in range(70):
            await client("Publish", TopicArn=topic, Message=str(number))
        assert len(await client.receive(queue, 70)) == 70
        assert client.functions.invoked == []
        gate.set()
        await client.clock.sleep(1)
        assert len(client.functions.invoked) == 70

    with_sns(tmp_path, test)


def test_more_than_memory_holds_arrives_once(tmp_path):
    async def test(client):
        topic = await client.topic()
        gate, invoke = asyncio.Event(), client.functions.invoke

        async def hang(caller, params):
            await gate.wait()
            return await invoke(caller, params)

        client.dispatch.operations["lambda"]["Invoke"] = hang
        await client.subscribe(topic, client.functions.allow("f", topic), "lambda")
        for start in range(0, 1200, 10):
            entries = [{"Id": str(n), "Message": str(start + n)} for n in range(10)]
            await client("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
        gate.set()
        while len(client.functions.invoked) < 1200:
            await client.clock.sleep(1)
        await client.clock.sleep(60)
        said = [event["Records"][0]["Sns"]["Message"] for _name, event, _caller in client.functions.invoked]
        assert sorted(said, key=int) == [str(number) for number in range(1200)]

    with_sns(tmp_path, test)


def test_a_restart_loses_nothing(tmp_path):
    async def main(clock):
        async with opened(tmp_path, clock) as client:
            topic, queue = await client.topic(), await client.queue()
            await client.subscribe(topic, queue)
            await client("Publish", TopicArn=topic, Message="one")
        async with opened(tmp_path, clock) as client:
            await client("Publish", TopicArn=topic, Message="two")
            assert set(await client.bodies(queue)) == {"one", "two"}

    run(main)


def test_attempts_are_remembered_over_a_restart(tmp_path):
    async def main(clock):
        async with opened(tmp_path, clock) as client:
            topic = await client.topic()
            await client.subscribe(topic, client.functions.allow("f", topic), "lambda")
            client.functions.refusals += [ApiError("ServiceException", "later")] * 4
            await client("Publish", TopicArn=topic, Message="m")
            while client.functions.refusals:
                await clock.sleep(0.05)
            functions = client.functions
        assert functions.invoked == []
        async with opened(tmp_path, clock, functions) as client:
            while not functions.invoked:
                await clock.sleep(0.5)

    run(main)


def test_what_is_unsubscribed_is_not_told(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        arn = await client.subscribe(topic, queue)
        await client("Unsubscribe", SubscriptionArn=arn)
        await client("Publish", TopicArn=topic, Message="m")
        assert await client.receive(queue, 1) == []

    with_sns(tmp_path, test)
