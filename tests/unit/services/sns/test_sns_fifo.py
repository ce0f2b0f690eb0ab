"""FIFO topics: order and deduplication by group, archives and replays; retries over HTTP by policy."""

import asyncio
import json

import pytest
from sns_service import opened, with_sns

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.services.sns import delivery_policy
from lambent.services.sns.delivery_policy import HTTP, MANAGED, Retry
from lambent.services.sns.model import Subscription, Topic
from lambent.testing.loop import run


def test_messages_keep_their_order_in_each_group(tmp_path):
    async def test(client):
        topic, queue = await client.topic("t.fifo", ContentBasedDeduplication="true"), await client.queue("q.fifo")
        await client.subscribe(topic, queue)
        numbers = []
        for number in range(30):
            group = "ab"[number % 2]
            answer = await client("Publish", TopicArn=topic, Message=f"{group}{number}", MessageGroupId=group)
            numbers.append(answer["SequenceNumber"])
        assert numbers == sorted(numbers)
        assert {len(number) for number in numbers} == {20}
        found = await client.receive(queue, 30)
        for group in "ab":
            mine = [json.loads(each["Body"]) for each in found if each["Attributes"]["MessageGroupId"] == group]
            said = [each["Message"] for each in mine]
            assert said == [f"{group}{number}" for number in range(30) if "ab"[number % 2] == group]
            assert [each["SequenceNumber"] for each in mine] == numbers["ab".index(group) :: 2]
            assert list(mine[0])[:4] == ["Type", "MessageId", "SequenceNumber", "TopicArn"]

    with_sns(tmp_path, test)


def test_one_that_waits_holds_up_its_group_alone(tmp_path):
    async def test(client):
        topic, queue = await client.topic("t.fifo", ContentBasedDeduplication="true"), await client.queue("q.fifo")
        await client.subscribe(topic, queue)
        send, refusals = client.dispatch.operations["sqs"]["SendMessage"], [5]

        async def busy(caller, params):
            if json.loads(params["MessageBody"])["Message"] == "a0" and refusals[0]:
                refusals[0] -= 1
                raise ApiError("ServiceUnavailable", "later")
            return await send(caller, params)

        client.dispatch.operations["sqs"]["SendMessage"] = busy
        for number in range(3):
            for group in "ab":
                await client("Publish", TopicArn=topic, Message=f"{group}{number}", MessageGroupId=group)
        said = await client.bodies(queue, 3)
        assert said == ["b0", "b1", "b2"]
        await client.clock.sleep(10)
        assert await client.bodies(queue, 3) == ["a0", "a1", "a2"]

    with_sns(tmp_path, test)


def test_more_than_memory_holds_keeps_its_order(tmp_path):
    async def test(client):
        topic, queue = await client.topic("t.fifo", ContentBasedDeduplication="true"), await client.queue()
        await client.subscribe(topic, queue, RawMessageDelivery="true")
        send, gate, said = client.dispatch.operations["sqs"]["SendMessage"], asyncio.Event(), []

        async def hang(caller, params):
            await gate.wait()
            said.append(params["MessageBody"])
            return await send(caller, params)

        client.dispatch.operations["sqs"]["SendMessage"] = hang
        for start in range(0, 1200, 10):
            entries = [{"Id": str(n), "Message": str(start + n), "MessageGroupId": str(n % 2)} for n in range(10)]
            await client("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
        gate.set()
        while len(said) < 1200:
            await client.clock.sleep(1)
        for group in (0, 1):
            mine = [int(each) for each in said if int(each) % 2 == group]
            assert mine == list(range(group, 1200, 2))

    with_sns(tmp_path, test)


def test_what_is_published_again_is_the_same_for_five_minutes(tmp_path):
    async def test(client):
        topic, queue = await client.topic("t.fifo"), await client.queue("q.fifo")
        await client.subscribe(topic, queue)
        params = {"TopicArn": topic, "MessageGroupId": "g", "MessageDeduplicationId": "d"}
        first = await client("Publish", Message="one", **params)
        assert await client("Publish", Message="two", **params) == first
        assert await client("Publish", Message="three", **{**params, "MessageGroupId": "h"}) == first
        assert await client.bodies(queue, 2) == ["one"]
        await client.clock.advance(301)
        assert await client("Publish", Message="four", **params) != first
        assert await client.bodies(queue, 1) == ["four"]

    with_sns(tmp_path, test)


def test_each_group_by_itself_when_the_throughput_is_the_groups(tmp_path):
    async def test(client):
        topic = await client.topic("t.fifo", FifoThroughputScope="MessageGroup", ContentBasedDeduplication="true")
        one = await client("Publish", TopicArn=topic, Message="m", MessageGroupId="g")
        assert await client("Publish", TopicArn=topic, Message="m", MessageGroupId="g") == one
        assert await client("Publish", TopicArn=topic, Message="m", MessageGroupId="h") != one

    with_sns(tmp_path, test)


def test_what_a_fifo_topic_needs(tmp_path):
    async def test(client):
        topic = await client.topic("t.fifo")
        words = "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"
        async with client.refused("InvalidParameter", words):
            await client("Publish", TopicArn=topic, Message="m")
        words = (
            "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or "
            "MessageDeduplicationId provided explicitly"
        )
        async with client.refused("InvalidParameter", words):
            await client("Publish", TopicArn=topic, Message="m", MessageGroupId="g")

    with_sns(tmp_path, test)


def test_a_fifo_topic_reaches_standard_queues_and_dead_letters_keep_their_group(tmp_path):
    async def test(client):
        topic = await client.topic("t.fifo", ContentBasedDeduplication="true")
        queue, dead = await client.queue(), await client.queue("dead.fifo")
        await client.subscribe(topic, queue, RawMessageDelivery="true")
        redrive = json.dumps({"deadLetterTargetArn": dead})
        await client.subscribe(topic, queue.replace(":q", ":absent.fifo"), RedrivePolicy=redrive)
        await client("Publish", TopicArn=topic, Message="m", MessageGroupId="g")
        assert [each["Body"] for each in await client.receive(queue, 1)] == ["m"]
        (letter,) = await client.receive(dead, 1)
        assert letter["Attributes"]["MessageGroupId"] == "g"
        assert letter["MessageAttributes"]["ErrorCode"]["StringValue"] == "QueueDoesNotExist"

    with_sns(tmp_path, test)


def test_an_archive_is_replayed(tmp_path):
    async def test(client):
        archive = '{"MessageRetentionPeriod": "1"}'
        topic = await client.topic("t.fifo", ContentBasedDeduplication="true", ArchivePolicy=archive)
        for number in range(120):
            await client("Publish", TopicArn=topic, Message=str(number), MessageGroupId="g")
        await client.clock.sleep(1)
        policy = {"PointType": "Timestamp", "StartingPoint": "2020-01-01T00:00:00.000Z"}
        queue = await client.queue("q.fifo")
        arn = await client.subscribe(topic, queue, ReplayPolicy=json.dumps(policy))
        found = [json.loads(each["Body"]) for each in await client.receive(queue, 120)]
        assert [each["Message"] for each in found] == [str(number) for number in range(120)]
        assert {each["Replayed"] for each in found} == {"true"}
        await client.clock.sleep(1)
        assert (await client("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"][
            "ReplayStatus"
        ] == "Completed"
        assert "BeginningArchiveTime" in (await client("GetTopicAttributes", TopicArn=topic))["Attributes"]
        async with client.refused("InvalidState"):
            await client("DeleteTopic", TopicArn=topic)
        await client.clock.advance(86_500)
        assert "BeginningArchiveTime" not in (await client("GetTopicAttributes", TopicArn=topic))["Attributes"]
        await client("SetTopicAttributes", TopicArn=topic, AttributeName="ArchivePolicy", AttributeValue="{}")
        await client("DeleteTopic", TopicArn=topic)

    with_sns(tmp_path, test)


def test_a_replay_goes_on_after_a_restart(tmp_path):
    async def main(clock):
        async with opened(tmp_path, clock) as client:
            archive = '{"MessageRetentionPeriod": "1"}'
            topic = await client.topic("t.fifo", ContentBasedDeduplication="true", ArchivePolicy=archive)
            await client("Publish", TopicArn=topic, Message="m", MessageGroupId="g")
            queue, send = await client.queue("q.fifo"), client.dispatch.operations["sqs"]

            async def hang(_caller, _params):
                await asyncio.Event().wait()

            send["SendMessage"] = hang
            policy = {"PointType": "Timestamp", "StartingPoint": "2020-01-01T00:00:00.000Z"}
            await client.subscribe(topic, queue, ReplayPolicy=json.dumps(policy))
        async with opened(tmp_path, clock) as client:
            assert await client.bodies(queue, 1) == ["m"]

    run(main)


# --- when a delivery is tried again


def waits(retry):
    found = []
    while (wait_s := retry.wait_s(len(found) + 1)) is not None and len(found) < 50:
        found.append(wait_s)
    return found


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (HTTP, [20, 20, 20]),
        (Retry(retries=0), []),
        (Retry(min_s=1, max_s=5, retries=5), [1, 2, 3, 4, 5]),
        (Retry(min_s=1, max_s=16, retries=5, function="geometric"), [1, 2, 4, 8, 16]),
        (Retry(min_s=1, max_s=10, retries=6, function="exponential"), [1, 2, 4, 8, 10, 10]),
        (Retry(min_s=1, max_s=11, retries=5, function="arithmetic"), [1, 2, 4, 7, 11]),
        (Retry(min_s=2, max_s=9, retries=7, at_once=1, at_min=2, at_max=2), [0, 2, 2, 2, 9, 9, 9]),
    ],
)
def test_the_phases_of_a_delivery_policy(retry, expected):
    assert waits(retry) == pytest.approx(expected)


def test_what_aws_runs_is_tried_for_23_days():
    assert waits(MANAGED)[:12] == [0, 0, 0, 1, 1, 1, 2, 4, 8, 16, 20, 20]
    assert MANAGED.wait_s(100_015) == 20
    assert MANAGED.wait_s(100_016) is None


def test_a_subscriptions_policy_goes_before_its_topics():
    http = {"defaultHealthyRetryPolicy": {"numRetries": 7}, "defaultThrottlePolicy": {"maxReceivesPerSecond": 3}}
    own = {"healthyRetryPolicy": {"numRetries": 1}, "requestPolicy": {"headerContentType": "application/json"}}
    subscription = Subscription(
        id=1,
        arn="a",
        topic_arn="t",
        owner="o",
        protocol="http",
        endpoint="e",
        attributes={"DeliveryPolicy": json.dumps(own)},
    )

    def policy(**more):
        topic = Topic(scope=Scope("1", "r"), name="t", attributes={"DeliveryPolicy": json.dumps({"http": http | more})})
        return delivery_policy.of_subscription(topic, subscription)

    found = policy()
    assert (found.retry.retries, found.most_per_second, found.content_type) == (1, 3, "application/json")
    found = policy(disableSubscriptionOverrides=True)
    assert (found.retry.retries, found.content_type) == (7, "text/plain; charset=UTF-8")
