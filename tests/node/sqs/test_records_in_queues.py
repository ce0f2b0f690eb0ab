"""Records and dead letters of asynchronous invocations, in queues."""

import json

import pytest

SOURCE = """
def handler(event, context):
    if event.get("fail"):
        raise ValueError("not today")
    return {"done": event["n"]}
"""
TRACE = "Root=1-5e1b4151-5ac6c58f5b5dbd6b5e1b4151;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture
def queue(lambent):
    sqs = lambent.client("sqs")
    url = sqs.create_queue(QueueName="records")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    yield url, arn
    sqs.delete_queue(QueueUrl=url)


def received(lambent, url):
    names = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    (message,) = lambent.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20, **names)["Messages"]
    lambent.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message


def test_a_record_of_a_success_and_of_a_failure(lambent, queue, make_function):
    url, arn = queue
    name = make_function(SOURCE)
    function = lambent.client("lambda")
    destinations = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    config = {"MaximumRetryAttempts": 0, "DestinationConfig": destinations}
    function.put_function_event_invoke_config(FunctionName=name, **config)
    for payload, condition in (({"n": 1}, "Success"), ({"fail": True}, "RetriesExhausted")):
        function.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(payload))
        message = received(lambent, url)
        record = json.loads(message["Body"])
        assert record["version"] == "1.0"
        assert record["requestContext"]["condition"] == condition
        assert record["requestContext"]["functionArn"].endswith(f":{name}:$LATEST")
        assert record["requestPayload"] == payload
        assert message["Attributes"]["SenderId"].endswith(f":{name}")
        assert "MessageAttributes" not in message
    assert record["responsePayload"]["errorMessage"] == "not today"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}


def test_a_dead_letter_has_the_event_and_says_why_in_its_attributes(lambent, queue, make_function):
    url, arn = queue
    name = make_function(SOURCE, DeadLetterConfig={"TargetArn": arn})
    function = lambent.client("lambda")
    function.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)

    def add_trace(request, **_more):
        request.headers["X-Amzn-Trace-Id"] = TRACE

    function.meta.events.register("before-sign.lambda.Invoke", add_trace)
    try:
        answer = function.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": true}')
    finally:
        function.meta.events.unregister("before-sign.lambda.Invoke", add_trace)
    message = received(lambent, url)
    assert json.loads(message["Body"]) == {"fail": True}
    assert message["MessageAttributes"] == {
        "RequestID": {"DataType": "String", "StringValue": answer["ResponseMetadata"]["RequestId"]},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "not today"},
    }
    assert message["Attributes"]["AWSTraceHeader"].startswith("Root=1-5e1b4151-5ac6c58f5b5dbd6b5e1b4151")
