"""The linear regular expressions of filter patterns, against Python's `re` as the oracle."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.logs.filter_patterns import regex

CLASSES = st.sampled_from(
    [
        "a",
        "b",
        "0",
        "-",
        ".",
        r"\d",
        r"\D",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        r"\.",
        r"\x41",
        "[ab]",
        "[^a]",
        "[0-9-]",
        r"[\w.]",
        r"[^\d\s]",
        r"[\Wa]",
        "[*+?^]",
        r"[a\]]",
        "[-a]",
        " ",
        ":",
    ]
)
QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}", "{0}"])
ROWS = st.builds(
    lambda start, pieces, end: start + "".join(c + q for c, q in pieces) + end,
    st.sampled_from(["", "^"]),
    st.lists(st.tuples(CLASSES, QUANTIFIERS), max_size=5),
    st.sampled_from(["", "$"]),
)
SOURCES = st.lists(ROWS, min_size=1, max_size=3).map("|".join)
TEXTS = st.text("ab0A-. \n\x1f]*:é", max_size=12)


@given(SOURCES, TEXTS)
def test_it_finds_what_python_finds(source: str, text: str) -> None:
    expected = re.search(source, text, re.ASCII) is not None  # ASCII: AWS has no other classes
    assert regex.compile(source).search(text) == expected


@given(st.text(max_size=30))
def test_any_text_is_an_expression_or_a_bad_one(source: str) -> None:
    with contextlib.suppress(regex.BadRegex):
        regex.compile(source).search("some text 123\n")


@pytest.mark.parametrize(
    "source",
    [
        "(a)",
        "a(?=b)",
        "a!",
        "é",
        "a**",
        "a*?",
        "*a",
        "a^b",
        "a$b",
        "[",
        "[]",
        "[a",
        "[b-a]",
        "\\",
        r"\b",
        r"\1",
        "a{2,1}",
        "a{",
        "{2}",
        "a{1001}",
        "[a-",
        r"[\d-z",
        "^*",
        "a\nb",
        r"[a-\d]",
        "[[a]]",
        r"\é",
    ],
)
def test_what_aws_does_not_support_is_refused(source: str) -> None:
    with pytest.raises(regex.BadRegex):
        regex.compile(source)


def test_expanded_repetitions_have_a_limit() -> None:
    assert regex.compile("a{999}").search("a" * 999)
    assert not regex.compile("a{999}").search("a" * 998)
    with pytest.raises(regex.BadRegex):
        regex.compile("a{500}|a{500}")


def test_an_evil_expression_costs_a_step_a_character() -> None:
    evil = regex.compile("a*a*a*a*a*a*a*a*a*a*a*a*b")
    assert not evil.search("a" * 100_000)
    assert len(evil._steps) < 10  # a backtracking search would take 100,000 ** 12 steps


def test_remembered_steps_are_bounded() -> None:
    many = regex.compile("a.{50}b")
    text = "".join("ab"[n * n * 7919 % 251 % 2] for n in range(40_000))
    assert many.search(text) == (re.search("a.{50}b", text) is not None)
    assert len(many._steps) <= 10_000
