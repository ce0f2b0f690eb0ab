"""Patterns of the policy language."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambent.aws.policy import wildcards

letters = st.text("ab:*?", max_size=8)


def naive(pattern, text):
    """The definition, without a thought for time."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and naive(pattern[1:], text[1:])


@given(st.text("a*?", max_size=6), st.text("ab", max_size=4))
@example("a*a", "a")
@example("ab*ba", "aba")
def test_pieces_of_a_pattern_do_not_overlap(pattern, text):
    assert wildcards.matches(wildcards.compiled(pattern, None), text) == naive(pattern, text)


@given(letters, letters)
def test_a_pattern_means_what_its_definition_says(pattern, text):
    assert wildcards.matches(wildcards.compiled(pattern, None), text) == naive(pattern, text)


@given(st.text(max_size=20))
def test_a_text_matches_itself_and_stars_match_everything(text):
    assert wildcards.matches(wildcards.compiled(text, None, wildcards=False), text)
    assert wildcards.matches(wildcards.compiled("*", None), text)
    assert wildcards.matches(wildcards.compiled("*" + "?" * len(text) + "*", None), text)
    assert not wildcards.matches(wildcards.compiled("?" * (len(text) + 1), None), text)


@pytest.mark.parametrize("pattern", ["*a" * 5000 + "b", "a*" * 5000 + "b", "*" * 10_000 + "b", "?*" * 5000 + "b"])
def test_no_pattern_is_slow(pattern):
    compiled = wildcards.compiled(pattern, None)
    started = time.process_time()
    assert not wildcards.matches(compiled, "a" * 20_000)
    assert time.process_time() - started < 5  # one that goes back over its stars takes longer than the universe


VALUES = {"aws:username": "ann*", "aws:PrincipalTag/team": "red:1"}


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("home/${aws:username}/*", "home/ann*/x", True),
        ("home/${aws:username}/*", "home/anna/x", False),  # what a variable stands for is no wildcard
        ("${aws:PrincipalTag/team}", "red:1", True),
        ("${aws:nothing}", "", False),
        ("${aws:nothing}", "${aws:nothing}", False),
        ("${aws:nothing, 'nobody'}", "nobody", True),
        ("${aws:username, 'nobody'}", "ann*", True),
        ("a${*}b", "a*b", True),
        ("a${*}b", "axb", False),
        ("a${?}b", "a?b", True),
        ("a${?}b", "axb", False),
        ("a${$}{b}", "a${b}", True),
        ("${unclosed", "${unclosed", True),
    ],
)
def test_variables_are_replaced(pattern, text, expected):
    compiled = wildcards.compiled(pattern, VALUES.get)
    assert (compiled is not None and wildcards.matches(compiled, text)) is expected


def test_without_variables_they_are_text():
    assert wildcards.matches(wildcards.compiled("${aws:username}", None), "${aws:username}")


@pytest.mark.parametrize(
    ("pattern", "arn", "expected"),
    [
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b:c", True),
        ("arn:aws:lambda:*:1*:function:f*", "arn:aws:lambda:us-east-1:123:function:fn:live", True),
        ("arn:aws:s3:*:fn", "arn:aws:s3:::fn", False),  # a star does not reach over a colon of the first five
        ("arn:aws:sqs", "arn:aws:sqs:us-east-1:1:queue", True),
        ("arn:aws:sqs", "arn:aws:sns:us-east-1:1:topic", False),
        ("*", "anything", True),
        ("arn:*", "arn:aws:sqs:us-east-1:1:queue", True),
        ("arn:aws:sqs:us-east-1:1:queue", "arn:aws:sqs", False),
        ("arn:aws:sqs:us-?ast-1:1:queue", "arn:aws:sqs:us-east-1:1:queue", True),
        ("arn:aws:sqs:us-east-1:1:Queue", "arn:aws:sqs:us-east-1:1:queue", False),
    ],
)
def test_arns_are_compared_part_by_part(pattern, arn, expected):
    assert wildcards.arn_matches(wildcards.compiled(pattern, None), arn) is expected
