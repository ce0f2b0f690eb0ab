"""AddPermission and RemovePermission: one statement of a topic's policy at a time."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.sns import topic_attributes
from lambent.services.sns.api.topics import keep
from lambent.services.sns.model import Topic, invalid

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

_ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_ACTIONS: Final = frozenset(
    [
        "AddPermission",
        "DeleteTopic",
        "GetDataProtectionPolicy",
        "GetTopicAttributes",
        "ListSubscriptionsByTopic",
        "ListTagsForResource",
        "Publish",
        "PutDataProtectionPolicy",
        "RemovePermission",
        "SetTopicAttributes",
        "Subscribe",
    ]
)


async def add_permission(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """AddPermission. Other principals and conditions need SetTopicAttributes."""
    label, accounts, actions = params["Label"], params["AWSAccountId"], params["ActionName"]
    live = service.topic(params["TopicArn"])
    if not _LABEL.fullmatch(label):
        raise invalid("Label")
    if not accounts or not all(_ACCOUNT.fullmatch(account) for account in accounts):
        raise invalid("AWSAccountId")
    if not actions:
        raise invalid("ActionName")
    for action in actions:
        if action not in _ACTIONS:
            raise invalid("Policy statement action out of service scope!")

    def edit(topic: Topic) -> Topic:
        policy = _policy(topic)
        if any(statement.get("Sid") == label for statement in policy["Statement"]):
            raise invalid("Statement already exists")
        policy["Statement"].append(
            {
                "Sid": label,
                "Effect": "Allow",
                "Principal": {"AWS": _one_or_more([f"arn:aws:iam::{account}:root" for account in accounts])},
                "Action": _one_or_more([f"SNS:{action}" for action in actions]),
                "Resource": topic.arn,
            }
        )
        return _with_policy(topic, policy)

    await keep(service, live, edit)
    return {}


async def remove_permission(service: "Sns", caller: Caller, params: Shape) -> Shape:
    """RemovePermission: a label that is not there does not matter."""
    live, label = service.topic(params["TopicArn"]), params["Label"]

    def edit(topic: Topic) -> Topic:
        policy = _policy(topic)
        left = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
        return topic if len(left) == len(policy["Statement"]) else _with_policy(topic, {**policy, "Statement": left})

    await keep(service, live, edit)
    return {}


def _policy(topic: Topic) -> dict[str, Any]:
    text = topic.attributes.get("Policy") or topic_attributes.default_policy(topic)
    policy: dict[str, Any] = msgspec.json.decode(text)
    if isinstance(policy["Statement"], dict):
        policy["Statement"] = [policy["Statement"]]
    return policy


def _with_policy(topic: Topic, policy: dict[str, Any]) -> Topic:
    text = msgspec.json.encode(policy).decode() if policy["Statement"] else ""
    attributes = {**topic.attributes, "Policy": text}
    return replace(topic, attributes={name: value for name, value in attributes.items() if value})


def _one_or_more(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
