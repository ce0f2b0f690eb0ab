"""How many invocations run: CloudWatch's concurrency metrics, each the highest number since it was last said.

Source: AWS Lambda Developer Guide, "Monitoring concurrency" (all of these are viewed with the statistic MAX).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lambent.aws.caller import Scope
from lambent.engine.admission import Admission, Release
from lambent.engine.metrics import Resource
from lambent.engine.spec import FunctionSpec, Invocation
from lambent.observe.metrics import Dimensions, Metric, Record

_CONCURRENT: Final = "ConcurrentExecutions"
_UNRESERVED: Final = "UnreservedConcurrentExecutions"
_CLAIMED: Final = "ClaimedAccountConcurrency"
_PROVISIONED: Final = "ProvisionedConcurrentExecutions"
_UTILIZATION: Final = "ProvisionedConcurrencyUtilization"


@dataclass(frozen=True, slots=True)
class _Name:
    """What a gauge is of."""

    scope: Scope
    metric: str
    dimensions: Dimensions
    of: int = 0  # a share of so many, where the metric is a share


@dataclass(slots=True, eq=False)
class _Gauge:
    """A number that goes up and down, and its peak."""

    now: int = 0
    peak: int = 0
    peak_ms: int = 0


class Gauges:
    """Counts running invocations for an account, each function and each qualifier."""

    def __init__(self, admission: Admission, now_ms: Callable[[], int]) -> None:
        self._admission = admission
        self._now_ms = now_ms
        self._gauges: dict[_Name, _Gauge] = {}
        self._together: dict[tuple[object, ...], list[_Gauge]] = {}  # those of one kind of invocation

    def begins(self, spec: FunctionSpec, invocation: Invocation, release: Release, provisioned: int = 0) -> Release:
        """One more runs, and has its slot. What comes back ends that, once, and calls `release`.

        `provisioned` is the amount that its qualifier has, where it uses that; else 0.
        """
        is_shared = spec.reserved is None and not provisioned
        key = (spec.arn, invocation.qualifier, invocation.executed_version, provisioned, is_shared)
        gauges = self._together.get(key)
        if gauges is None:
            resource = Resource(spec.name, invocation.qualifier, invocation.executed_version)
            names = _names(spec.scope, resource, provisioned, is_shared)
            gauges = self._together[key] = [self._gauges.setdefault(name, _Gauge()) for name in names]
        for gauge in gauges:
            gauge.now += 1
            if gauge.now > gauge.peak:
                gauge.peak, gauge.peak_ms = gauge.now, self._now_ms()
        is_running = True

        def ends() -> None:
            nonlocal is_running
            if is_running:
                is_running = False
                for gauge in gauges:
                    gauge.now -= 1
                release()

        return ends

    def flush(self, record: Record) -> None:
        """Says the peaks since the last time, and forgets what has been idle since then."""
        now_ms = self._now_ms()
        for name, gauge in self._gauges.items():
            if gauge.peak and name.metric == _CONCURRENT and not name.dimensions:
                record(name.scope, Metric(_CLAIMED, self._claimed(name.scope), ((),), "Count", gauge.peak_ms))
        for name, gauge in list(self._gauges.items()):
            if gauge.peak:
                self._say(name, gauge, record)
                gauge.peak, gauge.peak_ms = gauge.now, now_ms
            else:
                del self._gauges[name]
                self._together.clear()

    def _say(self, name: _Name, gauge: _Gauge, record: Record) -> None:
        value = gauge.peak / name.of if name.of else gauge.peak
        unit = "None" if name.of else "Count"
        record(name.scope, Metric(name.metric, value, (name.dimensions,), unit, gauge.peak_ms))

    def _claimed(self, scope: Scope) -> int:
        """What nobody else can have: what runs in the unreserved part, and what functions have for themselves."""
        shared = self._gauges.get(_Name(scope, _UNRESERVED, ()))
        return (shared.peak if shared else 0) + self._admission.allotted(scope)


def _names(scope: Scope, resource: Resource, provisioned: int, is_shared: bool) -> list[_Name]:
    """What counts one invocation: all functions, its function, its qualifier, and its kind of concurrency."""
    function = (("FunctionName", resource.function),)
    found = [_Name(scope, _CONCURRENT, ()), _Name(scope, _CONCURRENT, function)]
    if resource.qualifier:
        named: Dimensions = (*function, ("Resource", f"{resource.function}:{resource.qualifier}"))
        found.append(_Name(scope, _CONCURRENT, named))
        if resource.executed_version:
            named = (*named, ("ExecutedVersion", resource.executed_version))
            found.append(_Name(scope, _CONCURRENT, named))
        if provisioned:
            found += [_Name(scope, _PROVISIONED, named), _Name(scope, _UTILIZATION, named, provisioned)]
    if is_shared:
        found.append(_Name(scope, _UNRESERVED, ()))
    return found
