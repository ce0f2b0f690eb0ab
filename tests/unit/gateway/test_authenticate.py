"""Who signed a request, in open mode."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.gateway.authenticate import Authenticator, Principal

ROLE = Principal("111122223333", "arn:aws:sts::111122223333:assumed-role/worker/f", "AROA:f")


def issued(access_key, session_token):
    return ROLE if (access_key, session_token) == ("ASIAISSUED", "token") else None


def identity(authorization=None, query="", **headers):
    given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if authorization is not None:
        given_headers["authorization"] = authorization
    return Authenticator("eu-central-1", issued).identity(given_headers, query)


def signed(credential):
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=00ff"


def test_the_signature_names_region_and_service():
    who = identity(signed("AKIDEXAMPLE/20260101/eu-west-1/lambda/aws4_request"))
    assert (who.account, who.region, who.signing_name) == ("000000000000", "eu-west-1", "lambda")
    assert who.principal == "arn:aws:iam::000000000000:root"


def test_a_twelve_digit_access_key_is_the_account():
    who = identity(signed("123456789012/20260101/us-east-1/logs/aws4_request"))
    assert (who.account, who.principal) == ("123456789012", "arn:aws:iam::123456789012:root")


def test_an_unsigned_request_is_the_default_accounts():
    who = identity()
    assert (who.account, who.region, who.signing_name) == ("000000000000", "eu-central-1", None)


def test_a_presigned_url_names_them_in_its_query():
    query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=210987654321%2F20260101%2Fap-south-1%2Fs3%2Faws4_request"
    who = identity(query=query)
    assert (who.account, who.region, who.signing_name) == ("210987654321", "ap-south-1", "s3")


def test_a_key_that_we_issued_carries_its_role():
    credential = "ASIAISSUED/20260101/us-east-1/lambda/aws4_request"
    who = identity(signed(credential), x_amz_security_token="token")
    assert (who.account, who.principal, who.user_id) == (ROLE.account, ROLE.principal, ROLE.user_id)
    query = f"X-Amz-Credential={credential.replace('/', '%2F')}&X-Amz-Security-Token=token"
    assert identity(query=query).principal == ROLE.principal


def test_a_key_with_another_token_does_not_carry_the_role():
    authenticator = Authenticator("us-east-1", issued)
    headers = {"authorization": signed("ASIAISSUED/20260101/us-east-1/lambda/aws4_request")}
    assert authenticator.identity({**headers, "x-amz-security-token": "token"}, "").account == ROLE.account
    assert authenticator.identity({**headers, "x-amz-security-token": "other"}, "").account == "000000000000"
    assert authenticator.identity(headers, "").account == "000000000000"


def test_version_4a_names_its_region_in_a_header():
    authorization = "AWS4-ECDSA-P256-SHA256 Credential=AKID/20260101/s3/aws4_request, SignedHeaders=host, Signature=0"
    who = identity(authorization, x_amz_region_set="eu-north-1")
    assert (who.region, who.signing_name) == ("eu-north-1", "s3")
    assert identity(authorization, x_amz_region_set="*").region == "eu-central-1"


@pytest.mark.parametrize("authorization", ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Signature=0"])
def test_a_header_cut_short_is_an_incomplete_signature(authorization):
    with pytest.raises(ApiError, match="requires 'Credential' parameter") as refused:
        identity(authorization)
    assert refused.value.code == "IncompleteSignature"


def test_a_credential_has_five_elements():
    with pytest.raises(ApiError, match="exactly 5 slash-delimited elements"):
        identity(signed("AKID/20260101/us-east-1"))


@pytest.mark.parametrize("authorization", ["Bearer abc", "Basic dXNlcjpwYXNz", ""])
def test_other_schemes_count_as_unsigned(authorization):
    assert identity(authorization).signing_name is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_is_sent_gives_an_identity_or_an_api_error(authorization, query):
    with contextlib.suppress(ApiError):
        assert len(identity(authorization, query).account) == 12


def test_the_memory_of_credentials_is_bounded():
    authenticator = Authenticator("us-east-1")
    for number in range(10_000):
        headers = {"authorization": signed(f"KEY{number}/20260101/us-east-1/lambda/aws4_request")}
        assert authenticator.identity(headers, "").access_key == f"KEY{number}"
    assert len(authenticator._known) <= 4096
