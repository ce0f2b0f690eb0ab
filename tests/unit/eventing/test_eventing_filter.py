"""Which records a mapping's filters let through: patterns of JSON and of text, and what a message's body is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.patterns import PatternError
from lambent.eventing.filter import Filter, compile_filter


def passes(pattern, body, **more):
    patterns = pattern if isinstance(pattern, list) else [pattern]
    event = json.dumps({"messageId": "m", "body": body, "attributes": {"SenderId": "s"}, **more}).encode()
    return compile_filter([json.dumps(each) for each in patterns], "body").passes(event)


JSON_PATTERN = {"body": {"kind": ["order"]}}
TEXT_PATTERN = {"body": ["order"]}


@pytest.mark.parametrize(
    ("pattern", "body", "expected"),
    [
        (JSON_PATTERN, '{"kind": "order"}', True),
        (JSON_PATTERN, ' \n{"kind": "order", "more": 1}', True),
        (JSON_PATTERN, '{"kind": "other"}', False),
        (JSON_PATTERN, "order", False),
        (JSON_PATTERN, '{"kind": "order"', False),
        (JSON_PATTERN, '["order"]', False),
        (TEXT_PATTERN, "order", True),
        (TEXT_PATTERN, "other", False),
        (TEXT_PATTERN, '{"kind": "order"}', False),
        ({"body": {"kind": [{"exists": False}]}}, '{"other": 1}', True),
        ({"body": {"kind": [{"exists": False}]}}, "text", False),
        ({"body": [{"anything-but": "x"}]}, '{"kind": "order"}', False),
        ({"body": [{"exists": False}]}, '{"kind": "order"}', False),
        ({"attributes": {"SenderId": ["s"]}}, "whatever", True),
        ({"attributes": {"SenderId": ["t"]}}, "whatever", False),
        ([{"body": ["a"]}, {"body": ["b"]}], "b", True),
        ([{"body": ["a"]}, JSON_PATTERN], '{"kind": "order"}', True),
    ],
)
def test_what_passes(pattern, body, expected):
    assert passes(pattern, body) is expected


def test_no_filter_lets_everything_through():
    assert Filter("body").passes(b"not even looked at")


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(PatternError):
        compile_filter(['{"body": 1}'], "body")


@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one), max_leaves=5).map(json.dumps)
)
def test_any_body_passes_or_does_not(body):
    assert passes(TEXT_PATTERN, body) is (body == "order")
    assert passes(JSON_PATTERN, body) is False


def test_a_body_as_deep_as_it_likes_is_text():
    assert passes(JSON_PATTERN, '{"kind":' * 100_000) is False
