"""What happens in a bucket reaches functions, queues and topics; and functions come from buckets."""

import io
import json
import os
import time
import uuid
import zipfile

import pytest
from botocore.exceptions import ClientError

_ARRIVES_WITHIN_S = 60.0
SIZE_OF_DATA = """
import os
def handler(event, context): return os.path.getsize(os.environ["LAMBDA_TASK_ROOT"] + "/data")
"""
ROLE = "arn:aws:iam::000000000000:role/r"


@pytest.fixture
def s3(lambent):
    return lambent.client("s3")


@pytest.fixture
def bucket(s3):
    """A new bucket's name."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def queue(lambent, bucket):
    """The URL and ARN of a queue that the bucket may tell."""
    sqs = lambent.client("sqs")
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": allowing("sqs:SendMessage", arn, bucket)})
    return url, arn


def allowing(action, resource, bucket):
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _receive(sqs, url, count):
    """The bodies of so many messages."""
    found, ends = [], time.monotonic() + _ARRIVES_WITHIN_S
    while len(found) < count:
        assert time.monotonic() < ends, found
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10).get("Messages", []):
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_a_queue_is_told(lambent, s3, bucket, queue):
    url, arn = queue
    rules = [{"Name": "Prefix", "Value": "in/"}, {"Name": "Suffix", "Value": ".txt"}]
    entry = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [entry]})
    s3.put_object(Bucket=bucket, Key="out/a.txt", Body=b"")
    s3.put_object(Bucket=bucket, Key="in/a b.txt", Body=b"hello")
    sqs = lambent.client("sqs")
    first, second = sorted(_receive(sqs, url, 2), key=lambda one: "Records" in one)
    assert first["Event"] == "s3:TestEvent"
    assert second["Records"][0]["s3"]["object"]["key"] == "in/a+b.txt"
    (kept,) = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert kept["QueueArn"] == arn


def test_a_topic_is_told_and_hands_it_on(lambent, s3, bucket, queue):
    url, _ = queue
    sns, sqs = lambent.client("sns"), lambent.client("sqs")
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=allowing("sns:Publish", topic, bucket)
    )
    _, arn = queue
    sqs.set_queue_attributes(
        QueueUrl=url,
        Attributes={
            "Policy": allowing("sqs:SendMessage", arn, bucket)
            .replace("s3.amaz", "sns.amaz")
            .replace(f"arn:aws:s3:::{bucket}", topic)
        },
    )
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    entry = {"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [entry]})
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    told = [one for one in _receive(sqs, url, 2) if "Records" in one["Message"]]
    assert told[0]["Subject"] == "Amazon S3 Notification"


def test_a_function_runs_when_it_may(lambent, s3, bucket, make_function, queue):
    url, _ = queue
    source = """
import boto3, json
def handler(event, context):
    record = event["Records"][0]["s3"]
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    body = s3.get_object(Bucket=record["bucket"]["name"], Key=record["object"]["key"])["Body"].read().decode()
    sqs.send_message(QueueUrl=%r, MessageBody=json.dumps({"read": body}))
"""
    name = make_function(source % url, Timeout=30)
    functions = lambent.client("lambda")
    arn = functions.get_function_configuration(FunctionName=name)["FunctionArn"]
    entry = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:Put"]}
    configuration = {"LambdaFunctionConfigurations": [entry]}
    with pytest.raises(ClientError, match="Unable to validate the following destination configurations"):
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    functions.add_permission(
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount="000000000000",
    )
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    assert _receive(lambent.client("sqs"), url, 1) == [{"read": "hello"}]


def test_functions_and_layers_come_from_objects(lambent, s3, bucket, zipped):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    functions, name = lambent.client("lambda"), f"function-{uuid.uuid4().hex[:8]}"
    old = s3.put_object(Bucket=bucket, Key="code.zip", Body=zipped(app="def handler(e, c): return 'old'"))["VersionId"]
    s3.put_object(Bucket=bucket, Key="code.zip", Body=zipped(app="import lib\ndef handler(e, c): return lib.said"))
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("python/lib.py", "said = 'new'")
    s3.put_object(Bucket=bucket, Key="layer.zip", Body=layer.getvalue())
    made = functions.publish_layer_version(LayerName=name, Content={"S3Bucket": bucket, "S3Key": "layer.zip"})
    functions.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="app.handler",
        Role=ROLE,
        Code={"S3Bucket": bucket, "S3Key": "code.zip"},
        Layers=[made["LayerVersionArn"]],
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    assert functions.invoke(FunctionName=name)["Payload"].read() == b'"new"'
    functions.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key="code.zip", S3ObjectVersion=old)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert functions.invoke(FunctionName=name)["Payload"].read() == b'"old"'
    with pytest.raises(ClientError, match="S3 Error Code: NoSuchKey"):
        functions.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key="absent.zip")
    functions.delete_function(FunctionName=name)


def test_a_package_of_240_mb_comes_from_an_object(lambent, s3, bucket):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("app.py", SIZE_OF_DATA)
        with archive.open("data", "w", force_zip64=True) as data:
            for _ in range(240):
                data.write(os.urandom(1_000_000))
    s3.upload_fileobj(io.BytesIO(package.getvalue()), bucket, "large.zip")
    functions, name = lambent.client("lambda"), f"function-{uuid.uuid4().hex[:8]}"
    code = {"S3Bucket": bucket, "S3Key": "large.zip"}
    functions.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE, Code=code)
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    assert functions.invoke(FunctionName=name)["Payload"].read() == b"240000000"
    functions.delete_function(FunctionName=name)


def test_a_bucket_takes_the_records_of_failures(lambent, s3, bucket, make_function):
    name = make_function("def handler(event, context): raise ValueError('no')")
    functions = lambent.client("lambda")
    functions.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
    )
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    ends = time.monotonic() + _ARRIVES_WITHIN_S
    while not (found := s3.list_objects_v2(Bucket=bucket).get("Contents")):
        assert time.monotonic() < ends
    assert found[0]["Key"].startswith(f"aws/lambda/async/{name}/")
    record = json.loads(s3.get_object(Bucket=bucket, Key=found[0]["Key"])["Body"].read())
    assert (record["requestPayload"], record["requestContext"]["condition"]) == ({"n": 1}, "RetriesExhausted")
