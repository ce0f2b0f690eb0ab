"""SQS as clients speak to it that are not boto3: the query protocol, raw json, the AWS CLI, a client that goes away."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

VERSION = "2012-11-05"
NAMESPACE = {"s": "http://queue.amazonaws.com/doc/2012-11-05/"}


@pytest.fixture
def sqs(lambent):
    return lambent.client("sqs")


@pytest.fixture
def queue(sqs, request):
    url = sqs.create_queue(QueueName=re.sub(r"\W", "-", request.node.name)[:80])["QueueUrl"]
    yield url
    with contextlib.suppress(sqs.exceptions.QueueDoesNotExist):
        sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def ask(lambent):
    """A form to a path: the status and the document."""

    def ask(path, signed=True, method="POST", **fields):
        form = urllib.parse.urlencode(fields)
        url = lambent.endpoint + path + (f"?{form}" if method == "GET" else "")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if signed:
            scope = "000000000000/20260101/us-east-1/sqs/aws4_request"
            headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x"
        body = form.encode() if method == "POST" else None
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)) as response:
                return response.status, ElementTree.fromstring(response.read())
        except urllib.error.HTTPError as error:
            return error.code, ElementTree.fromstring(error.read())

    return ask


def values(document, *path):
    return [element.text for element in document.iterfind("/".join(f".//s:{name}" for name in path), NAMESPACE)]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_address_of_a_queue_may_be_the_path(ask, queue, signed, method):
    path = urllib.parse.urlsplit(queue).path
    more = {"MessageAttribute.1.Name": "n", "MessageAttribute.1.Value.DataType": "String"}
    more |= {"MessageAttribute.1.Value.StringValue": "v"}
    status, sent = ask(path, signed, method, Action="SendMessage", Version=VERSION, MessageBody="<é>", **more)
    assert (status, sent.tag) == (200, f"{{{NAMESPACE['s']}}}SendMessageResponse")
    names = {"AttributeName.1": "All", "MessageAttributeName.1": "All"}
    status, received = ask(path, signed, method, Action="ReceiveMessage", **names)
    assert status == 200
    assert values(received, "Message", "Body") == ["<é>"]
    assert values(received, "MessageAttribute", "Name") == ["n"]
    assert values(received, "MD5OfMessageAttributes") == values(sent, "MD5OfMessageAttributes") != []
    attributes = dict(zip(values(received, "Attribute", "Name"), values(received, "Attribute", "Value"), strict=True))
    assert attributes["ApproximateReceiveCount"] == "1"
    handle = values(received, "ReceiptHandle")[0]
    status, deleted = ask(path, signed, method, Action="DeleteMessage", ReceiptHandle=handle)
    assert (status, deleted.tag) == (200, f"{{{NAMESPACE['s']}}}DeleteMessageResponse")


def test_batches_and_attributes_in_the_query_protocol(ask, queue):
    entries = {}
    for number in (1, 2):
        prefix = f"SendMessageBatchRequestEntry.{number}"
        entries |= {f"{prefix}.Id": f"m{number}", f"{prefix}.MessageBody": f"body {number}"}
    status, answer = ask("/", Action="SendMessageBatch", Version=VERSION, QueueUrl=queue, **entries)
    assert (status, values(answer, "SendMessageBatchResultEntry", "Id")) == (200, ["m1", "m2"])
    change = {"Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "7"}
    assert ask("/", Action="SetQueueAttributes", Version=VERSION, QueueUrl=queue, **change)[0] == 200
    names = {"AttributeName.1": "VisibilityTimeout", "AttributeName.2": "ApproximateNumberOfMessages"}
    _, answer = ask("/", Action="GetQueueAttributes", Version=VERSION, QueueUrl=queue, **names)
    found = dict(zip(values(answer, "Attribute", "Name"), values(answer, "Attribute", "Value"), strict=True))
    assert found == {"VisibilityTimeout": "7", "ApproximateNumberOfMessages": "2"}
    _, answer = ask("/", Action="ListQueues", Version=VERSION, QueueNamePrefix=queue.rsplit("/", 1)[1])
    assert values(answer, "QueueUrl") == [queue]


@pytest.mark.parametrize(
    ("fields", "status", "code", "message"),
    [
        (
            {"QueueUrl": "/000000000000/nowhere"},
            400,
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist for this wsdl version.",
        ),
        ({"QueueUrl": "nonsense"}, 404, "InvalidAddress", "The address nonsense is not valid for this endpoint."),
        ({}, 400, "MissingParameter", "The request must contain the parameter QueueUrl."),
    ],
)
def test_errors_in_the_query_protocol(ask, fields, status, code, message):
    found, document = ask("/", Action="PurgeQueue", Version=VERSION, **fields)
    assert (found, document.tag) == (status, f"{{{NAMESPACE['s']}}}ErrorResponse")
    assert (values(document, "Code"), values(document, "Message")) == ([code], [message])
    assert values(document, "Type") == ["Sender"]


@pytest.mark.parametrize(
    ("operation", "params", "status", "kind", "query_code"),
    [
        (
            "PurgeQueue",
            {"QueueUrl": "/000000000000/nowhere"},
            400,
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
        ),
        (
            "CreateQueue",
            {"QueueName": "a b"},
            400,
            "com.amazon.coral.service#InvalidParameterValueException",
            "InvalidParameterValue;Sender",
        ),
        (
            "PurgeQueue",
            {},
            400,
            "com.amazon.coral.service#MissingRequiredParameterException",
            "MissingParameter;Sender",
        ),
    ],
)
def test_errors_in_the_json_protocol(lambent, operation, params, status, kind, query_code):
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    request = urllib.request.Request(lambent.endpoint, json.dumps(params).encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert raised.value.code == status
    assert json.load(raised.value)["__type"] == kind
    assert raised.value.headers["x-amzn-query-error"] == query_code


def test_a_client_that_went_away_swallows_no_message(lambent, sqs, queue):
    host, port = lambent.endpoint.removeprefix("http://").split(":")
    body = json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20})
    headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0"}
    form = urllib.parse.urlencode({"Action": "ReceiveMessage", "WaitTimeSeconds": "20"})
    path = urllib.parse.urlsplit(queue).path
    for _ in range(5):
        for target, content, given in (
            ("/", body, headers),
            (path, form, {"Content-Type": "application/x-www-form-urlencoded"}),
        ):
            connection = http.client.HTTPConnection(host, int(port))
            connection.request("POST", target, content, given)
            waiting = threading.Thread(target=connection.getresponse, daemon=True)
            assert sqs.receive_message(QueueUrl=queue).get("Messages") is None  # a round trip: the poll waits by now
            del waiting
            connection.close()
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, AttributeNames=["All"])["Messages"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_a_poll_does_not_hold_up_the_end_of_a_node(own_node):
    with own_node("--port", "0") as node:
        sqs = node.client("sqs")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        ended = []

        def poll():
            try:
                sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
            except Exception as error:
                ended.append(error)

        waiting = threading.Thread(target=poll)
        waiting.start()
        sqs.receive_message(QueueUrl=url)
    waiting.join(15)
    assert not waiting.is_alive()


def test_the_aws_cli(lambent, tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
    }

    def aws(*arguments):
        # Version 1 of the CLI lets SQS's own address win over AWS_ENDPOINT_URL.
        command = ["aws", "--endpoint-url", lambent.endpoint, "sqs", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout or "null")

    url = aws("create-queue", "--queue-name", "cli", "--tags", "a=b")["QueueUrl"]
    attribute = '{"n": {"DataType": "String", "StringValue": "v"}}'
    sent = aws("send-message", "--queue-url", url, "--message-body", "a", "--message-attributes", attribute)
    names = ["--attribute-names", "All", "--message-attribute-names", "All"]
    (message,) = aws("receive-message", "--queue-url", url, *names)["Messages"]
    assert (message["MessageId"], message["MessageAttributes"]["n"]["StringValue"]) == (sent["MessageId"], "v")
    assert aws("delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"]) is None
    assert aws("list-queue-tags", "--queue-url", url) == {"Tags": {"a": "b"}}
    aws("delete-queue", "--queue-url", url)
