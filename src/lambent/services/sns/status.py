"""Delivery status logging: what became of deliveries, as log events of the topic's account.

A topic that names a role for a protocol's successes (a share of them) or failures is told of in the log groups
`sns/REGION/ACCOUNT/TOPIC` and `sns/REGION/ACCOUNT/TOPIC/Failure`.

Source: Amazon SNS Developer Guide, "Amazon SNS message delivery status".
"""

import hashlib
import random
import uuid
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Call
from lambent.observe.log import Log
from lambent.services.sns.envelope import timestamp
from lambent.services.sns.messages import Message
from lambent.services.sns.model import Subscription, Topic

PROTOCOLS: Final = {"http": "HTTP", "https": "HTTP", "sqs": "SQS", "lambda": "Lambda"}
"""How attributes call protocols."""
NAMES: Final = ("HTTP", "SQS", "Lambda", "Application", "Firehose")
_OK: Final = 200


class Told(NamedTuple):
    """What became of a delivery. `failure` is None when it arrived; `answer` is the endpoint's."""

    subscription: Subscription
    message: Message
    attempts: int
    dwell_ms: int
    failure: ApiError | None
    answer: str


@dataclass(slots=True, eq=False)
class Status:
    """Writes to the logs of those topics that ask for it."""

    call: Call
    clock: Clock
    log: Log
    _stream: str = field(default_factory=lambda: str(uuid.uuid4()))
    _there: set[str] = field(default_factory=set)

    async def tell(self, topic: Topic, told: Told) -> None:
        """Writes a log event if the topic asks for one. A log that cannot be written loses it."""
        if not _is_wanted(topic, told):
            return
        suffix = "/Failure" if told.failure else ""
        group = f"sns/{topic.scope.region}/{topic.scope.account}/{topic.name}{suffix}"
        caller = Caller(account=topic.scope.account, region=topic.scope.region, principal="sns.amazonaws.com")
        where = {"logGroupName": group, "logStreamName": self._stream}
        event = {"timestamp": self.clock.now_ms(), "message": _event(told)}
        try:
            if (topic.arn + suffix) not in self._there:
                await self._make("CreateLogGroup", {"logGroupName": group}, caller)
                await self._make("CreateLogStream", where, caller)
                self._there.add(topic.arn + suffix)
            await self.call("logs", "PutLogEvents", {**where, "logEvents": [event]}, caller=caller)
        except ApiError as error:
            self._there.discard(topic.arn + suffix)
            self.log.warning("sns.status_lost", topic=topic.arn, code=error.code)

    async def _make(self, operation: str, params: dict[str, str], caller: Caller) -> None:
        try:
            await self.call("logs", operation, params, caller=caller)
        except ApiError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise


def _is_wanted(topic: Topic, told: Told) -> bool:
    name = PROTOCOLS.get(told.subscription.protocol)
    if told.failure:
        return bool(topic.attributes.get(f"{name}FailureFeedbackRoleArn"))
    if not topic.attributes.get(f"{name}SuccessFeedbackRoleArn"):
        return False
    share = int(topic.attributes.get(f"{name}SuccessFeedbackSampleRate") or 0)
    return random.random() * 100 < share


def _event(told: Told) -> str:
    message = told.message
    body = message.body_for(told.subscription.protocol)
    delivery = {
        "deliveryId": str(uuid.uuid4()),
        "destination": told.subscription.endpoint,
        "providerResponse": told.failure.message if told.failure else told.answer,
        "dwellTimeMs": told.dwell_ms,
        "attempts": told.attempts,
        "statusCode": told.failure.members.get("status", 400) if told.failure else _OK,
    }
    notification = {
        "messageMD5Sum": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "messageId": message.message_id,
        "topicArn": message.topic_arn,
        "timestamp": timestamp(message.published_ms),
    }
    status = "FAILURE" if told.failure else "SUCCESS"
    return msgspec.json.encode({"notification": notification, "delivery": delivery, "status": status}).decode()
