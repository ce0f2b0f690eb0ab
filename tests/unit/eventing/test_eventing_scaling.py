"""How many batches may be under way: the documented steps, and limits that hold whatever happens."""

from hypothesis import given
from hypothesis import strategies as st

from lambent.eventing.scaling import DEFAULT, Limits, Scale, limited, provisioned


def test_five_at_first_and_300_more_in_a_minute():
    scale = Scale.new(DEFAULT, 0.0)
    assert scale.allowed == 5
    assert scale.grown(DEFAULT, 60.0, in_use=5).allowed == 305
    assert scale.grown(DEFAULT, 600.0, in_use=5).allowed == 1250


def test_it_grows_only_while_all_are_in_use():
    scale = Scale.new(DEFAULT, 0.0).grown(DEFAULT, 100.0, in_use=4)
    assert scale.allowed == 5
    assert scale.grown(DEFAULT, 101.0, in_use=5).allowed == 10


def test_the_configuration_says_how_many():
    assert limited(3) == Limits(start=3, most=3)
    assert limited(1000) == Limits(start=5, most=1000)
    assert provisioned(2, 200) == Limits(start=20, per_minute=1000, most=2000)


def test_failures_halve_it_down_to_two():
    scale, seen = Scale(40.0, 0.0), []
    for _ in range(6):
        scale = scale.halved(0.0)
        seen.append(scale.allowed)
    assert seen == [20, 10, 5, 2.5, 2, 2]


def test_when_there_is_one_more():
    assert Scale(5.0, 0.0).next_s(DEFAULT) == 0.2
    assert Scale(1250.0, 0.0).next_s(DEFAULT) is None


STEPS = st.lists(st.tuples(st.sampled_from(["grown", "halved"]), st.floats(-100, 1000), st.integers(0, 2000)))


@given(st.integers(2, 1000), STEPS)
def test_no_history_leaves_the_limits(most, steps):
    limits, now = limited(most), 0.0
    scale = Scale.new(limits, now)
    for what, seconds, in_use in steps:
        now += seconds
        scale = scale.grown(limits, now, in_use=in_use) if what == "grown" else scale.halved(now)
        assert 2 <= scale.allowed <= most
