"""Queues feed functions on a real node, with boto3 as the client."""

import json
import time

import pytest

ECHO = """
import json, os, boto3
sqs = boto3.client("sqs") if os.environ.get("RESULTS") else None

def handler(event, context):
    said = {"bodies": [r["body"] for r in event["Records"]], "event": event}
    if sqs:
        sqs.send_message(QueueUrl=os.environ["RESULTS"], MessageBody=json.dumps(said))
    print("GOT", len(event["Records"]))
"""


@pytest.fixture
def clients(lambent):
    return lambent.client("lambda"), lambent.client("sqs")


@pytest.fixture
def make_queue(lambent):
    sqs, made = lambent.client("sqs"), []

    def make(name=None, **attributes):
        name = name or f"queue-{time.time_ns()}" + (".fifo" if attributes.get("FifoQueue") else "")
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        made.append(url)
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    yield make
    for url in made:
        sqs.delete_queue(QueueUrl=url)


def poll(condition, limit_s=30):
    """What becomes true in another process, which tells nobody."""
    ends = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < ends
    return found


def enabled(functions, uuid, state="Enabled"):
    return poll(lambda: functions.get_event_source_mapping(UUID=uuid)["State"] == state)


def received(sqs, url, wait_s=20):
    answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=wait_s, MaxNumberOfMessages=10)
    for message in answer.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_a_message_reaches_the_function_and_leaves_the_queue(clients, make_function, make_queue):
    functions, sqs = clients
    queue, arn = make_queue()
    results, _ = make_queue()
    name = make_function(ECHO, Environment={"Variables": {"RESULTS": results}})
    uuid = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=name)["UUID"]
    enabled(functions, uuid)
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hello")
    (said,) = received(sqs, results)
    assert said["bodies"] == ["hello"]
    assert said["event"]["Records"][0]["messageId"] == sent["MessageId"]
    functions.delete_event_source_mapping(UUID=uuid)


def test_a_fifo_queue_keeps_the_order_of_each_group(clients, make_function, make_queue):
    functions, sqs = clients
    queue, arn = make_queue(FifoQueue="true", ContentBasedDeduplication="true")
    results, _ = make_queue()
    name = make_function(ECHO, Environment={"Variables": {"RESULTS": results}})
    uuid = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=name, BatchSize=3)["UUID"]
    for number in range(8):
        entries = [{"Id": group, "MessageBody": f"{group}{number}", "MessageGroupId": group} for group in "abc"]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    said = []
    poll(lambda: said.extend(received(sqs, results, 1)) or sum(len(each["bodies"]) for each in said) == 24)
    said.sort(key=lambda each: float(each["event"]["Records"][0]["attributes"]["ApproximateFirstReceiveTimestamp"]))
    for group in "abc":
        assert [body for each in said for body in each["bodies"] if body[0] == group] == [
            f"{group}{number}" for number in range(8)
        ]
    functions.delete_event_source_mapping(UUID=uuid)


CLUMSY = """
import json, os, time

def handler(event, context):
    (record,) = event["Records"]
    tries = int(record["attributes"]["ApproximateReceiveCount"])
    print("TRY", record["body"], tries)
    if tries > 2:
        return {"batchItemFailures": []}
    if record["body"] == "fails":
        raise ValueError("no")
    if record["body"] == "hangs":
        time.sleep(60)
    if record["body"] == "exits":
        os._exit(1)
    if record["body"] == "garbage":
        return {"batchItemFailures": [{"itemIdentifier": ""}]}
    if record["body"] == "reports":
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
"""


@pytest.mark.timeout(300)
def test_whatever_a_function_does_its_messages_come_again_and_others_are_not_held_up(
    clients, make_function, make_queue
):
    functions, sqs = clients
    queue, arn = make_queue(VisibilityTimeout="2")
    name = make_function(CLUMSY, Timeout=1)
    uuid = functions.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=name, BatchSize=1, FunctionResponseTypes=["ReportBatchItemFailures"]
    )["UUID"]
    for body in ("fails", "hangs", "exits", "garbage", "reports", "works"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty():
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return not any(map(int, found.values()))

    poll(is_empty, 120)
    functions.delete_event_source_mapping(UUID=uuid)


def test_a_mapping_is_disabled_and_enabled_while_messages_come(clients, make_function, make_queue):
    functions, sqs = clients
    queue, arn = make_queue()
    results, _ = make_queue()
    name = make_function(ECHO, Environment={"Variables": {"RESULTS": results}})
    uuid = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=name, BatchSize=1)["UUID"]
    enabled(functions, uuid)
    for number in range(5):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    functions.update_event_source_mapping(UUID=uuid, Enabled=False)
    enabled(functions, uuid, "Disabled")
    for number in range(5, 10):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    functions.update_event_source_mapping(UUID=uuid, Enabled=True)
    said = set()
    poll(lambda: said.update(body for each in received(sqs, results, 1) for body in each["bodies"]) or len(said) == 10)
    functions.delete_event_source_mapping(UUID=uuid)


LOOP = """
import boto3, os
sqs = boto3.client("sqs")

def handler(event, context):
    print("ROUND", event["Records"][0]["body"])
    sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody="again")
"""


def test_a_function_that_feeds_itself_is_stopped(lambent, clients, make_function, make_queue):
    functions, sqs = clients
    queue, arn = make_queue()
    name = make_function(LOOP, Environment={"Variables": {"QUEUE": queue}})
    uuid = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=name, BatchSize=1)["UUID"]
    sqs.send_message(QueueUrl=queue, MessageBody="first")

    def is_stopped():
        told = functions.get_event_source_mapping(UUID=uuid).get("LastProcessingResult", "")
        return "recursive loop" in told

    poll(is_stopped, 60)
    events = lambent.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="ROUND")
    assert len(events["events"]) == 16
    functions.delete_event_source_mapping(UUID=uuid)


def test_the_metrics_of_a_mapping_are_in_cloudwatch(lambent, clients, make_function, make_queue):
    functions, sqs = clients
    queue, arn = make_queue()
    uuid = functions.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=make_function(ECHO), MetricsConfig={"Metrics": ["EventCount"]}
    )["UUID"]
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    wanted = {"Namespace": "AWS/Lambda", "Dimensions": [{"Name": "EventSourceMappingUUID", "Value": uuid}]}
    cloudwatch = lambent.client("cloudwatch")
    expected = {"PolledEventCount", "InvokedEventCount", "DeletedEventCount"}
    poll(lambda: {each["MetricName"] for each in cloudwatch.list_metrics(**wanted)["Metrics"]} == expected)
    functions.delete_event_source_mapping(UUID=uuid)
