"""The event of a bucket as the clients read it that AWS publishes: Powertools for Python and aws-lambda-go."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from aws_lambda_powertools.utilities.data_classes import S3Event
from aws_lambda_powertools.utilities.parser.models import S3Model

from lambent.cli.generate_s3_event import event

GO = Path(__file__).parent / "go_events"
PUT = event("ObjectCreated:Put", "photos", "in/ä b.jpg", 7, "eu-west-1")
REMOVED = event("ObjectRemoved:Delete", "photos", "in/ä b.jpg", 0, "eu-west-1")


def test_powertools_reads_it():
    found = S3Event(PUT)
    assert (found.bucket_name, found.object_key) == ("photos", "in/ä b.jpg")
    record = found.record
    assert (record.aws_region, record.event_name, record.event_source) == ("eu-west-1", "ObjectCreated:Put", "aws:s3")
    assert (record.s3.get_object.size, record.s3.bucket.arn) == (7, "arn:aws:s3:::photos")


def test_the_parser_of_powertools_takes_it():
    for each in (PUT, REMOVED):
        (record,) = S3Model.model_validate(each).Records
        assert record.s3.bucket.name == "photos"


@pytest.mark.timeout(300)
def test_aws_lambda_go_reads_it_and_its_sample_has_the_same_fields(tmp_path):
    if shutil.which("go") is None:
        pytest.fail("Install Go 1.26 or later (https://go.dev/dl), or golang-go where the system has that.")
    program = tmp_path / "events"
    subprocess.run(["go", "build", "-o", program, "."], cwd=GO, env={**os.environ, "CGO_ENABLED": "0"}, check=True)

    def read(given):
        done = subprocess.run([program, "s3"], input=json.dumps(given), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["Records"][0]

    (ours,) = PUT["Records"]
    assert read(PUT)["s3"]["object"]["key"] == ours["s3"]["object"]["key"]
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go"]
    folder = subprocess.run(listed, cwd=GO, capture_output=True, text=True, check=True).stdout.strip()
    sample = json.loads((Path(folder) / "events/testdata/s3-event.json").read_text())["Records"][0]
    assert ours.keys() == sample.keys()
    assert ours["s3"].keys() == sample["s3"].keys()
    assert ours["s3"]["bucket"].keys() == sample["s3"]["bucket"].keys()
    assert sample["s3"]["object"].keys() - ours["s3"]["object"].keys() <= {"versionId", "urlDecodedKey"}
