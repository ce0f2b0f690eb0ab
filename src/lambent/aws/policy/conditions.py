"""Conditions: the operators of a statement's Condition element, over the values that a request brings.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final

from lambent.aws.policy import wildcards
from lambent.aws.policy.malformed import MalformedPolicyError

Value = str | bool | int | list[str]
Context = Mapping[str, tuple[str, ...]]
"""What is known of a request: values by key, the keys in lower case."""

Test = Callable[[str, str, wildcards.Lookup | None], bool]
"""Whether a request's value (first) is as a policy's value (second) says."""

_SETS: Final = ("ForAllValues:", "ForAnyValue:")
_IF_EXISTS: Final = "IfExists"
_LONGEST_NUMBER: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One operator with one key: `operator` without its prefix and suffix."""

    operator: str
    key: str
    values: tuple[str, ...]
    over: str  # "ForAllValues:", "ForAnyValue:" or ""
    if_exists: bool


def context_of(values: Mapping[str, Value]) -> dict[str, tuple[str, ...]]:
    """A request's values as conditions see them."""
    return {key.lower(): _texts(value) for key, value in values.items()}


def _texts(value: Value) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list) else (_text(value),)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def read(element: Any) -> tuple[Condition, ...]:
    """The conditions in a statement's Condition element.

    Raises:
        MalformedPolicyError: it is none, or has an operator that nobody knows.
    """
    if not isinstance(element, Mapping):
        raise MalformedPolicyError
    found = []
    for operator, keys in element.items():
        if not isinstance(keys, Mapping):
            raise MalformedPolicyError
        over = next((prefix for prefix in _SETS if operator.lower().startswith(prefix.lower())), "")
        name = operator[len(over) :]
        if_exists = name.lower().endswith(_IF_EXISTS.lower())
        known = _NAMES.get((name[: -len(_IF_EXISTS)] if if_exists else name).lower())
        if known is None or (known == "Null" and (if_exists or over)):
            raise MalformedPolicyError(f"Invalid Condition type : {operator}.")
        for key, values in keys.items():
            texts = _read_values(values)
            found.append(Condition(operator=known, key=key.lower(), values=texts, over=over, if_exists=if_exists))
    return tuple(found)


def _read_values(values: Any) -> tuple[str, ...]:
    listed = values if isinstance(values, list) else [values]
    if not all(isinstance(value, str | bool | int | float) for value in listed):
        raise MalformedPolicyError
    return tuple(map(_text, listed))


def hold(conditions: Sequence[Condition], context: Context, *, has_variables: bool) -> bool:
    """Whether all of them are true for a request."""
    lookup = partial(variable, context) if has_variables else None
    return all(_holds(condition, context.get(condition.key), lookup) for condition in conditions)


def variable(context: Context, name: str) -> str | None:
    """The value of a policy variable: none where there are several."""
    values = context.get(name.lower(), ())
    return values[0] if len(values) == 1 else None


def _holds(condition: Condition, values: tuple[str, ...] | None, lookup: wildcards.Lookup | None) -> bool:
    if condition.operator == "Null":
        return any((not values) == (wanted.lower() == "true") for wanted in condition.values)
    if not values and condition.if_exists:
        return True
    test, is_negated = _OPERATORS[condition.operator]

    def satisfied(value: str) -> bool:
        return any(test(value, wanted, lookup) for wanted in condition.values) != is_negated

    if condition.over == "ForAllValues:":
        return all(map(satisfied, values or ()))
    if not values:
        return is_negated and not condition.over
    # Without a set operator, several values count as one that has all of them.
    return all(map(satisfied, values)) if is_negated and not condition.over else any(map(satisfied, values))


# --- what the operators compare


def _equals(value: str, wanted: str, lookup: wildcards.Lookup | None) -> bool:
    pattern = wildcards.compiled(wanted, lookup, wildcards=False)
    return pattern is not None and wildcards.matches(pattern, value)


def _equals_ignoring_case(value: str, wanted: str, lookup: wildcards.Lookup | None) -> bool:
    pattern = wildcards.compiled(wanted, lookup, wildcards=False)
    return pattern is not None and "".join(map(str, pattern)).lower() == value.lower()


def _like(value: str, wanted: str, lookup: wildcards.Lookup | None) -> bool:
    pattern = wildcards.compiled(wanted, lookup)
    return pattern is not None and wildcards.matches(pattern, value)


def _arn_like(value: str, wanted: str, lookup: wildcards.Lookup | None) -> bool:
    pattern = wildcards.compiled(wanted, lookup)
    return pattern is not None and wildcards.arn_matches(pattern, value)


def _numbers(compare: Callable[[Decimal, Decimal], bool], value: str, wanted: str, _: wildcards.Lookup | None) -> bool:
    first, second = _number(value), _number(wanted)
    return first is not None and second is not None and compare(first, second)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text) if len(text) <= _LONGEST_NUMBER else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _dates(compare: Callable[[Decimal, Decimal], bool], value: str, wanted: str, _: wildcards.Lookup | None) -> bool:
    first, second = _date(value), _date(wanted)
    return first is not None and second is not None and compare(first, second)


_DIGITS: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _date(text: str) -> Decimal | None:
    """Seconds since the epoch: of such a number, or of a date in one of ISO 8601's forms (W3C)."""
    if _DIGITS.fullmatch(text):
        return Decimal(text)
    try:
        moment = datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return Decimal(repr((aware - _EPOCH).total_seconds()))
    except (ValueError, OverflowError):
        return None


def _bool(value: str, wanted: str, _: wildcards.Lookup | None) -> bool:
    return value.lower() == wanted.lower() and wanted.lower() in ("true", "false")


def _binary(value: str, wanted: str, _: wildcards.Lookup | None) -> bool:
    try:
        return base64.b64decode(value, validate=True) == base64.b64decode(wanted, validate=True)
    except (binascii.Error, ValueError):
        return False


def _address(value: str, wanted: str, _: wildcards.Lookup | None) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


_COMPARISONS: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    "Equals": Decimal.__eq__,
    "LessThan": Decimal.__lt__,
    "LessThanEquals": Decimal.__le__,
    "GreaterThan": Decimal.__gt__,
    "GreaterThanEquals": Decimal.__ge__,
}

# What an operator compares, and whether it is true where nothing compares.
_OPERATORS: Final[dict[str, tuple[Test, bool]]] = {
    "StringEquals": (_equals, False),
    "StringNotEquals": (_equals, True),
    "StringEqualsIgnoreCase": (_equals_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_equals_ignoring_case, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "Bool": (_bool, False),
    "BinaryEquals": (_binary, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "ArnEquals": (_arn_like, False),
    "ArnLike": (_arn_like, False),
    "ArnNotEquals": (_arn_like, True),
    "ArnNotLike": (_arn_like, True),
    **{f"Numeric{name}": (partial(_numbers, compare), False) for name, compare in _COMPARISONS.items()},
    **{f"Date{name}": (partial(_dates, compare), False) for name, compare in _COMPARISONS.items()},
    "NumericNotEquals": (partial(_numbers, Decimal.__eq__), True),
    "DateNotEquals": (partial(_dates, Decimal.__eq__), True),
}
_NAMES: Final = {name.lower(): name for name in (*_OPERATORS, "Null")}
