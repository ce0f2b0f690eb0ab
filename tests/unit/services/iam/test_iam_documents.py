"""What IAM takes as a policy document."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.services.iam import documents

ALLOW = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}
TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}


def policy(*statements: Any, **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)} | members)


@pytest.mark.parametrize(
    "document",
    [
        policy(ALLOW),
        policy(ALLOW, ALLOW, Id="x"),
        json.dumps({"Statement": ALLOW}),
        policy(ALLOW, Version="2008-10-17"),
        policy({"Effect": "Deny", "NotAction": ["iam:*", "*"], "NotResource": ["arn:aws:s3:::b/*"]}),
        policy(ALLOW | {"Sid": "One", "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}}),
        policy(ALLOW | {"Action": ["lambda:Invoke?unction", "execute-api:Invoke"], "Resource": "arn:aws:x:y:z:${a}"}),
    ],
)
def test_an_identity_policy_is_taken(document: str) -> None:
    documents.check(document, "identity")


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        {"AWS": "123456789012"},
        {"AWS": ["arn:aws:iam::123456789012:root", "*"], "Service": "ec2.amazonaws.com"},
        {"Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"},
    ],
)
def test_a_trust_policy_is_taken(principal: Any) -> None:
    documents.check(policy(TRUST | {"Principal": principal}), "trust")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "Syntax errors in policy."),
        ("[" * 100_000, "Syntax errors in policy."),
        ("[]", "Syntax errors in policy."),
        ("{}", "Syntax errors in policy."),
        (policy(), "Syntax errors in policy."),
        (policy("x"), "Syntax errors in policy."),
        (policy(ALLOW, Extra=1), "Syntax errors in policy."),
        (policy(ALLOW | {"Effect": "allow"}), "Syntax errors in policy."),
        (policy(ALLOW | {"Condition": []}), "Syntax errors in policy."),
        (policy(ALLOW, Version="2012-10-18"), "The policy must contain a valid version string"),
        (policy({"Effect": "Allow", "Resource": "*"}), "Policy statement must contain actions."),
        (policy({"Effect": "Allow", "Action": "s3:*"}), "Policy statement must contain resources."),
        (policy(ALLOW | {"Action": "GetObject"}), "Actions/Conditions must be prefaced by a vendor"),
        (policy(ALLOW | {"Action": [5]}), "Actions/Conditions must be prefaced by a vendor"),
        (policy(ALLOW | {"Resource": "bucket"}), 'Resource bucket must be in ARN format or "*".'),
        (policy(ALLOW | {"Principal": "*"}), "Policy document should not specify a principal."),
    ],
)
def test_what_is_not_an_identity_policy_is_refused(document: str, message: str) -> None:
    with pytest.raises(ApiError) as raised:
        documents.check(document, "identity")
    assert raised.value.code == "MalformedPolicyDocument"
    assert raised.value.message.startswith(message)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("nonsense", "This policy contains invalid Json"),
        (policy(TRUST | {"Resource": "*"}), "Has prohibited field Resource"),
        (policy({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
        (policy(TRUST | {"Principal": {}}), "Invalid principal in policy"),
        (policy(TRUST | {"Principal": {"Who": "x"}}), "Invalid principal in policy"),
        (policy(TRUST | {"Principal": {"AWS": []}}), "Invalid principal in policy"),
        (policy(TRUST | {"Principal": {"AWS": [1]}}), "Invalid principal in policy"),
        (policy(TRUST | {"Principal": "lambda.amazonaws.com"}), "Invalid principal in policy"),
    ],
)
def test_what_is_not_a_trust_policy_is_refused(document: str, message: str) -> None:
    with pytest.raises(ApiError) as raised:
        documents.check(document, "trust")
    assert (raised.value.code, raised.value.message) == ("MalformedPolicyDocument", message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["Allow", "s3:*", "*", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["Statement", "Effect", "Action", "Resource", "Principal", "Version", "AWS"]), inner
        )
    ),
)


@given(JSON.map(json.dumps) | st.text(), st.sampled_from(["identity", "trust"]))
def test_any_text_is_a_policy_or_malformed(document: str, kind: documents.Kind) -> None:
    try:
        documents.check(document, kind)
    except ApiError as error:
        malformed = error.code
        assert malformed == "MalformedPolicyDocument"


def test_white_space_counts_against_no_quota() -> None:
    assert documents.length(' {"a":\t"b c"}\n') == 10


def test_documents_are_answered_percent_encoded() -> None:
    assert documents.encoded('{"a": "b*~"}') == "%7B%22a%22%3A%20%22b%2A~%22%7D"
