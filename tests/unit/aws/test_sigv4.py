"""Signature version 4, against botocore's signer as the oracle."""

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws import sigv4
from lambent.aws.errors import ApiError
from lambent.protocol.http import HttpRequest

HOST = "abc.lambda-url.eu-west-1.localhost:4566"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MISMATCH = ("InvalidSignatureException", sigv4.MISMATCH)


def http(signed):
    """What a server receives of a request that botocore signed."""
    parts = urlsplit(signed.url)
    headers = {name.lower(): value for name, value in signed.headers.items()} | {"host": parts.netloc}
    return HttpRequest(signed.method, parts.path or "/", parts.query, headers, signed.data or b"")


def signed_by_botocore(
    method="GET", path="/", query="", headers=None, body=b"", *, auth=SigV4Auth, token=None, service="lambda", **options
):
    request = AWSRequest(method, f"http://{HOST}{path}{'?' if query else ''}{query}", headers or {}, body)
    auth(Credentials("AKIDEXAMPLE", SECRET, token), service, "eu-west-1", **options).add_auth(request)
    return http(request)


def refusal(do):
    with pytest.raises(ApiError) as raised:
        do()
    return raised.value.code, raised.value.message


def changed(request, **members):
    parts = {name: getattr(request, name) for name in ("method", "path", "query", "headers", "body")}
    return HttpRequest(**parts | members)


def verify(request, secret=SECRET):
    signature = sigv4.read(request)
    sigv4.verify(request, signature, secret)
    return signature


segments = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6).map(
    lambda text: quote(text, safe="-_.~:@!$&'()*+,;=")
)
paths = st.lists(segments | st.sampled_from([".", "..", ""]), max_size=5).map(lambda parts: "/" + "/".join(parts))
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=6)
queries = st.lists(st.tuples(names, names | st.just("")), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=10).map(str.strip)
header_maps = st.dictionaries(st.sampled_from(["X-Own", "Content-Type", "x-amz-meta-a", "Accept"]), texts, max_size=4)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"])


@given(methods, paths, queries, header_maps, st.binary(max_size=40), st.none() | st.just("the/token+=="))
def test_what_botocore_signs_is_verified(method, path, query, headers, body, token):
    request = signed_by_botocore(method, path, query, headers, body, token=token)
    signature = verify(request)
    assert (signature.access_key, signature.session_token, signature.expires_s) == ("AKIDEXAMPLE", token, None)
    assert (signature.scope.region, signature.scope.service) == ("eu-west-1", "lambda")
    assert "host" in signature.signed_headers
    sigv4.check(signature, region="eu-west-1", service="lambda", now=datetime.now(UTC))
    assert refusal(lambda: verify(request, SECRET + "x")) == MISMATCH


@given(methods, paths, header_maps, st.none() | st.just("the/token+=="), st.integers(1, 604_800))
def test_what_botocore_presigns_is_verified(method, path, headers, token, expires):
    request = signed_by_botocore(method, path, "a=1&b=%20", headers, auth=SigV4QueryAuth, token=token, expires=expires)
    signature = verify(request)
    assert (signature.session_token, signature.expires_s) == (token, expires)
    assert refusal(lambda: verify(request, SECRET + "x")) == MISMATCH


@given(paths)
def test_s3_signs_the_path_as_it_is(path):
    signed = signed_by_botocore("PUT", path, body=b"body", auth=S3SigV4Auth, service="s3")
    verify(signed)


@given(methods, paths, queries, header_maps, st.binary(max_size=40), st.none() | st.just("tok"))
def test_we_sign_as_botocore_does(method, path, query, headers, body, token):
    at = datetime(2026, 3, 1, 12, 30, 45, tzinfo=UTC)
    request = AWSRequest(method, f"http://{HOST}{path}{'?' if query else ''}{query}", headers, body)
    plain = http(request)
    key = sigv4.Key(access_key="AKIDEXAMPLE", secret_key=SECRET, session_token=token)
    ours = sigv4.sign(plain, key, region="eu-west-1", service="lambda", at=at)
    verify(changed(plain, headers=plain.headers | ours))

    request.context["timestamp"] = "20260301T123045Z"
    request.headers["X-Amz-Date"] = "20260301T123045Z"
    if token:
        request.headers["X-Amz-Security-Token"] = token
    auth = SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, token), "lambda", "eu-west-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert ours["authorization"].endswith(f"Signature={auth.signature(text, request)}")


REQUEST = signed_by_botocore("POST", "/orders/1", "a=1&b=2", {"X-Own": "x"}, b"body")


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "PUT"},
        {"path": "/orders/2"},
        {"query": "a=1&b=3"},
        {"query": "a=1&b=2&c=3"},
        {"query": ""},
        {"body": b"Body"},
        {"headers": REQUEST.headers | {"x-own": "y"}},
        {"headers": REQUEST.headers | {"host": "other"}},
        {"headers": REQUEST.headers | {"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}},
        {"headers": {name: value for name, value in REQUEST.headers.items() if name != "x-own"}},
        {"headers": REQUEST.headers | {"authorization": REQUEST.headers["authorization"][:-64] + "0" * 64}},
        {"headers": REQUEST.headers | {"authorization": REQUEST.headers["authorization"][:-1]}},
    ],
)
def test_what_was_changed_after_it_was_signed_is_refused(changes):
    verify(REQUEST)
    assert refusal(lambda: verify(changed(REQUEST, **changes))) == MISMATCH


def test_a_signed_hash_must_be_the_bodys():
    hashed = {"X-Amz-Content-SHA256": hashlib.sha256(b"body").hexdigest()}
    request = signed_by_botocore("POST", "/", "", hashed, b"body")
    verify(request)
    assert refusal(lambda: verify(changed(request, body=b"another"))) == MISMATCH


def test_the_order_of_parameters_and_what_was_not_signed_may_change():
    verify(changed(REQUEST, query="b=2&a=1", headers=REQUEST.headers | {"x-forwarded-for": "10.0.0.1"}))


def test_a_payload_may_be_left_unsigned():
    request = signed_by_botocore("POST", "/", "", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, b"body")
    verify(changed(request, body=b"another"))


def test_a_query_with_spaces_as_plus_signs_is_verified_as_it_came():
    verify(signed_by_botocore("GET", "/", "q=a+b&c"))


AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def made(at=AT, **changes):
    parts = {"date": f"{at:%Y%m%d}", "region": "eu-west-1", "service": "lambda"} | changes
    headers = parts.pop("signed_headers", ("host", "x-amz-date"))
    return sigv4.Signature(
        access_key="AKID",
        scope=sigv4.Scope(**{name: parts[name] for name in ("date", "region", "service")}),
        at=at,
        signed_headers=headers,
        value="0" * 64,
        expires_s=parts.get("expires_s"),
    )


def checked(signature, now):
    sigv4.check(signature, region="eu-west-1", service="lambda", now=now)


def test_a_signature_is_good_for_five_minutes_in_both_directions():
    for minutes in (-5, 0, 5):
        checked(made(), AT + timedelta(minutes=minutes))
    late = AT + timedelta(minutes=5, seconds=1)
    assert refusal(lambda: checked(made(), late)) == (
        "InvalidSignatureException",
        "Signature expired: 20260301T120000Z is now earlier than 20260301T120001Z (20260301T120501Z - 5 min.)",
    )
    early = AT - timedelta(minutes=5, seconds=1)
    assert refusal(lambda: checked(made(), early)) == (
        "InvalidSignatureException",
        "Signature not yet current: 20260301T120000Z is still later than 20260301T115959Z (20260301T115459Z + 5 min.)",
    )


def test_a_presigned_request_is_good_for_as_long_as_it_says():
    checked(made(expires_s=3600), AT + timedelta(seconds=3600))
    assert refusal(lambda: checked(made(expires_s=3600), AT + timedelta(seconds=3601))) == (
        "InvalidSignatureException",
        "Signature expired: 20260301T130000Z is now earlier than 20260301T130001Z",
    )
    with pytest.raises(ApiError):
        checked(made(expires_s=3600), AT - timedelta(minutes=6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region": "us-east-1"}, "Credential should be scoped to a valid region, not 'us-east-1'. "),
        ({"service": "s3"}, "Credential should be scoped to correct service: 'lambda'. "),
        (
            {"date": "20260302"},
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            "'20260302' != '20260301', from '20260301T120000Z'.",
        ),
        (
            {"signed_headers": ("x-amz-date",)},
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
    ],
)
def test_a_signature_for_something_else_is_refused(changes, message):
    assert refusal(lambda: checked(made(**changes), AT)) == ("InvalidSignatureException", message)


def received(authorization=None, query="", **headers):
    found = {"host": HOST, "x-amz-date": "20260301T120000Z"} | headers
    if authorization is not None:
        found["authorization"] = authorization
    return HttpRequest("GET", "/", query, found, b"")


GOOD = "AWS4-HMAC-SHA256 Credential=AKID/20260301/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=00"
QUERY = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260301%2Feu-west-1%2Flambda%2Faws4_request"
    "&X-Amz-Date=20260301T120000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00&X-Amz-Expires="
)
NO_TOKEN = ("MissingAuthenticationTokenException", "Missing Authentication Token")


def test_what_a_request_says_of_its_signature():
    signature = sigv4.read(received(GOOD, **{"x-amz-security-token": "tok"}))
    assert (signature.access_key, signature.session_token, signature.at) == ("AKID", "tok", AT)
    assert str(signature.scope) == "20260301/eu-west-1/lambda/aws4_request"
    assert sigv4.read(received(GOOD.replace(", ", ","))).signed_headers == ("host",)
    dated = HttpRequest("GET", "/", "", {"authorization": GOOD, "date": "Sun, 01 Mar 2026 12:00:00 GMT"}, b"")
    assert sigv4.read(dated).at == AT
    assert sigv4.read(received(query=QUERY + "604800")).expires_s == 604_800


@pytest.mark.parametrize(
    ("request_", "code", "start"),
    [
        (received(), *NO_TOKEN),
        (received("Bearer token"), *NO_TOKEN),
        (received(query="a=1"), *NO_TOKEN),
        (
            received("AWS4-HMAC-SHA256 Credential=x"),
            "IncompleteSignatureException",
            "Authorization header requires 'Signature' parameter. "
            "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
        ),
        (
            received(GOOD.replace("/lambda", "")),
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements",
        ),
        (
            received(GOOD.replace("aws4_request", "aws5_request")),
            "InvalidSignatureException",
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'.",
        ),
        (received(GOOD, **{"x-amz-date": "today"}), "IncompleteSignatureException", "Date must be in ISO-8601"),
        (received(GOOD, **{"x-amz-date": "20269901T120000Z"}), "IncompleteSignatureException", "Date must be in"),
        (received(query="X-Amz-Signature=00"), "IncompleteSignatureException", "AWS query-string parameters must"),
        (received(query=QUERY + "604801"), "IncompleteSignatureException", "X-Amz-Expires must be between 1 and"),
        (received(query=QUERY + "0"), "IncompleteSignatureException", "X-Amz-Expires must be between 1 and"),
        (received(query=QUERY + "x"), "IncompleteSignatureException", "X-Amz-Expires must be between 1 and"),
    ],
)
def test_a_signature_that_is_none_is_refused(request_, code, start):
    said, message = refusal(lambda: sigv4.read(request_))
    assert said == code
    assert message.startswith(start)


@given(
    st.none() | st.text(max_size=60) | st.text(max_size=20).map(lambda text: GOOD.replace("host", text)),
    st.text(max_size=60) | st.text(max_size=20).map(lambda text: QUERY + text),
    st.sampled_from(["x-amz-date", "date", "x-amz-content-sha256"]),
    st.text(max_size=20),
)
def test_no_request_raises_anything_but_an_api_error(authorization, query, header, value):
    with pytest.raises(ApiError):
        verify(received(authorization, query, **{header: value}))
