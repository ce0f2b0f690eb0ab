"""`lambent topic`: topics, and what one does with them by hand."""

import sys
import uuid
from typing import Annotated, Any

import typer

from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.terminal import CommandError, answer, answer_json, columns, note

topic = typer.Typer(
    name="topic",
    help="Topics of SNS: see who is subscribed, publish, subscribe.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name or ARN.", show_default=False)]


@topic.command()
def ls(endpoint: Endpoint = None, as_json: AsJson = False) -> None:
    """List the topics and who is subscribed to each.

    \b
    Examples:
      lambent topic ls
      lambent topic ls --json
    """
    with speaking_plainly(endpoint):
        sns = client("sns", endpoint)
        arns = [one["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for one in page["Topics"]]
        found = [{"TopicArn": arn, "Subscriptions": subscriptions(sns, arn)} for arn in arns]
    if as_json:
        answer_json({"Topics": found})
    elif not found:
        note("No topics yet. `aws sns create-topic --name NAME` makes one.")
    else:
        columns([row for each in found for row in _rows(each)], ("TOPIC", "PROTOCOL", "ENDPOINT", "STATE"))


@topic.command()
def publish(
    name: Name,
    message: Annotated[str, typer.Argument(help="The message; - reads it from stdin.", show_default=False)],
    subject: Annotated[str | None, typer.Option(help="Its subject.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option(help="Its message group; a FIFO topic needs one.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", metavar="NAME=VALUE", help="A message attribute, a string.")
    ] = None,
    endpoint: Endpoint = None,
) -> None:
    """Publish a message. It is on disk, and on its way to every subscription, when the command ends.

    To a FIFO topic, each is a message of its own, even with the same text.

    \b
    Examples:
      lambent topic publish orders '{"order": 1}' --attribute kind=new
      lambent topic publish orders.fifo - --group customer-7 < order.json
    """
    given: dict[str, Any] = {"Subject": subject, "MessageGroupId": group}
    given |= {"MessageDeduplicationId": str(uuid.uuid4())} if name.endswith(".fifo") else {}
    if attribute:
        given["MessageAttributes"] = dict(map(_attribute, attribute))
    with speaking_plainly(endpoint):
        sns = client("sns", endpoint)
        wanted = {key: value for key, value in given.items() if value is not None}
        text = sys.stdin.read() if message == "-" else message
        sent = sns.publish(TopicArn=arn_of(sns, name), Message=text, **wanted)
    answer(sent["MessageId"])


@topic.command()
def subscribe(
    name: Name,
    to: Annotated[str, typer.Argument(metavar="ENDPOINT", help="A queue's name, or a URL, or an ARN.")],
    raw: Annotated[bool, typer.Option("--raw", help="Deliver the message itself, without an envelope.")] = False,
    pattern: Annotated[str | None, typer.Option("--filter", metavar="POLICY", help="Only messages that match.")] = None,
    endpoint: Endpoint = None,
) -> None:
    """Subscribe a queue or a URL. For a function, `lambent trigger add` gives the permission, too.

    \b
    Examples:
      lambent topic subscribe orders incoming --raw
      lambent topic subscribe orders incoming --filter '{"kind": ["new"]}'
      lambent topic subscribe orders http://127.0.0.1:8000/hook
    """
    attributes = {"RawMessageDelivery": "true"} if raw else {}
    attributes |= {"FilterPolicy": pattern} if pattern else {}
    with speaking_plainly(endpoint):
        sns = client("sns", endpoint)
        protocol, where = _endpoint_of(to, endpoint)
        asked = {"TopicArn": arn_of(sns, name), "Protocol": protocol, "Endpoint": where, "Attributes": attributes}
        made = sns.subscribe(**asked, ReturnSubscriptionArn=True)
    answer(made["SubscriptionArn"])
    if protocol in ("http", "https"):
        note("It is told when it has confirmed: it was sent the address to visit.")


def arn_of(sns: Any, name: str) -> str:
    """The ARN of a topic by its name, in the caller's account and region.

    Raises:
        CommandError: there is no such topic.
    """
    if name.startswith("arn:"):
        return name
    for page in sns.get_paginator("list_topics").paginate():
        for one in page["Topics"]:
            arn: str = one["TopicArn"]
            if arn.rpartition(":")[2] == name:
                return arn
    raise CommandError(f"There is no topic {name}.", "`lambent topic ls` shows those that there are.")


def subscriptions(sns: Any, topic_arn: str) -> list[dict[str, str]]:
    """A topic's subscriptions."""
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
    return [one for page in pages for one in page["Subscriptions"]]


def _attribute(text: str) -> tuple[str, dict[str, str]]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--attribute is {text}; expected NAME=VALUE.", status=2)
    return name, {"DataType": "String", "StringValue": value}


def _endpoint_of(to: str, endpoint: str | None) -> tuple[str, str]:
    if to.startswith("arn:"):
        return to.split(":")[2], to
    if to.startswith(("http://", "https://")):
        return to.partition(":")[0], to
    sqs = client("sqs", endpoint)
    url = sqs.get_queue_url(QueueName=to)["QueueUrl"]
    return "sqs", sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def _rows(found: dict[str, Any]) -> list[list[str]]:
    name = found["TopicArn"].rpartition(":")[2]
    return [
        [name, one["Protocol"], one["Endpoint"], "pending" if one["SubscriptionArn"].startswith("P") else "confirmed"]
        for one in found["Subscriptions"]
    ] or [[name, "-", "-", "-"]]
