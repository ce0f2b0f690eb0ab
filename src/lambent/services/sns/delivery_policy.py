"""When a delivery is tried again: the phases of a delivery policy. Pure.

At once, then at the shortest interval, then with a growing one, then at the longest.

Source: Amazon SNS Developer Guide, "Amazon SNS message delivery retries"; facts sheet B7.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from lambent.aws.errors import ApiError
from lambent.services.sns.model import Subscription, Topic, invalid

MAX_RETRIES: Final = 100
MAX_DELAY_S: Final = 3_600
_FUNCTIONS: Final = ("linear", "arithmetic", "geometric", "exponential")
_NUMBERS: Final = {
    "minDelayTarget": "min_s",
    "maxDelayTarget": "max_s",
    "numRetries": "retries",
    "numMaxDelayRetries": "at_max",
    "numNoDelayRetries": "at_once",
    "numMinDelayRetries": "at_min",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when, in seconds. `retries` are all of them; what no phase claims is the growing one's."""

    min_s: int = 20
    max_s: int = 20
    retries: int = 3
    at_once: int = 0
    at_min: int = 0
    at_max: int = 0
    function: str = "linear"

    def wait_s(self, failures: int) -> float | None:
        """How long to wait after so many attempts, all of which failed; None is for ever."""
        number = failures - 1  # of the retry, from 0
        if number >= self.retries:
            return None
        if number < self.at_once:
            return 0.0
        number -= self.at_once
        if number < self.at_min:
            return float(self.min_s)
        number -= self.at_min
        growing = self.retries - self.at_once - self.at_min - self.at_max
        if number >= growing:
            return float(self.max_s)
        return self._grown(number, growing)

    def _grown(self, number: int, of: int) -> float:
        span = self.max_s - self.min_s
        part = number / (of - 1) if of > 1 else 0.0
        match self.function:
            case "arithmetic":  # each step is longer than the one before by the same amount
                return self.min_s + span * part * (number + 1) / of
            case "geometric":
                return float(self.min_s * (self.max_s / self.min_s) ** part)
            case "exponential":
                return min(float(self.max_s), self.min_s * 2.0 ** min(number, 32))
            case _:
                return self.min_s + span * part

    def shown(self) -> dict[str, Any]:
        """As a healthyRetryPolicy."""
        return {
            "minDelayTarget": self.min_s,
            "maxDelayTarget": self.max_s,
            "numRetries": self.retries,
            "numMaxDelayRetries": self.at_max,
            "numNoDelayRetries": self.at_once,
            "numMinDelayRetries": self.at_min,
            "backoffFunction": self.function,
        }


HTTP: Final = Retry()
MANAGED: Final = Retry(min_s=1, max_s=20, retries=100_015, at_once=3, at_min=2, at_max=100_000, function="exponential")
"""Of what AWS runs itself: queues and functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a topic or a subscription says of deliveries over HTTP."""

    retry: Retry = HTTP
    most_per_second: int | None = None
    content_type: str = "text/plain; charset=UTF-8"


def of_subscription(topic: Topic, subscription: Subscription) -> Policy:
    """The policy that holds: the subscription's, where the topic lets it, over the topic's, over the default."""
    found, http = Policy(), topic.json("DeliveryPolicy").get("http", {})
    found = _with(found, http, "default")
    if http.get("disableSubscriptionOverrides"):
        return found
    return _with(found, subscription.json("DeliveryPolicy"), "")


def _with(policy: Policy, given: dict[str, Any], prefix: str) -> Policy:
    """`prefix` is of the members' names: those of topics begin with `default`."""

    def member(name: str) -> dict[str, Any]:
        return given.get(f"{prefix}{name[0].upper()}{name[1:]}" if prefix else name) or {}

    healthy, throttle, request = member("healthyRetryPolicy"), member("throttlePolicy"), member("requestPolicy")
    if healthy:
        numbers = {ours: healthy[theirs] for theirs, ours in _NUMBERS.items() if theirs in healthy}
        retry = Retry(**numbers, function=healthy.get("backoffFunction", "linear"))
        policy = replace(policy, retry=retry)
    return replace(
        policy,
        most_per_second=throttle.get("maxReceivesPerSecond") or policy.most_per_second,
        content_type=request.get("headerContentType") or policy.content_type,
    )


def effective_of_topic(topic: Topic) -> str:
    """EffectiveDeliveryPolicy of a topic."""
    http = topic.json("DeliveryPolicy").get("http", {})
    policy = _with(Policy(), http, "default")
    shown: dict[str, Any] = {
        "defaultHealthyRetryPolicy": policy.retry.shown(),
        "disableSubscriptionOverrides": bool(http.get("disableSubscriptionOverrides")),
    }
    if policy.most_per_second:
        shown["defaultThrottlePolicy"] = {"maxReceivesPerSecond": policy.most_per_second}
    shown["defaultRequestPolicy"] = {"headerContentType": policy.content_type}
    return msgspec.json.encode({"http": shown}).decode()


def effective_of_subscription(topic: Topic, subscription: Subscription) -> str:
    """EffectiveDeliveryPolicy of a subscription over HTTP."""
    policy = of_subscription(topic, subscription)
    throttle = {"maxReceivesPerSecond": policy.most_per_second} if policy.most_per_second else None
    shown = {
        "healthyRetryPolicy": policy.retry.shown(),
        "sicklyRetryPolicy": None,
        "throttlePolicy": throttle,
        "requestPolicy": {"headerContentType": policy.content_type},
        "guaranteed": False,
    }
    return msgspec.json.encode(shown).decode()


def check(text: str, *, of_topic: bool) -> None:
    """Refuses what is no delivery policy.

    Raises:
        ApiError: InvalidParameter.
    """
    given = _decoded(text)
    if of_topic:
        if given.keys() - {"http"} or not isinstance(given.get("http", {}), dict):
            raise _wrong("unexpected member")
        given = given.get("http", {})
        known = {"defaultHealthyRetryPolicy", "disableSubscriptionOverrides", "defaultThrottlePolicy"}
        _check_members(given, known | {"defaultRequestPolicy", "defaultSicklyRetryPolicy"})
        given = {f"{name[7].lower()}{name[8:]}": value for name, value in given.items() if name.startswith("default")}
    else:
        known = {"healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy", "guaranteed"}
        _check_members(given, known)
    _check_retry(given.get("healthyRetryPolicy"))
    throttle = given.get("throttlePolicy") or {}
    most = throttle.get("maxReceivesPerSecond") if isinstance(throttle, dict) else 0
    if most is not None and (not isinstance(most, int) or most < 1):
        raise _wrong("maxReceivesPerSecond must be greater than or equal to 1")


def _decoded(text: str) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise _wrong("failed to parse JSON.")
    return given


def _check_members(given: dict[str, Any], known: set[str]) -> None:
    if surplus := sorted(given.keys() - known):
        raise _wrong(f"unexpected member {surplus[0]}")


def _check_retry(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, dict):
        raise _wrong("healthyRetryPolicy must be an object")
    _check_members(given, {*_NUMBERS, "backoffFunction"})
    for name in _NUMBERS:
        value = given.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _wrong(f"{name} must be a number greater than or equal to 0")
    if given.get("backoffFunction", "linear") not in _FUNCTIONS:
        raise _wrong(f"backoffFunction must be one of {', '.join(_FUNCTIONS)}")
    retry = Retry(**{ours: given[theirs] for theirs, ours in _NUMBERS.items() if theirs in given})
    if retry.retries > MAX_RETRIES:
        raise _wrong(f"numRetries must be less than or equal to {MAX_RETRIES}")
    if not 1 <= retry.min_s <= retry.max_s <= MAX_DELAY_S:
        raise _wrong(f"1 <= minDelayTarget <= maxDelayTarget <= {MAX_DELAY_S} must hold")
    if retry.at_once + retry.at_min + retry.at_max > retry.retries:
        raise _wrong("numNoDelayRetries + numMinDelayRetries + numMaxDelayRetries must not exceed numRetries")


def _wrong(reason: str) -> ApiError:
    return invalid(f"DeliveryPolicy: {reason}")
