"""What may be stored as a policy document. (`services/iam` tests the kinds that IAM stores.)"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.policy import (
    ANONYMOUS,
    MalformedPolicyError,
    Principal,
    Request,
    check,
    decode,
    evaluate,
)

STATEMENT = {
    "Sid": "one",
    "Effect": "Allow",
    "Principal": {"Service": "s3.amazonaws.com"},
    "Action": "lambda:InvokeFunction",
    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:fn",
}
SYNTAX = "Syntax errors in policy."


def document(*statements, **members):
    return {"Version": "2012-10-17", "Statement": list(statements)} | members


def changed(**members):
    return document({key: value for key, value in (STATEMENT | members).items() if value is not None})


@pytest.mark.parametrize(
    "good",
    [
        document(STATEMENT),
        document(STATEMENT, Id="default"),
        {"Version": "2008-10-17", "Statement": STATEMENT},
        {"Statement": STATEMENT},
        changed(Principal="*"),
        changed(Principal={"AWS": ["123456789012", "*"], "Federated": "x"}),
        changed(Action=None, NotAction=["lambda:*"]),
        changed(Resource=None, NotResource="*"),
        changed(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::b"}}),
        document(STATEMENT, STATEMENT | {"Sid": "two"}),
    ],
)
def test_a_resource_policy_is_taken(good):
    check(good, "resource")
    assert decode(json.dumps(good), "resource") == good


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], SYNTAX),
        ({}, SYNTAX),
        (document(), SYNTAX),
        (document(STATEMENT, More=1), SYNTAX),
        (document(STATEMENT, Version="2026-01-01"), "The policy must contain a valid version string"),
        (document(STATEMENT, Version=["2012-10-17"]), "The policy must contain a valid version string"),
        (changed(Effect="allow"), SYNTAX),
        (changed(Effect=None), SYNTAX),
        (changed(Action=None), "Policy statement must contain actions."),
        (changed(Action="Invoke"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (changed(NotAction="lambda:*"), SYNTAX),
        (changed(NotPrincipal="*"), SYNTAX),
        (changed(Principal=None), "Missing required field Principal"),
        (changed(Principal={}), "Invalid principal in policy"),
        (changed(Principal={"AWS": []}), "Invalid principal in policy"),
        (changed(Principal={"Aws": "*"}), "Invalid principal in policy"),
        (changed(Principal="123456789012"), "Invalid principal in policy"),
        (changed(Resource=None), "Policy statement must contain resources."),
        (changed(Resource="fn"), 'Resource fn must be in ARN format or "*".'),
        (changed(Condition=[]), SYNTAX),
        (changed(Condition={"Equals": {"a:b": "c"}}), "Invalid Condition type : Equals."),
        (document(STATEMENT, STATEMENT), "Statement IDs (SID) in a single policy must be unique."),
    ],
)
def test_what_is_no_resource_policy_is_refused(bad, message):
    with pytest.raises(MalformedPolicyError) as raised:
        check(bad, "resource")
    assert raised.value.message == message


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"x"', "null", '{"Version":"2012-10-17","Version":1}'])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(MalformedPolicyError):
        decode(text, "resource")


keys = st.sampled_from(
    [
        "Version",
        "Id",
        "Statement",
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "AWS",
        "Service",
        "StringEquals",
        "Bool",
        "aws:username",
    ]
) | st.text(max_size=4)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["2012-10-17", "Allow", "Deny", "*", "s3:Get*", "arn:aws:s3:::${aws:username}", "123456789012"])
)
values = st.recursive(
    scalars, lambda of: st.lists(of, max_size=3) | st.dictionaries(keys, of, max_size=4), max_leaves=12
)
statements = st.dictionaries(keys, values, max_size=6) | st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": values},
    optional={"Principal": values, "Resource": values, "Condition": values, "NotPrincipal": values, "Sid": values},
)
documents = values | st.fixed_dictionaries({"Version": st.just("2012-10-17"), "Statement": st.lists(statements)})
ARN = "arn:aws:lambda:us-east-1:123456789012:function:fn"
principals = st.sampled_from(
    [
        ANONYMOUS,
        Principal.service("s3.amazonaws.com"),
        Principal.of_arn("arn:aws:iam::123456789012:root"),
        Principal.of_arn("arn:aws:iam::210987654321:user/ann"),
        Principal.of_arn("arn:aws:sts::123456789012:assumed-role/r/s"),
    ]
)


@given(documents, st.sampled_from(["identity", "trust", "resource"]))
def test_any_json_is_taken_or_refused_with_the_one_error(value, kind):
    try:
        check(value, kind)
    except MalformedPolicyError as error:
        assert error.message  # noqa: PT017 - either outcome is right


@given(documents, documents, principals)
def test_any_json_is_evaluated_or_refused_with_the_one_error(identity, resource, principal):
    request = Request(action="lambda:InvokeFunction", resource=ARN, principal=principal)
    try:
        evaluate(request, identity=[identity], resource=[resource])
    except MalformedPolicyError as error:
        assert error.message  # noqa: PT017 - either outcome is right


@given(documents, st.sampled_from(["identity", "trust", "resource"]))
def test_what_may_be_stored_can_be_evaluated(value, kind):
    try:
        check(value, kind)
    except MalformedPolicyError:
        return
    request = Request(action="s3:GetObject", resource=ARN, principal=ANONYMOUS)
    evaluate(request, identity=[value], resource=[value])
