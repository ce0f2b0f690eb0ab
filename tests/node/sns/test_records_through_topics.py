"""Records of asynchronous invocations and dead letters go to topics, and from there to queues."""

import json
import uuid

import pytest

HANDLER = """
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as told")
    return {"done": event["order"]}
"""


@pytest.fixture
def chain(lambent):
    """A topic, and the URL of a queue that is told what it says."""
    sns, sqs, made = lambent.client("sns"), lambent.client("sqs"), []

    def make():
        name = f"chain-{uuid.uuid4().hex[:8]}"
        topic = sns.create_topic(Name=name)["TopicArn"]
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:000000000000:{name}")
        made.append((topic, url))
        return topic, url

    yield make
    for topic, url in made:
        sns.delete_topic(TopicArn=topic)
        sqs.delete_queue(QueueUrl=url)


def received(lambent, url):
    (message,) = lambent.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    return json.loads(message["Body"])


def test_a_success_and_a_failure_are_told_to_topics(lambent, make_function, chain):
    (good, told_good), (bad, told_bad), (dead, told_dead) = chain(), chain(), chain()
    functions = lambent.client("lambda")
    name = make_function(HANDLER, DeadLetterConfig={"TargetArn": dead})
    functions.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": good}, "OnFailure": {"Destination": bad}},
    )
    for event in ({"order": 7}, {"fail": True}):
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
    record = json.loads(received(lambent, told_good)["Message"])
    assert (record["requestPayload"], record["responsePayload"]) == ({"order": 7}, {"done": 7})
    assert record["requestContext"]["condition"] == "Success"
    record = json.loads(received(lambent, told_bad)["Message"])
    assert (record["requestPayload"], record["requestContext"]["condition"]) == ({"fail": True}, "RetriesExhausted")
    assert record["responsePayload"]["errorMessage"] == "as told"
    letter = received(lambent, told_dead)
    assert json.loads(letter["Message"]) == {"fail": True}
    notes = {key: value["Value"] for key, value in letter["MessageAttributes"].items()}
    assert set(notes) == {"RequestID", "ErrorCode", "ErrorMessage"}
    assert (notes["ErrorCode"], notes["ErrorMessage"]) == ("200", "as told")


AGAIN = """
import os
import boto3

def handler(event, context):
    boto3.client("sns").publish(TopicArn=os.environ["TOPIC"], Message="again")
"""


def test_a_loop_through_a_topic_is_stopped(lambent, make_function):
    """The function publishes to the topic that invokes it."""
    sns, functions, sqs = lambent.client("sns"), lambent.client("lambda"), lambent.client("sqs")
    topic = sns.create_topic(Name=f"loop-{uuid.uuid4().hex[:8]}")["TopicArn"]
    queue = sqs.create_queue(QueueName=topic.rpartition(":")[2])["QueueUrl"]
    target = f"arn:aws:sqs:us-east-1:000000000000:{topic.rpartition(':')[2]}"
    environment = {"Variables": {"TOPIC": topic}}
    name = make_function(AGAIN, Environment=environment, Timeout=30, DeadLetterConfig={"TargetArn": target})
    arn = functions.get_function_configuration(FunctionName=name)["FunctionArn"]
    functions.add_permission(
        FunctionName=name,
        StatementId="topic",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="first")
    for _ in range(3):  # sixteen runs take their time
        asked = {"QueueUrl": queue, "WaitTimeSeconds": 20, "MessageAttributeNames": ["All"]}
        messages = sqs.receive_message(**asked).get("Messages")
        if messages:
            break
    assert "recursive loop" in messages[0]["MessageAttributes"]["ErrorMessage"]["StringValue"]
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=queue)
