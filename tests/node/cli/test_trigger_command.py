"""`lambent trigger` and `lambent generate-event`, as a user types them."""

import hashlib
import json

import pytest
from tests.node.cli.command_line import lines

TELL = "def handler(event, context):\n    print('TOLD', [r['body'] for r in event['Records']])\n"


@pytest.fixture
def incoming(lambent):
    sqs = lambent.client("sqs")
    url = sqs.create_queue(QueueName="incoming")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def test_a_queue_is_made_a_trigger_with_the_permission_it_needs(run, lambent, make_function, incoming):
    iam = lambent.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="telling", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    name = make_function(TELL, name="told", Role=role)
    done = run("trigger", "add", name, "incoming", "--batch-size", "5", "--report-failures")
    assert done.returncode == 0, done.stderr
    uuid = done.stdout.strip()
    policy = iam.get_role_policy(RoleName="telling", PolicyName="lambent-trigger-incoming")["PolicyDocument"]
    assert policy["Statement"][0]["Resource"] == "arn:aws:sqs:us-east-1:000000000000:incoming"
    (mapping,) = json.loads(run("trigger", "ls", name, "--json").stdout)["EventSourceMappings"]
    assert (mapping["UUID"], mapping["State"], mapping["BatchSize"]) == (uuid, "Enabled", 5)
    assert run("trigger", "ls").stdout.split() == [uuid, "incoming", "told", "5", "Enabled", "-"]
    lambent.client("sqs").send_message(QueueUrl=incoming, MessageBody="hello")
    assert "TOLD ['hello']" in lines(run, name, "TOLD")
    done = run("trigger", "rm", name, "incoming")
    assert (done.returncode, uuid in done.stderr) == (0, True)
    assert iam.list_role_policies(RoleName="telling")["PolicyNames"] == []
    iam.delete_role(RoleName="telling")


def test_what_goes_wrong_is_said_with_a_next_step(run, make_function, incoming):
    name = make_function(TELL)
    done = run("trigger", "add", name, "nowhere")
    assert (done.returncode, "queue does not exist" in done.stderr) == (1, True)
    assert run("trigger", "add", "nobody", "incoming").returncode == 1
    done = run("trigger", "rm", name, "incoming")
    assert (done.returncode, "`lambent trigger ls`" in done.stderr) == (1, True)
    assert run("trigger", "rm", "a", "b", "c").returncode == 2
    assert "lambent trigger add FUNCTION QUEUE" in run("trigger", "ls").stderr


def test_an_event_of_a_queue_is_made_and_invoked(run, make_function):
    name = make_function("def handler(event, context): return event['Records'][0]['body']")
    done = run("generate-event", "sqs", "receive-message", "--body", "made up", "--region", "eu-west-1")
    (record,) = json.loads(done.stdout)["Records"]
    assert record["eventSourceARN"] == "arn:aws:sqs:eu-west-1:123456789012:MyQueue"
    assert record["md5OfBody"] == hashlib.md5(b"made up").hexdigest()
    assert run("invoke", name, "--payload", "-", stdin=done.stdout).stdout == '"made up"\n'
    fifo = json.loads(run("generate-event", "sqs", "receive-message", "--queue-name", "q.fifo").stdout)
    assert fifo["Records"][0]["attributes"]["MessageGroupId"] == "1"
