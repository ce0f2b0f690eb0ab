"""Lambda's metrics, each value under every set of dimensions that CloudWatch shows it by.

Source: AWS Lambda Developer Guide, "Types of metrics for Lambda functions" and "Dimensions".
"""

from dataclasses import dataclass

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
        for dimensions in of.dimensions():
            self.record(scope, Metric(name, value, dimensions, unit, at_ms))


@dataclass(frozen=True, slots=True)
class Resource:
    """What an invocation asked for: a function, perhaps by a qualifier.

    `executed_version` is given for an alias with weights only, where it tells the two versions apart.
    """

    function: str
    qualifier: str | None = None
    executed_version: str | None = None

    def dimensions(self) -> list[Dimensions]:
        """None (all functions), the function, the qualifier, the version that ran."""
        name = ("FunctionName", self.function)
        found: list[Dimensions] = [(), (name,)]
        if self.qualifier:
            resource = ("Resource", f"{self.function}:{self.qualifier}")
            found.append((name, resource))
            if self.executed_version:
                found.append((name, resource, ("ExecutedVersion", self.executed_version)))
        return found
