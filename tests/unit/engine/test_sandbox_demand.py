from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.sandbox.demand import Demand


def test_few_wait_when_nobody_asks():
    demand = Demand(4)
    assert demand.wanted(100.0) == 4
    assert demand.changes_in(100.0) is None


def test_as_many_wait_as_were_asked_for_within_a_second_for_a_minute():
    demand = Demand(4)
    for number in range(20):
        demand.claimed(100.0 + number / 100)
    assert demand.wanted(101.0) == 20
    assert demand.wanted(160.1) == 20
    assert demand.changes_in(101.0) is not None
    assert demand.wanted(160.2) == 4


def test_claims_far_apart_are_no_burst():
    demand = Demand(2)
    for second in range(50):
        demand.claimed(float(second))
    assert demand.wanted(50.0) == 2


def test_a_flood_does_not_fill_the_memory():
    demand = Demand(4)
    for _ in range(1000):
        demand.claimed(1.0)
    assert demand.wanted(1.0) == 64


def test_none_wait_where_none_are_to():
    demand = Demand(0)
    demand.claimed(1.0)
    assert demand.wanted(1.0) == 0


@given(st.lists(st.floats(0, 30), max_size=200))
def test_it_is_never_less_than_the_least_nor_more_than_the_claims(pauses: list[float]):
    demand, now = Demand(3), 0.0
    for pause in pauses:
        now += pause
        demand.claimed(now)
        assert 3 <= demand.wanted(now) <= max(3, len(pauses))
    later = now + 61.0
    assert demand.wanted(later) == 3
    assert demand.changes_in(later) is None
