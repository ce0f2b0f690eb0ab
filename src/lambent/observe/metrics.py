"""How a part of the platform says what CloudWatch shows: a number, a name, and what it is of.

Recording costs no I/O: whoever keeps the numbers (`services.cloudwatch`) buffers them.
"""

from collections.abc import Callable, Iterator

import msgspec

Dimensions = tuple[tuple[str, str], ...]
"""Name and value of each dimension, in AWS's order."""


class Metric(msgspec.Struct, frozen=True):
    """One value of a metric, under each of some sets of dimensions. `at_ms` is now unless given.

    What is measured at one moment of one thing may be said at once, which costs as much as one value: `name`, `value`
    and `unit` are tuples then.
    """

    name: str | tuple[str, ...]
    value: float | tuple[float, ...]
    dimensions: tuple[Dimensions, ...] = ((),)
    unit: str | tuple[str, ...] = "Count"
    at_ms: int | None = None
    namespace: str = "AWS/Lambda"

    def apart(self) -> "Iterator[Metric]":
        """Each of those that were said at once."""
        if isinstance(self.name, str):
            yield self
            return
        for name, value, unit in zip(self.name, self.value, self.unit, strict=True):  # type: ignore[arg-type]
            yield msgspec.structs.replace(self, name=name, value=value, unit=unit)


Record = Callable[[tuple[str, str], Metric], None]
"""Takes one value, of an account and a region."""


def record_nothing(scope: tuple[str, str], metric: Metric) -> None:
    """For what runs without anybody to show it to."""
