#!/usr/bin/env python3
"""Measures how fast a queue feeds a function: latency on an idle queue, and how fast a full one is emptied.

    .venv/bin/python bench/triggers.py            # against a node that it starts itself, durable, with full isolation
    .venv/bin/python bench/triggers.py --endpoint http://127.0.0.1:4566

The handler prints when it began; both clocks are this machine's. Latency is from before SendMessage, boto3 included.
`make bench` has these figures, and a peer's, in its table of queues.
"""

import argparse
import contextlib
import io
import itertools
import json
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import harness

from lambent.pytest_plugin import running_node

HANDLER = """
import time

def handler(event, context):
    now = time.time()
    for record in event["Records"]:
        print("began", record["body"], now)
    return {"batchItemFailures": []}
"""


class Bench:
    def __init__(self, endpoint: str) -> None:
        keys = {"aws_access_key_id": "000000000000", "aws_secret_access_key": "lambent", "region_name": "us-east-1"}
        self.lam, self.sqs, self.logs = (
            boto3.client(name, endpoint_url=endpoint, **keys) for name in ("lambda", "sqs", "logs")
        )
        self._numbers = itertools.count()

    def prepare(self) -> None:
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("app.py", HANDLER)
        self.lam.create_function(
            FunctionName="bench-trigger",
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/bench",
            Handler="app.handler",
            Code={"ZipFile": package.getvalue()},
            MemorySize=1769,
            Timeout=30,
        )
        self.lam.get_waiter("function_active_v2").wait(FunctionName="bench-trigger")
        self.queue = self.sqs.create_queue(QueueName="bench-trigger", Attributes={"VisibilityTimeout": "120"})[
            "QueueUrl"
        ]
        arn = "arn:aws:sqs:us-east-1:000000000000:bench-trigger"
        self.uuid = self.lam.create_event_source_mapping(
            EventSourceArn=arn, FunctionName="bench-trigger", FunctionResponseTypes=["ReportBatchItemFailures"]
        )["UUID"]
        self.until("Enabled")

    def until(self, state: str) -> None:
        while self.lam.get_event_source_mapping(UUID=self.uuid)["State"] != state:
            time.sleep(0.02)

    def began(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/bench-trigger", filterPattern="began"
        )
        for page in pages:
            for event in page["events"]:
                _began, body, moment = event["message"].split()
                found.setdefault(body, []).append(float(moment))
        return found

    def latency(self, count: int) -> list[float]:
        """Milliseconds from before each send to its handler."""
        sent = {}
        for _ in range(count):
            body = f"idle{next(self._numbers)}"
            sent[body] = time.time()
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
            time.sleep(0.1)
        time.sleep(1)
        began = self.began()
        return [(began[body][0] - moment) * 1000 for body, moment in list(sent.items())[1:]]  # the first is cold

    def drain(self, name: str, count: int) -> float:
        """Seconds from the first handler to the last, of messages that all wait when the mapping is enabled."""
        self.lam.update_event_source_mapping(UUID=self.uuid, Enabled=False)
        self.until("Disabled")

        def send(first: int) -> None:
            entries = [{"Id": str(at), "MessageBody": f"{name}-{first + at}"} for at in range(10)]
            self.sqs.send_message_batch(QueueUrl=self.queue, Entries=entries)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(send, range(0, count, 10)))
        self.lam.update_event_source_mapping(UUID=self.uuid, Enabled=True)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        left = True
        while left:  # a cheap question: reading the log would compete with what is measured
            time.sleep(0.1)
            found = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
            left = any(map(int, found.values()))
        time.sleep(1)
        moments = [each for body, found in self.began().items() if body.startswith(f"{name}-") for each in found]
        if len(moments) > count:
            print(f"{len(moments) - count} came twice", file=sys.stderr)
        return max(moments) - min(moments)


def figures(endpoint: str, messages: int = 2_000) -> dict[str, Any]:
    """Milliseconds from SendMessage to the handler on an idle queue; seconds in which a full one is emptied."""
    bench = Bench(endpoint)
    bench.prepare()
    bench.latency(10)
    idle = harness.summary(bench.latency(50))
    drained = sorted(bench.drain(f"drain{number}", messages) for number in range(3))
    return {"to_handler": idle, "drained_s": round(drained[1], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint")
    parser.add_argument("--messages", type=int, default=2000)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        endpoint = options.endpoint
        if endpoint is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lambent-bench-"))
            endpoint = stack.enter_context(running_node("--data-dir", folder, ephemeral=False)).endpoint
        print(json.dumps(figures(endpoint, options.messages), indent=1))


if __name__ == "__main__":
    main()
