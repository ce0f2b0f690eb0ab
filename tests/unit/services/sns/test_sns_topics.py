"""Topics, their attributes, tags and policies; subscriptions and theirs."""

import json

import pytest
from sns_service import ARN, CALLER, FUNCTION, QUEUE, another, with_sns

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": ARN + "t"}],
}


def test_a_topic_is_made_once(tmp_path):
    async def test(client):
        made = await client("CreateTopic", Name="t", Attributes={"DisplayName": "d"}, Tags=[{"Key": "k", "Value": "v"}])
        assert made == {"TopicArn": ARN + "t"}
        assert await client("CreateTopic", Name="t") == made
        assert await client("CreateTopic", Name="t", Attributes={"DisplayName": "d"}) == made
        async with client.refused(
            "InvalidParameter",
            "Invalid parameter: Attributes Reason: Topic already exists with different attributes",
        ):
            await client("CreateTopic", Name="t", Attributes={"DisplayName": "other"})
        async with client.refused(
            "InvalidParameter", "Invalid parameter: Tags Reason: Topic already exists with different tags"
        ):
            await client("CreateTopic", Name="t", Tags=[{"Key": "k", "Value": "w"}])

    with_sns(tmp_path, test)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 257, "t.fifo", "\u00e4"])
def test_names_that_no_topic_has(name, tmp_path):
    async def test(client):
        async with client.refused("InvalidParameter", "Invalid parameter: Topic Name"):
            await client("CreateTopic", Name=name)
        async with client.refused("InvalidParameter"):
            await client("CreateTopic", Name=name.removesuffix(".fifo"), Attributes={"FifoTopic": "true"})
        assert await client("CreateTopic", Name="x" * 256)
        assert await client("CreateTopic", Name="x" * 251 + ".fifo", Attributes={"FifoTopic": "true"})

    with_sns(tmp_path, test)


def test_attributes_of_a_topic(tmp_path):
    async def test(client):
        topic = await client.topic()
        found = (await client("GetTopicAttributes", TopicArn=topic))["Attributes"]
        policy = json.loads(found.pop("Policy"))
        assert policy["Statement"][0]["Condition"] == {"StringEquals": {"AWS:SourceOwner": "123456789012"}}
        assert json.loads(found.pop("EffectiveDeliveryPolicy"))["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3
        assert found == {
            "TopicArn": topic,
            "Owner": "123456789012",
            "DisplayName": "",
            "SubscriptionsConfirmed": "0",
            "SubscriptionsPending": "0",
            "SubscriptionsDeleted": "0",
        }
        await client("SetTopicAttributes", TopicArn=topic, AttributeName="DisplayName", AttributeValue="Orders")
        await client("SetTopicAttributes", TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="2")
        await client("SetTopicAttributes", TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(POLICY))
        found = (await client("GetTopicAttributes", TopicArn=topic))["Attributes"]
        assert (found["DisplayName"], found["SignatureVersion"]) == ("Orders", "2")
        assert json.loads(found["Policy"]) == POLICY
        await client("SetTopicAttributes", TopicArn=topic, AttributeName="DisplayName", AttributeValue="")
        assert (await client("GetTopicAttributes", TopicArn=topic))["Attributes"]["DisplayName"] == ""
        fifo = await client.topic("t.fifo", ContentBasedDeduplication="true")
        found = (await client("GetTopicAttributes", TopicArn=fifo))["Attributes"]
        assert (found["FifoTopic"], found["ContentBasedDeduplication"]) == ("true", "true")

    with_sns(tmp_path, test)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Nonsense", "1"),
        ("FifoTopic", "true"),
        ("ContentBasedDeduplication", "true"),
        ("ArchivePolicy", '{"MessageRetentionPeriod": "1"}'),
        ("SignatureVersion", "3"),
        ("DisplayName", "x" * 101),
        ("Policy", "{"),
        ("Policy", '{"Statement": [{"Effect": "Maybe"}]}'),
        ("Policy", " " * 30_721),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("SQSSuccessFeedbackSampleRate", "101"),
        ("DeliveryPolicy", "nonsense"),
        ("DeliveryPolicy", '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 101}}}'),
        ("DeliveryPolicy", '{"http": {"defaultHealthyRetryPolicy": {"maxDelayTarget": 3601}}}'),
        ("DeliveryPolicy", '{"http": {"defaultHealthyRetryPolicy": {"minDelayTarget": 21}}}'),
        ("DeliveryPolicy", '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 1, "numNoDelayRetries": 2}}}'),
        ("DeliveryPolicy", '{"http": {"defaultHealthyRetryPolicy": {"backoffFunction": "magic"}}}'),
        ("DeliveryPolicy", '{"http": {"defaultThrottlePolicy": {"maxReceivesPerSecond": 0}}}'),
        ("DeliveryPolicy", '{"http": {"nonsense": 1}}'),
    ],
)
def test_attributes_that_no_topic_has(name, value, tmp_path):
    async def test(client):
        topic = await client.topic()
        async with client.refused("InvalidParameter"):
            await client("SetTopicAttributes", TopicArn=topic, AttributeName=name, AttributeValue=value)

    with_sns(tmp_path, test)


def test_attributes_at_their_limits(tmp_path):
    async def test(client):
        retry = {"numRetries": 100, "minDelayTarget": 3600, "maxDelayTarget": 3600}
        policy = json.dumps({"http": {"defaultHealthyRetryPolicy": retry}})
        topic = await client.topic(
            DisplayName="x" * 100,
            MaximumMessageSize="1048576",
            SQSSuccessFeedbackSampleRate="100",
            DeliveryPolicy=policy,
        )
        await client("SetTopicAttributes", TopicArn=topic, AttributeName="MaximumMessageSize", AttributeValue="1024")
        fifo = await client.topic("f.fifo", ArchivePolicy='{"MessageRetentionPeriod": "365"}')
        async with client.refused("InvalidParameter"):
            await client(
                "SetTopicAttributes",
                TopicArn=fifo,
                AttributeName="ArchivePolicy",
                AttributeValue='{"MessageRetentionPeriod": "366"}',
            )

    with_sns(tmp_path, test)


def test_topics_are_listed_page_by_page(tmp_path):
    async def test(client):
        names = sorted(f"t{number:03}" for number in range(101))
        for name in names:
            await client.topic(name)
        await client("CreateTopic", caller=another("210987654321"), Name="foreign")
        first = await client("ListTopics")
        second = await client("ListTopics", NextToken=first["NextToken"])
        found = [each["TopicArn"] for page in (first, second) for each in page["Topics"]]
        assert (found, len(first["Topics"])) == ([ARN + name for name in names], 100)
        assert "NextToken" not in second
        async with client.refused("InvalidParameter"):
            await client("ListTopics", NextToken="nonsense!")

    with_sns(tmp_path, test)


def test_what_is_deleted_is_gone(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        arn = await client.subscribe(topic, queue)
        await client("DeleteTopic", TopicArn=topic)
        await client("DeleteTopic", TopicArn=topic)
        for operation in ("GetTopicAttributes", "ListSubscriptionsByTopic"):
            async with client.refused("NotFound", "Topic does not exist"):
                await client(operation, TopicArn=topic)
        async with client.refused("NotFound", "Subscription does not exist"):
            await client("GetSubscriptionAttributes", SubscriptionArn=arn)
        assert (await client("ListSubscriptions"))["Subscriptions"] == []
        async with client.refused("InvalidParameter", "Invalid parameter: TopicArn"):
            await client("DeleteTopic", TopicArn="nonsense")

    with_sns(tmp_path, test)


def test_each_operation_says_that_a_topic_is_not_there(tmp_path):
    async def test(client):
        gone, other = ARN + "gone", {"TopicArn": ARN + "gone"}
        asked = {
            "AddPermission": {**other, "Label": "l", "AWSAccountId": ["123456789012"], "ActionName": ["Publish"]},
            "ConfirmSubscription": {**other, "Token": "t"},
            "GetDataProtectionPolicy": {"ResourceArn": gone},
            "Publish": {**other, "Message": "m"},
            "PublishBatch": {**other, "PublishBatchRequestEntries": [{"Id": "1", "Message": "m"}]},
            "PutDataProtectionPolicy": {"ResourceArn": gone, "DataProtectionPolicy": ""},
            "RemovePermission": {**other, "Label": "l"},
            "SetTopicAttributes": {**other, "AttributeName": "DisplayName", "AttributeValue": "d"},
            "Subscribe": {**other, "Protocol": "sqs", "Endpoint": QUEUE + "q"},
        }
        for operation, params in asked.items():
            async with client.refused("NotFound", "Topic does not exist"):
                await client(operation, **params)
        for operation in ("TagResource", "UntagResource", "ListTagsForResource"):
            more = {"TagResource": {"Tags": []}, "UntagResource": {"TagKeys": []}}.get(operation, {})
            async with client.refused("ResourceNotFound", "Resource does not exist"):
                await client(operation, ResourceArn=gone, **more)
        async with client.refused("NotFound", "Subscription does not exist"):
            await client("SetSubscriptionAttributes", SubscriptionArn=gone + ":1", AttributeName="RawMessageDelivery")
        words = "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"
        async with client.refused("InvalidParameter", words):
            await client("Publish", TopicArn="nonsense", Message="m")

    with_sns(tmp_path, test)


def test_tags_of_a_topic(tmp_path):
    async def test(client):
        topic = await client.topic()
        await client("TagResource", ResourceArn=topic, Tags=[{"Key": f"k{n}", "Value": "v"} for n in range(50)])
        await client("TagResource", ResourceArn=topic, Tags=[{"Key": "k0", "Value": "w"}])
        async with client.refused("TagLimitExceeded"):
            await client("TagResource", ResourceArn=topic, Tags=[{"Key": "one-more", "Value": "v"}])
        await client("UntagResource", ResourceArn=topic, TagKeys=[f"k{n}" for n in range(1, 50)] + ["absent"])
        assert await client("ListTagsForResource", ResourceArn=topic) == {"Tags": [{"Key": "k0", "Value": "w"}]}
        for tag in ({"Key": "", "Value": ""}, {"Key": "aws:x", "Value": ""}, {"Key": "k", "Value": "v" * 257}):
            async with client.refused("InvalidParameter"):
                await client("TagResource", ResourceArn=topic, Tags=[tag])

    with_sns(tmp_path, test)


def test_permissions_are_statements_of_the_policy(tmp_path):
    async def test(client):
        topic = await client.topic()
        params = {"TopicArn": topic, "Label": "l", "AWSAccountId": ["111122223333"], "ActionName": ["Publish"]}
        await client("AddPermission", **params)
        policy = json.loads((await client("GetTopicAttributes", TopicArn=topic))["Attributes"]["Policy"])
        assert policy["Statement"][1] == {
            "Sid": "l",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "SNS:Publish",
            "Resource": topic,
        }
        async with client.refused("InvalidParameter", "Invalid parameter: Statement already exists"):
            await client("AddPermission", **params)
        words = "Invalid parameter: Policy statement action out of service scope!"
        async with client.refused("InvalidParameter", words):
            await client("AddPermission", **{**params, "Label": "m", "ActionName": ["Fly"]})
        for wrong in ({"AWSAccountId": ["1"]}, {"AWSAccountId": []}, {"ActionName": []}, {"Label": "a b"}):
            async with client.refused("InvalidParameter"):
                await client("AddPermission", **{**params, **wrong})
        await client("RemovePermission", TopicArn=topic, Label="l")
        await client("RemovePermission", TopicArn=topic, Label="absent")
        policy = json.loads((await client("GetTopicAttributes", TopicArn=topic))["Attributes"]["Policy"])
        assert [statement["Sid"] for statement in policy["Statement"]] == ["__default_statement_ID"]

    with_sns(tmp_path, test)


def test_a_data_protection_policy_is_kept_and_it_is_said_that_nobody_holds_it(tmp_path):
    async def test(client):
        topic, text = await client.topic(), json.dumps({"Name": "n", "Version": "2021-06-01", "Statement": []})
        assert await client("GetDataProtectionPolicy", ResourceArn=topic) == {"DataProtectionPolicy": ""}
        await client("PutDataProtectionPolicy", ResourceArn=topic, DataProtectionPolicy=text)
        assert await client("GetDataProtectionPolicy", ResourceArn=topic) == {"DataProtectionPolicy": text}
        assert "sns.data_protection_is_not_held" in client.log.getvalue()
        for wrong in ("[]", "{", " " * 30_721):
            async with client.refused("InvalidParameter"):
                await client("PutDataProtectionPolicy", ResourceArn=topic, DataProtectionPolicy=wrong)

    with_sns(tmp_path, test)


def test_a_subscription_is_made_once(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        arn = await client.subscribe(topic, queue, RawMessageDelivery="true")
        assert arn.startswith(f"{topic}:")
        assert await client.subscribe(topic, queue, RawMessageDelivery="true") == arn
        assert await client.subscribe(topic, queue) == arn
        words = "Invalid parameter: Attributes Reason: Subscription already exists with different attributes"
        async with client.refused("InvalidParameter", words):
            await client.subscribe(topic, queue, RawMessageDelivery="false")
        listed = await client("ListSubscriptionsByTopic", TopicArn=topic)
        assert listed["Subscriptions"] == [
            {
                "SubscriptionArn": arn,
                "Owner": CALLER.account,
                "Protocol": "sqs",
                "Endpoint": queue,
                "TopicArn": topic,
            }
        ]
        found = (await client("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]
        assert found == {
            "SubscriptionArn": arn,
            "TopicArn": topic,
            "Protocol": "sqs",
            "Endpoint": queue,
            "Owner": CALLER.account,
            "ConfirmationWasAuthenticated": "true",
            "PendingConfirmation": "false",
            "RawMessageDelivery": "true",
            "SubscriptionPrincipal": f"arn:aws:iam::{CALLER.account}:root",
        }
        await client("Unsubscribe", SubscriptionArn=arn)
        await client("Unsubscribe", SubscriptionArn=arn)
        counts = (await client("GetTopicAttributes", TopicArn=topic))["Attributes"]
        assert (counts["SubscriptionsConfirmed"], counts["SubscriptionsDeleted"]) == ("0", "1")
        async with client.refused("InvalidParameter"):
            await client("Unsubscribe", SubscriptionArn="nonsense")

    with_sns(tmp_path, test)


@pytest.mark.parametrize(
    ("protocol", "endpoint", "code", "message"),
    [
        ("sqs", "nonsense", "InvalidParameter", "Invalid parameter: SQS endpoint ARN"),
        ("sqs", FUNCTION + "f", "InvalidParameter", "Invalid parameter: SQS endpoint ARN"),
        ("lambda", QUEUE + "q", "InvalidParameter", "Invalid parameter: Lambda endpoint ARN"),
        ("sqs", "", "InvalidParameter", None),
        ("http", "https://host/", "InvalidParameter", "Invalid parameter: Endpoint must match the specified protocol"),
        ("https", "host", "InvalidParameter", "Invalid parameter: Endpoint must match the specified protocol"),
        ("email", "nobody", "InvalidParameter", "Invalid parameter: Email address"),
        (
            "pigeon",
            "x",
            "InvalidParameter",
            "Invalid parameter: Amazon SNS does not support this protocol string: pigeon",
        ),
        ("sms", "+15551234567", "NotImplemented", "Subscribe with sms: Lambent does not deliver to SMS."),
        ("application", "arn", "NotImplemented", None),
        ("firehose", "arn", "NotImplemented", None),
        (
            "sqs",
            QUEUE + "q.fifo",
            "InvalidParameter",
            "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard "
            "SNS topics",
        ),
    ],
)
def test_endpoints_that_cannot_be(protocol, endpoint, code, message, tmp_path):
    async def test(client):
        topic = await client.topic()
        async with client.refused(code, message):
            await client.subscribe(topic, endpoint, protocol)
        fifo = await client.topic("t.fifo")
        async with client.refused(
            "InvalidParameter", "Invalid parameter: Invalid parameter: Endpoint Reason: Please use FIFO SQS queue"
        ):
            await client.subscribe(fifo, FUNCTION + "f", "lambda")

    with_sns(tmp_path, test)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Nonsense", "1", None),
        ("RawMessageDelivery", "maybe", None),
        ("FilterPolicyScope", "Nonsense", None),
        ("FilterPolicy", "{", "Invalid parameter: FilterPolicy: failed to parse JSON."),
        ("RedrivePolicy", "{", "Invalid parameter: RedrivePolicy: failed to parse JSON."),
        ("RedrivePolicy", '{"deadLetterTargetArn": "nonsense"}', None),
        ("RedrivePolicy", json.dumps({"deadLetterTargetArn": FUNCTION + "f"}), None),
        ("RedrivePolicy", json.dumps({"deadLetterTargetArn": QUEUE + "q.fifo"}), None),
        ("RedrivePolicy", json.dumps({"deadLetterTargetArn": QUEUE.replace("eu-west-1", "us-east-1") + "q"}), None),
        ("RedrivePolicy", '{"other": 1}', None),
        ("DeliveryPolicy", "{}", "Invalid parameter: DeliveryPolicy: Only HTTP subscriptions are supported"),
        (
            "ReplayPolicy",
            '{"PointType": "Timestamp"}',
            "Invalid parameter: ReplayPolicy: the topic has no ArchivePolicy",
        ),
    ],
)
def test_attributes_that_no_subscription_has(name, value, message, tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        async with client.refused("InvalidParameter", None if name == "Nonsense" else message):
            await client.subscribe(topic, queue, **{name: value})
        arn = await client.subscribe(topic, queue)
        async with client.refused("InvalidParameter", message):
            await client("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName=name, AttributeValue=value)

    with_sns(tmp_path, test)


def test_a_fifo_topic_has_100_subscriptions(tmp_path):
    async def test(client):
        topic = await client.topic("t.fifo")
        for number in range(100):
            await client.subscribe(topic, f"{QUEUE}q{number}.fifo")
        async with client.refused("SubscriptionLimitExceeded"):
            await client.subscribe(topic, QUEUE + "one-more.fifo")
        first = await client("ListSubscriptionsByTopic", TopicArn=topic)
        assert len(first["Subscriptions"]) == 100
        assert "NextToken" not in first

    with_sns(tmp_path, test)
