"""`lambent queue`: what is in a queue, and what one does with it by hand."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from lambent.cli.client import AsJson, Endpoint, client, endpoint_url, speaking_plainly
from lambent.cli.terminal import CommandError, answer, answer_json, columns, note

queue = typer.Typer(
    name="queue",
    help="Queues of SQS: see what is in them, send, move dead letters back, empty them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name or URL.", show_default=False)]

_COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
_WIDEST: Final = 60


@queue.command()
def ls(endpoint: Endpoint = None, as_json: AsJson = False) -> None:
    """List the queues with how many messages each has: visible, in flight (received, not deleted) and delayed.

    \b
    Examples:
      lambent queue ls
      lambent queue ls --json
    """
    with speaking_plainly(endpoint):
        sqs = client("sqs", endpoint)
        pages = sqs.get_paginator("list_queues").paginate(PaginationConfig={"PageSize": 1000})
        urls = [url for page in pages for url in page.get("QueueUrls", ())]
        found = [
            {"QueueUrl": url, **sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]}
            for url in urls
        ]
    if as_json:
        answer_json({"Queues": found})
    elif not found:
        note("No queues yet. `aws sqs create-queue --queue-name NAME` makes one.")
    else:
        rows = [[_name_of(each["QueueUrl"]), *(each[count] for count in _COUNTS), _letters_to(each)] for each in found]
        columns(rows, ("NAME", "VISIBLE", "IN FLIGHT", "DELAYED", "DEAD LETTERS TO"))


@queue.command()
def peek(
    name: Name,
    most: Annotated[int, typer.Option("--most", "-n", help="How many messages to show.", min=1, max=1000)] = 10,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Show the first messages of a queue, and leave them as they are.

    Looking is no receive: no count goes up, nothing is hidden, and nobody else's order changes. Messages in flight and
    delayed ones are shown too.

    \b
    Examples:
      lambent queue peek orders
      lambent queue peek orders-dead --most 100 --json
    """
    with speaking_plainly(endpoint):
        sqs = client("sqs", endpoint)
        arn = _arn(sqs, name)
    found = _peeked(endpoint_url(endpoint), arn, most)
    if as_json:
        answer_json({"Messages": found})
    elif not found:
        note("The queue is empty.")
    else:
        columns([_row(message) for message in found], ("SENT", "RECEIVES", "STATE", "BODY"))


@queue.command()
def send(
    name: Name,
    body: Annotated[str, typer.Argument(help="The message; - reads it from stdin.", show_default=False)],
    delay: Annotated[int | None, typer.Option(help="Seconds until it is visible.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option(help="Its message group; a FIFO queue needs one.")] = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Send a message. It is on disk when the command ends.

    To a FIFO queue, each is a message of its own, even with the same body.

    \b
    Examples:
      lambent queue send orders '{"order": 1}'
      lambent queue send orders - < order.json
      lambent queue send orders.fifo '{"order": 1}' --group customer-7
    """
    text = sys.stdin.read() if body == "-" else body
    given = {"DelaySeconds": delay, "MessageGroupId": group}
    given |= {"MessageDeduplicationId": str(uuid.uuid4())} if name.endswith(".fifo") else {}
    with speaking_plainly(endpoint):
        sqs = client("sqs", endpoint)
        wanted = {key: value for key, value in given.items() if value is not None}
        sent = sqs.send_message(QueueUrl=_url(sqs, name), MessageBody=text, **wanted)
    sent.pop("ResponseMetadata")
    if as_json:
        answer_json(sent)
    else:
        answer(sent["MessageId"])


@queue.command()
def redrive(
    name: Name,
    to: Annotated[str | None, typer.Option(help="Another queue to move them to.", show_default=False)] = None,
    per_second: Annotated[int | None, typer.Option(help="How many a second, 500 at most.", show_default=False)] = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Move the messages of a dead-letter queue back to the queues that they come from.

    They are new messages there, never received. The move goes on when the command has ended; `--json` shows the task,
    and `aws sqs list-message-move-tasks` how far it is.

    \b
    Examples:
      lambent queue redrive orders-dead
      lambent queue redrive orders-dead --to orders-again --per-second 10
    """
    with speaking_plainly(endpoint):
        sqs = client("sqs", endpoint)
        source = _arn(sqs, name)
        given = {"DestinationArn": _arn(sqs, to) if to else None, "MaxNumberOfMessagesPerSecond": per_second}
        wanted = {key: value for key, value in given.items() if value is not None}
        sqs.start_message_move_task(SourceArn=source, **wanted)
        (task,) = sqs.list_message_move_tasks(SourceArn=source)["Results"]
    if as_json:
        answer_json(task)
    else:
        answer(f"moving {task['ApproximateNumberOfMessagesToMove']} messages")


@queue.command()
def purge(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint: Endpoint = None,
) -> None:
    """Delete every message of a queue, those in flight too. It asks first.

    \b
    Examples:
      lambent queue purge orders
      lambent queue purge orders --yes
    """
    with speaking_plainly(endpoint):
        sqs = client("sqs", endpoint)
        url = _url(sqs, name)
        if not yes:
            typer.confirm(f"Delete every message of {_name_of(url)}?", abort=True, err=True)
        sqs.purge_queue(QueueUrl=url)
    note(f"{_name_of(url)} is empty.")


def _url(sqs: Any, name: str) -> str:
    return name if "/" in name else str(sqs.get_queue_url(QueueName=name)["QueueUrl"])


def _arn(sqs: Any, name: str) -> str:
    found = sqs.get_queue_attributes(QueueUrl=_url(sqs, name), AttributeNames=["QueueArn"])
    return str(found["Attributes"]["QueueArn"])


def _name_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


def _letters_to(attributes: dict[str, str]) -> str:
    policy = json.loads(attributes.get("RedrivePolicy", "{}"))
    return str(policy.get("deadLetterTargetArn", "-")).rsplit(":", 1)[-1]


def _row(message: dict[str, Any]) -> list[str]:
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC).astimezone()
    body = " ".join(message["Body"].split())
    shown = body if len(body) <= _WIDEST else f"{body[: _WIDEST - 1]}…"
    return [f"{sent:%H:%M:%S}", message["Attributes"]["ApproximateReceiveCount"], message["State"], shown]


def _peeked(endpoint: str, arn: str, most: int) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode({"arn": arn, "most": most})
    try:
        with urllib.request.urlopen(f"{endpoint}/_lambent/queue?{query}") as response:
            found: list[dict[str, Any]] = json.load(response)["Messages"]
            return found
    except (urllib.error.HTTPError, ValueError, KeyError) as error:
        raise CommandError(f"{endpoint} does not show messages; is it a Lambent node?") from error
