"""SQS through boto3, on a node."""

import threading

import pytest


@pytest.fixture
def sqs(lambent):
    return lambent.client("sqs")


@pytest.fixture
def queue(sqs, request):
    """A standard queue of this test's own; its URL."""
    url = sqs.create_queue(QueueName=request.node.name[:80])["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def test_a_message_is_sent_received_and_deleted(sqs, queue):
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hello")
    (message,) = sqs.receive_message(QueueUrl=queue, AttributeNames=["All"])["Messages"]
    assert (message["Body"], message["MessageId"]) == ("hello", sent["MessageId"])
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"] == "5d41402abc4b2a76b9719d911017c592"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_long_poll_wakes_when_a_message_comes(sqs, queue):
    found = []
    waiting = threading.Thread(
        target=lambda: found.extend(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20).get("Messages", ()))
    )
    waiting.start()
    sqs.send_message(QueueUrl=queue, MessageBody="at last")
    waiting.join()
    assert [message["Body"] for message in found] == ["at last"]


def test_a_queue_that_is_not_there(sqs):
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as raised:
        sqs.receive_message(QueueUrl="http://localhost/000000000000/nowhere")
    assert raised.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert raised.value.response["Error"]["Message"] == "The specified queue does not exist."
