"""Deliveries to Lambda functions: an event each, invoked asynchronously. What becomes of it then is Lambda's matter.

Source: Amazon SNS Developer Guide, "Fanout to Lambda functions".
"""

from typing import TYPE_CHECKING

from lambent.aws.arn import Arn
from lambent.services.sns import envelope, permits
from lambent.services.sns.messages import Message
from lambent.services.sns.model import Subscription

if TYPE_CHECKING:
    from lambent.services.sns.service import Sns


async def send(service: "Sns", subscription: Subscription, message: Message) -> str:
    """Invokes the subscription's function; returns when Lambda has the event on disk.

    Raises:
        ApiError: the function is not there, does not let the topic in, or Lambda does not take the event.
    """
    function = Arn.parse(subscription.endpoint)
    if not service.permits.is_known(subscription):
        await permits.check_function(service.call, function, subscription.topic_arn)
        service.permits.keep(subscription)
    payload = envelope.event(message, subscription, service.base_url(subscription), service.seal(subscription))
    asked = {"FunctionName": subscription.endpoint, "InvocationType": "Event", "Payload": payload}
    await service.call("lambda", "Invoke", asked, caller=permits.sender(function, message.trace_header))
    return ""
