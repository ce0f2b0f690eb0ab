"""Killed at any moment under load: acknowledged objects are whole, others whole or absent, and all are told of."""

import hashlib
import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "bucket"
SIZES = (0, 100, 60_000, 70_000, 1_500_000)  # rows of the store, and files
PART = 5 * 1024 * 1024


@pytest.mark.timeout(300)
def test_ten_kills_lose_no_object_and_no_notification(own_node, tmp_path, capfd):
    _kill_again_and_again(own_node, tmp_path / "data", 10)
    assert '"level":"error"' not in capfd.readouterr().err


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_lose_no_object_and_no_notification(own_node, tmp_path, capfd):
    _kill_again_and_again(own_node, tmp_path / "data", 100)
    assert '"level":"error"' not in capfd.readouterr().err


class _Writer:
    """Puts objects that nobody else does: new ones, one again and again, and some in parts."""

    def __init__(self, number, seed):
        self.name = f"writer-{number}"
        self._rng = random.Random(seed)
        self._count = 0
        self.attempted = {}  # by key, the digests of all bodies that were sent, in order
        self.acknowledged = {}  # by key, how many of these were acknowledged at least
        self.waiting = set()  # keys to look at after the next kill

    def step(self, s3):
        self._count += 1
        kind = self._rng.random()
        key = f"{self.name}/same" if kind < 0.3 else f"{self.name}/{self._count}"
        in_parts = kind > 0.97
        body = self._rng.randbytes(PART + 1_000 if in_parts else self._rng.choice(SIZES))
        self.attempted.setdefault(key, []).append(hashlib.sha256(body).hexdigest())
        self.waiting.add(key)
        if in_parts:
            self._put_in_parts(s3, key, body)
        else:
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        self.acknowledged[key] = len(self.attempted[key])

    def _put_in_parts(self, s3, key, body):
        named = {"Bucket": BUCKET, "Key": key}
        named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
        parts = []
        for number, part in enumerate((body[:PART], body[PART:]), 1):
            etag = s3.upload_part(Body=part, PartNumber=number, **named)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)

    def check(self, s3):
        for key in sorted(self.waiting):
            least = self.acknowledged.get(key, 0)
            try:
                body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            except s3.exceptions.NoSuchKey:
                if least == 0:
                    continue
                raise
            assert hashlib.sha256(body).hexdigest() in self.attempted[key][max(least - 1, 0) :], key
        self.waiting.clear()


def _kill_again_and_again(own_node, data_dir, times):
    seed = int(os.environ.get("DURABILITY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DURABILITY_SEED={seed}")
    rng = random.Random(seed)
    writers = [_Writer(number, rng.random()) for number in range(4)]
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        _prepare(node)
    for _ in range(times):
        with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
            s3 = node.client("s3")
            for writer in writers:
                writer.check(s3)
            _write_until_killed(node, writers, rng)
    with own_node("--data-dir", str(data_dir), ephemeral=False) as node:
        for writer in writers:
            writer.check(node.client("s3"))
        acknowledged = {key for writer in writers for key in writer.acknowledged}
        assert acknowledged
        _await_all(node, acknowledged)
        listed = {
            one["Key"]
            for page in node.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            for one in page["Contents"]
        }
        assert acknowledged <= listed <= {key for writer in writers for key in writer.attempted}
        _only_what_is_named(node, data_dir)


def _prepare(node):
    s3, sqs = node.client("s3"), node.client("sqs")
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    entry = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [entry]})


def _write_until_killed(node, writers, rng):
    left, enough = [rng.randrange(1, 60)], threading.Event()
    s3 = node.client("s3")

    def write(writer):
        try:
            while True:
                writer.step(s3)
                left[0] -= 1
                if left[0] <= 0:
                    enough.set()
        except (BotoCoreError, ClientError):
            pass
        finally:
            enough.set()

    with ThreadPoolExecutor(len(writers)) as threads:
        running = [threads.submit(write, writer) for writer in writers]
        enough.wait()
        threading.Event().wait(rng.random() * 0.02)
        os.kill(node.pid, signal.SIGKILL)
    for one in running:
        one.result()


def _await_all(node, acknowledged):
    sqs = node.client("sqs")
    url, told, ends = sqs.get_queue_url(QueueName="told")["QueueUrl"], set(), time.monotonic() + 120
    while not acknowledged <= told:
        assert time.monotonic() < ends, acknowledged - told
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            told |= {record["s3"]["object"]["key"] for record in json.loads(message["Body"]).get("Records", ())}
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def _only_what_is_named(node, data_dir):
    """When all objects and uploads are gone, so are all files: also of those that were never acknowledged."""
    s3 = node.client("s3")
    for upload in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": one["Key"]} for one in page["Contents"]]})
    ends = time.monotonic() + 60
    while left := [path for path in (data_dir / "objects").rglob("*") if path.is_file()]:
        assert time.monotonic() < ends, left
