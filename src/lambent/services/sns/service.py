"""SNS: topics, and what is published to them on its way to every subscription."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from lambent.clock import Clock
from lambent.dispatch import Call, Handler, Shape
from lambent.observe.log import Log
from lambent.observe.metrics import Metric, Record, record_nothing
from lambent.observe.supervise import supervise
from lambent.services.sns import attempts, endpoints, replays, rows, worker
from lambent.services.sns.api import permissions, protection, publish, subscriptions, tags, topics
from lambent.services.sns.envelope import Beginnings, Seal
from lambent.services.sns.lanes import Deliverer, Lane, OrderedLane
from lambent.services.sns.live import LiveSubscription, LiveTopic, Returning
from lambent.services.sns.model import Subscription, Topic, invalid, no_subscription, no_topic, topic_arn_of
from lambent.services.sns.permits import Permits
from lambent.services.sns.signing import Signer
from lambent.services.sns.status import Status
from lambent.store.database import Database

# Numbers of messages begin with the node's start, which is counted in the store: later ones are higher, whatever the
# clocks say.
_NUMBERS: Final = 40  # bits of a start

_HANDLERS: Final = {
    "AddPermission": permissions.add_permission,
    "ConfirmSubscription": subscriptions.confirm_subscription,
    "CreateTopic": topics.create_topic,
    "DeleteTopic": topics.delete_topic,
    "GetDataProtectionPolicy": protection.get_data_protection_policy,
    "GetSubscriptionAttributes": subscriptions.get_subscription_attributes,
    "GetTopicAttributes": topics.get_topic_attributes,
    "ListSubscriptions": subscriptions.list_subscriptions,
    "ListSubscriptionsByTopic": subscriptions.list_subscriptions_by_topic,
    "ListTagsForResource": tags.list_tags_for_resource,
    "ListTopics": topics.list_topics,
    "Publish": publish.publish,
    "PublishBatch": publish.publish_batch,
    "PutDataProtectionPolicy": protection.put_data_protection_policy,
    "RemovePermission": permissions.remove_permission,
    "SetSubscriptionAttributes": subscriptions.set_subscription_attributes,
    "SetTopicAttributes": topics.set_topic_attributes,
    "Subscribe": subscriptions.subscribe,
    "TagResource": tags.tag_resource,
    "Unsubscribe": subscriptions.unsubscribe,
    "UntagResource": tags.untag_resource,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sns:
    """The service. `load` it before anything else; its `run` must be awaited by whoever made it."""

    database: Database
    folder: Path
    """Where the signing key is."""
    call: Call
    clock: Clock
    log: Log
    endpoint: str
    """The address at which whoever subscribed from within reaches this platform."""
    record: Record = record_nothing
    has_private_endpoints: bool = True
    """Whether HTTP endpoints that are subscribed from outside of functions may be in this machine's networks."""
    topics: dict[str, LiveTopic] = field(default_factory=dict, init=False)
    subscriptions: dict[int, LiveSubscription] = field(default_factory=dict, init=False)
    by_arn: dict[str, LiveSubscription] = field(default_factory=dict, init=False)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Topics and subscriptions are made, changed and deleted one after the other."""
    replaying: set[int] = field(default_factory=set, init=False)
    """Subscriptions whose replay is at work."""
    returning: Returning = field(default_factory=Returning, init=False)
    beginnings: Beginnings = field(default_factory=Beginnings, init=False)
    permits: Permits = field(init=False)
    signer: Signer = field(init=False)
    deliverer: Deliverer = field(init=False)
    status: Status = field(init=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _numbers: list[int] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        attempt = partial(attempts.attempt, self)
        deliverer = Deliverer(database=self.database, clock=self.clock, log=self.log, attempt=attempt)
        object.__setattr__(self, "permits", Permits(self.clock))
        object.__setattr__(self, "signer", Signer(self.folder))
        object.__setattr__(self, "deliverer", deliverer)
        object.__setattr__(self, "status", Status(self.call, self.clock, self.log))

    def operations(self) -> Mapping[str, Handler]:
        return {name: partial(handler, self) for name, handler in _HANDLERS.items()}

    async def load(self) -> None:
        """Learns which topics and subscriptions there are."""

        def change(tx: Connection) -> tuple[int, list[Topic], list[Subscription]]:
            return rows.next_epoch(tx), rows.all_topics(tx), rows.all_subscriptions(tx)

        epoch, found, subscribed = await self.database.write(change)
        self._numbers.append(epoch << _NUMBERS)
        for topic in found:
            self.topics[topic.arn] = LiveTopic(topic)
        for subscription in subscribed:
            self.put(subscription)

    def next_number(self) -> int:
        """A number that is higher than all before."""
        self._numbers[0] += 1
        return self._numbers[0]

    def put(self, subscription: Subscription) -> LiveSubscription:
        """A subscription is committed: new, or changed."""
        live = self.subscriptions.get(subscription.id)
        if live is not None:
            live.become(subscription)
            return live
        topic = self.topics[subscription.topic_arn]
        kind = OrderedLane if topic.topic.is_fifo else Lane
        live = LiveSubscription(subscription, kind(subscription.id, self.deliverer))
        topic.subscriptions[subscription.id] = live
        self.subscriptions[subscription.id] = live
        self.by_arn[subscription.arn] = live
        return live

    def remove(self, live: LiveSubscription) -> None:
        """A subscription is gone."""
        self.subscriptions.pop(live.subscription.id, None)
        self.by_arn.pop(live.subscription.arn, None)
        topic = self.topics.get(live.subscription.topic_arn)
        if topic is not None:
            topic.subscriptions.pop(live.subscription.id, None)
        live.is_gone = True
        live.lane.end()

    def topic(self, arn: str, name: str = "TopicArn") -> LiveTopic:
        """The topic of a parameter.

        Raises:
            ApiError: InvalidParameter, NotFound.
        """
        found = self.topics.get(arn)
        if found is not None:
            return found
        elements = len(arn.split(":"))
        if elements < 6:
            raise invalid(f"{name} Reason: An ARN must have at least 6 elements, not {elements}")
        if topic_arn_of(arn) is None:
            raise invalid(name)
        raise no_topic()

    def subscription(self, params: Shape) -> LiveSubscription:
        """The subscription of SubscriptionArn.

        Raises:
            ApiError: InvalidParameter, NotFound.
        """
        arn: str = params["SubscriptionArn"]
        found = self.by_arn.get(arn)
        if found is not None:
            return found
        elements = len(arn.split(":"))
        if elements < 6:
            raise invalid(f"SubscriptionArn Reason: An ARN must have at least 6 elements, not {elements}")
        raise no_subscription()

    def base_url(self, subscription: Subscription) -> str:
        """Where who subscribed reaches this platform."""
        return subscription.base_url or self.endpoint

    def seal(self, subscription: Subscription) -> Seal:
        """How what this subscription is told is signed. `open_signer` comes first."""
        topic = self.topics[subscription.topic_arn].topic
        url = f"{self.base_url(subscription)}{self.signer.path}"
        return Seal(version=topic.signature_version, sign=self.signer.sign, certificate_url=url)

    async def open_signer(self) -> None:
        """Returns when there is a key."""
        if not self.signer.is_open:
            async with self._opening:
                await asyncio.to_thread(self.signer.open)

    async def certificate(self, path: str) -> bytes | None:
        """The certificate at a path of this platform, as PEM."""
        await self.open_signer()
        return self.signer.certificate if path == self.signer.path else None

    def count(self, topic: Topic, name: str, value: float = 1, unit: str = "Count") -> None:
        """Records a value of a topic's metric."""
        self.record(topic.scope, Metric(name, value, ((("TopicName", topic.name),),), unit, None, "AWS/SNS"))

    async def run(self) -> None:
        """Deliver, and clear away what is old, until cancelled."""

        def lanes(ids: list[int]) -> list[Lane]:
            for live in self.subscriptions.values():
                replays.begin(self, live)
                if not live.subscription.is_confirmed:
                    endpoints.ask_to_confirm(self, live)
            return [self.subscriptions[each].lane for each in ids if each in self.subscriptions]

        work: dict[str, Callable[[], Awaitable[None]]] = {
            "sns.deliver": partial(self.deliverer.run, lanes),
            "sns.clear_away": partial(worker.clear_away, self),
        }
        async with asyncio.TaskGroup() as tasks:
            for name, run in work.items():
                tasks.create_task(supervise(name, run, self.log), name=name)
