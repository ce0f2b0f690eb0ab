"""HTTP endpoints on a real node: they confirm, are told, verify signatures, and are tried again."""

import base64
import http.server
import json
import queue
import threading
import urllib.error
import urllib.request
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
WITHIN_S = 30.0


class Endpoint:
    """A server on loopback that keeps what it is told. `answers` are the statuses of the next ones; then 200."""

    def __init__(self):
        self.told, self.answers = queue.Queue(), []
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status = endpoint.answers.pop(0) if endpoint.answers else 200
                endpoint.told.put((dict(self.headers), body, self.path, status))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?a=b"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def next(self):
        return self.told.get(timeout=WITHIN_S)


@pytest.fixture
def endpoint():
    with Endpoint() as one:
        yield one


@pytest.fixture
def topic(lambent):
    sns = lambent.client("sns")
    arn = sns.create_topic(Name=f"topic-{uuid.uuid4().hex[:8]}")["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


def visit(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def confirmed(sns, topic, endpoint, **attributes):
    """Subscribes the endpoint and confirms, as an endpoint does; the subscription's ARN."""
    answer = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url, Attributes=attributes)
    assert answer["SubscriptionArn"] == "pending confirmation"
    headers, body, _path, _status = endpoint.next()
    assert headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert "x-amz-sns-subscription-arn" not in headers
    said = json.loads(body)
    assert list(said) == [
        *("Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp", "SignatureVersion"),
        *("Signature", "SigningCertURL"),
    ]
    verify(said)
    (listed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == "PendingConfirmation"
    assert "ConfirmSubscriptionResponse" in visit(said["SubscribeURL"])
    (listed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    again = sns.confirm_subscription(TopicArn=topic, Token=said["Token"])
    assert again["SubscriptionArn"] == listed["SubscriptionArn"]
    return listed["SubscriptionArn"]


def verify(said):
    """Raises when the signature is not that of the published certificate."""
    certificate = x509.load_pem_x509_certificate(visit(said["SigningCertURL"]).encode())
    signed = "".join(f"{name}\n{said[name]}\n" for name in SIGNED if name in said)
    algorithm = hashes.SHA256() if said["SignatureVersion"] == "2" else hashes.SHA1()
    signature = base64.b64decode(said["Signature"])
    certificate.public_key().verify(signature, signed.encode(), padding.PKCS1v15(), algorithm)


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_endpoint_confirms_and_is_told(lambent, topic, endpoint, version):
    sns = lambent.client("sns")
    sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue=version)
    arn = confirmed(sns, topic, endpoint)
    sent = sns.publish(TopicArn=topic, Message="h\u00e9llo\n", Subject="s")
    headers, body, path, _status = endpoint.next()
    assert path == "/hook?a=b"
    assert {name: headers[name] for name in headers if name.startswith("x-amz-sns-")} == {
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-message-id": sent["MessageId"],
        "x-amz-sns-topic-arn": topic,
        "x-amz-sns-subscription-arn": arn,
    }
    assert headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert headers["User-Agent"] == "Amazon Simple Notification Service Agent"
    said = json.loads(body)
    assert (said["Message"], said["SignatureVersion"]) == ("h\u00e9llo\n", version)
    verify(said)
    visit(said["UnsubscribeURL"])
    headers, body, _path, _status = endpoint.next()
    goodbye = json.loads(body)
    assert goodbye["Type"] == "UnsubscribeConfirmation"
    verify(goodbye)
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    visit(goodbye["SubscribeURL"])
    (listed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == arn


def test_a_raw_delivery_is_the_message_itself(lambent, topic, endpoint):
    sns = lambent.client("sns")
    confirmed(sns, topic, endpoint, RawMessageDelivery="true")
    sns.publish(TopicArn=topic, Message='{"a": 1}', Subject="lost")
    headers, body, _path, _status = endpoint.next()
    assert (body, headers["x-amz-sns-rawdelivery"]) == ('{"a": 1}', "true")


def test_an_endpoint_that_fails_is_tried_again_by_its_policy(lambent, topic, endpoint):
    sns, retry = lambent.client("sns"), {"numRetries": 2, "numNoDelayRetries": 1, "minDelayTarget": 100}
    policy = json.dumps({"healthyRetryPolicy": {**retry, "maxDelayTarget": 100}})
    arn = confirmed(sns, topic, endpoint, DeliveryPolicy=policy)
    shown = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert json.loads(shown["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]["numRetries"] == 2
    endpoint.answers += [503, 429]
    sns.publish(TopicArn=topic, Message="m")
    assert [endpoint.next()[3] for _ in range(2)] == [503, 429]
    lambent.advance("99s")
    assert endpoint.told.empty()
    lambent.advance("2s")
    assert endpoint.next()[3] == 200


def test_what_an_endpoint_refuses_goes_to_the_dead_letters(lambent, topic, endpoint):
    sns, sqs = lambent.client("sns"), lambent.client("sqs")
    url = sqs.create_queue(QueueName=f"dead-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    dead = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    confirmed(sns, topic, endpoint, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead}))
    endpoint.answers += [403]
    sns.publish(TopicArn=topic, Message="m")
    (letter,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"]
    assert json.loads(letter["Body"])["Message"] == "m"
    assert letter["MessageAttributes"]["ErrorCode"]["StringValue"] == "403"
    assert endpoint.next()[3] == 403
    assert endpoint.told.empty()
    sqs.delete_queue(QueueUrl=url)


def test_a_subscription_that_nobody_confirms_vanishes_after_two_days(own_node, endpoint):
    with own_node("--port", "0") as node:
        sns = node.client("sns")
        topic = sns.create_topic(Name="t")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
        endpoint.next()
        sns.publish(TopicArn=topic, Message="m")
        token = "0" * 240
        with pytest.raises(sns.exceptions.InvalidParameterException, match="Token"):
            sns.confirm_subscription(TopicArn=topic, Token=token)
        node.advance("47h")
        assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "1"
        node.advance("2h")
        assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "0"
        assert endpoint.told.empty()


def test_a_subscription_that_only_its_owner_ends(lambent, topic, endpoint):
    sns = lambent.client("sns")
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
    token = json.loads(endpoint.next()[1])["Token"]
    arn = sns.confirm_subscription(TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="true")["SubscriptionArn"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        visit(f"{lambent.endpoint}/?Action=Unsubscribe&SubscriptionArn={arn}")
    assert refused.value.code == 403
    assert b"AuthorizationError" in refused.value.read()
    sns.unsubscribe(SubscriptionArn=arn)


SUBSCRIBE = """
import boto3

def handler(event, context):
    boto3.client("sns").subscribe(**event)
"""


def test_what_a_function_subscribes_is_not_in_this_machines_networks(lambent, topic, endpoint, make_function):
    """The same call from outside reaches the endpoint."""
    name, sns = make_function(SUBSCRIBE, Timeout=30), lambent.client("sns")
    asked = {"TopicArn": topic, "Protocol": "http", "Endpoint": endpoint.url}
    answer = lambent.client("lambda").invoke(FunctionName=name, Payload=json.dumps(asked))
    assert "FunctionError" not in answer, answer["Payload"].read()
    sns.subscribe(**{**asked, "Endpoint": endpoint.url + "&outside=1"})
    assert endpoint.next()[2] == "/hook?a=b&outside=1"
    assert endpoint.told.empty()


def test_the_status_of_deliveries_is_logged_where_the_topic_asks(lambent, topic, endpoint):
    sns, logs = lambent.client("sns"), lambent.client("logs")
    role = "arn:aws:iam::000000000000:role/r"
    for name, value in (
        ("HTTPSuccessFeedbackRoleArn", role),
        ("HTTPSuccessFeedbackSampleRate", "100"),
        ("HTTPFailureFeedbackRoleArn", role),
    ):
        sns.set_topic_attributes(TopicArn=topic, AttributeName=name, AttributeValue=value)
    confirmed(sns, topic, endpoint)
    endpoint.answers += [200, 404]
    for status, suffix in (("SUCCESS", ""), ("FAILURE", "/Failure")):
        sent = sns.publish(TopicArn=topic, Message="m")
        endpoint.next()
        lambent.advance("1s")
        group = f"sns/us-east-1/000000000000/{topic.rpartition(':')[2]}{suffix}"
        (event,) = logs.filter_log_events(logGroupName=group)["events"]
        said = json.loads(event["message"])
        assert (said["status"], said["notification"]["messageId"]) == (status, sent["MessageId"])
        assert said["delivery"]["destination"] == endpoint.url
        assert said["delivery"]["statusCode"] == (200 if status == "SUCCESS" else 404)
