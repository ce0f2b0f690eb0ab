"""Filter policies: which messages a subscription is given. Pure.

The grammar is that of event patterns. With the scope MessageAttributes it is asked of the message's attributes, with
MessageBody of the body, which then has to be the JSON of an object.

Source: Amazon SNS Developer Guide, "Amazon SNS message filtering" and "Filter policy constraints"; facts sheet B6.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from lambent.aws import patterns
from lambent.aws.errors import ApiError
from lambent.aws.patterns import Pattern, PatternError
from lambent.services.sns.message_attributes import ARRAY
from lambent.services.sns.messages import Message
from lambent.services.sns.model import MESSAGE_ATTRIBUTES, MESSAGE_BODY, Subscription, invalid

MAX_NAMES: Final = 5
MAX_COMBINATIONS: Final = 150
MAX_FILTER_BYTES: Final = 262_144
_MOST: Final = 10**9  # of a number, in both directions
_DIGITS: Final = 5  # behind the point
_OR: Final = "$or"
_SCOPES: Final = (MESSAGE_ATTRIBUTES, MESSAGE_BODY)


@dataclass(frozen=True, slots=True)
class Filter:
    """A policy that was understood."""

    pattern: Pattern
    is_of_body: bool

    def passes(self, message: Message, protocol: str) -> bool:
        """Whether a subscription with this protocol is given the message."""
        if not self.is_of_body:
            return self.pattern.matches(_values(message))
        try:
            body = msgspec.json.decode(message.body_for(protocol))
        except (msgspec.DecodeError, RecursionError):
            return False
        return isinstance(body, dict) and self.pattern.matches(body)


def of(subscription: Subscription) -> Filter | None:
    """The subscription's filter; None when everything passes."""
    text = subscription.filter_policy
    return Filter(patterns.compile(text), subscription.filter_scope == MESSAGE_BODY) if text else None


def _values(message: Message) -> dict[str, Any]:
    """The attributes as an event. Binary ones are none."""
    found: dict[str, Any] = {}
    for name, value in message.attributes.items():
        kind, text = value["DataType"], value.get("StringValue")
        if text is None:
            continue
        if kind == ARRAY:
            found[name] = msgspec.json.decode(text)
        elif kind.startswith("Number"):
            number = Decimal(text)
            found[name] = int(number) if number == number.to_integral_value() else float(number)
        else:
            found[name] = text
    return found


# --- before it is kept


def check_scope(scope: str) -> None:
    """Raises ApiError InvalidParameter for another scope than there is."""
    if scope not in _SCOPES:
        raise invalid(f"FilterPolicyScope: Invalid value [{scope}]. Please use either MessageBody or MessageAttributes")


def check(text: str, scope: str) -> None:
    """Refuses what cannot be a filter policy. An empty one takes the filter away.

    Raises:
        ApiError: InvalidParameter.
    """
    if len(text.encode()) > MAX_FILTER_BYTES:
        raise _wrong("Filter policy is too large")
    try:
        policy = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise _wrong("failed to parse JSON.") from None
    if not isinstance(policy, dict):
        raise _wrong("Filter policy must be a JSON object")
    if not policy:
        return
    if scope == MESSAGE_ATTRIBUTES and _is_nested(policy):
        raise _wrong("Filter policy scope MessageAttributes does not support nested filter policy")
    try:
        patterns.compile(text)
    except PatternError as error:
        raise _wrong(str(error)) from None
    if len(set(_names(policy))) > MAX_NAMES:
        raise _wrong(f"Filter policy can not have more than {MAX_NAMES} keys")
    if _combinations(policy, 1 if scope == MESSAGE_BODY else 0) > MAX_COMBINATIONS:
        raise _wrong("Filter policy is too complex")
    for number in _numbers(policy):
        if abs(number) > _MOST or round(number, _DIGITS) != number:
            raise _wrong(f"Numbers must be from -{_MOST} to {_MOST}, with {_DIGITS} digits behind the point")


def _alternatives(name: str, value: Any) -> list[dict[str, Any]]:
    """Those of an `$or`; none of anything else."""
    is_or = name == _OR and isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return value if is_or else []


def _is_nested(policy: dict[str, Any]) -> bool:
    return any(
        any(map(_is_nested, alternatives)) if (alternatives := _alternatives(name, value)) else isinstance(value, dict)
        for name, value in policy.items()
    )


def _names(policy: dict[str, Any]) -> Iterator[str]:
    for name, value in policy.items():
        alternatives = _alternatives(name, value)
        if not alternatives:
            yield name
        for each in alternatives:
            yield from _names(each)


def _combinations(policy: dict[str, Any], depth: int) -> int:
    """The product of the lists' lengths, each times how deep it is (of bodies); the sum of what `$or` has."""
    found = 1
    for name, value in policy.items():
        if alternatives := _alternatives(name, value):
            found *= sum(_combinations(each, depth) for each in alternatives)
        elif isinstance(value, dict):
            found *= _combinations(value, depth + 1 if depth else 0)
        else:
            found *= len(value) * max(depth, 1)
    return found


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _wrong(reason: str) -> ApiError:
    return invalid(f"FilterPolicy: {reason}")
