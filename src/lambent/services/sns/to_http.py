"""Deliveries over HTTP and HTTPS: notifications, and what an endpoint confirms with.

Source: Amazon SNS Developer Guide, "Fanout to HTTP/S endpoints"; facts sheet B4 and B7.
"""

import uuid
from typing import TYPE_CHECKING, Final

from lambent.aws.errors import ApiError
from lambent.services.sns import delivery_policy, envelope
from lambent.services.sns.http_client import Answer, HttpFailedError, post
from lambent.services.sns.live import LiveSubscription
from lambent.services.sns.messages import Message
from lambent.services.sns.model import Subscription
from lambent.services.sns.to_queue import enveloped

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

SUBSCRIBED: Final = "SubscriptionConfirmation"
UNSUBSCRIBED: Final = "UnsubscribeConfirmation"
_AGENT: Final = "Amazon Simple Notification Service Agent"
_PLAIN: Final = "text/plain; charset=UTF-8"
_TOO_MANY: Final = 429
_WORDS: Final = {
    SUBSCRIBED: (
        "You have chosen to subscribe to the topic {topic}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message."
    ),
    UNSUBSCRIBED: (
        "You have chosen to deactivate subscription {subscription}.\n"
        "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
    ),
}


async def send(service: "Sns", live: LiveSubscription, message: Message, seq: int) -> str:
    """Posts a message to the subscription's endpoint; what that answered.

    Raises:
        ApiError: it was not taken; `is_final` when it will not be taken later either.
    """
    subscription = live.subscription
    policy = delivery_policy.of_subscription(service.topics[subscription.topic_arn].topic, subscription)
    await _take_turn(service, live, policy.most_per_second)
    headers = _headers(envelope.NOTIFICATION, message.message_id, message.topic_arn)
    headers["x-amz-sns-subscription-arn"] = subscription.arn
    headers["Content-Type"] = policy.content_type
    if subscription.is_raw:
        headers["x-amz-sns-rawdelivery"] = "true"
        body = message.body_for(subscription.protocol)
    else:
        body = enveloped(service, subscription, message, seq)
    return await _post(service, subscription, headers, body)


async def confirm(service: "Sns", subscription: Subscription, kind: str) -> None:
    """Posts a SubscriptionConfirmation or an UnsubscribeConfirmation.

    Raises:
        ApiError: as `send`.
    """
    await service.open_signer()
    base_url, message_id = service.base_url(subscription), str(uuid.uuid4())
    said = {
        "MessageId": message_id,
        "Message": _WORDS[kind].format(topic=subscription.topic_arn, subscription=subscription.arn),
        "SubscribeURL": envelope.subscribe_url(base_url, subscription.topic_arn, subscription.token),
        "Timestamp": envelope.timestamp(service.clock.now_ms()),
    }
    headers = _headers(kind, message_id, subscription.topic_arn)
    if kind == UNSUBSCRIBED:
        headers["x-amz-sns-subscription-arn"] = subscription.arn
    body = envelope.confirmation(kind, subscription.topic_arn, subscription.token, said, service.seal(subscription))
    await _post(service, subscription, headers, body)


def _headers(kind: str, message_id: str, topic_arn: str) -> dict[str, str]:
    return {
        "x-amz-sns-message-type": kind,
        "x-amz-sns-message-id": message_id,
        "x-amz-sns-topic-arn": topic_arn,
        "Content-Type": _PLAIN,
        "User-Agent": _AGENT,
    }


async def _take_turn(service: "Sns", live: LiveSubscription, most_per_second: int | None) -> None:
    """Waits until the throttle policy lets one more go."""
    if most_per_second:
        now = service.clock.now()
        live.next_turn = max(now, live.next_turn) + 1 / most_per_second
        wait_s = live.next_turn - 1 / most_per_second - now
        if wait_s > 0:
            await service.clock.sleep(wait_s)


async def _post(service: "Sns", subscription: Subscription, headers: dict[str, str], body: str) -> str:
    is_private = subscription.is_private and service.has_private_endpoints
    try:
        answer = await post(subscription.endpoint, headers, body.encode(), is_private=is_private)
    except HttpFailedError as error:
        raise ApiError("EndpointUnreachable", str(error), is_final=error.is_final, status=0) from error
    return _taken(subscription, answer)


def _taken(subscription: Subscription, answer: Answer) -> str:
    if 200 <= answer.status < 300:
        return answer.body
    is_final = 400 <= answer.status < 500 and answer.status != _TOO_MANY
    message = f"{subscription.endpoint} answered {answer.status}: {answer.body}"
    raise ApiError(str(answer.status), message, is_final=is_final, status=answer.status)
