"""Limits of SQS, at them and one past; those of sizes, batches, attributes and tags are beside what they are of."""

import asyncio
import json

from tests.unit.services.sqs.sqs_service import ARN, Client, opened, with_sqs

from lambent.testing.loop import run

DAY = 86_400


async def make_queues(sqs: Client, count: int, **attributes: str) -> list[str]:
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(sqs.queue(f"q{number:04}", **attributes))
    return [f"http://127.0.0.1:4566/123456789012/q{number:04}" for number in range(count)]


def test_a_page_has_1000_queues(tmp_path):
    async def test(sqs: Client) -> None:
        urls = await make_queues(sqs, 1_001)
        assert await sqs("ListQueues") == {"QueueUrls": urls[:1_000]}, "no token, as nobody asked for pages"
        first = await sqs("ListQueues", MaxResults=1_000)
        assert first["QueueUrls"] == urls[:1_000]
        assert await sqs("ListQueues", MaxResults=1_000, NextToken=first["NextToken"]) == {"QueueUrls": urls[1_000:]}
        await sqs("DeleteQueue", QueueUrl=urls[0])
        assert await sqs("ListQueues", MaxResults=1_000) == {"QueueUrls": urls[1:]}, "1,000 need no other page"

    with_sqs(tmp_path, test)


def test_a_page_has_1000_sources_of_dead_letters(tmp_path):
    async def test(sqs: Client) -> None:
        dead = await sqs.queue("dead")
        redrive = json.dumps({"deadLetterTargetArn": f"{ARN}dead", "maxReceiveCount": 1_000})
        urls = await make_queues(sqs, 1_001, RedrivePolicy=redrive)
        list_ = "ListDeadLetterSourceQueues"
        assert await sqs(list_, QueueUrl=dead) == {"queueUrls": urls[:1_000]}
        first = await sqs(list_, QueueUrl=dead, MaxResults=1_000)
        rest = await sqs(list_, QueueUrl=dead, MaxResults=1_000, NextToken=first["NextToken"])
        assert (first["queueUrls"], rest) == (urls[:1_000], {"queueUrls": urls[1_000:]})
        for most in (0, 1_001):
            async with sqs.refused("InvalidParameterValue"):
                await sqs(list_, QueueUrl=dead, MaxResults=most)

    with_sqs(tmp_path, test)


def test_the_last_10_move_tasks_are_listed(tmp_path):
    async def test(sqs: Client) -> None:
        await sqs.queue("dead")
        await sqs.queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{ARN}dead", "maxReceiveCount": 1}))
        for rate in range(490, 501):
            await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead", MaxNumberOfMessagesPerSecond=rate)
            await sqs.clock.sleep(2)
        for most, rates in ((10, range(500, 490, -1)), (1, [500])):
            found = await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}dead", MaxResults=most)
            assert [task["MaxNumberOfMessagesPerSecond"] for task in found["Results"]] == list(rates)
        for most in (0, 11):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}dead", MaxResults=most)

    with_sqs(tmp_path, test)


def test_a_receive_gives_10_messages_and_waits_20_seconds(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, *map(str, range(11)))
        assert len(await sqs.receive(url, 10)) == 10
        assert len(await sqs.receive(url, 1)) == 1
        began = sqs.clock.elapsed()
        assert await sqs.receive(url, WaitTimeSeconds=20, VisibilityTimeout=43_200) == []
        assert 20 <= sqs.clock.elapsed() - began < 21
        for params in ({"WaitTimeSeconds": 21}, {"WaitTimeSeconds": -1}, {"VisibilityTimeout": 43_201}):
            async with sqs.refused("InvalidParameterValue"):
                await sqs.receive(url, **params)
        for most in (0, 11):
            async with sqs.refused("InvalidParameterValue"):
                await sqs.receive(url, most)

    with_sqs(tmp_path, test)


def test_a_message_is_hidden_for_12_hours_and_not_a_second_more(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        (message,) = await sqs.receive(url)
        change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        for seconds in (-1, 43_201):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=seconds)
        await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=43_200)
        await sqs.clock.sleep(43_199)
        assert await sqs.receive(url) == []
        await sqs.clock.sleep(1.1)
        assert await sqs.bodies(url) == ["a"]

    with_sqs(tmp_path, test)


def test_a_message_is_kept_for_14_days(tmp_path):
    async def main(clock) -> None:
        later, read = [0], clock.read
        clock.read = lambda: read() + later[0]
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue(MessageRetentionPeriod=14 * DAY)
            await sqs.send(url, "a")
            later[0] = 14 * DAY - 2
            assert await sqs.bodies(url, VisibilityTimeout=0) == ["a"]
            later[0] = 14 * DAY
            assert await sqs.bodies(url) == []
            await sqs.clock.sleep(61)  # until the worker has been there
            assert await sqs.counts(url) == (0, 0, 0)

    run(main)


def test_a_delay_is_900_seconds(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a", DelaySeconds=900)
        async with sqs.refused("InvalidParameterValue"):
            await sqs.send(url, "a", DelaySeconds=901)
        await sqs.clock.sleep(899)
        assert await sqs.bodies(url) == []
        await sqs.clock.sleep(1.1)
        assert await sqs.bodies(url) == ["a"]

    with_sqs(tmp_path, test)


def test_a_statement_has_7_actions(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        names = ["ReceiveMessage", "SendMessage", "DeleteMessage", "ChangeMessageVisibility"]
        names += ["GetQueueAttributes", "GetQueueUrl", "PurgeQueue", "ListDeadLetterSourceQueues"]
        add = {"QueueUrl": url, "AWSAccountIds": ["999999999999"]}
        await sqs("AddPermission", Label="x" * 80, Actions=names[:7], **add)
        async with sqs.refused("OverLimit", "8 Actions were found, maximum allowed is 7."):
            await sqs("AddPermission", Label="b", Actions=names, **add)
        async with sqs.refused("InvalidParameterValue"):
            await sqs("AddPermission", Label="x" * 81, Actions=names[:1], **add)

    with_sqs(tmp_path, test)


def test_a_dead_letter_queue_names_10_sources_and_a_source_1000_receives(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        sources = [f"{ARN}{number}" for number in range(11)]
        for count, code in ((10, None), (11, "InvalidParameterValue"), (0, "InvalidParameterValue")):
            policy = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": sources[:count]})
            call = sqs("SetQueueAttributes", QueueUrl=url, Attributes={"RedriveAllowPolicy": policy})
            if code is None:
                await call
                continue
            async with sqs.refused(code):
                await call
        await sqs.queue("dead")
        for most, is_allowed in ((1, True), (1_000, True), (0, False), (1_001, False)):
            policy = json.dumps({"deadLetterTargetArn": f"{ARN}dead", "maxReceiveCount": most})
            call = sqs("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": policy})
            if is_allowed:
                await call
                continue
            async with sqs.refused("InvalidParameterValue"):
                await call

    with_sqs(tmp_path, test)


def test_a_purge_is_allowed_once_in_60_seconds(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs("PurgeQueue", QueueUrl=url)
        await sqs.clock.sleep(59)
        async with sqs.refused("PurgeQueueInProgress"):
            await sqs("PurgeQueue", QueueUrl=url)
        await sqs.clock.sleep(1.1)
        await sqs("PurgeQueue", QueueUrl=url)

    with_sqs(tmp_path, test)
