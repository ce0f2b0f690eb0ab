"""Topics on a real node: queues and functions are told, with boto3 and plain HTTP as clients."""

import json
import uuid

import pytest

HANDLER = """
import json, os
import boto3

def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["RESULTS"], MessageBody=json.dumps(event))
"""


@pytest.fixture
def clients(lambent):
    return lambent.client("sns"), lambent.client("sqs")


@pytest.fixture
def make(clients):
    """Topics and queues that go with the test: `make("topic")`, `make("queue")`."""
    sns, sqs = clients
    topics, queues = [], []

    def one(kind):
        name = f"{kind}-{uuid.uuid4().hex[:8]}"
        if kind == "topic":
            topics.append(sns.create_topic(Name=name)["TopicArn"])
            return topics[-1]
        queues.append(sqs.create_queue(QueueName=name)["QueueUrl"])
        return queues[-1]

    yield one
    for topic in topics:
        sns.delete_topic(TopicArn=topic)
    for queue in queues:
        sqs.delete_queue(QueueUrl=queue)


def arn_of(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(sqs, url):
    return sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"][0]


def test_a_message_reaches_a_queue_and_a_function(lambent, clients, make, make_function):
    sns, sqs = clients
    topic, queue, results = make("topic"), make("queue"), make("queue")
    name = make_function(HANDLER, Environment={"Variables": {"RESULTS": results}})
    functions = lambent.client("lambda")
    functions.add_permission(
        FunctionName=name,
        StatementId="topic",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    function = functions.get_function_configuration(FunctionName=name)["FunctionArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn_of(sqs, queue))
    made = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
    answer = sns.publish(
        TopicArn=topic, Message="hello", MessageAttributes={"a": {"DataType": "Number", "StringValue": "1.50"}}
    )
    said = json.loads(received(sqs, queue)["Body"])
    assert (said["MessageId"], said["Message"]) == (answer["MessageId"], "hello")
    (record,) = json.loads(received(sqs, results)["Body"])["Records"]
    assert record["EventSubscriptionArn"] == made["SubscriptionArn"]
    assert record["Sns"]["MessageAttributes"] == {"a": {"Type": "Number", "Value": "1.50"}}
    sns.unsubscribe(SubscriptionArn=made["SubscriptionArn"])


def test_errors_have_the_names_that_boto3_knows(clients, make):
    sns, _sqs = clients
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.publish(TopicArn=f"{make('topic')}-not", Message="m")
    with pytest.raises(sns.exceptions.InvalidParameterException) as raised:
        sns.publish(TopicArn=make("topic"), Message="")
    assert raised.value.response["Error"]["Message"] == "Invalid parameter: Empty message"
    entries = [{"Id": str(number), "Message": "m"} for number in range(11)]
    with pytest.raises(sns.exceptions.TooManyEntriesInBatchRequestException):
        sns.publish_batch(TopicArn=make("topic"), PublishBatchRequestEntries=entries)
