"""`lambent topic`, and topics as triggers, as a user types them."""

import json

import pytest
from tests.node.cli.command_line import lines

TOPIC = "arn:aws:sns:us-east-1:000000000000:orders"
TELL = "def handler(event, context):\n    print('TOLD', [r['Sns']['Message'] for r in event['Records']])\n"


@pytest.fixture
def topic(lambent):
    sns = lambent.client("sns")
    arn = sns.create_topic(Name="orders")["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


def test_a_queue_is_subscribed_and_told(run, lambent, topic):
    sqs = lambent.client("sqs")
    url = sqs.create_queue(QueueName="told-by-topic")["QueueUrl"]
    assert run("topic", "ls").stdout.split() == ["orders", "-", "-", "-"]
    wanted = json.dumps({"kind": ["new"]})
    done = run("topic", "subscribe", "orders", "told-by-topic", "--raw", "--filter", wanted)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(TOPIC)
    assert run("topic", "ls").stdout.split()[:2] == ["orders", "sqs"]
    (shown,) = json.loads(run("topic", "ls", "--json").stdout)["Topics"]
    assert [one["SubscriptionArn"] for one in shown["Subscriptions"]] == [done.stdout.strip()]
    assert run("topic", "publish", "orders", "unwanted").returncode == 0
    assert run("topic", "publish", "orders", "-", "--attribute", "kind=new", stdin="wanted").returncode == 0
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert message["Body"] == "wanted"
    sqs.delete_queue(QueueUrl=url)
    done = run("topic", "publish", "nowhere", "m")
    assert (done.returncode, "`lambent topic ls`" in done.stderr) == (1, True)
    assert run("topic", "publish", "orders", "m", "--attribute", "kind").returncode == 2


def test_a_topic_is_made_a_trigger_with_the_permission_it_needs(run, lambent, make_function, topic):
    name, functions = make_function(TELL), lambent.client("lambda")
    done = run("trigger", "add", name, topic)
    assert done.returncode == 0, done.stderr
    assert run("trigger", "add", name, topic).stdout == done.stdout  # once more is no other
    (statement,) = json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": topic}}
    (listed,) = json.loads(run("trigger", "ls", name, "--json").stdout)["Subscriptions"]
    assert listed["SubscriptionArn"] == done.stdout.strip()
    assert run("topic", "publish", "orders", "hello").returncode == 0
    assert "TOLD ['hello']" in lines(run, name, "TOLD")
    done = run("trigger", "rm", name, topic)
    assert done.returncode == 0, done.stderr
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_policy(FunctionName=name)
    done = run("trigger", "rm", name, topic)
    assert (done.returncode, "`lambent trigger ls`" in done.stderr) == (1, True)


def test_an_event_of_a_topic_is_made_and_invoked(run, make_function):
    name = make_function("def handler(event, context): return event['Records'][0]['Sns']['Message']")
    done = run("generate-event", "sns", "notification", "--message", "made up", "--region", "eu-west-1")
    (record,) = json.loads(done.stdout)["Records"]
    assert record["Sns"]["TopicArn"] == "arn:aws:sns:eu-west-1:123456789012:ExampleTopic"
    assert run("invoke", name, "--payload", "-", stdin=done.stdout).stdout == '"made up"\n'
