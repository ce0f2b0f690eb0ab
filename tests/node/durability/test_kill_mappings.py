"""Killed at any moment under load: what was acknowledged reaches the function at least once, and FIFO in order."""

import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.node.durability.things import ROLE, package

# Hands each message on before it answers: what a source queue no longer has is in the other one.
HAND_ON = """
import json, os, urllib.request

def handler(event, context):
    bodies = json.dumps([record["body"] for record in event["Records"]])
    request = urllib.request.Request(
        os.environ["AWS_ENDPOINT_URL"],
        json.dumps({"QueueUrl": os.environ["DONE"], "MessageBody": bodies}).encode(),
        {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0"},
    )
    urllib.request.urlopen(request, timeout=20).close()
"""
GROUPS = "abc"


@pytest.mark.timeout(300)
def test_five_kills_lose_no_message(own_node, tmp_path, capfd):
    _kill_again_and_again(own_node, tmp_path / "data", 5)
    assert '"level":"error"' not in capfd.readouterr().err


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_lose_no_message(own_node, tmp_path, capfd):
    _kill_again_and_again(own_node, tmp_path / "data", 100)
    assert '"level":"error"' not in capfd.readouterr().err


def _kill_again_and_again(own_node, data_dir, times):
    seed = int(os.environ.get("DURABILITY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DURABILITY_SEED={seed}")
    rng, acknowledged, sent = random.Random(seed), set(), [0]
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        _prepare(node)
    for _ in range(times):
        with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
            _send_until_killed(node, rng, sent, acknowledged)
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        arrived = _arrived(node, acknowledged)
    assert acknowledged
    assert acknowledged <= set(arrived)
    for group in GROUPS:
        mine = [body for body in arrived if body.startswith(f"fifo-{group}")]
        firsts = list(dict.fromkeys(mine))
        assert firsts == sorted(firsts, key=lambda body: int(body.rpartition("-")[2]))


def _prepare(node):
    functions, sqs = node.client("lambda"), node.client("sqs")
    urls = {
        name: sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        for name, attributes in {
            "done": {},
            "source": {"VisibilityTimeout": "5"},
            "source.fifo": {"VisibilityTimeout": "5", "FifoQueue": "true", "ContentBasedDeduplication": "true"},
        }.items()
    }
    functions.create_function(
        FunctionName="hand-on",
        Runtime="python3.11",
        Handler="app.handler",
        Role=ROLE,
        Timeout=5,
        Code={"ZipFile": package(HAND_ON)},
        Environment={"Variables": {"DONE": urls["done"]}},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="hand-on")
    for name in ("source", "source.fifo"):
        arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        functions.create_event_source_mapping(EventSourceArn=arn, FunctionName="hand-on")


def _send_until_killed(node, rng, sent, acknowledged):
    sqs, enough, left = node.client("sqs"), threading.Event(), [rng.randrange(20, 150)]
    urls = {name: sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in ("source", "source.fifo")}

    def count(body):
        acknowledged.add(body)
        left[0] -= 1
        if left[0] <= 0:
            enough.set()

    def send(group):
        try:
            while True:
                sent[0] += 1
                body, more = f"standard-{sent[0]}", {}
                if group:
                    body, more = f"fifo-{group}-{sent[0]}", {"MessageGroupId": group}
                sqs.send_message(QueueUrl=urls["source.fifo" if group else "source"], MessageBody=body, **more)
                count(body)
        except (BotoCoreError, ClientError):
            enough.set()

    with ThreadPoolExecutor(5) as threads:
        senders = [threads.submit(send, group) for group in ("", "", *GROUPS)]
        enough.wait(60)
        threading.Event().wait(rng.random() * 0.05)
        os.kill(node.pid, signal.SIGKILL)
    for sender in senders:
        sender.result()


def _arrived(node, acknowledged):
    """What the function handed on, in the order in which it was sent on."""
    sqs = node.client("sqs")
    done, found = sqs.get_queue_url(QueueName="done")["QueueUrl"], []
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        answer = sqs.receive_message(
            QueueUrl=done, MaxNumberOfMessages=10, WaitTimeSeconds=2, MessageSystemAttributeNames=["SentTimestamp"]
        )
        messages = answer.get("Messages", [])
        found += [(int(each["Attributes"]["SentTimestamp"]), each["Body"]) for each in messages]
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=done, Entries=entries)
        elif acknowledged <= set(_bodies(found)):
            break
    arrived = _bodies(found)
    print(json.dumps({"acknowledged": len(acknowledged), "arrived": len(arrived)}))
    return arrived


def _bodies(found):
    """By the moment in which each batch was handed on."""
    return [body for _moment, batch in sorted(found, key=lambda each: each[0]) for body in json.loads(batch)]
