"""Lengths of time as people write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.gateway.durations import LONGEST_S, DurationError, checked, duration_s

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("6h", 21_600),
        ("2d", 172_800),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        ("250ms", 0.25),
        ("1m500ms", 60.5),
        ("0s", 0),
        (" 6h\n", 21_600),
        ("3650d", LONGEST_S),
    ],
)
def test_what_is_a_length(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "6", "h", "6x", "30m1h", "1h1h", "-6h", "+6h", "1e3s", ".5h", "5.h", "6 h", "٣h", "6H", "inf", "1h,"],
)
def test_what_is_none(text):
    with pytest.raises(DurationError, match="is not a length of time; write 90s, 15m, 6h, 2d or 1h30m"):
        duration_s(text)


def test_ten_years_and_no_more():
    with pytest.raises(DurationError, match=r"can be advanced by 0 to 315360000 seconds \(3650d\) at once"):
        duration_s("3650d1s")
    with pytest.raises(DurationError):
        checked(-0.001)
    assert checked(LONGEST_S) == LONGEST_S


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 300), min_size=1))
def test_whole_numbers_of_units_add_up(parts):
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    assert duration_s(text) == pytest.approx(sum(number * UNITS[unit] for unit, number in parts.items()))


@given(st.text(st.sampled_from("0123456789.dhms ") | st.characters(), max_size=80))
def test_any_text_is_a_length_or_refused(text):
    with contextlib.suppress(DurationError):
        assert 0 <= duration_s(text) <= LONGEST_S


def test_a_long_text_is_refused_in_few_words():
    with pytest.raises(DurationError) as refused:
        duration_s("x" * 1_000_000)
    assert len(str(refused.value)) < 200
