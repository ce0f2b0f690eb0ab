"""`lambent generate-event`: the event that a service would give a function, to try the function with."""

import hashlib
import time
import uuid
from typing import Annotated, Any

import msgspec
import typer

from lambent.aws.arn import Arn
from lambent.cli.generate_s3_event import s3
from lambent.cli.terminal import answer_json
from lambent.eventing.sources.sqs import is_fifo, record_of

generate_event = typer.Typer(
    name="generate-event",
    help="Events as services give them to functions, for `lambent invoke --payload -`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_sqs = typer.Typer(name="sqs", help="Events of Amazon SQS.", no_args_is_help=True, rich_markup_mode=None)
generate_event.add_typer(_sqs)
_sns = typer.Typer(name="sns", help="Events of Amazon SNS.", no_args_is_help=True, rich_markup_mode=None)
generate_event.add_typer(_sns)
generate_event.add_typer(s3)


@_sns.command()
def notification(
    message: Annotated[str, typer.Option(help="What the message says.")] = "example message",
    subject: Annotated[str, typer.Option(help="The message's subject.")] = "example subject",
    topic: Annotated[str, typer.Option(help="The topic's name.")] = "ExampleTopic",
    region: Annotated[str, typer.Option(help="The topic's region.")] = "us-east-1",
    account_id: Annotated[str, typer.Option(help="The topic's account.")] = "123456789012",
) -> None:
    """Print the event of one notification. Needs no running platform.

    \b
    Examples:
      lambent generate-event sns notification --message '{"order": 7}'
      lambent generate-event sns notification | lambent invoke orders --payload -
    """
    from lambent.services.sns import envelope
    from lambent.services.sns.messages import Message
    from lambent.services.sns.model import Subscription

    arn, now_ms, base_url = str(Arn("sns", region, account_id, topic)), int(time.time() * 1000), "https://EXAMPLE"
    attributes: dict[str, dict[str, Any]] = {
        "Test": {"DataType": "String", "StringValue": "TestString"},
        "TestBinary": {"DataType": "Binary", "BinaryValue": b"TestBinary"},
    }
    published = Message(str(uuid.uuid4()), arn, message, now_ms, subject=subject, attributes=attributes)
    subscription = Subscription(
        id=0, arn=f"{arn}:{uuid.uuid4()}", topic_arn=arn, owner=account_id, protocol="lambda", endpoint=""
    )
    seal = envelope.Seal(version="1", sign=lambda *_: "EXAMPLE", certificate_url=f"{base_url}/certificate.pem")
    answer_json(msgspec.json.decode(envelope.event(published, subscription, base_url, seal)))


@_sqs.command()
def receive_message(  # noqa: PLR0913  each is an option of the command
    body: Annotated[str, typer.Option(help="What the message says.")] = "Hello from SQS!",
    queue_name: Annotated[str, typer.Option(help="The queue's name; with .fifo at its end, a FIFO queue's event.")] = (
        "MyQueue"
    ),
    message_id: Annotated[str, typer.Option(help="The message's id.")] = "19dd0b57-b21e-4ac1-bd88-01bbb068cb78",
    receipt_handle: Annotated[str, typer.Option(help="The message's receipt handle.")] = "MessageReceiptHandle",
    region: Annotated[str, typer.Option(help="The queue's region.")] = "us-east-1",
    account_id: Annotated[str, typer.Option(help="The queue's account.")] = "123456789012",
    partition: Annotated[str, typer.Option(help="The queue's partition.")] = "aws",
    group_id: Annotated[str, typer.Option(help="The message's group, for a FIFO queue.")] = "1",
) -> None:
    """Print the event of one message. Needs no running platform.

    \b
    Examples:
      lambent generate-event sqs receive-message --body '{"order": 7}'
      lambent generate-event sqs receive-message | lambent invoke orders --payload -
    """
    queue = Arn("sqs", region, account_id, queue_name, partition)
    now_ms = int(time.time() * 1000)
    attributes = {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": str(now_ms),
        "SenderId": account_id,
        "ApproximateFirstReceiveTimestamp": str(now_ms + 1),
    }
    digest = hashlib.sha256(body.encode()).hexdigest()
    if is_fifo(queue):
        attributes |= {
            "SequenceNumber": "18849496460467696128",
            "MessageGroupId": group_id,
            "MessageDeduplicationId": digest,
        }
    message = {
        "MessageId": message_id,
        "ReceiptHandle": receipt_handle,
        "Body": body,
        "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "Attributes": attributes,
    }
    answer_json({"Records": [record_of(message, queue)]})
