"""How a part of the platform says what CloudWatch shows: a number, a name, and what it is of.

Recording costs no I/O: whoever keeps the numbers (`services.cloudwatch`) buffers them.
"""

from collections.abc import Callable
from typing import NamedTuple

Dimensions = tuple[tuple[str, str], ...]
"""Name and value of each dimension, in AWS's order."""


class Metric(NamedTuple):
    """One value of a metric, under each of some sets of dimensions. `at_ms` is now unless given."""

    name: str
    value: float
    dimensions: tuple[Dimensions, ...] = ((),)
    unit: str = "Count"
    at_ms: int | None = None
    namespace: str = "AWS/Lambda"


Record = Callable[[tuple[str, str], Metric], None]
"""Takes one value, of an account and a region."""


def record_nothing(scope: tuple[str, str], metric: Metric) -> None:
    """For what runs without anybody to show it to."""
