"""Metrics, their data, and the rules for asking for it. Pure.

Source: CloudWatch API Reference and User Guide, "Metrics concepts"; the words of errors as callers report them.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from lambent.aws.caller import Scope
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.observe.metrics import Dimensions
from lambent.services.cloudwatch.distribution import Distribution

DAY_S: Final = 86_400
Kept = Literal[60, 300, 3600]
"""How long the periods are, in seconds, in which data is kept."""
TIERS: Final[tuple[tuple[Kept, int], ...]] = ((60, 15 * DAY_S), (300, 63 * DAY_S), (3600, 455 * DAY_S))
"""How old data may be, in seconds, by the length of the period that it is kept in."""
LISTED_S: Final = 14 * DAY_S
"""ListMetrics shows what had data in the last two weeks."""
RECENT_S: Final = 3 * 3600
_SUB_MINUTE: Final = (1, 5, 10, 20, 30)


class Series(NamedTuple):
    """A metric: what data points belong to. `dimensions` are in the order of their names."""

    scope: Scope
    namespace: str
    name: str
    dimensions: Dimensions

    def to_shape(self) -> Shape:
        dimensions = [{"Name": name, "Value": value} for name, value in self.dimensions]
        return {"Namespace": self.namespace, "MetricName": self.name, "Dimensions": dimensions}


@dataclass(frozen=True, slots=True)
class Point:
    """The values of one unit in one period of a series. `at` is its beginning, in seconds since the epoch."""

    at: int
    period: int
    unit: str
    values: Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Data of a series between two moments, in periods counted from the first; `unit` None takes every unit."""

    series: Series
    start: int
    end: int
    period: int
    unit: str | None = None


def series_of(scope: Scope, shape: Shape) -> Series:
    """The series that a request names.

    Raises:
        ApiError: MissingParameter, when it has no namespace or no name.
    """
    for member in ("Namespace", "MetricName"):
        if member not in shape:
            raise ApiError("MissingParameter", f"The parameter {member} is required.")
    return Series(scope, shape["Namespace"], shape["MetricName"], dimensions_of(shape))


def dimensions_of(shape: Shape) -> Dimensions:
    """The dimensions of a request, in the order of their names."""
    return tuple(sorted((each["Name"], each["Value"]) for each in shape.get("Dimensions", [])))


def dimensions_text(dimensions: Dimensions) -> str:
    """As the store keeps them."""
    return json.dumps(sorted(dimensions), separators=(",", ":"), ensure_ascii=False)


def check_period(period: int, name: str, code: str) -> None:
    """Raises ApiError unless data can be had in such periods."""
    if period in _SUB_MINUTE:
        raise ApiError("NotImplemented", f"{name} {period}: Lambent keeps no data finer than 60 seconds.")
    if period % 60:
        raise ApiError(code, f"The parameter {name} must be a multiple of 60.")


def span(start: datetime, end: datetime, now: float, code: str) -> tuple[int, int]:
    """The moments between which data is wanted: the first rounded down to what is kept of that age.

    Raises:
        ApiError: with that code, when the end is not after the start.
    """
    first, last = start.timestamp(), end.timestamp()
    if first == last:
        raise ApiError(code, "The parameter StartTime must not equal parameter EndTime.")
    if first > last:
        raise ApiError(code, "The parameter StartTime must be less than the parameter EndTime.")
    step = next((period for period, age_s in TIERS if now - first < age_s), TIERS[-1][0])
    begin = math.floor(first / step) * step
    return begin, math.ceil(last)


def aggregated(query: Query, points: Iterable[Point]) -> list[Point]:
    """The points in the periods that were asked for, in order of time, each unit apart."""
    parts: dict[tuple[int, str], list[Distribution]] = defaultdict(list)
    for point in points:
        fits = point.period <= query.period and query.period % point.period == 0
        if fits and query.start <= point.at < query.end and query.unit in (None, point.unit):
            begin = query.start + (point.at - query.start) // query.period * query.period
            parts[begin, point.unit].append(point.values)
    return [Point(at, query.period, unit, Distribution.merged(some)) for (at, unit), some in sorted(parts.items())]


def moment(seconds: float) -> datetime:
    """As the protocol layer wants it."""
    return datetime.fromtimestamp(seconds, UTC)
