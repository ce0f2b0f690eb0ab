"""The operators of the Condition element, with the examples that AWS documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.policy import MalformedPolicyError, conditions

MOMENT = "2026-03-01T12:00:00Z"


def holds(element, context, *, has_variables=True):
    return conditions.hold(conditions.read(element), conditions.context_of(context), has_variables=has_variables)


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringNotEqualsIgnoreCase", "aB", "Ab", False),
        ("StringLike", "home/*", "home/x", True),
        ("StringLike", "h?me", "home", True),
        ("StringNotLike", "home/*", "home/x", False),
        ("stringlike", "home/*", "home/x", True),
        ("NumericEquals", "5", "5.0", True),
        ("NumericEquals", 5, "5", True),
        ("NumericNotEquals", "5", "6", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "9", False),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("NumericLessThan", "10", "few", False),
        ("NumericLessThan", "NaN", "1", False),
        ("NumericLessThan", "Infinity", "1", False),
        ("DateGreaterThan", "2026-01-01", MOMENT, True),
        ("DateLessThan", "2026-03-01T13:00:00+02:00", MOMENT, False),
        ("DateLessThanEquals", MOMENT, MOMENT, True),
        ("DateEquals", "1772366400", MOMENT, True),
        ("DateGreaterThanEquals", "2026-03", MOMENT, True),
        ("DateNotEquals", "2026-03-01", MOMENT, True),
        ("DateLessThan", "tomorrow", MOMENT, False),
        ("Bool", "true", True, True),
        ("Bool", True, "true", True),
        ("Bool", "True", "true", True),
        ("Bool", "false", True, False),
        ("Bool", "yes", "yes", False),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("BinaryEquals", "QmluYXJ5", "QQ==", False),
        ("BinaryEquals", "not base64", "not base64", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.9", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.9", False),
        ("IpAddress", ["203.0.113.0/24", "2001:db8::/32"], "2001:db8::1", True),
        ("IpAddress", "203.0.113.9", "203.0.113.9", True),
        ("NotIpAddress", "203.0.113.0/24", "203.0.114.9", True),
        ("IpAddress", "203.0.113.0/24", "nowhere", False),
        ("ArnLike", "arn:aws:s3:::my-*", "arn:aws:s3:::my-bucket", True),
        ("ArnEquals", "arn:aws:sns:*:123:t", "arn:aws:sns:us-east-1:123:t", True),
        ("ArnNotLike", "arn:aws:s3:::my-*", "arn:aws:s3:::my-bucket", False),
        ("ArnNotEquals", "arn:aws:s3:::my", "arn:aws:s3:::your", True),
        ("ArnLike", "arn:aws:*:key", "arn:aws:kms:us-east-1:1:key", False),
    ],
)
def test_one_value_is_compared(operator, wanted, value, expected):
    assert holds({operator: {"some:Key": wanted}}, {"Some:key": value}) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("NumericLessThan", False),
        ("NumericLessThanIfExists", True),
        ("NotIpAddress", True),
        ("ArnNotLike", True),
        ("Bool", False),
        ("BoolIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAnyValue:StringEqualsIfExists", True),
    ],
)
@pytest.mark.parametrize("context", [{}, {"other:key": "x"}, {"some:key": []}])
def test_a_key_that_is_not_there(operator, context, expected):
    assert holds({operator: {"some:key": "x"}}, context) is expected


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("ForAllValues:StringEquals", ["a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAnyValue:StringEquals", ["c", "a"], True),
        ("ForAnyValue:StringEquals", ["c"], False),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["c", "a"], False),
        ("ForAnyValue:StringNotEquals", ["a", "c"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
        ("ForAnyValue:StringLike", ["zz", "a"], True),
    ],
)
def test_keys_of_several_values(operator, values, expected):
    assert holds({operator: {"some:key": ["a", "b"]}}, {"some:key": values}) is expected


def test_null_asks_whether_a_key_is_there():
    assert holds({"Null": {"aws:TokenIssueTime": "true"}}, {})
    assert not holds({"Null": {"aws:TokenIssueTime": "true"}}, {"aws:TokenIssueTime": MOMENT})
    assert holds({"Null": {"aws:TokenIssueTime": "false"}}, {"aws:TokenIssueTime": MOMENT})
    assert not holds({"Null": {"aws:TokenIssueTime": "false"}}, {"aws:TokenIssueTime": []})


def test_all_keys_and_all_operators_must_hold():
    element = {"StringEquals": {"a:x": "1", "a:y": "2"}, "Bool": {"a:z": "true"}}
    assert holds(element, {"a:x": "1", "a:y": "2", "a:z": True})
    assert not holds(element, {"a:x": "1", "a:y": "3", "a:z": True})
    assert not holds(element, {"a:x": "1", "a:y": "2", "a:z": False})
    assert holds({}, {})


def test_variables_in_values():
    element = {"StringEquals": {"a:owner": "${aws:username}"}}
    assert holds(element, {"a:owner": "ann", "aws:username": "ann"})
    assert not holds(element, {"a:owner": "ann", "aws:username": "bob"})
    assert not holds(element, {"a:owner": "ann"})
    assert not holds(element, {"a:owner": "ann", "aws:username": ["ann", "bob"]})
    assert holds(element, {"a:owner": "${aws:username}", "aws:username": "ann"}, has_variables=False)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ([], "Syntax errors in policy."),
        ({"StringEquals": []}, "Syntax errors in policy."),
        ({"StringEquals": {"a:b": {}}}, "Syntax errors in policy."),
        ({"StringEquals": {"a:b": [None]}}, "Syntax errors in policy."),
        ({"StringEqual": {"a:b": "x"}}, "Invalid Condition type : StringEqual."),
        ({"NullIfExists": {"a:b": "true"}}, "Invalid Condition type : NullIfExists."),
    ],
)
def test_what_is_no_condition_is_refused(element, message):
    with pytest.raises(MalformedPolicyError) as raised:
        conditions.read(element)
    assert raised.value.message == message


OPERATORS = [
    "String",
    "Numeric",
    "Date",
]
texts = st.one_of(st.text(max_size=6), st.integers().map(str), st.sampled_from(["a", "b", MOMENT, "203.0.113.9"]))


@given(st.sampled_from(OPERATORS), texts, st.lists(texts, min_size=1, max_size=3))
def test_not_is_the_opposite(kind, value, wanted):
    positive = holds({f"{kind}Equals": {"a:b": wanted}}, {"a:b": value})
    assert holds({f"{kind}NotEquals": {"a:b": wanted}}, {"a:b": value}) is not positive


names = st.sampled_from(sorted(conditions._NAMES.values()))


@given(names, st.lists(texts, max_size=3), st.lists(texts, max_size=3))
def test_no_value_breaks_an_operator(name, values, wanted):
    assert holds({name: {"a:b": wanted}}, {"a:b": values}) in (True, False)
