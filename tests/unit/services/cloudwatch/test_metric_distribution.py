"""What is kept of values answers as the values themselves would."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.cloudwatch.distribution import Distribution
from lambent.services.cloudwatch.statistics import extended_only, statistic

VALUES = st.lists(st.floats(min_value=0, max_value=1e12) | st.integers(0, 1000).map(float), min_size=1, max_size=60)


def of(*values: float) -> Distribution:
    weights: dict[float, float] = {}
    for value in values:
        weights[value] = weights.get(value, 0.0) + 1
    return Distribution.of(weights)


def value(name: str, *values: float) -> float | None:
    compute = statistic(name)
    assert compute is not None
    return compute(of(*values))


@given(VALUES)
def test_the_simple_statistics_are_exact(values):
    assert value("SampleCount", *values) == len(values)
    assert value("Sum", *values) == pytest.approx(math.fsum(values))
    assert value("Average", *values) == pytest.approx(math.fsum(values) / len(values))
    assert value("Minimum", *values) == min(values)
    assert value("Maximum", *values) == max(values)


@given(VALUES, st.floats(0, 100).map(lambda percent: round(percent, 3)))
def test_a_percentile_is_at_most_two_percent_away(values, percent):
    exact = sorted(values)[max(0, math.ceil(len(values) * percent / 100 * (1 - 1e-12)) - 1)]
    assert value(f"p{percent:.3f}", *values) == pytest.approx(exact, rel=0.02)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_merging_is_as_if_all_had_been_together(parts):
    merged = Distribution.merged([of(*values) for values in parts])
    whole = of(*[value for values in parts for value in values])
    assert merged.count == whole.count
    assert merged.total == pytest.approx(whole.total)
    assert (merged.minimum, merged.maximum) == (whole.minimum, whole.maximum)
    assert merged.buckets is not None
    assert whole.buckets is not None
    assert merged.buckets.keys() == whole.buckets.keys()
    for at, (count, total) in whole.buckets.items():
        assert merged.buckets[at] == (count, pytest.approx(total))


def test_percentiles_of_equal_values_are_exact():
    assert value("p50", *[7.3] * 10) == 7.3
    assert value("p99", *[0.0] * 99, 1.0) == 0.0
    assert value("p100", *[0.0] * 99, 1.0) == 1.0
    assert value("p0", 3.0, 4.0) == 3.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tm90", 50),  # of 10, 20 … 90; without 100
        ("TM(10%:90%)", 55),
        ("TM(20:50)", 40),  # 30, 40, 50: the lower bound is not in it
        ("TM(:30)", 20),
        ("TM(80%:)", 95),
        ("IQM", 55),
        ("tc90", 9),
        ("TC(20:50)", 3),
        ("ts90", 450),
        ("TS(80%:)", 190),
        ("PR(:30)", 30),
        ("PR(20:50)", 30),
        ("wm80", 52),  # 90 and 100 stand at 80
        ("WM(20:90)", 55),
    ],
)
def test_extended_statistics(name, expected):
    assert value(name, *range(10, 101, 10)) == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "sum",
            "P99",
            "p",
            "p101",
            "p100.1",
            "p1.12345678901",
            "tm",
            "TM",
            "TM()",
            "TM(:)",
            "TM(1%:2)",
            "TM(9:1)",
        ),
        *("PR(1%:2%)", "TM(1%:101%)", "iqm", "p99 ", "p-1", "p٣", "WM(a:b)"),
    ],
)
def test_a_name_that_means_nothing(name):
    assert statistic(name) is None


def test_the_simple_ones_are_not_extended():
    assert extended_only("Sum") is None
    assert extended_only("p50") is not None


@given(st.text(max_size=20) | st.from_regex(r"(p|tm|wm|tc|ts|TM|PR|WM)\(?[0-9.%:]{0,8}\)?", fullmatch=True))
def test_no_name_breaks_anything(name):
    compute = statistic(name)
    if compute is not None:
        compute(of(1.0, 2.0, 5.0))


def test_negative_values_have_no_percentiles():
    assert value("Minimum", -2.0, 3.0) == -2.0
    assert value("p50", -2.0, 3.0) is None
    assert value("TM(:5)", -2.0, 3.0) is None


def test_a_statistic_set_has_percentiles_only_where_its_values_are_known():
    def p50(**given: float) -> float | None:
        compute = statistic("p50")
        assert compute is not None
        return compute(Distribution.summed_up(**given))

    assert p50(count=2, total=5, minimum=1, maximum=4) is None
    assert p50(count=1, total=5, minimum=5, maximum=5) == 5
    assert p50(count=3, total=6, minimum=2, maximum=2) == 2
