"""`lambent trigger`: queues, topics and buckets that feed functions, with the permission that this needs."""

import json
import time
from typing import Annotated, Any, Final

import typer

from lambent.cli import bucket_trigger, topic_trigger
from lambent.cli.client import AsJson, Endpoint, client, speaking_plainly
from lambent.cli.terminal import CommandError, answer, answer_json, columns, note

trigger = typer.Typer(
    name="trigger", help="Queues, topics and buckets that feed functions.", no_args_is_help=True, rich_markup_mode=None
)

_ACTIONS: Final = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
_IN_FORCE_S: Final = 30.0
_LOOK_S: Final = 0.05


@trigger.command()
def add(  # noqa: PLR0913  each is an option of the command
    function: Annotated[str, typer.Argument(help="The function's name, or NAME:ALIAS.")],
    queue: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="The queue's name, URL or ARN; a topic's ARN; or s3://BUCKET/PREFIX*."),
    ],
    batch_size: Annotated[int, typer.Option(help="The most messages in one invocation, 1 to 10000.")] = 10,
    window: Annotated[int, typer.Option(help="Seconds to gather a batch, 0 to 300; 1 or more for over 10.")] = 0,
    pattern: Annotated[
        list[str] | None, typer.Option("--filter", metavar="PATTERN", help="Only messages that match; others go.")
    ] = None,
    report_failures: Annotated[
        bool, typer.Option("--report-failures", help="The function answers which messages failed (batchItemFailures).")
    ] = False,
    max_concurrency: Annotated[int | None, typer.Option(help="The most invocations at once, 2 to 1000.")] = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Feed a function from a queue, a topic or a bucket.

    A queue: an event source mapping, and the permission for the execution role. A topic: a subscription, and the
    permission in the function's policy. A bucket: a notification of each new object, and the same permission.

    \b
    Examples:
      lambent trigger add orders incoming
      lambent trigger add orders incoming --batch-size 100 --window 5 --report-failures
      lambent trigger add orders incoming --filter '{"body": {"kind": ["order"]}}'
      lambent trigger add orders arn:aws:sns:us-east-1:000000000000:orders --filter '{"kind": ["new"]}'
      lambent trigger add thumbnails 's3://photos/in/*.jpg'
    """
    if queue.startswith(bucket_trigger.SCHEME):
        return _add_bucket(function, queue, endpoint, as_json=as_json)
    if _is_topic(queue):
        with speaking_plainly(endpoint):
            made = topic_trigger.add(function, queue, pattern, endpoint)
        return answer_json({"SubscriptionArn": made}) if as_json else answer(made)
    settings: dict[str, Any] = {"BatchSize": batch_size, "MaximumBatchingWindowInSeconds": window}
    if pattern:
        settings["FilterCriteria"] = {"Filters": [{"Pattern": each} for each in pattern]}
    if report_failures:
        settings["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    if max_concurrency is not None:
        settings["ScalingConfig"] = {"MaximumConcurrency": max_concurrency}
    with speaking_plainly(endpoint):
        functions, arn = client("lambda", endpoint), _queue_arn(queue, endpoint)
        _permit(functions.get_function_configuration(FunctionName=function)["Role"], arn, endpoint)
        made = functions.create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **settings)
        found = _in_force(functions, made["UUID"])
    if as_json:
        answer_json(_without_metadata(found))
    else:
        answer(found["UUID"])
        note(f"{_name(arn)} feeds {function}. Next: lambent logs {function.partition(':')[0]} --follow")
    return None


def _add_bucket(function: str, text: str, endpoint: str | None, *, as_json: bool) -> None:
    where = bucket_trigger.place(text)
    with speaking_plainly(endpoint):
        made = bucket_trigger.add(function, where, endpoint)
    if as_json:
        answer_json(made)
    else:
        answer(made["Id"])
        note(f"objects put into {where} invoke {function}. Next: lambent logs {function.partition(':')[0]} --follow")


@trigger.command()
def ls(
    function: Annotated[str | None, typer.Argument(help="Only those of this function.")] = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """List what feeds which function, and what is wrong if anything is.

    \b
    Examples:
      lambent trigger ls
      lambent trigger ls orders --json
    """
    with speaking_plainly(endpoint):
        of = {"FunctionName": function} if function else {}
        pages = client("lambda", endpoint).get_paginator("list_event_source_mappings").paginate(**of)
        found = [mapping for page in pages for mapping in page["EventSourceMappings"]]
        subscribed = topic_trigger.listed(function, endpoint)
        buckets = bucket_trigger.listed(function, endpoint)
    if as_json:
        answer_json({"EventSourceMappings": found, "Subscriptions": subscribed, "Buckets": buckets})
    elif not found and not subscribed and not buckets:
        note("No triggers yet. `lambent trigger add FUNCTION QUEUE` makes one.")
    else:
        rows = [*map(_row, found), *map(_subscription_row, subscribed), *map(_bucket_row, buckets)]
        columns(rows, ("ID", "SOURCE", "FUNCTION", "BATCH", "STATE", "RESULT"))


@trigger.command()
def rm(
    what: Annotated[list[str], typer.Argument(metavar="UUID | FUNCTION SOURCE", help="As `lambent trigger ls` shows.")],
    endpoint: Endpoint = None,
) -> None:
    """Delete a trigger, and the permission that `add` gave. Messages stay in the queue.

    \b
    Examples:
      lambent trigger rm orders incoming
      lambent trigger rm thumbnails 's3://photos/in/*.jpg'
      lambent trigger rm orders arn:aws:sns:us-east-1:000000000000:orders
      lambent trigger rm 6f0f2b8c-5a2e-4a57-9d9e-0c6f1d0b7b4e
    """
    if len(what) > 2:
        raise CommandError(f"{len(what)} names: one UUID, or a function and a queue or topic.", status=2)
    if len(what) == 2 and what[1].startswith(bucket_trigger.SCHEME):
        where = bucket_trigger.place(what[1])
        with speaking_plainly(endpoint):
            bucket_trigger.remove(what[0], where, endpoint)
        return note(f"{where} does not invoke {what[0]} any more")
    if len(what) == 2 and _is_topic(what[1]):
        with speaking_plainly(endpoint):
            ended = topic_trigger.remove(what[0], what[1], endpoint)
        return note(f"deleted {ended}: {_name(what[1])} does not feed {what[0]} any more")
    with speaking_plainly(endpoint):
        functions = client("lambda", endpoint)
        uuid = what[0] if len(what) == 1 else _uuid(functions, what[0], _queue_arn(what[1], endpoint))
        gone = functions.delete_event_source_mapping(UUID=uuid)
        _withdraw(functions, gone, endpoint)
    note(f"deleted {uuid}: {_name(gone['EventSourceArn'])} does not feed {_function(gone)} any more")
    return None


def _is_topic(source: str) -> bool:
    return source.startswith("arn:") and source.split(":")[2:3] == ["sns"]


def _subscription_row(subscription: dict[str, str]) -> list[str]:
    arn, function = subscription["SubscriptionArn"], topic_trigger.function_of(subscription)
    return [arn.rpartition(":")[2], _name(subscription["TopicArn"]), function, "-", "Enabled", "-"]


def _queue_arn(queue: str, endpoint: str | None) -> str:
    if queue.startswith("arn:"):
        return queue
    queues = client("sqs", endpoint)
    url = queue if "/" in queue else queues.get_queue_url(QueueName=queue)["QueueUrl"]
    arn: str = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn


def _uuid(functions: Any, function: str, arn: str) -> str:
    pages = functions.get_paginator("list_event_source_mappings").paginate(FunctionName=function, EventSourceArn=arn)
    for page in pages:
        for mapping in page["EventSourceMappings"]:
            uuid: str = mapping["UUID"]
            return uuid
    raise CommandError(f"{_name(arn)} does not feed {function}.", "`lambent trigger ls` shows what does.")


def _permit(role: str, arn: str, endpoint: str | None) -> None:
    """In open mode roles need not exist, and then nobody asks what they may do."""
    statement = {"Effect": "Allow", "Action": _ACTIONS, "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    roles = client("iam", endpoint)
    try:
        roles.put_role_policy(RoleName=_last(role), PolicyName=_policy_name(arn), PolicyDocument=document)
    except roles.exceptions.NoSuchEntityException:
        note(f"The role {_last(role)} does not exist here, so it needs no permission.")


def _withdraw(functions: Any, mapping: dict[str, Any], endpoint: str | None) -> None:
    """Who shares the role with another function keeps what that one needs: `add` gives it again."""
    roles = client("iam", endpoint)
    try:
        role = functions.get_function_configuration(FunctionName=mapping["FunctionArn"])["Role"]
        roles.delete_role_policy(RoleName=_last(role), PolicyName=_policy_name(mapping["EventSourceArn"]))
    except (roles.exceptions.NoSuchEntityException, functions.exceptions.ResourceNotFoundException):
        return


def _in_force(functions: Any, uuid: str) -> dict[str, Any]:
    ends = time.monotonic() + _IN_FORCE_S
    while True:
        found: dict[str, Any] = functions.get_event_source_mapping(UUID=uuid)
        if found["State"] == "Enabled" or time.monotonic() > ends:
            return found
        time.sleep(_LOOK_S)


def _row(mapping: dict[str, Any]) -> list[str]:
    return [
        mapping["UUID"],
        _name(mapping["EventSourceArn"]),
        _function(mapping),
        str(mapping["BatchSize"]),
        mapping["State"],
        mapping.get("LastProcessingResult", "-"),
    ]


def _bucket_row(entry: dict[str, str]) -> list[str]:
    return [entry["Id"], entry["Source"], entry["Function"], "-", "Enabled", "-"]


def _function(mapping: dict[str, Any]) -> str:
    return str(mapping["FunctionArn"]).split(":function:")[1]


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _last(role: str) -> str:
    return role.rpartition("/")[2]


def _policy_name(arn: str) -> str:
    return f"lambent-trigger-{_name(arn)}"


def _without_metadata(answered: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answered.items() if key != "ResponseMetadata"}
