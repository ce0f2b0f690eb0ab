"""What a statistic's name asks for, and its value of a distribution. Pure.

Source: CloudWatch User Guide, "CloudWatch statistics definitions".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lambent.services.cloudwatch.distribution import Distribution

Statistic = Callable[[Distribution], float | None]
"""The value, or None where there is none: percentiles need to know how the values are spread."""

_SIMPLE: Final[dict[str, Statistic]] = {
    "SampleCount": lambda values: values.count,
    "Average": lambda values: values.total / values.count if values.count else None,
    "Sum": lambda values: values.total,
    "Minimum": lambda values: values.minimum,
    "Maximum": lambda values: values.maximum,
}
_NUMBER: Final = r"\d{1,15}(?:\.\d{1,10})?"
_UP_TO: Final = re.compile(rf"(p|tm|wm|tc|ts)({_NUMBER})", re.ASCII)
_BETWEEN: Final = re.compile(rf"(TM|WM|TC|TS|PR)\((?:({_NUMBER})(%?))?:(?:({_NUMBER})(%?))?\)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Range:
    """Which values count: those above `low` and not above `high`, as values or as percentages of all values."""

    low: float | None
    high: float | None
    is_percent: bool


@lru_cache(1024)
def statistic(name: str) -> Statistic | None:
    """What computes the statistic of that name, such as `Sum`, `p99.9` or `TM(10%:90%)`; None if there is none."""
    if name in _SIMPLE:
        return _SIMPLE[name]
    if name == "IQM":
        return _over(_Range(25, 75, True), _mean)
    found = _UP_TO.fullmatch(name)
    if found:
        kind, number = found[1], float(found[2])
        if number > 100:
            return None
        if kind == "p":
            return lambda values: percentile(values, number)
        return _KINDS[kind.upper()](_Range(None, number, True))
    return _between(name)


def extended_only(name: str) -> Statistic | None:
    """As `statistic`, without the five simple ones."""
    return None if name in _SIMPLE else statistic(name)


def percentile(values: Distribution, percent: float) -> float | None:
    """The smallest value that so many percent of the values do not exceed."""
    if not values.buckets:
        return None
    if percent <= 0:
        return values.minimum
    wanted, seen = values.count * percent / 100, 0.0
    for value, count in values.ascending():
        seen += count
        if seen >= wanted * (1 - 1e-12):  # sums of floats
            return value
    return values.maximum


def _between(name: str) -> Statistic | None:
    found = _BETWEEN.fullmatch(name)
    if found is None:
        return None
    kind, low, low_percent, high, high_percent = found.groups()
    signs = {sign for number, sign in ((low, low_percent), (high, high_percent)) if number is not None}
    if len(signs) != 1:  # neither bound, or a percentage and a value
        return None
    limits = _Range(None if low is None else float(low), None if high is None else float(high), signs == {"%"})
    if limits.is_percent and (kind == "PR" or max(limits.low or 0, limits.high or 0) > 100):
        return None
    if limits.low is not None and limits.high is not None and limits.low >= limits.high:
        return None
    return _KINDS[kind](limits)


def _over(limits: _Range, compute: "Callable[[_Range, Distribution], float | None]") -> Statistic:
    return lambda values: compute(limits, values) if values.buckets else None


def _within(limits: _Range, values: Distribution) -> list[tuple[float, float]]:
    """(value, how often) of what is between the limits; a bucket at a percentage counts in part."""
    if not limits.is_percent:
        low = -1.0 if limits.low is None else limits.low
        high = values.maximum if limits.high is None else limits.high
        return [(value, count) for value, count in values.ascending() if low < value <= high]
    begin = values.count * (limits.low or 0) / 100
    end = values.count * (100 if limits.high is None else limits.high) / 100
    found, seen = [], 0.0
    for value, count in values.ascending():
        part = min(seen + count, end) - max(seen, begin)
        if part > 0:
            found.append((value, part))
        seen += count
    return found


def _mean(limits: _Range, values: Distribution) -> float | None:
    inside = _within(limits, values)
    count = sum(count for _value, count in inside)
    return sum(value * count for value, count in inside) / count if count else None


def _winsorized(limits: _Range, values: Distribution) -> float | None:
    """The mean where values outside of the limits stand at the limits."""
    low, high = limits.low, limits.high
    if limits.is_percent:
        low = None if low is None else percentile(values, low)
        high = None if high is None else percentile(values, high)
    bottom = values.minimum if low is None else low
    top = values.maximum if high is None else high
    return sum(min(max(value, bottom), top) * count for value, count in values.ascending()) / values.count


def _count(limits: _Range, values: Distribution) -> float | None:
    return sum(count for _value, count in _within(limits, values))


def _sum(limits: _Range, values: Distribution) -> float | None:
    return sum(value * count for value, count in _within(limits, values))


def _rank(limits: _Range, values: Distribution) -> float | None:
    """How many percent of the values are between the limits."""
    return 100 * sum(count for _value, count in _within(limits, values)) / values.count


_KINDS: Final[dict[str, Callable[[_Range], Statistic]]] = {
    "TM": lambda limits: _over(limits, _mean),
    "WM": lambda limits: _over(limits, _winsorized),
    "TC": lambda limits: _over(limits, _count),
    "TS": lambda limits: _over(limits, _sum),
    "PR": lambda limits: _over(limits, _rank),
}
