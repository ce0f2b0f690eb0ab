"""Topics as triggers: the subscription, and the permission that the function's policy needs for it."""

import contextlib
from typing import Any

from lambent.cli.client import client
from lambent.cli.terminal import CommandError
from lambent.cli.topic import subscriptions


def add(function: str, topic_arn: str, pattern: list[str] | None, endpoint: str | None) -> str:
    """Lets the topic invoke the function and subscribes it; the subscription's ARN.

    Raises:
        CommandError: more than one filter.
    """
    if pattern and len(pattern) > 1:
        raise CommandError("A subscription has one filter policy.", status=2)
    functions, sns = client("lambda", endpoint), client("sns", endpoint)
    arn = _function_arn(functions, function)
    with contextlib.suppress(functions.exceptions.ResourceConflictException):  # it is let in already
        functions.add_permission(
            FunctionName=function,
            StatementId=_statement(topic_arn),
            Action="lambda:InvokeFunction",
            Principal="sns.amazonaws.com",
            SourceArn=topic_arn,
        )
    attributes = {"FilterPolicy": pattern[0]} if pattern else {}
    asked = {"TopicArn": topic_arn, "Protocol": "lambda", "Endpoint": arn, "Attributes": attributes}
    made: str = sns.subscribe(**asked, ReturnSubscriptionArn=True)["SubscriptionArn"]
    return made


def remove(function: str, topic_arn: str, endpoint: str | None) -> str:
    """Ends the subscription and takes the permission back; the subscription's ARN.

    Raises:
        CommandError: the topic does not feed the function.
    """
    functions, sns = client("lambda", endpoint), client("sns", endpoint)
    arn = _function_arn(functions, function)
    found = [one["SubscriptionArn"] for one in subscriptions(sns, topic_arn) if one["Endpoint"] == arn]
    if not found:
        name = topic_arn.rpartition(":")[2]
        raise CommandError(f"{name} does not feed {function}.", "`lambent trigger ls` shows what does.")
    sns.unsubscribe(SubscriptionArn=found[0])
    with contextlib.suppress(functions.exceptions.ResourceNotFoundException):
        functions.remove_permission(FunctionName=function, StatementId=_statement(topic_arn))
    return found[0]


def listed(function: str | None, endpoint: str | None) -> list[dict[str, str]]:
    """The subscriptions of functions, or of one."""
    sns = client("sns", endpoint)
    pages = sns.get_paginator("list_subscriptions").paginate()
    found = [one for page in pages for one in page["Subscriptions"] if one["Protocol"] == "lambda"]
    return [one for one in found if function is None or function_of(one) == function]


def function_of(subscription: dict[str, str]) -> str:
    """The function's name, with its qualifier if it has one."""
    return subscription["Endpoint"].split(":function:")[1]


def _function_arn(functions: Any, function: str) -> str:
    name, _colon, qualifier = function.partition(":") if not function.startswith("arn:") else (function, "", "")
    asked = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
    found: str = functions.get_function_configuration(**asked)["FunctionArn"]
    return found


def _statement(topic_arn: str) -> str:
    return f"lambent-trigger-{topic_arn.rpartition(':')[2].replace('.', '-')}"
