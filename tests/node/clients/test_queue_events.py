"""The event of a queue as the clients read it that AWS publishes: Powertools for Python and aws-lambda-go."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes import SQSEvent
from aws_lambda_powertools.utilities.parser.models import SqsModel

from lambent.aws.arn import Arn
from lambent.eventing import batch
from lambent.eventing.source import Record
from lambent.eventing.sources.sqs import record_of

QUEUE = Arn.parse("arn:aws:sqs:us-west-2:123456789012:SQSQueue.fifo")
GO = Path(__file__).parent / "go_events"
MESSAGE = {
    "MessageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "ReceiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    "Body": 'Test "message" ünd more\n',
    "MD5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "MD5OfMessageAttributes": "00484c68ec7b9c3e6dc1d0aa0b7b0a5d",
    "Attributes": {
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "SentTimestamp": "1545082649183",
        "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
        "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        "SequenceNumber": "18849496460467696128",
        "MessageGroupId": "1",
        "MessageDeduplicationId": "1",
        "DeadLetterQueueSourceArn": "arn:aws:sqs:us-west-2:123456789012:source",
    },
    "MessageAttributes": {
        "text": {"DataType": "String", "StringValue": "AttributeValue1"},
        "number": {"DataType": "Number", "StringValue": "123"},
        "data": {"DataType": "Binary", "BinaryValue": b"\x00\xff1100"},
    },
}
PLAIN = {
    **{name: MESSAGE[name] for name in ("ReceiptHandle", "Body", "MD5OfBody")},
    "MessageId": "2e1424d4-f796-459a-8184-9c92662be6da",
    "Attributes": {name: value for name, value in MESSAGE["Attributes"].items() if name[0] == "S" or name[0] == "A"},
}


def event_of(*messages):
    records = [Record(id="x", event=msgspec.json.encode(record_of(message, QUEUE))) for message in messages]
    return json.loads(batch.event(records))


def test_powertools_reads_it():
    first, second = SQSEvent(event_of(MESSAGE, PLAIN)).records
    assert (first.message_id, first.receipt_handle) == (MESSAGE["MessageId"], MESSAGE["ReceiptHandle"])
    assert (first.body, first.md5_of_body) == (MESSAGE["Body"], MESSAGE["MD5OfBody"])
    assert (first.event_source, first.event_source_arn, first.aws_region) == ("aws:sqs", str(QUEUE), "us-west-2")
    assert first.queue_url == "https://sqs.us-west-2.amazonaws.com/123456789012/SQSQueue.fifo"
    attributes = first.attributes
    assert attributes.sequence_number == "18849496460467696128"
    assert attributes.aws_trace_header == MESSAGE["Attributes"]["AWSTraceHeader"]
    assert attributes.dead_letter_queue_source_arn == MESSAGE["Attributes"]["DeadLetterQueueSourceArn"]
    assert first.message_attributes["number"].string_value == "123"
    assert base64.b64decode(first.message_attributes["data"].binary_value) == b"\x00\xff1100"
    assert second.attributes.message_group_id is None


def test_the_parser_of_powertools_takes_it():
    first, second = SqsModel.model_validate(event_of(MESSAGE, PLAIN)).Records
    assert first.md5OfMessageAttributes == MESSAGE["MD5OfMessageAttributes"]
    assert second.md5OfMessageAttributes is None
    assert first.attributes.MessageDeduplicationId == "1"


def test_the_batch_processor_of_powertools_answers_what_is_understood():
    event = event_of(MESSAGE, PLAIN)
    records = [Record(id=each["messageId"], event=b"") for each in event["Records"]]

    def handler(record):
        if record.message_id == PLAIN["MessageId"]:
            raise ValueError("poison")

    answer = process_partial_response(
        event=event, record_handler=handler, processor=BatchProcessor(event_type=EventType.SQS)
    )
    assert batch.failures(json.dumps(answer).encode(), records) == {PLAIN["MessageId"]}


@pytest.fixture(scope="module")
def read_by_go(tmp_path_factory):
    """Runs the program in `go_events` on an event."""
    if shutil.which("go") is None:
        pytest.fail("Install Go 1.26 or later (https://go.dev/dl), or golang-go where the system has that.")
    program = tmp_path_factory.mktemp("go") / "events"
    subprocess.run(["go", "build", "-o", program, "."], cwd=GO, env={**os.environ, "CGO_ENABLED": "0"}, check=True)

    def read(event):
        done = subprocess.run([program, "sqs"], input=json.dumps(event), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.mark.timeout(300)
def test_aws_lambda_go_reads_it_and_knows_every_field(read_by_go):
    event = event_of(MESSAGE, PLAIN)
    expected = json.loads(json.dumps(event).replace('"md5OfMessageAttributes": null', '"md5OfMessageAttributes": ""'))
    assert read_by_go(event) == expected


@pytest.mark.timeout(300)
def test_its_fields_are_those_of_the_sample_that_aws_lambda_go_brings(read_by_go):
    folder = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go"],
        cwd=GO,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    sample = json.loads((Path(folder) / "events/testdata/sqs-event.json").read_text())
    (theirs,), (ours,) = read_by_go(sample)["Records"], event_of(MESSAGE)["Records"]
    assert ours.keys() == theirs.keys()
    assert theirs["attributes"].keys() <= ours["attributes"].keys()
    assert ours["messageAttributes"]["text"].keys() == theirs["messageAttributes"]["Attribute1"].keys()
    assert ours["messageAttributes"]["data"].keys() == theirs["messageAttributes"]["Attribute3"].keys()
