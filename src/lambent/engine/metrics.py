"""Lambda's metrics, each value under every set of dimensions that CloudWatch shows it by.

Source: AWS Lambda Developer Guide, "Types of metrics for Lambda functions" and "Dimensions".
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from lambent.aws.caller import Scope
from lambent.observe.metrics import Dimensions, Metric, Record


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
        record, dimensions = self.record, _dimensions(of)
        record(scope, Metric("Invocations", 1.0, dimensions, "Count", at_ms))
        record(scope, Metric("Errors", 1.0 if has_failed else 0.0, dimensions, "Count", at_ms))
        record(scope, Metric("Throttles", 0.0, dimensions, "Count", at_ms))
        record(scope, Metric("Duration", round(duration_ms, 2), dimensions, "Milliseconds", at_ms))
        if post_runtime_ms is not None:
            value = round(post_runtime_ms, 2)
            record(scope, Metric("PostRuntimeExtensionsDuration", value, dimensions, "Milliseconds", at_ms))


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
