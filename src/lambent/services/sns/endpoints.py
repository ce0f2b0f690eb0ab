"""Endpoints: which there may be for a protocol, and which have to confirm their subscription.

Source: Amazon SNS API Reference, Subscribe; facts sheet B2 and B5.
"""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from lambent.aws.arn import Arn
from lambent.aws.errors import ApiError
from lambent.services.sns.live import LiveSubscription
from lambent.services.sns.model import FIFO_SUFFIX, Topic, invalid

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns

CONFIRMED: Final = ("sqs", "lambda")
"""Protocols whose endpoints need not confirm."""
_NOT_HERE: Final = {"sms": "SMS", "application": "mobile push notifications", "firehose": "Firehose streams"}
_MAIL: Final = ("email", "email-json")


def check(topic: Topic, protocol: str, endpoint: str, *, is_private: bool) -> None:
    """Refuses what cannot be an endpoint. `is_private` is whether it may be in this machine's networks.

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
    elif urlsplit(endpoint).scheme != protocol or not urlsplit(endpoint).hostname:
        raise invalid("Endpoint must match the specified protocol")


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


async def ask_to_confirm(service: "Sns", live: LiveSubscription) -> None:
    """Sends the endpoint what it confirms with."""
    if not live.subscription.is_http:
        service.log.warning("sns.no_mail", subscription=live.subscription.arn, endpoint=live.subscription.endpoint)


async def ask_to_return(service: "Sns", live: LiveSubscription) -> None:
    """Tells an endpoint that it was unsubscribed, and how to come back."""
