"""The grammar of event patterns: each form, what is wrong in AWS's words, and any event against a plain definition."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.patterns import Pattern, PatternError, compile
from lambent.aws.patterns.matching import leaves_of, match


def matches(pattern, event):
    return compile(json.dumps(pattern)).matches(event)


def values_let_through(elements, values):
    return [value for value in values if matches({"x": elements}, {"x": value})]


_NAMES = ["prefix", "suffix", "exists", "numeric", "anything-but", "wildcard", "cidr", "exactly", "equals-ignore-case"]
SOME = ["abc", "ABC", "abd", "", "5", 5, 5.0, 7, -1, True, False, None, "10.1.2.3"]


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("abc", ["abc"]),
        ("", [""]),
        (None, [None]),
        (True, [True]),
        (False, [False]),
        (5, [5, 5.0]),
        ({"exactly": "abc"}, ["abc"]),
        ({"prefix": "ab"}, ["abc", "abd"]),
        ({"prefix": {"equals-ignore-case": "aB"}}, ["abc", "ABC", "abd"]),
        ({"prefix": ""}, ["abc", "ABC", "abd", "", "5", "10.1.2.3"]),
        ({"suffix": "c"}, ["abc"]),
        ({"suffix": {"equals-ignore-case": "bc"}}, ["abc", "ABC"]),
        ({"equals-ignore-case": "AbC"}, ["abc", "ABC"]),
        ({"wildcard": "a*"}, ["abc", "abd"]),
        ({"wildcard": "*b*"}, ["abc", "abd"]),
        ({"wildcard": "a*c"}, ["abc"]),
        ({"wildcard": "abc"}, ["abc"]),
        ({"anything-but": "abc"}, ["ABC", "abd", "", "5", 5, 5.0, 7, -1, True, False, None, "10.1.2.3"]),
        ({"anything-but": ["abc", "ABC"]}, ["abd", "", "5", 5, 5.0, 7, -1, True, False, None, "10.1.2.3"]),
        ({"anything-but": 5}, ["abc", "ABC", "abd", "", "5", 7, -1, True, False, None, "10.1.2.3"]),
        ({"anything-but": {"prefix": "a"}}, ["ABC", "", "5", 5, 5.0, 7, -1, True, False, None, "10.1.2.3"]),
        ({"anything-but": {"suffix": ["c", "3"]}}, ["ABC", "abd", "", "5", 5, 5.0, 7, -1, True, False, None]),
        ({"anything-but": {"wildcard": "ab*"}}, ["ABC", "", "5", 5, 5.0, 7, -1, True, False, None, "10.1.2.3"]),
        (
            {"anything-but": {"equals-ignore-case": ["abc", "ABD"]}},
            ["", "5", 5, 5.0, 7, -1, True, False, None, "10.1.2.3"],
        ),
        ({"numeric": ["=", 5]}, [5, 5.0]),
        ({"numeric": ["<", 5]}, [-1]),
        ({"numeric": ["<=", 5]}, [5, 5.0, -1]),
        ({"numeric": [">", 5]}, [7]),
        ({"numeric": [">=", 5]}, [5, 5.0, 7]),
        ({"numeric": [">", 0, "<=", 6]}, [5, 5.0]),
        ({"cidr": "10.1.2.0/24"}, ["10.1.2.3"]),
        ("10.1.2.3", ["10.1.2.3"]),
        ({"exists": True}, SOME),
        ({"exists": False}, []),
    ],
)
def test_each_form_lets_through_its_values(element, expected):
    found = values_let_through([element], SOME)
    assert [(type(value), value) for value in found] == [(type(value), value) for value in expected]


def test_the_elements_of_a_list_are_alternatives_and_fields_are_not():
    assert matches({"a": ["x", "y"], "b": [1]}, {"a": "y", "b": 1, "c": "whatever"})
    assert not matches({"a": ["x", "y"], "b": [1]}, {"a": "y", "b": 2})
    assert not matches({"a": ["x"]}, {"b": "x"})


def test_wildcards_are_escaped_with_a_backslash():
    assert matches({"x": [{"wildcard": r"a\*b\\*"}]}, {"x": r"a*b\ and more"})
    assert not matches({"x": [{"wildcard": r"a\*b"}]}, {"x": "aXb"})


def test_addresses_are_compared_as_addresses():
    assert matches({"x": ["2001:db8::1"]}, {"x": "2001:0DB8:0:0:0:0:0:1"})
    assert matches({"x": [{"cidr": "2001:db8::/32"}]}, {"x": "2001:db8:1::9"})
    assert not matches({"x": [{"cidr": "10.0.0.0/8"}]}, {"x": "11.0.0.0"})
    assert not matches({"x": [{"cidr": "10.0.0.0/8"}]}, {"x": "not an address"})


def test_exists_is_about_leaves():
    absent = {"a": {"b": [{"exists": False}]}}
    assert matches(absent, {})
    assert matches(absent, {"a": {"b": {"deeper": 1}}})
    assert matches(absent, {"a": {"b": []}})
    assert not matches(absent, {"a": {"b": None}})
    assert not matches({"a": {"b": [{"exists": True}]}}, {"a": {"b": {"deeper": 1}}})
    assert matches({"a": {"b": [{"exists": False}, "x"]}}, {"a": {"b": "x"}})
    assert not matches({"a": {"b": [{"exists": False}, "x"]}}, {"a": {"b": "y"}})


def test_any_element_of_an_array_will_do_and_anything_but_means_one_that_differs():
    assert matches({"x": ["b"]}, {"x": ["a", ["b", "c"]]})
    assert matches({"x": [{"anything-but": "a"}]}, {"x": ["a", "b"]})
    assert not matches({"x": [{"anything-but": "a"}]}, {"x": ["a"]})
    assert not matches({"x": [{"anything-but": "a"}]}, {"x": []})


def test_two_fields_below_an_array_are_of_one_element():
    pattern = {"items": {"name": ["a"], "price": [2]}}
    assert matches(pattern, {"items": [{"name": "b", "price": 2}, {"name": "a", "price": 2}]})
    assert not matches(pattern, {"items": [{"name": "b", "price": 2}, {"name": "a", "price": 1}]})


def test_a_dot_in_a_name_is_a_step():
    for event in ({"a": {"b": 1}}, {"a.b": 1}):
        assert matches({"a.b": [1]}, event)
        assert matches({"a": {"b": [1]}}, event)


def test_or_is_multiplied_out():
    pattern = {"s": ["x"], "$or": [{"a": [1]}, {"b": [2], "$or": [{"c": [3]}, {"d": [4]}]}]}
    assert matches(pattern, {"s": "x", "a": 1})
    assert matches(pattern, {"s": "x", "b": 2, "d": 4})
    assert not matches(pattern, {"s": "x", "b": 2})
    assert not matches(pattern, {"a": 1})


@pytest.mark.parametrize("value", [["x"], [{"prefix": "x"}, {"prefix": "y"}]])
def test_or_with_anything_else_is_a_field_of_that_name(value):
    assert matches({"$or": value}, {"$or": "x"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "Filter is not an object"),
        ('"x"', "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        ('{"a": {}}', "Empty objects are not allowed"),
        ('{"a": []}', "Empty arrays are not allowed"),
        ('{"a": 1}', '"a" must be an object or an array'),
        ('{"a": [[1]]}', "Match value must be String, number, true, false, or null"),
        ('{"a": [{}]}', "Match expression name not found"),
        ('{"a": [{"like": "x"}]}', "Unrecognized match type like"),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key allowed in match expression"),
        ('{"a": [{"prefix": 1}]}', "prefix match pattern must be a string"),
        ('{"a": [{"prefix": {"wildcard": "x"}}]}', "Unsupported prefix pattern: wildcard"),
        ('{"a": [{"suffix": null}]}', "suffix match pattern must be a string"),
        ('{"a": [{"equals-ignore-case": []}]}', "equals-ignore-case match pattern must be a string"),
        ('{"a": [{"wildcard": 5}]}', "wildcard match pattern must be a string"),
        ('{"a": [{"wildcard": "a**b"}]}', "Consecutive wildcard characters at pos 2"),
        ('{"a": [{"wildcard": "a\\\\b"}]}', "Invalid escape character at pos 2"),
        ('{"a": [{"exists": "yes"}]}', "exists match pattern must be either true or false."),
        ('{"a": [{"numeric": 5}]}', "Value of numeric must be an array."),
        ('{"a": [{"numeric": ["~", 5]}]}', "Unrecognized numeric range operator: ~"),
        ('{"a": [{"numeric": ["=", "5"]}]}', "Value of equals must be numeric"),
        ('{"a": [{"numeric": ["<", 5, ">", 1]}]}', "Too many elements in numeric expression"),
        ('{"a": [{"numeric": [">", 5, "=", 1]}]}', "Bad numeric range operator: ="),
        ('{"a": [{"numeric": [">", 5, "<", 1]}]}', "Bottom must be less than top"),
        ('{"a": [{"numeric": [">", 0, "<", 1, 2]}]}', "Too many terms in numeric range expression"),
        ('{"a": [{"cidr": "10.0.0.0"}]}', "Malformed CIDR, one '/' required"),
        ('{"a": [{"cidr": "10.0.0.0/x"}]}', "Malformed CIDR, mask bits must be an integer"),
        ('{"a": [{"cidr": "10.0.0.0/32"}]}', "IPv4 mask bits must be < 32"),
        ('{"a": [{"cidr": "host/8"}]}', "Nonstandard IP address: host"),
        ('{"a": [{"anything-but": null}]}', "Value of anything-but must be an array or single string/number value."),
        (
            '{"a": [{"anything-but": ["x", 1]}]}',
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ),
        ('{"a": [{"anything-but": [null]}]}', "Inside anything but list, start|null|boolean is not supported."),
        ('{"a": [{"anything-but": {"cidr": "x"}}]}', "Unsupported anything-but pattern: cidr"),
        ('{"a": [{"anything-but": {"prefix": ""}}]}', "Null prefix/suffix not allowed"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_matcher(text, message):
    with pytest.raises(PatternError) as raised:
        compile(text)
    assert str(raised.value) == message


def test_more_than_a_thousand_combinations_are_refused():
    ten = [{name: [1]} for name in "abcdefghij"]
    compile(json.dumps({"x": {"$or": ten}, "y": {"$or": ten}, "z": {"$or": ten}}))
    with pytest.raises(PatternError, match="too complex"):
        compile(json.dumps({"w": {"$or": ten[:2]}, "x": {"$or": ten}, "y": {"$or": ten}, "z": {"$or": ten}}))


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": [NaN]}', '{"a":' * 5000 + "[1]" + "}" * 5000])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(PatternError):
        compile(text)


@given(
    st.text(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*_NAMES, "a", "$or"]), inner, max_size=3)
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value))
)
def test_any_text_is_a_pattern_or_is_refused(text):
    try:
        pattern = compile(text)
    except PatternError:
        return
    assert isinstance(pattern, Pattern)
    pattern.matches({"a": [1, "x", None, {"a": "y"}]})


FIELDS = st.sampled_from(["a", "b", "c"])
LEAVES = st.sampled_from([1, 2, "x", "y", None])
EVENTS = st.dictionaries(
    FIELDS,
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3)),
    max_size=3,
)
ELEMENTS = LEAVES | st.sampled_from([{"exists": True}, {"exists": False}, {"anything-but": 1}, {"numeric": [">", 1]}])
PATTERNS = st.recursive(
    st.dictionaries(FIELDS, st.lists(ELEMENTS, min_size=1, max_size=2), min_size=1, max_size=3),
    lambda inner: st.dictionaries(FIELDS, inner | st.lists(ELEMENTS, min_size=1, max_size=2), min_size=1, max_size=3),
    max_leaves=4,
)


def plainly(questions, leaves):
    """Every choice of leaves, one for each question: what `match` must agree with, however it looks for it."""
    choices = [[*leaves.get(question.name, ()), *([None] if question.may_be_absent else [])] for question in questions]
    return any(holds(questions, choice, leaves) for choice in itertools.product(*choices))


def holds(questions, choice, leaves):
    so_far = {}
    for question, leaf in zip(questions, choice, strict=True):
        agreeing = [one for one in leaves.get(question.name, ()) if agree(one.membership, so_far)]
        if leaf is None:
            if agreeing:
                return False
            continue
        if leaf not in agreeing or not any(test(leaf.value) for test in question.tests):
            return False
        so_far = {**so_far, **leaf.membership}
    return True


def agree(one, other):
    return all(other.get(array, place) == place for array, place in one.items())


@given(PATTERNS, EVENTS)
def test_the_search_finds_a_choice_of_leaves_exactly_when_there_is_one(pattern, event):
    compiled = compile(json.dumps(pattern))
    leaves = leaves_of(event, compiled.names)
    for questions in compiled.alternatives:
        assert match(questions, leaves) == plainly(questions, leaves)


@given(EVENTS)
def test_an_event_matches_the_pattern_that_its_leaves_make(event):
    names = {}
    todo = [("", event)]
    while todo:
        name, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{name}.{key}" if name else key, below) for key, below in value.items()]
        elif isinstance(value, list):
            todo += [(name, below) for below in value]
        else:
            names[name] = [*names.get(name, []), value]
    for name, values in names.items():
        assert matches({name: values}, event)
        assert not matches({name: [{"exists": False}]}, event)


def test_many_arrays_cost_no_more_than_their_sizes_together():
    event = {name: [{"u": 1, "v": 2} for _ in range(300)] for name in "abcdef"}
    pattern = {name: {"u": [1], "v": [2]} for name in "abcdef"} | {"z": [1]}
    assert not matches(pattern, event)
    assert matches(pattern, event | {"z": 1})


def test_an_event_of_any_depth_is_looked_at():
    deep = [1]
    for _ in range(5_000):
        deep = [deep]
    assert not matches({"a": {"b": [1]}}, {"a": deep[0]})
