"""FIFO queues: order, groups, deduplication, attempts."""

from tests.unit.services.sqs.sqs_service import Client, opened, with_sqs

from lambent.testing.loop import run


def ids(group: str, deduplication_id: str) -> dict[str, str]:
    return {"MessageGroupId": group, "MessageDeduplicationId": deduplication_id}


def test_a_group_is_locked_while_one_of_its_messages_is_in_flight(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo")
        for number in range(4):
            await sqs.send(url, f"a{number}", **ids("a", f"a{number}"))
            await sqs.send(url, f"b{number}", **ids("b", f"b{number}"))
        assert await sqs.bodies(url, 3) == ["a0", "a1", "a2"]  # as many as possible of one group
        assert await sqs.bodies(url, 1) == ["b0"]
        assert await sqs.bodies(url) == []
        await sqs.clock.sleep(30)
        assert await sqs.bodies(url) == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]

    with_sqs(tmp_path, test)


def test_a_group_goes_on_when_its_messages_are_deleted(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo")
        for number in range(3):
            await sqs.send(url, str(number), **ids("g", str(number)))
        first, second = await sqs.receive(url, 2)
        await sqs.delete(url, first)
        assert await sqs.receive(url) == []
        await sqs.delete(url, second)
        assert await sqs.bodies(url) == ["2"]

    with_sqs(tmp_path, test)


def test_a_message_shown_again_keeps_its_place(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo")
        for number in range(3):
            await sqs.send(url, str(number), **ids("g", str(number)))
        (first,) = await sqs.receive(url, 1)
        change = {"ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeout": 0}
        await sqs("ChangeMessageVisibility", QueueUrl=url, **change)
        assert await sqs.bodies(url) == ["0", "1", "2"]

    with_sqs(tmp_path, test)


def test_a_handle_that_has_expired_deletes_nothing(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo")
        await sqs.send(url, "a", **ids("g", "a"))
        (message,) = await sqs.receive(url)
        await sqs.clock.sleep(31)
        handle = message["ReceiptHandle"]
        expected = f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        async with sqs.refused("InvalidParameterValue", expected):
            await sqs.delete(url, message)
        entries = [{"Id": "x", "ReceiptHandle": handle}]
        answer = await sqs("DeleteMessageBatch", QueueUrl=url, Entries=entries)
        assert answer["Failed"] == [
            {
                "Id": "x",
                "SenderFault": True,
                "Code": "ReceiptHandleIsInvalid",
                "Message": "The receipt handle has expired",
            }
        ]
        (message,) = await sqs.receive(url)
        await sqs.delete(url, message)
        await sqs.delete(url, message)  # twice is no error

    with_sqs(tmp_path, test)


def test_a_message_sent_again_within_five_minutes_is_the_first_one(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue("q.fifo")
            (first,) = await sqs.send(url, "a", **ids("g", "d"))
            (again,) = await sqs.send(url, "a", **ids("g", "d"))
            (other_group,) = await sqs.send(url, "a", **ids("h", "d"))
            assert first["MessageId"] == again["MessageId"] == other_group["MessageId"]
            assert first["SequenceNumber"] == again["SequenceNumber"]
            (message,) = await sqs.receive(url)
            await sqs.delete(url, message)
        async with opened(tmp_path, clock) as sqs:  # neither deleting it nor a restart changes that
            await clock.sleep(290)
            await sqs.send(url, "a", **ids("g", "d"))
            assert await sqs.receive(url) == []
            await clock.sleep(11)
            (later,) = await sqs.send(url, "a", **ids("g", "d"))
            assert int(later["SequenceNumber"]) > int(first["SequenceNumber"])
            assert len(later["SequenceNumber"]) == 20
            assert await sqs.bodies(url) == ["a"]

    run(main)


def test_deduplication_by_content_and_by_group(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo", ContentBasedDeduplication="true", DeduplicationScope="messageGroup")
        for group in ("g", "g", "h"):
            await sqs.send(url, "a", MessageGroupId=group)
        await sqs.send(url, "a", **ids("g", "explicit"))
        found = await sqs.receive(url)
        assert [message["Attributes"]["MessageGroupId"] for message in found] == ["g", "g", "h"]
        digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        assert [message["Attributes"]["MessageDeduplicationId"] for message in found] == [digest, "explicit", digest]

    with_sqs(tmp_path, test)


def test_a_batch_with_a_duplicate_in_it(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo")
        entries = [{"Id": str(n), "MessageBody": str(n), **ids("g", str(n // 2))} for n in range(4)]
        sent = (await sqs("SendMessageBatch", QueueUrl=url, Entries=entries))["Successful"]
        assert sent[0]["MessageId"] == sent[1]["MessageId"]
        assert await sqs.bodies(url) == ["0", "2"]

    with_sqs(tmp_path, test)


def test_an_attempt_that_is_tried_again_gets_the_same_messages(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo")
        for number in range(3):
            await sqs.send(url, str(number), **ids("g", str(number)))
        first = await sqs.receive(url, 2, ReceiveRequestAttemptId="r")
        await sqs.clock.sleep(20)
        again = await sqs.receive(url, 2, ReceiveRequestAttemptId="r")
        assert [message["ReceiptHandle"] for message in again] == [message["ReceiptHandle"] for message in first]
        await sqs.clock.sleep(20)  # its time began again
        assert await sqs.receive(url, ReceiveRequestAttemptId="other") == []
        await sqs.delete(url, *again)
        assert await sqs.bodies(url, ReceiveRequestAttemptId="r") == ["2"]

    with_sqs(tmp_path, test)


def test_the_delay_of_a_queue_holds_for_what_was_sent_before(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue("q.fifo", DelaySeconds=100)
        await sqs.send(url, "a", **ids("g", "a"))
        assert await sqs.counts(url) == (0, 0, 1)
        await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "10"})
        await sqs.clock.sleep(11)
        assert await sqs.bodies(url) == ["a"]

    with_sqs(tmp_path, test)


def test_order_and_locks_outlive_a_restart(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue("q.fifo")
            for number in range(4):
                await sqs.send(url, str(number), **ids("g", str(number)))
            (first,) = await sqs.receive(url, 1)
        async with opened(tmp_path, clock) as sqs:
            assert await sqs.receive(url) == []
            await sqs.delete(url, first)
            assert await sqs.bodies(url) == ["1", "2", "3"]

    run(main)


def test_what_a_fifo_queue_does_not_take(tmp_path):
    async def test(sqs: Client) -> None:
        url, standard = await sqs.queue("q.fifo"), await sqs.queue("q")
        async with sqs.refused("MissingParameter", "The request must contain the parameter MessageGroupId."):
            await sqs.send(url, "a", MessageDeduplicationId="d")
        words = (
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly"
        )
        async with sqs.refused("InvalidParameterValue", words):
            await sqs.send(url, "a", MessageGroupId="g")
        reason = "The request include parameter that is not valid for this queue type."
        expected = f"Value 1 for parameter DelaySeconds is invalid. Reason: {reason}"
        async with sqs.refused("InvalidParameterValue", expected):
            await sqs.send(url, "a", DelaySeconds=1, **ids("g", "d"))
        expected = f"Value d for parameter MessageDeduplicationId is invalid. Reason: {reason}"
        async with sqs.refused("InvalidParameterValue", expected):
            await sqs.send(standard, "a", MessageDeduplicationId="d")
        entries = [{"Id": "x", "MessageBody": "a", "MessageDeduplicationId": "d"}, {"Id": "y", "MessageBody": "b"}]
        answer = await sqs("SendMessageBatch", QueueUrl=standard, Entries=entries)
        failed = {"Id": "x", "SenderFault": True, "Code": "InvalidParameterValue", "Message": reason}
        assert ([each["Id"] for each in answer["Successful"]], answer["Failed"]) == (["y"], [failed])
        async with sqs.refused("InvalidParameterValue"):
            await sqs.send(url, "a", **ids("g" * 129, "d"))
        await sqs.send(url, "a", **ids("g" * 128, "d" * 128))

    with_sqs(tmp_path, test)
