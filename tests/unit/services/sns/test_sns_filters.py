"""Which messages a filter policy lets through, and what cannot be one."""

import json

import pytest
from sns_service import QUEUE, with_sns

from lambent.aws.errors import ApiError
from lambent.services.sns import filters
from lambent.services.sns.messages import Message
from lambent.services.sns.model import Subscription

ATTRIBUTES = {
    "store": {"DataType": "String", "StringValue": "shop_one"},
    "kind": {"DataType": "String.Array", "StringValue": '["soccer", "rugby", 7, null, true]'},
    "price": {"DataType": "Number", "StringValue": "100.5"},
    "ip": {"DataType": "String", "StringValue": "10.0.0.7"},
    "raw": {"DataType": "Binary", "BinaryValue": b"x"},
}
BODY = {"store": "shop_one", "order": {"price": 100.5, "items": [{"id": 1}, {"id": 2}]}, "nothing": None}


def passes(policy, scope="MessageAttributes", body=None, attributes=ATTRIBUTES):
    message = Message("id", "arn", json.dumps(BODY) if body is None else body, 0, attributes=attributes)
    subscription = Subscription(
        id=1,
        arn="a",
        topic_arn="t",
        owner="o",
        protocol="sqs",
        endpoint="e",
        attributes={"FilterPolicy": json.dumps(policy), "FilterPolicyScope": scope},
    )
    found = filters.of(subscription)
    return found is None or found.passes(message, "sqs")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, True),
        ({"store": ["shop_one"]}, True),
        ({"store": ["SHOP_ONE"]}, False),
        ({"store": ["a", "shop_one"], "price": [{"numeric": ["=", 100.5]}]}, True),
        ({"store": ["shop_one"], "price": [{"numeric": [">", 100.5]}]}, False),
        ({"price": [100.5]}, True),
        ({"price": ["100.5"]}, False),
        ({"price": [{"numeric": [">=", 100, "<", 101]}]}, True),
        ({"store": [{"prefix": "shop"}]}, True),
        ({"store": [{"suffix": "_one"}]}, True),
        ({"store": [{"equals-ignore-case": "SHOP_one"}]}, True),
        ({"store": [{"anything-but": "shop_one"}]}, False),
        ({"store": [{"anything-but": ["shop_two"]}]}, True),
        ({"store": [{"anything-but": {"prefix": "shop"}}]}, False),
        ({"store": [{"anything-but": {"suffix": "_two"}}]}, True),
        ({"absent": [{"anything-but": "x"}]}, False),
        ({"kind": ["rugby"]}, True),
        ({"kind": [7]}, True),
        ({"kind": [True]}, True),
        ({"kind": [{"anything-but": "rugby"}]}, True),  # some element is another
        ({"ip": [{"cidr": "10.0.0.0/24"}]}, True),
        ({"ip": [{"cidr": "10.0.1.0/24"}]}, False),
        ({"store": [{"exists": True}]}, True),
        ({"store": [{"exists": False}]}, False),
        ({"absent": [{"exists": False}]}, True),
        ({"raw": [{"exists": True}]}, False),  # binary ones are none
        ({"$or": [{"store": ["other"]}, {"price": [100.5]}]}, True),
        ({"$or": [{"store": ["other"]}, {"price": [1]}]}, False),
        ({"store": ["shop_one"], "$or": [{"kind": ["chess"]}, {"absent": [{"exists": False}]}]}, True),
    ],
)
def test_filters_of_attributes(policy, expected):
    assert passes(policy) is expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"store": ["shop_one"]}, True),
        ({"order": {"price": [{"numeric": [">", 100]}]}}, True),
        ({"order": {"items": {"id": [2]}}}, True),
        ({"order": {"items": {"id": [3]}}}, False),
        ({"nothing": [None]}, True),
        ({"order": {"absent": [{"exists": False}]}, "store": [{"prefix": "shop"}]}, True),
        ({"$or": [{"order": {"price": [1]}}, {"store": ["shop_one"]}]}, True),
    ],
)
def test_filters_of_bodies(policy, expected):
    assert passes(policy, "MessageBody") is expected


@pytest.mark.parametrize("body", ["plain", "[1]", "7", "{"])
def test_a_body_that_is_no_object_does_not_pass(body):
    assert not passes({"store": [{"exists": False}]}, "MessageBody", body=body)


def values(count):
    return [str(number) for number in range(count)]


@pytest.mark.parametrize(
    ("policy", "scope", "message"),
    [
        ([], "MessageAttributes", "Filter policy must be a JSON object"),
        ({"a": []}, "MessageAttributes", "Empty arrays are not allowed"),
        ({"a": "b"}, "MessageAttributes", '"a" must be an object or an array'),
        ({"a": [["b"]]}, "MessageAttributes", "Match value must be String, number, true, false, or null"),
        ({"a": [{"like": "b"}]}, "MessageAttributes", "Unrecognized match type like"),
        ({"a": [{"prefix": 1}]}, "MessageAttributes", "prefix match pattern must be a string"),
        (
            {"a": {"b": ["c"]}},
            "MessageAttributes",
            "Filter policy scope MessageAttributes does not support nested filter policy",
        ),
        ({"$or": [{"a": {"b": ["c"]}}, {"d": ["e"]}]}, "MessageAttributes", None),
        (
            {str(number): ["x"] for number in range(6)},
            "MessageAttributes",
            "Filter policy can not have more than 5 keys",
        ),
        ({"a": values(151)}, "MessageAttributes", "Filter policy is too complex"),
        ({"a": values(6), "b": values(26)}, "MessageAttributes", "Filter policy is too complex"),
        ({"a": {"b": {"c": values(4)}}, "d": {"e": values(7)}}, "MessageBody", "Filter policy is too complex"),
        ({"a": [{"numeric": ["=", 1_000_000_001]}]}, "MessageAttributes", None),
        ({"a": [{"numeric": ["=", 0.123456]}]}, "MessageAttributes", None),
        ({"a": ["x" * 262_144]}, "MessageAttributes", "Filter policy is too large"),
    ],
)
def test_what_no_filter_policy_is(policy, scope, message):
    with pytest.raises(ApiError) as raised:
        filters.check(json.dumps(policy), scope)
    assert raised.value.code == "InvalidParameter"
    assert message is None or raised.value.message == f"Invalid parameter: FilterPolicy: {message}"


def test_filter_policies_at_their_limits():
    filters.check(json.dumps({"a": values(150)}), "MessageAttributes")
    filters.check(json.dumps({str(number): ["x"] for number in range(5)}), "MessageAttributes")
    filters.check(json.dumps({"a": {"b": {"c": values(4)}}, "d": {"e": values(6)}}), "MessageBody")  # 12 times 12
    filters.check(json.dumps({"a": [{"numeric": ["=", 1_000_000_000]}, {"numeric": ["<", 0.12345]}]}), "MessageBody")
    filters.check(json.dumps({"a": ["x" * (262_144 - len('{"a": [""]}'))]}), "MessageBody")


def test_what_does_not_pass_is_not_delivered_and_counted(tmp_path):
    async def test(client):
        topic, queue = await client.topic(), await client.queue()
        arn = await client.subscribe(topic, queue, FilterPolicy='{"a": ["x"]}')
        for value in ("x", "y"):
            note = {"a": {"DataType": "String", "StringValue": value}}
            await client("Publish", TopicArn=topic, Message=value, MessageAttributes=note)
        assert await client.bodies(queue, 2) == ["x"]
        assert client.counted("NumberOfNotificationsFilteredOut") == 1
        found = (await client("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]
        assert (found["FilterPolicy"], found["FilterPolicyScope"]) == ('{"a": ["x"]}', "MessageAttributes")
        names = {"SubscriptionArn": arn, "AttributeName": "FilterPolicyScope", "AttributeValue": "MessageBody"}
        await client("SetSubscriptionAttributes", **names)
        await client("Publish", TopicArn=topic, Message='{"a": "x"}')
        assert await client.bodies(queue, 1) == ['{"a": "x"}']
        await client(
            "SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue="{}"
        )
        await client("Publish", TopicArn=topic, Message="anything")
        assert await client.bodies(queue, 1) == ["anything"]
        assert "FilterPolicy" not in (await client("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]

    with_sns(tmp_path, test)


def test_a_topic_has_200_filters(tmp_path):
    async def test(client):
        topic = await client.topic()
        for number in range(200):
            await client.subscribe(topic, f"{QUEUE}q{number}", FilterPolicy='{"a": ["x"]}')
        async with client.refused("FilterPolicyLimitExceeded"):
            await client.subscribe(topic, QUEUE + "more", FilterPolicy='{"a": ["x"]}')
        arn = await client.subscribe(topic, QUEUE + "plain")
        async with client.refused("FilterPolicyLimitExceeded"):
            await client(
                "SetSubscriptionAttributes",
                SubscriptionArn=arn,
                AttributeName="FilterPolicy",
                AttributeValue='{"a": ["x"]}',
            )

    with_sns(tmp_path, test)
