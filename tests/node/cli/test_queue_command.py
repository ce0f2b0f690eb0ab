"""`lambent queue`, as a user types it."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def asked(lambent):
    def asked(*arguments, stdin=""):
        command = [sys.executable, "-m", "lambent", "queue", *arguments, "--endpoint", lambent.endpoint]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=stdin)
        return done.returncode, done.stdout, done.stderr

    return asked


@pytest.fixture
def queues(lambent):
    """A queue whose messages go to another at their second receive: (name, name)."""
    sqs = lambent.client("sqs")
    dead = sqs.create_queue(QueueName="command-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = sqs.create_queue(QueueName="command", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    yield url, dead
    for each in (url, dead):
        sqs.delete_queue(QueueUrl=each)


def test_messages_are_sent_and_looked_at_and_stay_as_they_are(asked, queues, lambent):
    assert asked("peek", "command") == (0, "", "The queue is empty.\n")
    status, message_id, _ = asked("send", "command", '{"order": 1}')
    assert status == 0
    status, _, _ = asked("send", "command", "-", stdin="from stdin")
    assert status == 0
    for _ in range(2):
        status, shown, _ = asked("peek", "command", "--json")
        first, second = json.loads(shown)["Messages"]
        assert (first["Body"], first["MessageId"], first["State"]) == ('{"order": 1}', message_id.strip(), "visible")
        assert first["Attributes"]["ApproximateReceiveCount"] == "0"
        assert second["Body"] == "from stdin"
    line, _ = asked("peek", "command")[1].splitlines()
    assert line.split()[1:] == ["0", "visible", '{"order":', "1}"]
    sqs = lambent.client("sqs")
    received = sqs.receive_message(QueueUrl=queues[0], AttributeNames=["All"])["Messages"]
    assert received[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    states = [message["State"] for message in json.loads(asked("peek", "command", "--json")[1])["Messages"]]
    assert sorted(states) == ["in flight", "visible"]
    names = {line.split()[0]: line.split()[1:] for line in asked("ls")[1].splitlines()}
    assert names["command"] == ["1", "1", "0", "command-dead"]


def test_dead_letters_are_moved_back(asked, queues, lambent):
    sqs = lambent.client("sqs")
    asked("send", "command", "a")
    for _ in range(2):
        sqs.receive_message(QueueUrl=queues[0], VisibilityTimeout=0)
    assert len(json.loads(asked("peek", "command-dead", "--json")[1])["Messages"]) == 1
    assert asked("redrive", "command-dead") == (0, "moving 1 messages\n", "")
    (message,) = sqs.receive_message(QueueUrl=queues[0], WaitTimeSeconds=10)["Messages"]
    assert message["Body"] == "a"


def test_a_queue_is_emptied_when_that_is_meant(asked, queues):
    asked("send", "command", "a")
    assert asked("purge", "command", stdin="n\n")[0] == 1
    assert len(json.loads(asked("peek", "command", "--json")[1])["Messages"]) == 1
    assert asked("purge", "command", "--yes") == (0, "", "command is empty.\n")
    assert asked("peek", "command")[2] == "The queue is empty.\n"


def test_a_queue_that_is_not_there_is_said(asked):
    status, _, said = asked("peek", "nowhere")
    assert status == 1
    assert "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist." in said


def test_a_delayed_message_of_a_fifo_queue(asked, lambent):
    sqs = lambent.client("sqs")
    url = sqs.create_queue(QueueName="command.fifo", Attributes={"FifoQueue": "true", "DelaySeconds": "60"})["QueueUrl"]
    asked("send", "command.fifo", "a", "--group", "g")
    (message,) = json.loads(asked("peek", "command.fifo", "--json")[1])["Messages"]
    assert (message["State"], message["Attributes"]["MessageGroupId"]) == ("delayed", "g")
    sqs.delete_queue(QueueUrl=url)
