"""What is kept of a metric's values in one period: how many, their sum, their extremes, and how they are spread. Pure.

The spread is a histogram whose bucket borders grow by 2 %. Each bucket has the number and the sum of its values, so a
percentile is the mean of a bucket: at most 2 % from the exact value, and exact where the values of a bucket are equal,
as counts are. Distributions merge without any further loss.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

Buckets = Mapping[int, tuple[float, float]]
"""Number and sum of values, by bucket."""

_GROWTH: Final = math.log(1.02)
_ZERO: Final = -(2**31)  # the bucket of the value 0, below all others


@dataclass(frozen=True, slots=True)
class Distribution:
    """The values of one period. `buckets` is None where their spread is not known, or some are negative."""

    count: float
    total: float
    minimum: float
    maximum: float
    buckets: Buckets | None

    @classmethod
    def of(cls, values: Mapping[float, float]) -> "Distribution":
        """The distribution of values, each with how often it was there."""
        buckets: dict[int, tuple[float, float]] | None = {}
        for value, weight in values.items():
            if value < 0 or buckets is None:
                buckets = None
                break
            at = _ZERO if value == 0 else math.ceil(math.log(value) / _GROWTH)
            count, total = buckets.get(at, (0.0, 0.0))
            buckets[at] = (count + weight, total + value * weight)
        total = math.fsum(value * weight for value, weight in values.items())
        return cls(math.fsum(values.values()), total, min(values), max(values), buckets)

    @classmethod
    def summed_up(cls, *, count: float, total: float, minimum: float, maximum: float) -> "Distribution":
        """The distribution behind a statistic set: its spread is known only where all values are equal."""
        if count > 0 and (count == 1 or minimum == maximum):
            return cls.of({maximum if count != 1 else total: count})
        return cls(count, total, minimum, maximum, None)

    @classmethod
    def merged(cls, parts: Iterable["Distribution"]) -> "Distribution":
        """All the values of some distributions, of which there is at least one."""
        parts = list(parts)
        if len(parts) == 1:
            return parts[0]
        buckets: dict[int, tuple[float, float]] | None = {}
        for part in parts:
            if part.buckets is None or buckets is None:
                buckets = None
                break
            for at, (count, total) in part.buckets.items():
                before = buckets.get(at, (0.0, 0.0))
                buckets[at] = (before[0] + count, before[1] + total)
        return cls(
            math.fsum(part.count for part in parts),
            math.fsum(part.total for part in parts),
            min(part.minimum for part in parts),
            max(part.maximum for part in parts),
            buckets,
        )

    def ascending(self) -> Iterator[tuple[float, float]]:
        """(value, how often) of each bucket, the smallest value first. Nothing where the spread is not known."""
        for _at, (count, total) in sorted((self.buckets or {}).items()):
            yield min(max(total / count, self.minimum), self.maximum), count
