"""Concurrency as CloudWatch sees it: the highest number since the last time, at its own moment."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.caller import Scope
from lambent.engine.admission import Admission, Allotment
from lambent.engine.gauges import Gauges
from lambent.engine.spec import Invocation
from lambent.observe.metrics import Metric
from lambent.testing.plain_engine import function

SCOPE = Scope("000000000000", "us-east-1")
SPEC = function(Path("/code"))
RESERVED = function(Path("/code"), name="g", reserved=5)


def invocation(qualifier: str | None = None, executed_version: str | None = None) -> Invocation:
    return Invocation(
        request_id="r", payload=b"", invoked_arn="arn", qualifier=qualifier, executed_version=executed_version
    )


class Kept:
    """What was recorded."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], tuple[float, int | None]] = {}

    def __call__(self, scope: tuple[str, str], metric: Metric) -> None:
        assert scope == SCOPE
        for dimensions in metric.dimensions:
            key = metric.name, "/".join(value for _name, value in dimensions)
            assert key not in self.values
            self.values[key] = metric.value, metric.at_ms


def flushed(gauges: Gauges) -> dict[tuple[str, str], tuple[float, int | None]]:
    kept = Kept()
    gauges.flush(kept)
    return kept.values


def test_the_peak_is_said_at_its_moment_and_what_still_runs_again() -> None:
    moment = 1_000
    gauges = Gauges(Admission(10), lambda: moment)
    first = gauges.begins(SPEC, invocation(), lambda: None)
    moment = 2_000
    second = gauges.begins(SPEC, invocation(), lambda: None)
    second()
    moment = 60_000
    expected = {("ConcurrentExecutions", ""), ("ConcurrentExecutions", "f"), ("UnreservedConcurrentExecutions", "")}
    said = flushed(gauges)
    assert said.pop(("ClaimedAccountConcurrency", "")) == (2, 2_000)
    assert said == dict.fromkeys(expected, (2, 2_000))
    said = flushed(gauges)
    del said["ClaimedAccountConcurrency", ""]
    assert said == dict.fromkeys(expected, (1, 60_000))
    first()
    flushed(gauges)
    assert flushed(gauges) == {}


def test_each_qualifier_has_its_own_and_a_weighted_alias_one_for_each_version() -> None:
    gauges = Gauges(Admission(10), lambda: 1)
    for qualifier, executed in ((None, None), ("1", None), ("live", "1"), ("live", "2")):
        gauges.begins(SPEC, invocation(qualifier, executed), lambda: None)
    said = {key: value for key, (value, _at) in flushed(gauges).items() if key[0] == "ConcurrentExecutions"}
    assert {key[1]: value for key, value in said.items()} == {
        "": 4,
        "f": 4,
        "f/f:1": 1,
        "f/f:live": 2,
        "f/f:live/1": 1,
        "f/f:live/2": 1,
    }


def test_provisioned_concurrency_has_its_number_and_its_share() -> None:
    admission = Admission(1_000)
    admission.allot(SCOPE, SPEC.arn, Allotment(provisioned=4))
    gauges = Gauges(admission, lambda: 1)
    for _one in range(3):
        gauges.begins(SPEC, invocation("live"), lambda: None, 4)
    said = {key: value for key, (value, _at) in flushed(gauges).items()}
    assert said["ProvisionedConcurrentExecutions", "f/f:live"] == 3
    assert said["ProvisionedConcurrencyUtilization", "f/f:live"] == 0.75
    assert said["ClaimedAccountConcurrency", ""] == 4
    assert ("UnreservedConcurrentExecutions", "") not in said


def test_what_is_reserved_is_claimed_and_not_unreserved() -> None:
    admission = Admission(1_000)
    admission.allot(SCOPE, RESERVED.arn, Allotment(reserved=5, provisioned=2))
    gauges = Gauges(admission, lambda: 1)
    gauges.begins(RESERVED, invocation(), lambda: None)
    gauges.begins(SPEC, invocation(), lambda: None)
    said = {key: value for key, (value, _at) in flushed(gauges).items()}
    assert said["UnreservedConcurrentExecutions", ""] == 1
    assert said["ClaimedAccountConcurrency", ""] == 6
    assert said["ConcurrentExecutions", ""] == 2


@given(st.lists(st.sampled_from(["begin", "end", "twice", "flush"]), max_size=60))
def test_whatever_begins_and_ends_the_peak_is_right(steps: list[str]) -> None:
    gauges, running, peak, released = Gauges(Admission(100), lambda: 1), [], 0, []
    begun = 0
    for step in steps:
        if step == "begin":
            running.append(gauges.begins(SPEC, invocation(), lambda: released.append(1)))
            begun += 1
            peak = max(peak, len(running))
        elif step == "flush":
            said = flushed(gauges).get(("ConcurrentExecutions", "f"), (0, None))[0]
            assert said == peak
            peak = len(running)
        elif running:
            end = running.pop()
            end()
            if step == "twice":
                end()
    assert len(released) == begun - len(running)
