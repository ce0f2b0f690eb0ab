"""The example `orders` from end to end, while its platform is killed: from the bucket to the queues, and back again."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

EXAMPLE = Path(__file__).parents[3] / "examples/orders"
WRITERS = 2
ORDERS = 3  # of a writer, each time: a hundred environments at once would take longer to start than a function may


@pytest.mark.timeout(300)
def test_five_kills_lose_no_order(own_node, tmp_path):
    _kill_again_and_again(own_node, tmp_path / "data", 5)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_fifteen_kills_lose_no_order(own_node, tmp_path):
    """More would leave hundreds of orders for the last start, which on two cores take longer than a function may."""
    _kill_again_and_again(own_node, tmp_path / "data", 15)


def _kill_again_and_again(own_node, data_dir, times):
    seed = int(os.environ.get("DURABILITY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DURABILITY_SEED={seed}")
    rng, good, held = random.Random(seed), set(), set()

    def node():
        return own_node("--data-dir", str(data_dir), ephemeral=False)

    with node() as one:
        _set_up(one)
    for round_ in range(times):
        with node() as one:
            _put_until_killed(one, round_, rng, good, held)
    assert good
    assert held
    with node() as one:
        _wait(lambda: good - _shipped(one))
        told = _told(one, good)
        assert good <= told
        _wait(lambda: held - _dead(one))
        assert not held & _shipped(one)
        one.deploy(EXAMPLE, timeout=60, env={"CUSTOMS": "open"})
        queues = "arn:aws:sqs:us-east-1:000000000000:orders-"
        one.client("sqs").start_message_move_task(SourceArn=queues + "dead", DestinationArn=queues + "again")
        os.kill(one.pid, signal.SIGKILL)  # in the middle of the way back
    with node() as one:
        _wait(lambda: held - _shipped(one))


def _set_up(node):
    node.deploy(EXAMPLE, timeout=60, env={})
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": node.endpoint,
        "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "lambent",
        "AWS_DEFAULT_REGION": "us-east-1",
        "ORDERS_RETRIES": "0",  # a node that keeps its data does not advance its time
    }
    subprocess.run([sys.executable, EXAMPLE / "setup.py"], env=environment, check=True)


def _put_until_killed(node, round_, rng, good, held):
    client, enough, left = node.client("s3"), threading.Event(), [rng.randrange(1, WRITERS * ORDERS + 1)]

    def put(writer):
        try:
            for number in range(ORDERS):
                key, is_held = f"{writer}-{round_}-{number}.json", number == 1
                body = json.dumps({"order": number, "customs": is_held})
                client.put_object(Bucket="orders", Key=f"incoming/{key}", Body=body)
                (held if is_held else good).add(key)
                left[0] -= 1
                if left[0] <= 0:
                    enough.set()
        except (BotoCoreError, ClientError, ResponseParserError):
            pass
        finally:
            enough.set()

    with ThreadPoolExecutor(WRITERS) as threads:
        writers = [threads.submit(put, writer) for writer in range(WRITERS)]
        enough.wait()
        threading.Event().wait(rng.random() * 0.3)  # until somewhere on the way
        os.kill(node.pid, signal.SIGKILL)
    for each in writers:
        each.result()


def _wait(missing):
    for _ in range(600):
        if not missing():
            return
        threading.Event().wait(0.2)
    raise AssertionError(missing())


def _shipped(node):
    pages = node.client("s3").get_paginator("list_objects_v2").paginate(Bucket="orders", Prefix="shipped/")
    return {one["Key"].removeprefix("shipped/") for page in pages for one in page.get("Contents", ())}


def _told(node, wanted):
    """The orders that the topic told the queue of."""
    client, url, found, empty = node.client("sqs"), f"{node.endpoint}/000000000000/orders-told", set(), 0
    while empty < (1 if wanted <= found else 10):
        messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
        empty = 0 if messages else empty + 1
        for message in messages:
            record = json.loads(json.loads(message["Body"])["Message"])
            assert record["requestContext"]["condition"] == "Success"
            found |= {key.removeprefix("incoming/") for key in record["responsePayload"]["shipped"]}
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def _dead(node):
    """The orders in the dead-letter queue, which stay there."""
    url = f"{node.endpoint}/_lambent/queue?arn=arn:aws:sqs:us-east-1:000000000000:orders-dead&most=1000"
    with urllib.request.urlopen(url) as answer:
        messages = json.load(answer)["Messages"]
    records = [record for message in messages for record in json.loads(message["Body"])["Records"]]
    return {record["s3"]["object"]["key"].removeprefix("incoming/") for record in records}
