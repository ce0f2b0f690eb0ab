"""The event of a topic as the clients read it that AWS publishes: Powertools for Python and aws-lambda-go."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from aws_lambda_powertools.utilities.data_classes import SNSEvent
from aws_lambda_powertools.utilities.parser.envelopes import SnsSqsEnvelope
from aws_lambda_powertools.utilities.parser.models import SnsModel
from pydantic import BaseModel

from lambent.aws.arn import Arn
from lambent.eventing.sources.sqs import record_of
from lambent.services.sns import envelope
from lambent.services.sns.messages import Message
from lambent.services.sns.model import Subscription

GO = Path(__file__).parent / "go_events"
TOPIC = "arn:aws:sns:us-east-2:123456789012:sns-la"
NOTES = {
    "Test": {"DataType": "String", "StringValue": "TestString"},
    "TestBinary": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
}
SUBSCRIPTION = Subscription(
    id=1, arn=f"{TOPIC}:21be56ed", topic_arn=TOPIC, owner="123456789012", protocol="lambda", endpoint="f"
)
SEAL = envelope.Seal(version="1", sign=lambda *_: "c2ln", certificate_url="https://sns.us-east-2.amazonaws.com/c.pem")
BASE = "https://sns.us-east-2.amazonaws.com"


def message(**more):
    known = {"subject": "TestInvoke", "attributes": NOTES, **more}
    return Message("95df01b4-ee98-5cb9-9903-4c221d41eb5e", TOPIC, "Hello from SNS!\n", 1_546_453_745_000, **known)


def event_of(**more):
    return json.loads(envelope.event(message(**more), SUBSCRIPTION, BASE, SEAL))


@pytest.mark.parametrize("subject", ["TestInvoke", None])
def test_powertools_reads_it(subject):
    event = SNSEvent(event_of(subject=subject))
    (record,) = event.records
    assert (record.event_subscription_arn, record.event_version) == (SUBSCRIPTION.arn, "1.0")
    sns = record.sns
    assert (sns.message, sns.subject, sns.get_type) == ("Hello from SNS!\n", subject, "Notification")
    assert (sns.message_id, sns.topic_arn) == ("95df01b4-ee98-5cb9-9903-4c221d41eb5e", TOPIC)
    assert sns.timestamp == "2019-01-02T18:29:05.000Z"
    assert (sns.signature, sns.signature_version) == ("c2ln", "1")
    assert sns.signing_cert_url == SEAL.certificate_url
    assert sns.unsubscribe_url == f"{BASE}/?Action=Unsubscribe&SubscriptionArn={SUBSCRIPTION.arn}"
    assert sns.message_attributes["Test"].get_type == "String"
    assert event.sns_message == "Hello from SNS!\n"


@pytest.mark.parametrize("subject", ["TestInvoke", None])
def test_the_parser_of_powertools_takes_it(subject):
    (record,) = SnsModel.model_validate(event_of(subject=subject)).Records
    assert record.Sns.MessageAttributes["TestBinary"].Value == "AP8="
    assert record.Sns.Subject == subject


def test_the_parser_of_powertools_takes_what_queues_are_given():
    class Order(BaseModel):
        number: int

    published = msgspec.structs.replace(message(), body='{"number": 7}')
    beginning = envelope.Beginnings().of(published, 1, "sqs", SEAL)
    received = {
        "MessageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "ReceiptHandle": "r",
        "Body": envelope.notification(published, beginning, SUBSCRIPTION, BASE),
        "MD5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "Attributes": {
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "SentTimestamp": "1545082649183",
            "ApproximateReceiveCount": "1",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
    }
    event = {"Records": [record_of(received, Arn.parse("arn:aws:sqs:us-east-2:123456789012:q"))]}
    (order,) = SnsSqsEnvelope().parse(json.loads(msgspec.json.encode(event)), Order)
    assert order.number == 7


@pytest.fixture(scope="module")
def read_by_go(tmp_path_factory):
    """Runs the program in `go_events` on an event."""
    if shutil.which("go") is None:
        pytest.fail("Install Go 1.26 or later (https://go.dev/dl), or golang-go where the system has that.")
    program = tmp_path_factory.mktemp("go") / "events"
    subprocess.run(["go", "build", "-o", program, "."], cwd=GO, env={**os.environ, "CGO_ENABLED": "0"}, check=True)

    def read(event):
        done = subprocess.run([program, "sns"], input=json.dumps(event), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.mark.timeout(300)
def test_aws_lambda_go_reads_it_and_knows_every_field(read_by_go):
    event = event_of()
    expected = json.loads(json.dumps(event).replace("05.000Z", "05Z"))
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
    sample = json.loads((Path(folder) / "events/testdata/sns-event.json").read_text())
    (record,), (ours,) = sample["Records"], event_of()["Records"]
    assert set(record) == set(ours)
    assert set(record["Sns"]) == set(ours["Sns"])
