"""AddPermission and RemovePermission: one statement of a queue's policy at a time."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs.api.queues import keep
from lambent.services.sqs.model import Queue, invalid_value

if TYPE_CHECKING:
    from lambent.services.sqs.service import Sqs

MAX_ACTIONS: Final = 7
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
_ACTIONS: Final = frozenset(
    [
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    ]
)


async def add_permission(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """AddPermission: makes the policy if there is none. Other principals and conditions need SetQueueAttributes."""
    live = service.named(caller, params)
    label, accounts, actions = params["Label"], params["AWSAccountIds"], params["Actions"]
    if not _LABEL.fullmatch(label):
        reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        raise invalid_value(label, "Label", reason)
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            raise invalid_value(f"[{account}]", "PrincipalId", "Unable to verify.")
    for action in actions:
        if action not in _ACTIONS:
            reason = "Only the queue owner is allowed to invoke this action."
            raise invalid_value(f"SQS:{action}", "ActionName", reason)
    if len(actions) > MAX_ACTIONS:
        raise ApiError("OverLimit", f"{len(actions)} Actions were found, maximum allowed is {MAX_ACTIONS}.")

    def edit(queue: Queue) -> Queue:
        policy = _policy(queue)
        if any(statement.get("Sid") == label for statement in policy["Statement"]):
            raise invalid_value(label, "Label", "Already exists.")
        policy["Statement"].append(
            {
                "Sid": label,
                "Effect": "Allow",
                "Principal": {"AWS": _one_or_more([f"arn:aws:iam::{account}:root" for account in accounts])},
                "Action": _one_or_more([f"SQS:{action}" for action in actions]),
                "Resource": queue.arn,
            }
        )
        return _with_policy(queue, policy)

    await keep(service, live, edit)
    return {}


async def remove_permission(service: "Sqs", caller: Caller, params: Shape) -> Shape:
    """RemovePermission: without a statement left there is no policy."""
    live, label = service.named(caller, params), params["Label"]

    def edit(queue: Queue) -> Queue:
        policy = _policy(queue)
        left = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
        if len(left) == len(policy["Statement"]):
            raise invalid_value(label, "Label", "can't find label.")
        return _with_policy(queue, {**policy, "Statement": left} if left else None)

    await keep(service, live, edit)
    return {}


def _policy(queue: Queue) -> dict[str, Any]:
    found = queue.attributes.get("Policy")
    if not found:
        return {"Version": "2012-10-17", "Id": f"{queue.arn}/SQSDefaultPolicy", "Statement": []}
    policy: dict[str, Any] = msgspec.json.decode(found)
    if isinstance(policy["Statement"], dict):
        policy["Statement"] = [policy["Statement"]]
    return policy


def _with_policy(queue: Queue, policy: dict[str, Any] | None) -> Queue:
    attributes = {name: value for name, value in queue.attributes.items() if name != "Policy"}
    if policy is not None:
        attributes["Policy"] = msgspec.json.encode(policy).decode()
    return replace(queue, attributes=attributes)


def _one_or_more(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
