"""Dead-letter queues and the tasks that empty them."""

import json

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.unit.services.sqs.sqs_service import ARN, Client, opened, with_sqs

from lambent.testing.loop import run

NO_SOURCE = "The resource that you specified for the SourceArn parameter doesn't exist."


def redrive(name: str = "dead", most: object = 2) -> str:
    return json.dumps({"deadLetterTargetArn": f"{ARN}{name}", "maxReceiveCount": most})


async def fail(sqs: Client, url: str, times: int) -> None:
    """Receives everything so often, and never deletes."""
    for _ in range(times):
        await sqs.receive(url, VisibilityTimeout=1)
        await sqs.clock.sleep(1.1)


def test_a_message_moves_on_the_receive_after_the_last_one_allowed(tmp_path):
    async def test(sqs: Client) -> None:
        dead, url = await sqs.queue("dead"), await sqs.queue("q", RedrivePolicy=redrive(most="2"))
        (sent,) = await sqs.send(url, "a", MessageAttributes={"n": {"DataType": "String", "StringValue": "v"}})
        sent_ms = (await sqs.receive(url, VisibilityTimeout=0))[0]["Attributes"]["SentTimestamp"]
        await sqs.receive(url, VisibilityTimeout=0)
        assert await sqs.counts(dead) == (0, 0, 0)
        assert await sqs.receive(url) == []
        assert (await sqs.counts(url), await sqs.counts(dead)) == ((0, 0, 0), (1, 0, 0))
        await sqs.clock.sleep(10)
        (letter,) = await sqs.receive(dead)
        assert (letter["Body"], letter["MessageId"]) == ("a", sent["MessageId"])
        assert letter["MessageAttributes"]["n"]["StringValue"] == "v"
        attributes = letter["Attributes"]
        assert attributes["DeadLetterQueueSourceArn"] == f"{ARN}q"
        assert (attributes["ApproximateReceiveCount"], attributes["SentTimestamp"]) == ("3", sent_ms)

    with_sqs(tmp_path, test)


def test_a_long_poll_of_the_dead_letter_queue_wakes(tmp_path):
    async def test(sqs: Client) -> None:
        dead, url = await sqs.queue("dead"), await sqs.queue("q", RedrivePolicy=redrive(most=1))
        await sqs.send(url, "a", "b")
        await sqs.receive(url, VisibilityTimeout=3)
        began = sqs.clock.now()
        assert await sqs.receive(url, WaitTimeSeconds=5) == []
        assert 5 <= sqs.clock.now() - began < 5.5
        assert sorted(await sqs.bodies(dead, WaitTimeSeconds=20)) == ["a", "b"]

    with_sqs(tmp_path, test)


def test_without_its_dead_letter_queue_a_message_stays(tmp_path):
    async def test(sqs: Client) -> None:
        dead, url = await sqs.queue("dead"), await sqs.queue("q", RedrivePolicy=redrive(most=1))
        await sqs.send(url, "a")
        await sqs("DeleteQueue", QueueUrl=dead)
        await fail(sqs, url, 3)
        assert await sqs.counts(url) == (1, 0, 0)

    with_sqs(tmp_path, test)


def test_two_equal_letters_of_a_fifo_queue_both_survive(tmp_path):
    async def test(sqs: Client) -> None:
        dead = await sqs.queue("dead.fifo")
        url = await sqs.queue("q.fifo", RedrivePolicy=redrive("dead.fifo", 1))
        for _ in range(2):
            await sqs.send(url, "a", MessageGroupId="g", MessageDeduplicationId="d")
            await fail(sqs, url, 2)
            await sqs.clock.sleep(300)
        letters = await sqs.receive(dead)
        assert [letter["Body"] for letter in letters] == ["a", "a"]
        assert [letter["Attributes"]["MessageDeduplicationId"] for letter in letters] == [
            letter["MessageId"] for letter in letters
        ]

    with_sqs(tmp_path, test)


@pytest.mark.parametrize(("suffix", "age_s"), [("", 100), (".fifo", 0)])
def test_how_old_a_dead_letter_is(tmp_path, suffix, age_s):
    """A standard queue's keeps its age, a FIFO queue's begins anew. Source: Amazon SQS Developer Guide, "Using
    dead-letter queues", on retention.
    """

    async def test(sqs: Client) -> None:
        dead = await sqs.queue(f"dead{suffix}")
        url = await sqs.queue(f"q{suffix}", RedrivePolicy=redrive(f"dead{suffix}", 1))
        await sqs.send(url, "a", **({"MessageGroupId": "g", "MessageDeduplicationId": "d"} if suffix else {}))
        await sqs.receive(url, VisibilityTimeout=0)
        await sqs.clock.sleep(100)
        assert await sqs.receive(url) == []
        (letter,) = await sqs.receive(dead)
        sent_s = int(letter["Attributes"]["SentTimestamp"]) / 1000
        assert sqs.clock.now() - sent_s == pytest.approx(age_s, abs=1)

    with_sqs(tmp_path, test)


def test_a_move_task_makes_new_messages_where_they_came_from(tmp_path):
    async def test(sqs: Client) -> None:
        dead, url = await sqs.queue("dead"), await sqs.queue("q", RedrivePolicy=redrive(most=1))
        sent = await sqs.send(url, *"abc")
        await fail(sqs, url, 2)
        assert await sqs.counts(dead) == (3, 0, 0)
        await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead")
        found = await sqs.receive(url, WaitTimeSeconds=20)
        await sqs.clock.sleep(1)
        assert [message["Body"] for message in found] == ["a", "b", "c"]
        assert not {message["MessageId"] for message in found} & {message["MessageId"] for message in sent}
        assert {message["Attributes"]["ApproximateReceiveCount"] for message in found} == {"1"}
        assert "DeadLetterQueueSourceArn" not in found[0]["Attributes"]
        assert await sqs.counts(dead) == (0, 0, 0)
        (task,) = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}dead"))["Results"]
        started = task.pop("StartedTimestamp")
        assert abs(started / 1000 - sqs.clock.now()) < 60
        assert {name: value for name, value in task.items() if value is not None} == {
            "Status": "COMPLETED",
            "SourceArn": f"{ARN}dead",
            "ApproximateNumberOfMessagesMoved": 3,
            "ApproximateNumberOfMessagesToMove": 3,
        }

    with_sqs(tmp_path, test)


def test_a_task_keeps_its_rate_and_can_be_cancelled(tmp_path):
    async def test(sqs: Client) -> None:
        dead, other = await sqs.queue("dead"), await sqs.queue("other")
        await sqs.queue("q", RedrivePolicy=redrive())
        await sqs.send(dead, *map(str, range(50)))
        start = {"SourceArn": f"{ARN}dead", "DestinationArn": f"{ARN}other", "MaxNumberOfMessagesPerSecond": 10}
        handle = (await sqs("StartMessageMoveTask", **start))["TaskHandle"]
        already = (
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        )
        async with sqs.refused("UnsupportedOperation", already):
            await sqs("StartMessageMoveTask", **start)
        await sqs.clock.sleep(2.5)
        assert await sqs.counts(other) == (30, 0, 0)
        assert (await sqs("CancelMessageMoveTask", TaskHandle=handle))["ApproximateNumberOfMessagesMoved"] == 30
        await sqs.clock.sleep(60)
        assert (await sqs.counts(dead), await sqs.counts(other)) == ((20, 0, 0), (30, 0, 0))
        (task,) = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}dead"))["Results"]
        assert (task["Status"], task["TaskHandle"]) == ("CANCELLED", None)
        async with sqs.refused("UnsupportedOperation"):
            await sqs("CancelMessageMoveTask", TaskHandle=handle)

    with_sqs(tmp_path, test)


def test_a_task_goes_on_after_a_restart(tmp_path):
    async def main(clock) -> None:
        async with opened(tmp_path, clock) as sqs:
            dead, other = await sqs.queue("dead"), await sqs.queue("other")
            await sqs.queue("q", RedrivePolicy=redrive())
            await sqs.send(dead, *map(str, range(30)))
            start = {"SourceArn": f"{ARN}dead", "DestinationArn": f"{ARN}other", "MaxNumberOfMessagesPerSecond": 10}
            await sqs("StartMessageMoveTask", **start)
            await sqs.clock.sleep(0.5)
        async with opened(tmp_path, clock) as sqs:
            await sqs.clock.sleep(10)
            assert (await sqs.counts(dead), await sqs.counts(other)) == ((0, 0, 0), (30, 0, 0))
            (task,) = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}dead"))["Results"]
            assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 30)

    run(main)


def test_a_task_that_cannot_go_on_says_why(tmp_path):
    async def test(sqs: Client) -> None:
        dead = await sqs.queue("dead")
        url = await sqs.queue("q", RedrivePolicy=redrive(most=1))
        await sqs.queue("q2", RedrivePolicy=redrive(most=1))
        await sqs.send(dead, "sent to it directly")
        await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead")
        await sqs.clock.sleep(1)
        (task,) = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}dead"))["Results"]
        assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
        (message,) = await sqs.receive(dead)
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"
        await sqs.delete(dead, message)
        await sqs.send(url, "a")
        await fail(sqs, url, 2)
        await sqs("DeleteQueue", QueueUrl=url)
        await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead")
        await sqs.clock.sleep(1)
        (task,) = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}dead", MaxResults=1))["Results"]
        assert (task["Status"], task["FailureReason"]) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")
        assert await sqs.counts(dead) == (1, 0, 0)

    with_sqs(tmp_path, test)


def test_what_no_task_can_be_started_for(tmp_path):
    async def test(sqs: Client) -> None:
        await sqs.queue("dead")
        await sqs.queue("f.fifo")
        async with sqs.refused("ResourceNotFoundException", NO_SOURCE):
            await sqs("StartMessageMoveTask", SourceArn=f"{ARN}nowhere")
        async with sqs.refused("ResourceNotFoundException", NO_SOURCE):
            await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}nowhere")
        async with sqs.refused("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue."):
            await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead")
        await sqs.queue("q", RedrivePolicy=redrive())
        for rate in (0, 501):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead", MaxNumberOfMessagesPerSecond=rate)
        async with sqs.refused("ResourceNotFoundException"):
            await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead", DestinationArn=f"{ARN}nowhere")
        for destination in ("f.fifo", "dead"):
            async with sqs.refused("InvalidParameterValue"):
                await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead", DestinationArn=f"{ARN}{destination}")
        async with sqs.refused("InvalidParameterValue"):
            await sqs("CancelMessageMoveTask", TaskHandle="x")
        async with sqs.refused("ResourceNotFoundException", "Task does not exist."):
            await sqs("CancelMessageMoveTask", TaskHandle="eyJ0YXNrSWQiOiJ4In0=")

    with_sqs(tmp_path, test)


def test_an_account_has_at_most_100_active_tasks(tmp_path):
    async def test(sqs: Client) -> None:
        names = [f"dead{number}" for number in range(101)]
        for name in names:
            url = await sqs.queue(name)
            await sqs.queue(f"of-{name}", RedrivePolicy=redrive(name))
            await sqs.send(url, "a", "b")
        start = {"DestinationArn": f"{ARN}of-dead0", "MaxNumberOfMessagesPerSecond": 1}
        for name in names[:100]:
            await sqs("StartMessageMoveTask", SourceArn=f"{ARN}{name}", **start)
        async with sqs.refused("OverLimit", "An account has at most 100 active message movement tasks."):
            await sqs("StartMessageMoveTask", SourceArn=f"{ARN}dead100", **start)

    with_sqs(tmp_path, test)


def test_who_may_use_a_queue_for_dead_letters(tmp_path):
    async def test(sqs: Client) -> None:
        allow = {"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}friend"]}
        dead = await sqs.queue("dead", RedriveAllowPolicy=json.dumps(allow))
        friend = await sqs.queue("friend", RedrivePolicy=redrive())
        async with sqs.refused("InvalidParameterValue"):
            await sqs.queue("stranger", RedrivePolicy=redrive())
        stranger = await sqs.queue("stranger")
        async with sqs.refused("InvalidParameterValue"):
            await sqs("SetQueueAttributes", QueueUrl=stranger, Attributes={"RedrivePolicy": redrive()})
        assert (await sqs("ListDeadLetterSourceQueues", QueueUrl=dead))["queueUrls"] == [friend]
        await sqs("SetQueueAttributes", QueueUrl=friend, Attributes={"RedrivePolicy": ""})
        assert "RedrivePolicy" not in await sqs.attribute(friend)
        assert (await sqs("ListDeadLetterSourceQueues", QueueUrl=dead))["queueUrls"] == []
        for denied in (
            {"redrivePermission": "denyAll"},
            {"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}x"]},
        ):
            await sqs("SetQueueAttributes", QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps(denied)})
            async with sqs.refused("InvalidParameterValue"):
                await sqs("SetQueueAttributes", QueueUrl=friend, Attributes={"RedrivePolicy": redrive()})

    with_sqs(tmp_path, test)


def test_a_move_that_the_disk_refuses_loses_nothing(tmp_path):
    async def test(sqs: Client) -> None:
        dead, url = await sqs.queue("dead"), await sqs.queue("q", RedrivePolicy=redrive(most=1))
        await sqs.send(url, "a", "b")
        await sqs.receive(url, VisibilityTimeout=1)
        await sqs.clock.sleep(1.5)
        full = "CREATE TRIGGER full BEFORE INSERT ON sqs_messages BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        await sqs.service.database.write(lambda tx: tx.execute(text(full)))
        with pytest.raises(IntegrityError, match="disk full"):
            await sqs.receive(url)
        await sqs.service.database.write(lambda tx: tx.execute(text("DROP TRIGGER full")))
        assert await sqs.counts(url) == (2, 0, 0)
        assert await sqs.receive(url) == []
        assert sorted(await sqs.bodies(dead)) == ["a", "b"]

    with_sqs(tmp_path, test)
