"""What policies decide: the documented logic, as a table and as properties."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.policy import ANONYMOUS, MalformedPolicyError, Principal, Request, denial, evaluate

HERE, THERE = "111122223333", "444455556666"
FN = f"arn:aws:lambda:eu-west-1:{HERE}:function:fn"
ROOT = Principal.of_arn(f"arn:aws:iam::{HERE}:root")
USER = Principal.of_arn(f"arn:aws:iam::{HERE}:user/people/ann")
SESSION = Principal.of_arn(f"arn:aws:sts::{HERE}:assumed-role/reader/app")
FOREIGN = Principal.of_arn(f"arn:aws:sts::{THERE}:assumed-role/reader/app")
FOREIGN_ROOT = Principal.of_arn(f"arn:aws:iam::{THERE}:root")
S3 = Principal.service("s3.amazonaws.com")
INVOKE = "lambda:InvokeFunction"


def document(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(effect="Allow", **members):
    return {"Effect": effect, "Action": INVOKE, "Resource": FN} | members


def to(principal, **members):
    return statement(Principal=principal, **members)


MAY = document(statement())
MAY_NOT = document(statement("Deny"))


def decide(principal, *, action=INVOKE, resource_arn=FN, context=None, **policies):
    given_policies = {"identity": [], "resource": []} | policies
    return evaluate(
        Request(action=action, resource=resource_arn, principal=principal, context=context or {}), **given_policies
    )


# --- who grants what. Source: IAM User Guide, "Policy evaluation logic", its tables and its prose.


@pytest.mark.parametrize(
    ("principal", "policies", "allowed", "reason"),
    [
        (SESSION, {}, False, "implicit deny: no identity-based policy allows it"),
        (SESSION, {"identity": [MAY]}, True, "allowed by identity-based policy"),
        (SESSION, {"resource": [document(to({"AWS": SESSION.name}))]}, True, "allowed by resource-based policy"),
        (SESSION, {"resource": [document(to({"AWS": SESSION.role}))]}, True, "allowed by resource-based policy"),
        (SESSION, {"resource": [document(to("*"))]}, True, "allowed by resource-based policy"),
        # The account as the principal hands the decision on to the account.
        (
            SESSION,
            {"resource": [document(to({"AWS": HERE}))]},
            False,
            "implicit deny: no identity-based policy allows it",
        ),
        (USER, {"resource": [document(to({"AWS": USER.name}))]}, True, "allowed by resource-based policy"),
        (USER, {"resource": [document(to({"AWS": f"arn:aws:iam::{HERE}:user/bob"}))]}, False, None),
        (SESSION, {"identity": [MAY, MAY_NOT]}, False, "explicit deny in identity-based policy"),
        (
            SESSION,
            {"identity": [MAY], "resource": [document(to("*", Effect="Deny"))]},
            False,
            "explicit deny in resource-based policy",
        ),
        # The root user needs no policy, and cannot do what its resource's policy denies.
        (ROOT, {}, True, "allowed by identity-based policy"),
        (ROOT, {"resource": [document(to("*", Effect="Deny"))]}, False, "explicit deny in resource-based policy"),
        # Boundaries and session policies.
        (SESSION, {"identity": [MAY], "boundary": []}, False, "implicit deny: no permissions boundary allows it"),
        (SESSION, {"identity": [MAY], "boundary": [MAY]}, True, "allowed by identity-based policy"),
        (SESSION, {"boundary": [MAY]}, False, "implicit deny: no identity-based policy allows it"),
        (SESSION, {"identity": [MAY], "session": []}, False, "implicit deny: no session policy allows it"),
        (SESSION, {"identity": [MAY], "session": [MAY_NOT]}, False, "explicit deny in session policy"),
        (SESSION, {"resource": [document(to({"AWS": SESSION.role}))], "session": []}, False, None),
        (SESSION, {"resource": [document(to({"AWS": SESSION.name}))], "session": []}, True, None),
        (USER, {"resource": [document(to({"AWS": USER.name}))], "boundary": []}, True, None),
        # Across accounts both sides must agree.
        (FOREIGN, {"identity": [MAY]}, False, "implicit deny: no resource-based policy allows it"),
        (FOREIGN, {"resource": [document(to({"AWS": THERE}))]}, False, None),
        (
            FOREIGN,
            {"identity": [MAY], "resource": [document(to({"AWS": THERE}))]},
            True,
            "allowed by resource-based policy",
        ),
        (FOREIGN, {"identity": [MAY], "resource": [document(to({"AWS": FOREIGN.role}))]}, True, None),
        (FOREIGN, {"identity": [MAY], "resource": [document(to({"AWS": HERE}))]}, False, None),
        (FOREIGN, {"identity": [MAY], "resource": [document(to("*"))], "boundary": []}, False, None),
        (FOREIGN_ROOT, {"resource": [document(to({"AWS": FOREIGN_ROOT.name}))]}, True, None),
        (FOREIGN_ROOT, {}, False, "implicit deny: no resource-based policy allows it"),
        # Services and who did not sign have no identity-based policies.
        (S3, {"resource": [document(to({"Service": "s3.amazonaws.com"}))]}, True, "allowed by resource-based policy"),
        (S3, {"resource": [document(to({"Service": "sns.amazonaws.com"}))]}, False, None),
        (S3, {"identity": [MAY]}, False, None),
        (ANONYMOUS, {"resource": [document(to("*"))]}, True, None),
        (ANONYMOUS, {"resource": [document(to({"AWS": "*"}))]}, True, None),
        (ANONYMOUS, {"resource": [document(to({"AWS": HERE}))]}, False, None),
        (ANONYMOUS, {"identity": [MAY]}, False, "implicit deny: no resource-based policy allows it"),
    ],
)
def test_who_is_allowed_by_what(principal, policies, allowed, reason):
    decision = decide(principal, **policies)
    assert decision.allowed is allowed
    assert reason is None or decision.reason == reason


@pytest.mark.parametrize(
    ("members", "action", "allowed"),
    [
        ({"Action": "lambda:Invoke*"}, "lambda:InvokeFunction", True),
        ({"Action": "LAMBDA:invokefunction"}, "lambda:InvokeFunction", True),
        ({"Action": "*"}, "lambda:InvokeFunction", True),
        ({"Action": ["s3:*", "lambda:GetFunctio?"]}, "lambda:GetFunction", True),
        ({"Action": "lambda:Invoke"}, "lambda:InvokeFunction", False),
        ({"Action": None, "NotAction": "lambda:Get*"}, "lambda:InvokeFunction", True),
        ({"Action": None, "NotAction": "lambda:Get*"}, "lambda:GetFunction", False),
        ({"Resource": f"{FN}:*"}, INVOKE, False),
        ({"Resource": f"arn:aws:lambda:*:{HERE}:function:f*"}, INVOKE, True),
        ({"Resource": FN.upper()}, INVOKE, False),
        ({"Resource": "*"}, INVOKE, True),
        ({"Resource": None, "NotResource": f"{FN}*"}, INVOKE, False),
        ({"Resource": None, "NotResource": f"{FN}:live"}, INVOKE, True),
        ({"Condition": {"StringEquals": {"AWS:PrincipalAccount": HERE}}}, INVOKE, True),
        ({"Condition": {"StringEquals": {"aws:PrincipalAccount": THERE}}}, INVOKE, False),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{HERE}:role/r*"}}}, INVOKE, True),
    ],
)
def test_what_a_statement_is_about(members, action, allowed):
    made = {key: value for key, value in statement(**members).items() if value is not None}
    assert decide(SESSION, action=action, identity=[document(made)]).allowed is allowed


def test_the_username_of_a_user_is_a_variable():
    own = document(statement(Resource="arn:aws:lambda:*:*:function:${aws:username}-*"))
    arn = f"arn:aws:lambda:eu-west-1:{HERE}:function:ann-fn"
    assert decide(USER, resource_arn=arn, identity=[own]).allowed
    assert not decide(SESSION, resource_arn=arn, identity=[own]).allowed  # a role has no user name
    old = own | {"Version": "2008-10-17"}
    assert not decide(USER, resource_arn=arn, identity=[old]).allowed


def test_a_role_is_known_by_its_name_whatever_its_path():
    named = document(to({"AWS": f"arn:aws:iam::{HERE}:role/team/reader"}))
    assert decide(SESSION, resource=[named]).allowed
    other = document(to({"AWS": f"arn:aws:iam::{HERE}:role/reader/writer"}))
    assert not decide(SESSION, resource=[other]).allowed
    namesake = document(to({"AWS": FOREIGN.role}))
    assert not decide(SESSION, resource=[namesake]).allowed
    assert not decide(FOREIGN, identity=[MAY], resource=[document(to({"AWS": SESSION.role}))]).allowed


# Source: IAM User Guide, "NotPrincipal": a Deny spares a session only where all that it is is named.
@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        ([SESSION.name, SESSION.role, HERE], True),
        ([SESSION.name, SESSION.role, f"arn:aws:iam::{HERE}:root"], True),
        ([SESSION.name], False),
        ([SESSION.name, SESSION.role], False),
        ([SESSION.role, HERE], False),
        (["*"], True),
    ],
)
def test_a_deny_with_not_principal(names, allowed):
    denied = statement("Deny", NotPrincipal={"AWS": names})
    assert decide(SESSION, identity=[MAY], resource=[document(denied)]).allowed is allowed


def test_an_allow_with_not_principal():
    others = document(statement(NotPrincipal={"AWS": USER.name}))
    assert decide(SESSION, resource=[others]).allowed
    assert not decide(USER, resource=[others]).allowed


def test_a_statement_of_a_resource_without_a_principal_is_about_nobody():
    assert not decide(S3, resource=[MAY]).allowed
    assert decide(ROOT, resource=[MAY_NOT]).allowed


# Source: Developer Guide, "Control access to Lambda function URLs", its examples.
@pytest.mark.parametrize(("auth_type", "allowed"), [("NONE", True), ("AWS_IAM", False)])
def test_the_documented_policy_of_a_public_url(auth_type, allowed):
    public = document(
        to(
            "*",
            Action="lambda:InvokeFunctionUrl",
            Condition={"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        ),
        to("*", Condition={"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}),
    )
    keys = {"lambda:FunctionUrlAuthType": auth_type}
    decision = decide(ANONYMOUS, action="lambda:InvokeFunctionUrl", context=keys, resource=[public])
    assert decision.allowed is allowed
    assert decide(ANONYMOUS, context={"lambda:InvokedViaFunctionUrl": True}, resource=[public]).allowed
    assert not decide(ANONYMOUS, resource=[public]).allowed


def test_a_documented_trigger_of_a_bucket():
    trigger = document(
        to(
            {"Service": "s3.amazonaws.com"},
            Condition={
                "StringEquals": {"AWS:SourceAccount": HERE},
                "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
            },
        )
    )
    keys = {"aws:SourceAccount": HERE, "aws:SourceArn": "arn:aws:s3:::bucket"}
    assert decide(S3, context=keys, resource=[trigger]).allowed
    assert not decide(S3, context=keys | {"aws:SourceAccount": THERE}, resource=[trigger]).allowed
    assert not decide(S3, context=keys | {"aws:SourceArn": "arn:aws:s3:::other"}, resource=[trigger]).allowed
    assert not decide(S3, resource=[trigger]).allowed


def test_denials_are_told_in_the_documented_words():
    def told(principal, **policies):
        request = Request(action=INVOKE, resource=FN, principal=principal)
        return denial(request, evaluate(request, **({"identity": [], "resource": []} | policies)))

    start = f"is not authorized to perform: {INVOKE} on resource: {FN}"
    assert told(SESSION) == (
        f"User: {SESSION.name} {start} because no identity-based policy allows the {INVOKE} action"
    )
    assert told(SESSION, identity=[MAY_NOT]) == (
        f"User: {SESSION.name} {start} with an explicit deny in an identity-based policy"
    )
    assert told(SESSION, identity=[MAY], session=[MAY_NOT]) == (
        f"User: {SESSION.name} {start} with an explicit deny in a session policy"
    )
    assert told(ANONYMOUS).startswith("User: anonymous is not authorized")


def test_what_cannot_be_read_is_no_permission():
    with pytest.raises(MalformedPolicyError):
        decide(ROOT, resource=[document(statement(Principal="*", Condition={"Unheard": {"a:b": "c"}}))])


# --- properties

effects = st.sampled_from(["Allow", "Deny"])
actions = st.sampled_from(["*", INVOKE, "lambda:*", "lambda:Get*", "s3:*"])
resources = st.sampled_from(["*", FN, f"{FN}:*", "arn:aws:s3:::b", "arn:aws:lambda:${aws:PrincipalAccount}"])
named = st.sampled_from(
    ["*", {"AWS": HERE}, {"AWS": THERE}, {"AWS": SESSION.name}, {"AWS": SESSION.role}, {"Service": S3.name}]
)
when = st.sampled_from(
    [
        {},
        {"Bool": {"a:flag": "true"}},
        {"BoolIfExists": {"a:flag": "false"}},
        {"StringNotEquals": {"aws:PrincipalAccount": HERE}},
        {"ForAllValues:StringLike": {"a:tags": ["x*"]}},
    ]
)
statements = st.fixed_dictionaries(
    {"Effect": effects, "Action": actions, "Resource": resources, "Principal": named, "Condition": when}
)
lists = st.lists(statements, min_size=1, max_size=5)
principals = st.sampled_from([ROOT, USER, SESSION, FOREIGN, FOREIGN_ROOT, S3, ANONYMOUS])
contexts = st.sampled_from([{}, {"a:flag": True}, {"a:tags": ["x", "y"]}, {"a:flag": False, "a:tags": []}])


@given(principals, lists, lists, contexts, statements, st.sampled_from(["identity", "resource", "boundary", "session"]))
def test_one_more_deny_never_allows(principal, identity, resource, context, more, where):
    policies = {"identity": [document(*identity)], "resource": [document(*resource)]}
    before = decide(principal, context=context, **policies)
    there = policies.get(where, [document(statement(Action="*", Resource="*"))])
    denied = policies | {where: [*there, document(more | {"Effect": "Deny"})]}
    assert decide(principal, context=context, **denied).allowed <= before.allowed


@given(principals, lists, lists, contexts, statements)
def test_one_more_allow_never_denies(principal, identity, resource, context, more):
    before = decide(principal, context=context, identity=[document(*identity)], resource=[document(*resource)])
    allowed = document(*resource, more | {"Effect": "Allow"})
    after = decide(principal, context=context, identity=[document(*identity)], resource=[allowed])
    assert after.allowed >= before.allowed


@given(principals, lists, lists, contexts, st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(principal, identity, resource, context, rng: random.Random):
    before = decide(principal, context=context, identity=[document(*identity)], resource=[document(*resource)])
    rng.shuffle(identity)
    rng.shuffle(resource)
    one_each = {"identity": [document(each) for each in identity], "resource": [document(each) for each in resource]}
    assert decide(principal, context=context, **one_each) == before


@given(principals, lists, lists, contexts, lists)
def test_a_boundary_and_a_session_policy_only_take_away(principal, identity, resource, context, bounds):
    policies = {"identity": [document(*identity)], "resource": [document(*resource)]}
    free = decide(principal, context=context, **policies)
    assert decide(principal, context=context, **policies, boundary=[document(*bounds)]).allowed <= free.allowed
    assert decide(principal, context=context, **policies, session=[document(*bounds)]).allowed <= free.allowed
