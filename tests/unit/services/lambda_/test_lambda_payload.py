import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.services.lambda_.payload import check_payload

PREFIX = "Could not parse request body into json: Could not parse payload into json: "
SOURCE = "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); "
EXPECTED = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refusal(payload):
    with pytest.raises(ApiError) as raised:
        check_payload(payload)
    assert raised.value.code == "InvalidRequestContentException"
    return raised.value.message.removeprefix(PREFIX)


def test_the_recorded_answer_of_aws():
    assert refusal("\x99".encode("latin-1")) != ""
    assert refusal("\x99".encode()) == (
        f"Unexpected character ((CTRL-CHAR, code 153)): expected a valid value {EXPECTED}{SOURCE}line: 1, column: 1]"
    )


@pytest.mark.parametrize(
    ("payload", "place", "message"),
    [
        (b"hello", (1, 6), f"Unrecognized token 'hello': was expecting {EXPECTED}"),
        (
            b"{\n 'a': 1}",
            (2, 2),
            "Unexpected character (''' (code 39)): was expecting double-quote to start field name",
        ),
        (
            b'{"a" 1}',
            (1, 6),
            "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value",
        ),
        (
            b'{"a":1 "b":2}',
            (1, 8),
            "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries",
        ),
        (b"[1 2]", (1, 4), "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries"),
        (b"[1,]", (1, 4), f"Unexpected character (']' (code 93)): expected a valid value {EXPECTED}"),
        (b'{"a":1,}', (1, 8), "Unexpected character ('}' (code 125)): was expecting double-quote to start field name"),
        (b"  ", (1, 3), "No content to map due to end-of-input"),
        (b'{"a": NaN}', (1, 10), f"Unrecognized token 'NaN': was expecting {EXPECTED}"),
        (b"01", (1, 2), "Invalid numeric value: Leading zeroes not allowed"),
    ],
)
def test_each_error_is_told_in_the_words_of_aws(payload, place, message):
    line, column = place
    assert refusal(payload) == f"{message}{SOURCE}line: {line}, column: {column}]"


def test_an_unfinished_object_says_where_it_began():
    start = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 1]"
    assert refusal(b'{"a": 1').startswith(
        f"Unexpected end-of-input: expected close marker for Object (start marker at {start})"
    )


@given(JSON)
def test_json_passes(value):
    check_payload(json.dumps(value).encode())
    check_payload(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "replace"))


@pytest.mark.parametrize("payload", [b'"\\ud800"', b'{"a":1,"a":2}', b" null\n", b"[" * 900 + b"]" * 900, b"1e999"])
def test_what_jackson_takes_passes(payload):
    check_payload(payload)


@pytest.mark.parametrize("payload", [b'"\xff"', b"\xef\xbb\xbf{}", b"{} {}", b'"\x01"', b'"\\x"', b"-", b"1.", b"nul"])
def test_what_is_no_json_is_refused(payload):
    assert "line: 1, column: " in refusal(payload)


@pytest.mark.parametrize("tail", [b"", b",]", b",NaN]", b',"\xff"]', b"]]"])
def test_long_payloads_are_refused_too(tail):
    payload = b"[" + b",".join([b"1"] * 100_000) + tail
    assert "line: 1, column: " in refusal(payload)
    check_payload(b"[" + b",".join([b'"\\ud800"'] * 100_000) + b"]")


@pytest.mark.parametrize("depth", [1_001, 5_000, 100_000])
def test_deep_nesting_is_refused(depth):
    assert "nesting depth" in refusal(b"[" * depth + b"]" * depth)


def test_nesting_as_deep_as_jackson_takes_passes():
    check_payload(b'[{"a":' * 500 + b'"[[[["' + b"}]" * 500)
    check_payload(b"[" + b",".join([b'"[[[\\"{{{"'] * 1_000) + b"]")


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789.eE+-\\ntfalsu \n', max_size=40).map(str.encode))
def test_it_agrees_with_another_parser(payload):
    try:
        json.loads(payload.decode(), parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        refusal(payload)
    else:
        check_payload(payload)
