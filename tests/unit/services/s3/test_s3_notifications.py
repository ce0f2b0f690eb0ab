"""What a bucket tells, whom it may tell, and that it tells it at least once."""

import json

import pytest
from s3_service import CALLER, Client, opened, with_s3

from lambent.aws.errors import ApiError
from lambent.testing.loop import run

QUEUE = "arn:aws:sqs:us-east-1:123456789012:q"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:f"


def _policy(action: str, resource: str, bucket: str = "bucket") -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


ALLOWED = {
    "GetPolicy": lambda _params: {"Policy": _policy("lambda:InvokeFunction", FUNCTION)},
    "GetQueueAttributes": lambda _params: {"Attributes": {"Policy": _policy("sqs:SendMessage", QUEUE)}},
}


def _to_queue(events: list[str], **affixes: str) -> dict:
    rules = [{"Name": name, "Value": value} for name, value in affixes.items()]
    entry = {"QueueArn": QUEUE, "Events": events, "Id": "mine"}
    return {"QueueConfigurations": [{**entry, "Filter": {"Key": {"FilterRules": rules}}} if rules else entry]}


async def _configure(client: Client, configuration: dict, **params) -> None:
    await client(
        "PutBucketNotificationConfiguration", Bucket="bucket", NotificationConfiguration=configuration, **params
    )


async def _told(client: Client) -> list[dict]:
    """The messages that were sent, once all are."""
    await client.clock.sleep(1)
    return [json.loads(params["MessageBody"]) for _, name, params in client.told if name == "SendMessage"]


def test_a_queue_gets_a_test_event_and_then_what_it_wants(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await _configure(
            client, _to_queue(["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"], prefix="in/", suffix=".txt")
        )
        put = await client.put("in/ä b.txt", b"hello")
        await client.put("out/1.txt")
        await client.put("in/1.jpg")
        await client("DeleteObject", Bucket="bucket", Key="in/ä b.txt")
        first, created, removed = await _told(client)
        assert (first["Event"], first["Bucket"]) == ("s3:TestEvent", "bucket")
        (record,) = created["Records"]
        assert (record["eventVersion"], record["eventName"]) == ("2.1", "ObjectCreated:Put")
        told = record["s3"]["object"]
        assert told.pop("sequencer") < removed["Records"][0]["s3"]["object"]["sequencer"]
        assert told == {"key": "in/%C3%A4+b.txt", "size": 5, "eTag": put["ETag"].strip('"')}
        assert record["s3"]["configurationId"] == "mine"
        assert removed["Records"][0]["eventName"] == "ObjectRemoved:Delete"

    with_s3(tmp_path, test, ALLOWED)


def test_each_way_to_make_and_to_remove_has_its_event(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        await _configure(
            client, _to_queue(["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:ObjectAcl:Put"])
        )
        put = await client.put("a")
        await client("CopyObject", Bucket="bucket", Key="b", CopySource="bucket/a")
        upload = (await client("CreateMultipartUpload", Bucket="bucket", Key="c"))["UploadId"]
        part = await client.part("c", upload, 1, b"x")
        named = {"Bucket": "bucket", "Key": "c", "UploadId": upload}
        await client("CompleteMultipartUpload", MultipartUpload={"Parts": [part]}, **named)
        await client("PutObjectTagging", Bucket="bucket", Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
        await client("DeleteObject", Bucket="bucket", Key="b")
        await client("DeleteObject", Bucket="bucket", Key="a", VersionId=put["VersionId"])
        names = sorted(one["Records"][0]["eventName"] for one in (await _told(client))[1:])
        assert names == [
            "ObjectCreated:CompleteMultipartUpload",
            "ObjectCreated:Copy",
            "ObjectCreated:Put",
            "ObjectRemoved:Delete",
            "ObjectRemoved:DeleteMarkerCreated",
            "ObjectTagging:Put",
        ]

    with_s3(tmp_path, test, ALLOWED)


def test_who_may_not_be_told_or_is_not_there_is_refused(tmp_path):
    def absent(_params):
        raise ApiError("QueueDoesNotExist", "The specified queue does not exist.")

    answers = [
        {"GetQueueAttributes": absent},
        {"GetQueueAttributes": lambda _params: {}},
        {"GetQueueAttributes": lambda _params: {"Attributes": {"Policy": _policy("sqs:SendMessage", QUEUE, "other")}}},
    ]
    for number, answer in enumerate(answers):

        async def test(client: Client) -> None:
            await client.bucket()
            with client.refused("InvalidArgument", "Unable to validate the following destination configurations"):
                await _configure(client, _to_queue(["s3:ObjectCreated:*"]))
            assert await client("GetBucketNotificationConfiguration", Bucket="bucket") == {}
            await _configure(client, _to_queue(["s3:ObjectCreated:*"]), SkipDestinationValidation=True)

        (tmp_path / str(number)).mkdir()
        with_s3(tmp_path / str(number), test, answer)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {}, "Configurations overlap. Configurations on the same bucket cannot share a common event type."),
        ({"prefix": "a"}, {"prefix": "ab"}, "Configuration is ambiguously defined."),
        ({"suffix": ".jpg"}, {"prefix": "ab"}, "Configuration is ambiguously defined."),
        ({"prefix": "a"}, {"prefix": "b"}, None),
        ({"prefix": "a", "suffix": ".x"}, {"prefix": "a", "suffix": ".y"}, None),
    ],
)
def test_one_event_is_not_told_twice(tmp_path, first, second, message):
    async def test(client: Client) -> None:
        await client.bucket()
        both = _to_queue(["s3:ObjectCreated:Put"], **first)["QueueConfigurations"]
        both += _to_queue(["s3:ObjectCreated:*"], **second)["QueueConfigurations"]
        if message is None:
            await _configure(client, {"QueueConfigurations": both})
            return
        with client.refused("InvalidArgument") as raised:
            await _configure(client, {"QueueConfigurations": both})
        assert raised.value.message.startswith(message)

    with_s3(tmp_path, test, ALLOWED)


def test_functions_are_invoked_asynchronously_as_s3(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        entry = {"LambdaFunctionArn": FUNCTION, "Events": ["s3:ObjectCreated:Put"]}
        await _configure(client, {"LambdaFunctionConfigurations": [entry]})
        await client.put("k")
        await client.clock.sleep(1)
        ((_, _, invoke),) = [one for one in client.told if one[1] == "Invoke"]
        assert (invoke["FunctionName"], invoke["InvocationType"]) == (FUNCTION, "Event")
        assert json.loads(invoke["Payload"])["Records"][0]["userIdentity"] == {"principalId": f"AWS:{CALLER.user_id}"}

    with_s3(tmp_path, test, ALLOWED)


def test_what_could_not_be_told_is_told_later_and_after_a_restart(tmp_path):
    def refuse(_params):
        raise ApiError("ServiceUnavailable", "later")

    async def main(clock) -> None:
        async with opened(tmp_path, clock, ALLOWED) as client:
            await client.bucket()
            await _configure(client, _to_queue(["s3:ObjectCreated:*"]))
        async with opened(tmp_path, clock, {"SendMessage": refuse}) as client:
            await client.put("k")
            await clock.sleep(30)
            assert len(client.told) > 2
        async with opened(tmp_path, clock, {}) as client:
            await clock.sleep(60)
            ((_, _, sent),) = client.told
            assert json.loads(sent["MessageBody"])["Records"][0]["s3"]["object"]["key"] == "k"
        async with opened(tmp_path, clock, {}) as client:
            await clock.sleep(600)
            assert client.told == []

    run(main)


def test_the_bus_is_told_of_everything_in_words_of_its_own(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await _configure(client, {"EventBridgeConfiguration": {}})
        await client.put("ä b", b"1")
        await client("DeleteObject", Bucket="bucket", Key="ä b")
        await client.clock.sleep(1)
        entries = [params["Entries"][0] for _, name, params in client.told if name == "PutEvents"]
        assert [one["DetailType"] for one in entries] == ["Object Created", "Object Deleted"]
        detail = json.loads(entries[0]["Detail"])
        assert (detail["object"]["key"], detail["reason"]) == ("ä b", "PutObject")
        assert json.loads(entries[1]["Detail"])["deletion-type"] == "Permanently Deleted"

    with_s3(tmp_path, test, ALLOWED)
