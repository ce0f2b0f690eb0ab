"""`lambent trigger add FUNCTION s3://...` and `lambent generate-event s3`, as a user types them."""

import json
import uuid

import pytest
from tests.node.cli.command_line import lines

TELL = "def handler(event, context):\n    print('TOLD', [r['s3']['object']['key'] for r in event['Records']])\n"


def test_a_bucket_is_made_a_trigger_and_unmade(run, lambent, make_function):
    s3, bucket, name = lambent.client("s3"), f"photos-{uuid.uuid4().hex[:8]}", make_function(TELL)
    s3.create_bucket(Bucket=bucket)
    place = f"s3://{bucket}/in/*.jpg"
    done = run("trigger", "add", name, place)
    assert done.returncode == 0, done.stderr
    done = run("trigger", "add", name, f"s3://{bucket}/other/*", "--json")
    assert json.loads(done.stdout)["Filter"]["Key"]["FilterRules"] == [{"Name": "prefix", "Value": "other/"}]
    for key in ("out/1.jpg", "in/1.png", "in/1.jpg"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    said = lines(run, name, "TOLD")
    assert said.count("TOLD") == 1
    assert "TOLD ['in/1.jpg']" in said
    assert place in run("trigger", "ls").stdout
    for each in (place, f"s3://{bucket}/other/*"):
        assert run("trigger", "rm", name, each).returncode == 0
    assert "LambdaFunctionConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    with pytest.raises(lambent.client("lambda").exceptions.ResourceNotFoundException):
        lambent.client("lambda").get_policy(FunctionName=name)
    again = run("trigger", "rm", name, place)
    assert (again.returncode, "does not invoke" in again.stderr) == (1, True)
    assert run("trigger", "add", name, "s3://b/*/*").returncode == 1


def test_generated_events_run_a_function(run, make_function):
    name = make_function("def handler(event, context): return event['Records'][0]['s3']['object']['key']")
    event = run("generate-event", "s3", "put", "--key", "a b").stdout
    assert json.loads(run("invoke", name, "--payload", "-", stdin=event).stdout) == "a+b"
    removed = json.loads(run("generate-event", "s3", "delete").stdout)["Records"][0]
    assert (removed["eventName"], "size" in removed["s3"]["object"]) == ("ObjectRemoved:Delete", False)
