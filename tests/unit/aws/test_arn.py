import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.arn import Arn, FunctionReference, function_arn, parse_function

NAMES = st.from_regex(r"[a-zA-Z0-9-_]{1,64}", fullmatch=True)
QUALIFIERS = st.none() | st.just("$LATEST") | st.from_regex(r"[a-zA-Z0-9-_]{1,20}", fullmatch=True)


@given(st.from_regex(r"[0-9]{12}", fullmatch=True), st.sampled_from(["us-east-1", "us-gov-west-1"]), NAMES, QUALIFIERS)
def test_a_function_arn_reads_back_as_its_parts(account, region, name, qualifier):
    arn = function_arn(account, region, name, qualifier)
    assert parse_function(arn) == FunctionReference(name, account, region, qualifier)
    assert str(Arn.parse(arn)) == arn


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fn", FunctionReference("fn")),
        ("fn:live", FunctionReference("fn", qualifier="live")),
        ("fn:$LATEST", FunctionReference("fn", qualifier="$LATEST")),
        ("123456789012:function:fn", FunctionReference("fn", account="123456789012")),
        ("123456789012:function:fn:7", FunctionReference("fn", account="123456789012", qualifier="7")),
        ("function:fn", FunctionReference("fn")),
        ("us-east-1:123456789012:function:fn", FunctionReference("fn", "123456789012", "us-east-1")),
    ],
)
def test_each_form_of_a_function_name_is_understood(text, expected):
    assert parse_function(text) == expected


@pytest.mark.parametrize("text", ["", "a b", "fn:a:b", "arn:aws:sqs:us-east-1:123456789012:fn:a:b", "fn/x", "fn:"])
def test_what_names_no_function_is_refused(text):
    with pytest.raises(ValueError, match="not the name of a function"):
        parse_function(text)


@pytest.mark.parametrize("text", ["", "arn:aws:lambda", "urn:aws:lambda:us-east-1:1:x"])
def test_what_is_no_arn_is_refused(text):
    with pytest.raises(ValueError, match="not an ARN"):
        Arn.parse(text)


@given(st.text(max_size=300))
def test_any_text_is_either_parsed_or_refused(text):
    with contextlib.suppress(ValueError):
        assert parse_function(text).name in text
