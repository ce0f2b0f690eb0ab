"""Messages: sent, received, hidden, shown again and deleted."""

import asyncio

import pytest
from tests.unit.services.sqs.sqs_service import Client, opened, with_sqs

from lambent.services.sqs import rows
from lambent.testing.loop import run


def test_a_message_is_hidden_while_it_is_in_flight_and_comes_back(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        (first,) = await sqs.receive(url)
        assert first["Attributes"]["ApproximateReceiveCount"] == "1"
        assert await sqs.receive(url) == []
        assert await sqs.counts(url) == (0, 1, 0)
        await sqs.clock.sleep(29.9)
        assert await sqs.receive(url) == []
        await sqs.clock.sleep(0.2)
        assert await sqs.counts(url) == (1, 0, 0)
        (again,) = await sqs.receive(url)
        assert again["MessageId"] == first["MessageId"]
        assert again["ReceiptHandle"] != first["ReceiptHandle"]
        assert again["Attributes"]["ApproximateReceiveCount"] == "2"
        first_ms = first["Attributes"]["ApproximateFirstReceiveTimestamp"]
        assert again["Attributes"]["ApproximateFirstReceiveTimestamp"] == first_ms

    with_sqs(tmp_path, test)


def test_a_deleted_message_does_not_come_back(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a", "b")
        first, second = await sqs.receive(url)
        await sqs.delete(url, first)
        await sqs.delete(url, first)  # twice is no error
        await sqs.clock.sleep(31)
        (left,) = await sqs.receive(url)
        assert left["MessageId"] == second["MessageId"]
        assert await sqs.counts(url) == (0, 1, 0)

    with_sqs(tmp_path, test)


def test_an_old_handle_deletes_until_the_message_is_received_again(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a", "b")
        first, second = await sqs.receive(url)
        await sqs.clock.sleep(31)
        await sqs.delete(url, first)  # expired, and nobody has it since
        assert await sqs.bodies(url) == ["b"]
        await sqs.delete(url, second)  # somebody else has it now
        assert await sqs.counts(url) == (0, 1, 0)

    with_sqs(tmp_path, test)


def test_visibility_is_changed_from_now_on(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        (message,) = await sqs.receive(url)
        change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=100)
        await sqs.clock.sleep(99)
        assert await sqs.receive(url) == []
        await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=0)
        assert await sqs.bodies(url) == ["a"]
        reason = "Message does not exist or is not available for visibility timeout change."
        expected = f"Value {message['ReceiptHandle']} for parameter ReceiptHandle is invalid. Reason: {reason}"
        async with sqs.refused("InvalidParameterValue", expected):
            await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=1)

    with_sqs(tmp_path, test)


def test_a_message_is_hidden_for_12_hours_in_all(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        (message,) = await sqs.receive(url, VisibilityTimeout=43_200)
        change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        await sqs.clock.sleep(3_200)
        await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=40_000)
        text = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
        expected = f"Value 40001 for parameter VisibilityTimeout is invalid. Reason: {text}"
        async with sqs.refused("InvalidParameterValue", expected):
            await sqs("ChangeMessageVisibility", **change, VisibilityTimeout=40_001)

    with_sqs(tmp_path, test)


def test_a_visibility_timeout_of_0_counts_a_receive_and_hides_nothing(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        for count in ("1", "2", "3"):
            (message,) = await sqs.receive(url, VisibilityTimeout=0)
            assert message["Attributes"]["ApproximateReceiveCount"] == count
        assert await sqs.counts(url) == (1, 0, 0)

    with_sqs(tmp_path, test)


def test_delays_of_the_queue_and_of_the_message(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue(DelaySeconds=10)
        await sqs.send(url, "the queue's")
        await sqs.send(url, "its own", DelaySeconds=900)
        await sqs.send(url, "none", DelaySeconds=0)
        assert await sqs.counts(url) == (1, 0, 2)
        assert await sqs.bodies(url) == ["none"]
        await sqs.clock.sleep(10)
        assert await sqs.counts(url) == (1, 1, 1)
        assert await sqs.bodies(url) == ["the queue's"]
        await sqs.clock.sleep(891)
        assert "its own" in await sqs.bodies(url)

    with_sqs(tmp_path, test)


def test_messages_older_than_the_retention_period_are_gone(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue(MessageRetentionPeriod=60)
        await sqs.send(url, "old")
        await sqs.clock.sleep(59)
        await sqs.send(url, "young")
        await sqs.clock.sleep(1)
        assert await sqs.bodies(url) == ["young"]
        await sqs.clock.sleep(120)
        assert await sqs.counts(url) == (0, 0, 0)
        assert await sqs.receive(url) == []

    with_sqs(tmp_path, test)


def test_a_long_poll_takes_no_time_when_a_message_comes(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()

        async def send_later() -> None:
            await sqs.clock.sleep(7)
            await sqs.send(url, "a")

        began = sqs.clock.now()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_later())
            assert await sqs.bodies(url, WaitTimeSeconds=20) == ["a"]
        assert sqs.clock.now() - began < 7.5
        assert await sqs.receive(url, WaitTimeSeconds=3) == []
        assert 10 <= sqs.clock.now() - began < 10.5

    with_sqs(tmp_path, test)


def test_a_long_poll_wakes_for_a_message_whose_time_has_come(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue(ReceiveMessageWaitTimeSeconds=20, VisibilityTimeout=5)
        await sqs.send(url, "delayed", DelaySeconds=4)
        began = sqs.clock.now()
        assert await sqs.bodies(url) == ["delayed"]
        assert 4 <= sqs.clock.now() - began < 4.5
        assert await sqs.bodies(url) == ["delayed"]
        assert 9 <= sqs.clock.now() - began < 9.5

    with_sqs(tmp_path, test)


def test_of_many_long_polls_each_gets_a_message_of_its_own(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        async with asyncio.TaskGroup() as tasks:
            polls = [tasks.create_task(sqs.bodies(url, 1, WaitTimeSeconds=20)) for _ in range(10)]
            await sqs.clock.sleep(1)
            entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(10)]
            await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
        assert sorted(body for poll in polls for body in poll.result()) == [str(n) for n in range(10)]

    with_sqs(tmp_path, test)


def test_the_visibility_of_a_message_taken_by_a_short_poll_wakes_a_long_one(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        async with asyncio.TaskGroup() as tasks:
            await sqs.send(url, "a")
            await sqs.receive(url, VisibilityTimeout=3)
            began = sqs.clock.now()
            first = tasks.create_task(sqs.bodies(url, WaitTimeSeconds=1))
            second = tasks.create_task(sqs.bodies(url, WaitTimeSeconds=20))
            await second
        assert (first.result(), second.result()) == ([], ["a"])
        assert 3 <= sqs.clock.now() - began < 3.5

    with_sqs(tmp_path, test)


@pytest.mark.parametrize("name", ["q", "q.fifo"])
def test_a_cancelled_long_poll_swallows_nothing(tmp_path, name):
    async def test(sqs: Client) -> None:
        url = await sqs.queue(name)
        receives = "1"
        ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if name == "q.fifo" else {}
        for turns in range(12):  # cancelled at each of its steps
            async with asyncio.TaskGroup() as tasks:
                poll = tasks.create_task(sqs.bodies(url, WaitTimeSeconds=20))
                await asyncio.sleep(0)
                if not turns:
                    await sqs.send(url, "a", **ids)
                for _ in range(turns):
                    await asyncio.sleep(0)
                if not poll.done():
                    poll.cancel()
            if not poll.cancelled():
                assert poll.result() == ["a"]
                receives = "2"
                break
            assert await sqs.counts(url) == (1, 0, 0), turns
        await sqs.clock.sleep(31)
        (message,) = await sqs.receive(url)
        assert message["Attributes"]["ApproximateReceiveCount"] == receives

    with_sqs(tmp_path, test)


def test_messages_and_their_receives_outlive_a_restart(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue()
            await sqs.send(url, "visible", "in flight", "deleted")
            await sqs.send(url, "delayed", DelaySeconds=60)
            visible, flying, deleted = await sqs.receive(url)
            await sqs.delete(url, deleted)
            await sqs(
                "ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=visible["ReceiptHandle"], VisibilityTimeout=0
            )
        async with opened(tmp_path, clock) as sqs:
            assert await sqs.counts(url) == (1, 1, 1)
            (again,) = await sqs.receive(url)
            assert (again["Body"], again["Attributes"]["ApproximateReceiveCount"]) == ("visible", "2")
            await sqs.delete(url, flying)  # by a handle of the time before
            assert await sqs.counts(url) == (0, 1, 1)
            await sqs.clock.sleep(60)
            assert sorted(await sqs.bodies(url)) == ["delayed", "visible"]

    run(main)


def test_a_receive_is_stored_a_quarter_of_a_second_later(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        (live,) = sqs.service.by_key.values()

        async def stored() -> int:
            read = sqs.service.database.read
            return (await read(lambda tx: rows.entries_after(tx, live.queue.partition, (-1, -1), 1)))[0].receives

        for count in (1, 2):
            await sqs.clock.sleep(100)  # nothing is to be stored meanwhile
            await sqs.receive(url, VisibilityTimeout=1)
            assert await stored() == count - 1
            await sqs.clock.sleep(0.3)
            assert await stored() == count

    with_sqs(tmp_path, test)


def test_a_purge_takes_everything_and_not_what_is_sent_afterwards(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a", "b")
        await sqs.send(url, "delayed", DelaySeconds=5)
        (message,) = await sqs.receive(url, 1)
        async with asyncio.TaskGroup() as tasks:
            purge = tasks.create_task(sqs("PurgeQueue", QueueUrl=url))
            await asyncio.sleep(0)
            await sqs.send(url, "after")
            await purge
        await sqs.delete(url, message)
        assert await sqs.counts(url) == (1, 0, 0)
        expected = "Only one PurgeQueue operation on q is allowed every 60 seconds."
        async with sqs.refused("PurgeQueueInProgress", expected):
            await sqs("PurgeQueue", QueueUrl=url)
        await sqs.clock.sleep(60)
        assert await sqs.bodies(url) == ["after"]
        await sqs("PurgeQueue", QueueUrl=url)

    with_sqs(tmp_path, test)


def test_a_clock_that_is_set_back_keeps_no_message_hidden(tmp_path):
    async def main(clock) -> None:
        jump = [0.0]
        read = clock.read
        clock.read = lambda: read() + jump[0]
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue()
            await sqs.send(url, "a")
            await sqs.receive(url)
            jump[0] = -7200
            await sqs.send(url, "b")
            assert await sqs.bodies(url) == ["b"]
            await sqs.clock.sleep(31)
            assert sorted(await sqs.bodies(url)) == ["a", "b"]
            await sqs.clock.sleep(31)
        async with opened(tmp_path, clock) as sqs:  # nor over a restart
            assert sorted(await sqs.bodies(url)) == ["a", "b"]

    run(main)


def test_a_clock_that_is_set_forward_loses_nothing(tmp_path):
    async def main(clock) -> None:
        jump = [0.0]
        read = clock.read
        clock.read = lambda: read() + jump[0]
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue()
            await sqs.send(url, "a")
            await sqs.receive(url)
            jump[0] = 7200
            assert await sqs.bodies(url) == ["a"]

    run(main)
