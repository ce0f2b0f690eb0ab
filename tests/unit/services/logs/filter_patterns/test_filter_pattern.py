"""Filter patterns: the guide's examples, and properties."""

import contextlib
import fnmatch
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.services.logs.filter_patterns import parse
from lambent.services.logs.filter_patterns.scanner import glob

EVENT = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": None,
    "latency": 75.5,
    "errorCode": 400,
    "text": "404",
    "ok": True,
    "bad": False,
    "user": {"id": 1, "email": "John.Stiles@example.com"},
    "cluster.name": "c",
    "@timestamp": 5,
    "dash-ed": "x y",
}


def matches(pattern: str, message: Any) -> bool:
    return parse(pattern).matches(message if isinstance(message, str) else json.dumps(message))


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("  ", "anything", True),
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR", "[error 400]", False),
        ("ERROR ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", True),
        ("ERROR ARGUMENTS", "[ERROR 401] UNAUTHORIZED", False),
        ("?ERROR ?ARGUMENTS", "MISSING ARGUMENTS", True),
        ("?ERROR ?ARGUMENTS", "fine", False),
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR", False),
        ('ERROR -"EXITING 1"', "ERROR EXITING 1", False),
        ("ERROR -EXITING", "ERROR going on", True),
        ("-DEBUG", "INFO", True),
        ("-DEBUG", "DEBUG", False),
        ('?"a b" ?c', "a b", True),
        ("ERROR ?WARN", "ERROR", True),  # beside a plain term, alternatives count for nothing
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", True),
        (r"%10\.10\.0\.[0-9]+$%", "from 10.10.0.12", True),
        ("-%[Dd]ebug%", "debug", False),
        (r'"say \"hi\""', 'they say "hi"', True),
        ('"back\\\\slash"', "back\\slash", True),
        ("größe", "die größe", True),
    ],
)
def test_terms(pattern: str, message: str, expected: bool) -> None:
    assert matches(pattern, message) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{$.eventType=UpdateTrail}", True),
        ('{ $.eventType != "UpdateTrail" }', False),
        ("{ $.eventType = Update* }", True),
        ('{ $.eventType = "*Trail" }', True),
        ('{ $.eventType != "*Trail" }', False),
        ("{ $.eventType = %Trail$% }", True),
        ("{ $.eventType != %^Trail% }", True),
        ("{ $.sourceIPAddress = 111.111.* }", True),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[1] = "value" }', False),
        ('{ $.arrayKey[2] = "value" }', False),
        ('{ $.arrayKey[*] = "another value" }', True),
        ('{ $.arrayKey = "value" }', False),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.objectList[*].id > 1 }", True),
        ("{ $.objectList[*].id > 2 }", False),
        ("{ $.* = UpdateTrail }", True),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.eventType IS NULL }", False),
        ("{ $.Missing IS NULL }", False),
        ("{ $.Missing NOT EXISTS }", True),
        ("{ $.SomeObject NOT EXISTS }", False),
        ("{ $.SomeObject EXISTS }", True),
        ('{ $.SomeObject = "*" }', True),
        ("{ $.user = * }", True),
        ("{ $.Missing = * }", False),
        ("{ $.Missing != x }", False),
        ("{ $.ok IS TRUE }", True),
        ("{ $.ok = true }", True),
        ("{ $.bad IS TRUE }", False),
        ("{ $.bad IS FALSE }", True),
        ("{ $.latency > 75 }", True),
        ("{ $.latency >= 75.5 && $.latency <= 7.55e1 }", True),
        ("{ $.latency < 75.5 }", False),
        ("{ $.errorCode = 400 }", True),
        ("{ $.errorCode = 4e2 }", True),
        ("{ $.errorCode = 4* }", True),
        ("{ $.errorCode = 5* }", False),
        ("{ $.errorCode != 400 }", False),
        ('{ $.text = "404" }', True),
        ("{ $.text = 404 }", True),
        ("{ $.ok > 0 }", False),
        ("{ ($.user.id = 1) && ($.user.email = John*) }", True),
        ('{ $.user.id = 2 || $.user.email = "John.Stiles@example.com" }', True),
        ("{ $.user.id = 2 || $.ok IS TRUE && $.bad IS TRUE }", False),
        ("{ $.ok IS TRUE || $.ok IS TRUE && $.bad IS TRUE }", True),
        ("{ ($.ok IS TRUE || $.ok IS TRUE) && $.bad IS TRUE }", False),
        ("{ $.['cluster.name'] = c }", True),
        ("{ $['cluster.name'] = c }", True),
        ("{ $.@timestamp = 5 }", True),
        ('{ $.dash-ed = "x y" }', True),
    ],
)
def test_json_conditions(pattern: str, expected: bool) -> None:
    assert matches(pattern, EVENT) is expected


@pytest.mark.parametrize("message", ["plain", "", "{", "[" * 100_000, '{"a": NaN}', "5", '"text"', '{"a": 1} rest'])
def test_what_is_not_a_json_document_with_the_field_does_not_match(message: str) -> None:
    assert not parse("{ $.a = * }").matches(message)


LINE = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[ip, user, username, timestamp, request, status_code, bytes]", True),
        ("[ip, user, username, timestamp, request, status_code]", False),
        ("[ip, user, username, timestamp, request =*html*, status_code = 4*, bytes]", True),
        ("[ip, user, username, timestamp, request, status_code = 5*, bytes]", False),
        ("[..., status_code=404, bytes > 1500]", True),
        ("[..., status_code, bytes > 1534]", False),
        ("[ip, ...]", True),
        ("[ip=127.*, ..., bytes]", True),
        ("[a,b,c,d,e,f,g,h,...]", False),
        ("[a,b,c,d,e,f,g,...]", True),
        ("[ip != 127.0.0.1, ...]", False),
        ("[ip = 1* && ip != 128.*, ...]", True),
        ("[ip, user = Test || user = Prod, ...]", True),
        ("[ip, (user = Test || user = Prod) && user = %od$%, ...]", True),
        ('[ip, user, name = "frank", when = "10/Oct*", ...]', True),
        ('[ip, user, name, when, request = "GET /index.html HTTP/1.0", ...]', True),
        ("[...]", True),
    ],
)
def test_space_delimited_fields(pattern: str, expected: bool) -> None:
    assert matches(pattern, LINE) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        '"open',
        "%open",
        "%(a)%",
        "%a%%b%%c%",
        "?",
        "-",
        '- "x"',
        "{",
        "{}",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1",
        "{ $.a = 1 } x",
        "{ a = 1 }",
        "{ $ = 1 }",
        "{ $. = 1 }",
        "{ $.a > x }",
        '{ $.a > "5" }',
        "{ $.a IS MAYBE }",
        "{ $.a NOT }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a = 1 && }",
        "{ $.a = 1 & $.b = 1 }",
        "{ $.a[x] = 1 }",
        "{ $.a[-1] = 1 }",
        "{ $.a == 1 }",
        "{ $.*.* = 1 }",
        "{ $.*=1 || $.*=2 || $.*=3 || $.*=4 }",
        "{ $.a = %x% || $.a=%y% || $.a=%z% }",
        "{ " + "(" * 51 + "$.a = 1" + ")" * 51 + " }",
        "{ $.a = 1 }" + " " * 1024 + "}",
        "[",
        "[]",
        "[a",
        "[a,]",
        "[,a]",
        "[a b]",
        "[a=]",
        "[a=1 || b=2]",
        "[..., a, ...]",
        "[a] b",
        "[a=1=2]",
    ],
)
def test_a_bad_pattern_is_an_invalid_parameter(pattern: str) -> None:
    with pytest.raises(ApiError, match=r"Invalid filter pattern|Invalid character") as raised:
        parse(pattern)
    assert raised.value.code == "InvalidParameterException"


def test_an_unquoted_term_names_its_bad_characters() -> None:
    with pytest.raises(ApiError) as raised:
        parse("8f5a-11")
    assert raised.value.message == "Invalid character(s) in term '8f5a-11'"


def test_fifty_parentheses_and_1024_characters_are_allowed() -> None:
    assert matches("{ " + "(" * 50 + "$.a = 1" + ")" * 50 + " }", {"a": 1})
    assert matches("x" * 1024, "x" * 1024)


@given(st.text(alphabet=st.sampled_from("{}[]$.=\"%*<>!&|()?- aA1\\',…"), max_size=25), st.text(max_size=20))
@example("{ $.a = %" + "[" + "% }", "{}")
def test_any_text_is_a_pattern_or_an_invalid_parameter(pattern: str, message: str) -> None:
    with contextlib.suppress(ApiError):
        parsed = parse(pattern)
        parsed.matches(message)
        parsed.extract(message)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_star_stands_for_any_characters(pattern: str, text: str) -> None:
    assert glob(pattern)(text) == fnmatch.fnmatchcase(text, pattern)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["x", "y", "1", "-3"]), st.sampled_from(["a", "b", "0", "1"]), st.sampled_from("ab01"))
def test_a_selector_finds_what_python_finds(document: Any, wanted: str, first: str, second: str) -> None:
    def step(value: Any, part: str) -> Any:
        if part.isdigit() and isinstance(value, list) and int(part) < len(value):
            return value[int(part)]
        return value.get(part) if isinstance(value, dict) else None

    value = step(step(document, first), second)
    expected = not isinstance(value, bool) and isinstance(value, int | str) and str(value) == wanted
    selector = "$" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in (first, second))
    assert matches(f"{{ {selector} = {wanted} }}", document) == expected


@given(st.lists(st.sampled_from(["ab", "bc", "ca"]), max_size=4), st.text("abc ", max_size=10))
def test_plain_terms_all_occur(terms: list[str], message: str) -> None:
    assert matches(" ".join(terms), message) == all(term in message for term in terms)
    assert matches(" ".join("-" + term for term in terms), message) == (not any(term in message for term in terms))
    either = any(term in message for term in terms) or not terms
    assert matches(" ".join("?" + term for term in terms), message) == either


def test_what_the_pattern_names_can_be_extracted() -> None:
    assert parse("{ $.errorCode = 4* && $.user.email = * && $.none NOT EXISTS }").extract(json.dumps(EVENT)) == {
        "$.errorCode": "400",
        "$.user.email": "John.Stiles@example.com",
    }
    assert parse("[ip, ..., bytes]").extract(LINE) == {"$ip": "127.0.0.1", "$bytes": "1534"}
