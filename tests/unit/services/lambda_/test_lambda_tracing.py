"""Which invocations are traced."""

import random

from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.trace import new_trace, part
from lambent.services.lambda_.tracing import Sampler

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
NEW = "Root=1-65e605e1-000000000000000000000001;Parent=00000000000000aa"


def test_the_first_of_each_second_and_five_percent_are_traced() -> None:
    sampler = Sampler(random.Random(4711).random)
    decisions = [sampler.decided(NEW, ARN, 100 + number / 2000, is_active=True) for number in range(20_000)]
    assert [part(decisions[number * 2000], "Sampled") for number in range(10)] == ["1"] * 10
    assert 900 < sum(part(header, "Sampled") == "1" for header in decisions) < 1100


def test_functions_are_sampled_each_for_itself() -> None:
    sampler = Sampler(lambda: 0.99)
    found = [sampler.decided(NEW, ARN + name, 100.5, is_active=True) for name in ("a", "b", "a")]
    assert [part(header, "Sampled") for header in found] == ["1", "1", "0"]


def test_five_percent_is_the_limit() -> None:
    for number, expected in ((0.0499, "1"), (0.05, "0")):
        sampler = Sampler(lambda number=number: number)
        sampler.decided(NEW, ARN, 100, is_active=True)
        assert part(sampler.decided(NEW, ARN, 100, is_active=True), "Sampled") == expected


def test_without_active_tracing_nothing_is() -> None:
    assert Sampler(lambda: 0.0).decided(NEW, ARN, 100, is_active=False) == f"{NEW};Sampled=0"


@given(st.sampled_from(["0", "1"]), st.booleans())
def test_what_was_decided_before_holds(decision: str, is_active: bool) -> None:
    header = f"Root=1-2-3;Sampled={decision};Parent=4"
    assert Sampler(lambda: 0.0).decided(header, ARN, 100, is_active=is_active) == header


def test_a_header_that_asks_for_a_decision_gets_one() -> None:
    assert Sampler(lambda: 0.99).decided("Root=1-2-3;Sampled=?", ARN, 100, is_active=True) == "Root=1-2-3;Sampled=1"


def test_a_new_trace_is_undecided() -> None:
    assert part(new_trace(100), "Sampled") is None
    assert part(new_trace(100), "Root").startswith("1-00000064-")
