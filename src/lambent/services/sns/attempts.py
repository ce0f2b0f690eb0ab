"""One attempt of a delivery: to its endpoint, or to the dead-letter queue of its subscription.

What the endpoint's side refuses for good (it is gone, it lets nobody in) is not tried again. Anything else is, by the
delivery policy; what fails after that goes to the dead-letter queue, or nowhere.

Source: Amazon SNS Developer Guide, "Amazon SNS message delivery retries" and "Amazon SNS dead-letter queues".
"""

import time
import uuid
from typing import TYPE_CHECKING, Final

from lambent.aws.arn import Arn
from lambent.aws.errors import ApiError
from lambent.observe import points
from lambent.services.sns import delivery_policy, messages, rows, to_function, to_http, to_queue
from lambent.services.sns.delivery_policy import MANAGED
from lambent.services.sns.live import LiveSubscription, LiveTopic
from lambent.services.sns.messages import Message
from lambent.services.sns.permits import sender
from lambent.services.sns.rows import Delivery
from lambent.services.sns.status import Told

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

_BUSY: Final = frozenset(
    [
        "InternalError",
        "InternalFailure",
        "OverLimit",
        "RequestThrottled",
        "ServiceException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ]
)
"""Errors of an endpoint that is there and will take the message later."""
_ERROR_MESSAGE: Final = 1_024  # characters of it, in a dead letter


async def attempt(service: "Sns", delivery: Delivery, message: Message | None) -> Delivery | None:
    """Tries a delivery once: what it is then, with the moment of the next attempt; None when it is over."""
    live = service.subscriptions.get(delivery.subscription_id)
    topic = service.topics.get(live.subscription.topic_arn) if live else None
    if live is None or topic is None:
        return None
    if message is None:
        content = await service.database.read(lambda tx: rows.content(tx, delivery.seq))
        if content is None:
            return None
        message = messages.decoded(content)
    await service.open_signer()
    if delivery.dead is not None:
        return await _to_dead_letters(service, topic, live, delivery, message)
    return await _to_endpoint(service, topic, live, delivery, message)


async def _to_endpoint(
    service: "Sns", topic: LiveTopic, live: LiveSubscription, delivery: Delivery, message: Message
) -> Delivery | None:
    started = time.perf_counter()
    failure: ApiError | None = None
    answer = ""
    try:
        answer = await send(service, live, message, delivery.seq)
        points.reached("sns.delivered")
    except ApiError as error:
        failure = error
    after = _after(service, topic, live, delivery, failure) if failure else None
    is_over = failure is None or after is None or after.dead is not None
    if is_over:
        name = "NumberOfNotificationsFailed" if failure else "NumberOfNotificationsDelivered"
        service.count(topic.topic, name)
        dwell_ms = round((time.perf_counter() - started) * 1000)
        told = Told(live.subscription, message, delivery.attempts + 1, dwell_ms, failure, answer)
        await service.status.tell(topic.topic, told)
    return after


async def send(service: "Sns", live: LiveSubscription, message: Message, seq: int) -> str:
    """Hands a message to the endpoint of a subscription; what that answered.

    Raises:
        ApiError: it was not taken.
    """
    match live.subscription.protocol:
        case "sqs":
            return await to_queue.send(service, live.subscription, message, seq)
        case "lambda":
            return await to_function.send(service, live.subscription, message)
        case "http" | "https":
            return await to_http.send(service, live, message, seq)
    raise ApiError("EndpointDisabled", f"Lambent does not deliver over {live.subscription.protocol}.")


def is_busy(failure: ApiError) -> bool:
    """Whether the endpoint may take the message later."""
    return not failure.members.get("is_final", failure.code not in _BUSY)


def _after(
    service: "Sns", topic: LiveTopic, live: LiveSubscription, delivery: Delivery, failure: ApiError
) -> Delivery | None:
    attempts = delivery.attempts + 1
    is_http = live.subscription.is_http
    retry = delivery_policy.of_subscription(topic.topic, live.subscription).retry if is_http else MANAGED
    wait_s = retry.wait_s(attempts) if is_busy(failure) else None
    now_ms = service.clock.now_ms()
    if wait_s is not None:
        return delivery._replace(attempts=attempts, due_ms=now_ms + int(wait_s * 1000))
    service.log.warning(
        "sns.not_delivered",
        subscription=live.subscription.arn,
        endpoint=live.subscription.endpoint,
        code=failure.code,
        message=failure.message,
        attempts=attempts,
    )
    if not live.subscription.dead_letter_arn:
        return None
    return delivery._replace(attempts=0, due_ms=now_ms, dead=(failure.code, failure.message[:_ERROR_MESSAGE]))


async def _to_dead_letters(
    service: "Sns", topic: LiveTopic, live: LiveSubscription, delivery: Delivery, message: Message
) -> Delivery | None:
    if delivery.dead is None or not live.subscription.dead_letter_arn:
        return None
    code, reason = delivery.dead
    target = Arn.parse(live.subscription.dead_letter_arn)
    letter = to_queue.letter(service, live.subscription, message, delivery.seq, target)
    letter["MessageAttributes"] = {
        "RequestID": {"DataType": "String", "StringValue": str(uuid.uuid4())},
        "ErrorCode": {"DataType": "String", "StringValue": code},
        "ErrorMessage": {"DataType": "String", "StringValue": reason or code},
    }
    try:
        await service.call("sqs", "SendMessage", letter, caller=sender(target, message.trace_header))
    except ApiError as error:
        attempts = delivery.attempts + 1
        wait_s = MANAGED.wait_s(attempts) if is_busy(error) else None
        if wait_s is not None:
            return delivery._replace(attempts=attempts, due_ms=service.clock.now_ms() + int(wait_s * 1000))
        service.count(topic.topic, "NumberOfNotificationsFailedToRedriveToDlq")
        service.log.warning("sns.letter_lost", subscription=live.subscription.arn, target=str(target), code=error.code)
        return None
    service.count(topic.topic, "NumberOfNotificationsRedrivenToDlq")
    return None
