"""Lambda's metrics, each value under every set of dimensions that CloudWatch shows it by.

Source: AWS Lambda Developer Guide, "Types of metrics for Lambda functions" and "Dimensions".
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from lambent.aws.caller import Scope
from lambent.observe.metrics import Dimensions, Metric, Record

_ENDED: Final = ("Invocations", "Errors", "Throttles", "Duration")
_UNITS: Final = ("Count", "Count", "Count", "Milliseconds")


@dataclass(frozen=True, slots=True)
class FunctionMetrics:
    """Records values of the namespace AWS/Lambda."""

    record: Record

    def add(
        self, scope: Scope, name: str, value: float, *, of: "Resource", unit: str = "Count", at_ms: int | None = None
    ) -> None:
        """One value of a function's metric; `at_ms` (now unless given) is the start of the invocation."""
        self.record(scope, Metric(name, value, _dimensions(of), unit, at_ms))

    def add_invocation(
        self,
        scope: Scope,
        of: "Resource",
        *,
        at_ms: int,
        duration_ms: float,
        has_failed: bool,
        post_runtime_ms: float | None = None,
    ) -> None:
        """An invocation that ended: it counts no throttle, which is a value too."""
        dimensions = _dimensions(of)
        values = (1.0, 1.0 if has_failed else 0.0, 0.0, round(duration_ms, 2))
        self.record(scope, Metric(_ENDED, values, dimensions, _UNITS, at_ms))
        if post_runtime_ms is not None:
            value = round(post_runtime_ms, 2)
            self.record(scope, Metric("PostRuntimeExtensionsDuration", value, dimensions, "Milliseconds", at_ms))


class Resource(NamedTuple):
    """What an invocation asked for: a function, perhaps by a qualifier.

    `executed_version` is given for an alias with weights only, where it tells the two versions apart.
    """

    function: str
    qualifier: str | None = None
    executed_version: str | None = None


@lru_cache(10_000)
def _dimensions(of: Resource) -> tuple[Dimensions, ...]:
    """None (all functions), the function, the qualifier, the version that ran."""
    name = ("FunctionName", of.function)
    found: list[Dimensions] = [(), (name,)]
    if of.qualifier:
        resource = ("Resource", f"{of.function}:{of.qualifier}")
        found.append((name, resource))
        if of.executed_version:
            found.append((name, resource, ("ExecutedVersion", of.executed_version)))
    return tuple(found)
