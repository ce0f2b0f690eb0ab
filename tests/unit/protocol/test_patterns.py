"""Java's regular expressions as Python's."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.protocol import models, patterns

# Every service that Lambent has or plans.
SCOPE = [
    *("lambda", "logs", "sqs", "sns", "s3", "events", "scheduler", "stepfunctions", "dynamodb", "dynamodbstreams"),
    *("kinesis", "cloudwatch", "cloudformation", "iam", "sts", "kms", "secretsmanager", "ssm", "apigateway"),
    *("apigatewayv2", "pipes", "ecr", "xray", "application-autoscaling", "codedeploy", "synthetics"),
]


def patterns_of(service: str) -> set[str]:
    model = models.service(service)
    return {shape.pattern for name in model.shape_names() if (shape := model.shape(name)).pattern}


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "Größe 東京/1", True),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "a;b", False),
        (r"\p{Alpha}+", "abc", True),
        (r"\P{Alpha}+", "abc", False),
        (r"[\w-_]*", "a-_1", True),
        (r"\w+", "é", False),  # ASCII's, as in Java
        (r"[a-z[\]]+", "a[]", True),
        (r"[]a]+", "]a", True),
        (r"(?<name>a)\k", None, False),
        (r"[\uD800\uDC00-\uDBFF\uDFFF]+", "\U0001f600", True),
        (r"\x{1F600}", "\U0001f600", True),
        (r"\Qa.b\E", "a.b", True),
        (r"(a++)b", "aab", True),
        (r"^abc$", "abc\n", False),
    ],
)
def test_a_pattern_means_the_same(pattern: str, value: str | None, matches: bool) -> None:
    if value is None:
        with pytest.raises(patterns.Unsupported):
            patterns.compiled(pattern)
    else:
        assert (patterns.compiled(pattern).fullmatch(value) is not None) == matches


def test_every_pattern_of_the_services_in_scope_can_be_had() -> None:
    for service in SCOPE:
        for pattern in patterns_of(service):
            patterns.compiled(pattern)


# Not in scope, and why Python cannot have them.
UNSUPPORTED = {
    "[\\p{Print}&&[^|:/]]+": "autoscaling-plans: an intersection",
    "^(?i)(true|false)$": "fsx: a flag in the middle",
    "^[-_a-zA-Z0-9]*${2,64}$": "chime-sdk-voice: a repeated anchor",
}


@pytest.mark.parametrize("pattern", UNSUPPORTED)
def test_what_python_cannot_have_is_said(pattern: str) -> None:
    with pytest.raises(patterns.Unsupported):
        patterns.compiled(pattern)


@pytest.mark.parametrize("service", SCOPE)
def test_no_pattern_takes_exponential_time(service: str) -> None:
    # An exponential one would take minutes over these, and the test's timeout would tell.
    beginnings = ("", "/", "arn:aws:", "arn:aws:lambda:us-east-1:123456789012:function:", "https://")
    units = ("a", "0", "-", "/", ".", ":", " ", "_", "a-", "a.", "a/", "aa", "a0", "=", "*")
    attacks = [start + unit * (30 // len(unit)) + "\x00" for start in beginnings for unit in units]
    for pattern in patterns_of(service):
        match = patterns.compiled(pattern).fullmatch
        assert len([match(attack) for attack in attacks]) == len(attacks)


@settings(derandomize=True, database=None, max_examples=200)
@given(st.text("\t $.[]01*ab/_-\x00:", max_size=12))
def test_what_replaces_an_exponential_pattern_means_the_same(value: str) -> None:
    for pattern, replacement in patterns._EQUIVALENT.items():
        slow = re.compile(pattern, re.ASCII)
        assert (slow.fullmatch(value) is None) == (re.compile(replacement, re.ASCII).fullmatch(value) is None)
        assert any(pattern in patterns_of(service) for service in ("events", "pipes", "ecr"))


PROPERTIES = [
    r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*",
    r"\p{Alpha}+",
    r"\P{Alpha}+",
    r"\P{L}\p{M}?",
    r"[\p{M}\p{P}]+",
    r"\p{Lu}\p{Ll}*",
]


@given(st.sampled_from(PROPERTIES), st.text(st.characters(max_codepoint=0x180), max_size=8))
def test_the_quick_form_for_ascii_means_the_same(pattern: str, value: str) -> None:
    quick = patterns.matcher(pattern)(value)
    assert (quick is not None) == (patterns.compiled(pattern).fullmatch(value) is not None)
