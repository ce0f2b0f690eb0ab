"""Topics and subscriptions as they are in memory: who is told of a message is decided without the store."""

from dataclasses import dataclass, field

from lambent.services.sns import filters
from lambent.services.sns.filters import Filter
from lambent.services.sns.lanes import Lane
from lambent.services.sns.messages import Message
from lambent.services.sns.model import Subscription, Topic


@dataclass(slots=True, eq=False)
class LiveSubscription:
    """A subscription, its filter, and the lane of what is on its way to it."""

    subscription: Subscription
    lane: Lane
    filter: Filter | None = None
    is_gone: bool = False
    next_turn: float = 0.0
    """When the next message may be sent, by the clock, where a throttle policy says how many."""

    def __post_init__(self) -> None:
        self.filter = filters.of(self.subscription)

    def become(self, subscription: Subscription) -> None:
        """It was changed."""
        self.subscription = subscription
        self.filter = filters.of(subscription)

    def passes(self, message: Message) -> bool:
        """Whether the message is for it."""
        return self.filter is None or self.filter.passes(message, self.subscription.protocol)


@dataclass(slots=True, eq=False)
class Returning:
    """Subscriptions that were ended and may come back, by the token that their endpoints were told. As long as the node
    runs, the last ones.
    """

    most: int = 1_000
    _by_token: dict[str, Subscription] = field(default_factory=dict)

    def keep(self, subscription: Subscription) -> None:
        """It was ended."""
        self._by_token[subscription.token] = subscription
        while len(self._by_token) > self.most:
            del self._by_token[next(iter(self._by_token))]

    def take(self, token: str) -> Subscription | None:
        """The subscription of a token, which is no longer among these then."""
        return self._by_token.pop(token, None)


@dataclass(slots=True, eq=False)
class LiveTopic:
    """A topic and its subscriptions, in the order in which they were made."""

    topic: Topic
    subscriptions: dict[int, LiveSubscription] = field(default_factory=dict)
    is_gone: bool = False
