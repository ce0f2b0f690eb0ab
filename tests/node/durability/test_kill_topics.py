"""A node that is killed at any moment delivers every message that it acknowledged, to every subscription."""

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

QUEUES = ("one", "two", "three")
TOPIC = "arn:aws:sns:us-east-1:000000000000:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
PUBLISHERS = 4


@pytest.mark.timeout(300)
def test_ten_kills_lose_no_message_of_a_topic(own_node, tmp_path):
    _kill_again_and_again(own_node, tmp_path / "data", 10)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_lose_no_message_of_a_topic(own_node, tmp_path):
    _kill_again_and_again(own_node, tmp_path / "data", 100)


class Acknowledged:
    """What publishers were told is kept: texts of the standard topic, and of each group of the FIFO topic in order."""

    def __init__(self):
        self.texts, self.groups, self._lock = set(), {str(number): [] for number in range(PUBLISHERS)}, threading.Lock()
        self.left, self.enough = 0, threading.Event()

    def add(self, group, text):
        with self._lock:
            self.texts.add(text)
            self.groups[group].append(text)
            self.left -= 1
            if self.left <= 0:
                self.enough.set()


def _kill_again_and_again(own_node, data_dir, times):
    seed = int(os.environ.get("DURABILITY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DURABILITY_SEED={seed}")
    rng, acknowledged = random.Random(seed), Acknowledged()
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        _prepare(node)
    for round_ in range(times):
        with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
            acknowledged.left = rng.randrange(1, 200)
            acknowledged.enough.clear()
            _publish_until_killed(node, acknowledged, round_, rng)
    assert acknowledged.texts
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        for name in QUEUES:
            assert acknowledged.texts <= set(_received(node, name, acknowledged.texts))
        told = _received(node, "ordered.fifo", acknowledged.texts)
        assert len(told) == len(set(told))
        for group, texts in acknowledged.groups.items():
            mine = [text for text in told if text.startswith(f"{group}-")]
            assert [text for text in mine if text in acknowledged.texts] == texts


def _prepare(node):
    sns, sqs = node.client("sns"), node.client("sqs")
    sns.create_topic(Name="plain")
    fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    sns.create_topic(Name="ordered.fifo", Attributes=fifo)
    for name in QUEUES:
        sqs.create_queue(QueueName=name)
        sns.subscribe(TopicArn=TOPIC + "plain", Protocol="sqs", Endpoint=QUEUE + name, Attributes=RAW)
    sqs.create_queue(QueueName="ordered.fifo", Attributes={"FifoQueue": "true"})
    sns.subscribe(TopicArn=TOPIC + "ordered.fifo", Protocol="sqs", Endpoint=QUEUE + "ordered.fifo", Attributes=RAW)


RAW = {"RawMessageDelivery": "true"}


def _publish_until_killed(node, acknowledged, round_, rng):
    client = node.client("sns")

    def publish(group):
        try:
            for number in range(1_000_000):
                text = f"{group}-{round_}-{number}"
                client.publish(TopicArn=TOPIC + "plain", Message=text)
                client.publish(TopicArn=TOPIC + "ordered.fifo", Message=text, MessageGroupId=group)
                acknowledged.add(group, text)
        except (BotoCoreError, ClientError, ResponseParserError):
            pass
        finally:
            acknowledged.enough.set()

    with ThreadPoolExecutor(PUBLISHERS) as threads:
        publishers = [threads.submit(publish, str(number)) for number in range(PUBLISHERS)]
        acknowledged.enough.wait()
        threading.Event().wait(rng.random() * 0.02)
        os.kill(node.pid, signal.SIGKILL)
    for each in publishers:
        each.result()


def _received(node, name, wanted):
    """The texts in a queue in order, until all that are wanted came and no more come."""
    client, url = node.client("sqs"), f"{node.endpoint}/000000000000/{name}"
    found, empty = [], 0
    while empty < (1 if wanted <= set(found) else 10):
        messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
        empty = 0 if messages else empty + 1
        found += [message["Body"] for message in messages]
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        if entries:
            client.delete_message_batch(QueueUrl=url, Entries=entries)
    return found
