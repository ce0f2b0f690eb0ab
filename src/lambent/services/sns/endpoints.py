"""Endpoints: which there may be for a protocol, and which have to confirm their subscription.

Source: Amazon SNS API Reference, Subscribe; facts sheet B2 and B5.
"""

from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from lambent.aws.arn import Arn
from lambent.aws.errors import ApiError
from lambent.observe.supervise import supervise
from lambent.services.sns import to_http
from lambent.services.sns.delivery_policy import HTTP
from lambent.services.sns.live import LiveSubscription
from lambent.services.sns.model import FIFO_SUFFIX, Subscription, Topic, invalid

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

CONFIRMED: Final = ("sqs", "lambda")
"""Protocols whose endpoints need not confirm."""
_NOT_HERE: Final = {"sms": "SMS", "application": "mobile push notifications", "firehose": "Firehose streams"}
_MAIL: Final = ("email", "email-json")


def check(topic: Topic, protocol: str, endpoint: str) -> None:
    """Refuses what cannot be an endpoint.

    Raises:
        ApiError: InvalidParameter; NotImplemented for protocols that Lambent does not deliver over.
    """
    if protocol in _NOT_HERE:
        raise ApiError(
            "NotImplemented", f"Subscribe with {protocol}: Lambent does not deliver to {_NOT_HERE[protocol]}."
        )
    if protocol not in (*CONFIRMED, *_MAIL, "http", "https"):
        raise invalid(f"Amazon SNS does not support this protocol string: {protocol}")
    if not endpoint:
        raise invalid("Endpoint Reason: no value for required parameter")
    if topic.is_fifo and protocol != "sqs":
        raise invalid("Invalid parameter: Endpoint Reason: Please use FIFO SQS queue")
    if protocol == "sqs":
        _check_queue(topic, endpoint)
    elif protocol == "lambda":
        _check_function(endpoint)
    elif protocol in _MAIL:
        if "@" not in endpoint:
            raise invalid("Email address")
    elif not _is_url(endpoint, protocol):
        raise invalid("Endpoint must match the specified protocol")


def _is_url(text: str, scheme: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme == scheme and bool(parts.hostname) and text.isascii() and parts.port != 0
    except ValueError:
        return False


def _check_queue(topic: Topic, endpoint: str) -> None:
    try:
        arn = Arn.parse(endpoint)
    except ValueError:
        raise invalid("SQS endpoint ARN") from None
    if arn.service != "sqs" or not arn.resource or not arn.account or not arn.region:
        raise invalid("SQS endpoint ARN")
    if arn.resource.endswith(FIFO_SUFFIX) and not topic.is_fifo:
        raise invalid(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
        )


def _check_function(endpoint: str) -> None:
    try:
        arn = Arn.parse(endpoint)
    except ValueError:
        raise invalid("Lambda endpoint ARN") from None
    if arn.service != "lambda" or not arn.resource.startswith("function:"):
        raise invalid("Lambda endpoint ARN")


def ask_to_confirm(service: "Sns", live: LiveSubscription) -> None:
    """Sends the endpoint what it confirms with, in the background."""
    if live.subscription.is_http:
        _begin(service, live.subscription, to_http.SUBSCRIBED)
    else:
        service.log.warning("sns.no_mail", subscription=live.subscription.arn, endpoint=live.subscription.endpoint)


def ask_to_return(service: "Sns", subscription: Subscription) -> None:
    """Tells an endpoint that it was unsubscribed, and how to come back, in the background."""
    if subscription.is_http:
        _begin(service, subscription, to_http.UNSUBSCRIBED)


def _begin(service: "Sns", subscription: Subscription, kind: str) -> None:
    tasks = service.deliverer.tasks
    if tasks is not None:
        work = supervise("sns.confirm", partial(_confirm, service, subscription, kind), service.log)
        tasks.create_task(work, name=f"sns.confirm {subscription.id}")


async def _confirm(service: "Sns", subscription: Subscription, kind: str) -> None:
    """As often as a message would be tried by default."""
    failures = 0
    while True:
        try:
            with service.clock.holding():
                return await to_http.confirm(service, subscription, kind)
        except ApiError as error:
            failures += 1
            wait_s = None if error.members.get("is_final") else HTTP.wait_s(failures)
            if wait_s is None or subscription.topic_arn not in service.topics:
                asked = {"subscription": subscription.arn, "endpoint": subscription.endpoint}
                service.log.warning("sns.not_asked", **asked, message=error.message)
                return None
        await service.clock.sleep(wait_s)
