"""Deliveries to SQS queues.

Source: Amazon SNS Developer Guide, "Fanout to Amazon SQS queues" and "Amazon SNS raw message delivery".
"""

from typing import TYPE_CHECKING

from lambent.aws.arn import Arn
from lambent.dispatch import Shape
from lambent.eventing.sources.sqs import is_fifo, queue_url
from lambent.services.sns import envelope, permits
from lambent.services.sns.messages import Message
from lambent.services.sns.model import Subscription

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns


async def send(service: "Sns", subscription: Subscription, message: Message, seq: int) -> str:
    """Sends a message to the subscription's queue; the id that it has there.

    Raises:
        ApiError: the queue is not there, does not let the topic in, or cannot take the message.
    """
    queue = Arn.parse(subscription.endpoint)
    if not service.permits.is_known(subscription):
        await permits.check_queue(service.call, queue, subscription.topic_arn)
        service.permits.keep(subscription)
    given = letter(service, subscription, message, seq, queue)
    if subscription.is_raw and message.attributes:
        given["MessageAttributes"] = message.attributes
    answer = await service.call("sqs", "SendMessage", given, caller=permits.sender(queue, message.trace_header))
    return str(answer["MessageId"])


def letter(service: "Sns", subscription: Subscription, message: Message, seq: int, queue: Arn) -> Shape:
    """SendMessage's parameters, without attributes: to the subscription's queue, or to that of its dead letters."""
    if subscription.is_raw:
        body = message.body_for(subscription.protocol)
    else:
        body = enveloped(service, subscription, message, seq)
    found: Shape = {"QueueUrl": queue_url(queue), "MessageBody": body}
    if message.group is not None:
        found["MessageGroupId"] = message.group
        if is_fifo(queue) and message.deduplication_id is not None:
            found["MessageDeduplicationId"] = message.deduplication_id
    return found


def enveloped(service: "Sns", subscription: Subscription, message: Message, seq: int) -> str:
    """A message in its envelope."""
    beginning = service.beginnings.of(message, seq, subscription.protocol, service.seal(subscription))
    return envelope.notification(message, beginning, subscription, service.base_url(subscription))
