"""Whether a queue or a function lets a topic in, by its own policy.

A function needs a policy that allows the topic (AddPermission). A queue that has a policy is asked, too; one without
any takes what a topic of its own account sends, as everybody may send to it while any credentials are taken.

Source: Amazon SNS Developer Guide, "Fanout to Amazon SQS queues" and "Fanout to Lambda functions".
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from lambent.aws import policy
from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Call
from lambent.eventing.sources.sqs import queue_url
from lambent.services.sns.model import Subscription

_SERVICE: Final = "sns.amazonaws.com"
_SENDER: Final = "AIDAIT2UOQQY3AUEKVGXU"  # SNS's own id, as queues see it
_CACHED: Final = 4_096
_KNOWN_S: Final = 1.0  # changes of policies take longer on AWS


@dataclass(slots=True, eq=False)
class Permits:
    """Which endpoints let their topic in a moment ago: they are not asked again for each message."""

    clock: Clock
    _until: dict[int, float] = field(default_factory=dict)

    def is_known(self, subscription: Subscription) -> bool:
        """Whether the endpoint was asked within the last second."""
        return self._until.get(subscription.id, 0.0) > self.clock.now()

    def keep(self, subscription: Subscription) -> None:
        """The endpoint lets the topic in."""
        if len(self._until) >= _CACHED:
            self._until.clear()
        self._until[subscription.id] = self.clock.now() + _KNOWN_S


def sender(target: Arn, trace_header: str | None = None) -> Caller:
    """SNS as who asks the service of a target."""
    return Caller(
        account=target.account,
        region=target.region,
        principal=_SERVICE,
        user_id=_SENDER,
        trace_header=trace_header,
    )


async def check_function(call: Call, function: Arn, topic_arn: str) -> None:
    """Returns when the function lets the topic invoke it.

    Raises:
        ApiError: AccessDeniedException; what Lambda says of a function that is not there.
    """
    name = {"FunctionName": str(function)}
    try:
        document = (await call("lambda", "GetPolicy", name, caller=sender(function)))["Policy"]
    except ApiError as error:
        if error.code != "ResourceNotFoundException":
            raise
        await call("lambda", "GetFunctionConfiguration", name, caller=sender(function))
        document = ""
    if denied := _denied(document, "lambda:InvokeFunction", str(function), topic_arn):
        raise ApiError("AccessDeniedException", denied)


async def check_queue(call: Call, queue: Arn, topic_arn: str) -> None:
    """Returns when the queue lets the topic send to it.

    Raises:
        ApiError: AccessDenied; what SQS says of a queue that is not there.
    """
    asked = {"QueueUrl": queue_url(queue), "AttributeNames": ["Policy"]}
    answer = await call("sqs", "GetQueueAttributes", asked, caller=sender(queue))
    document = (answer.get("Attributes") or {}).get("Policy", "")
    if not document and Arn.parse(topic_arn).account == queue.account:
        return
    if denied := _denied(document, "sqs:SendMessage", str(queue), topic_arn):
        raise ApiError("AccessDenied", denied)


@lru_cache(maxsize=_CACHED)
def _denied(document: str, action: str, resource: str, topic_arn: str) -> str:
    """Why a policy (empty: none) does not let the topic in; empty when it does."""
    account = Arn.parse(topic_arn).account
    context: dict[str, policy.Value] = {"aws:SourceArn": topic_arn, "aws:SourceAccount": account}
    asked = policy.Request(
        action=action, resource=resource, principal=policy.Principal.service(_SERVICE), context=context
    )
    try:
        documents = [policy.decode(document, "resource")] if document else []
        decision = policy.evaluate(asked, identity=(), resource=documents)
    except policy.MalformedPolicyError as error:
        return f"The policy of {resource} cannot be read: {error}"
    return "" if decision.allowed else policy.denial(asked, decision)
