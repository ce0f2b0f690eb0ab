import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.lambda_ import url_cors

ORIGIN = "https://example.com"
ASKED = {
    "origin": ORIGIN,
    "access-control-request-method": "PUT",
    "access-control-request-headers": "x-one,x-two",
}
CORS = {
    "AllowOrigins": [ORIGIN, "http://localhost:3000"],
    "AllowMethods": ["GET", "PUT"],
    "AllowHeaders": ["X-One", "X-Two"],
    "ExposeHeaders": ["X-Three", "Date"],
    "MaxAge": 300,
}


def test_a_preflight_is_a_browsers_question():
    assert url_cors.is_preflight("OPTIONS", ASKED)
    assert not url_cors.is_preflight("GET", ASKED)
    assert not url_cors.is_preflight("OPTIONS", {"origin": ORIGIN})
    assert not url_cors.is_preflight("OPTIONS", {"access-control-request-method": "GET"})


def test_it_is_told_what_is_allowed():
    assert url_cors.preflight_headers(CORS, ASKED) == [
        ("access-control-allow-origin", ORIGIN),
        ("vary", "Origin"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "x-one,x-two"),
        ("access-control-max-age", "300"),
    ]


def test_another_origin_is_told_nothing():
    assert url_cors.preflight_headers(CORS, {**ASKED, "origin": "https://evil.example"}) == []
    assert url_cors.answered(CORS, "https://evil.example", [("a", "b")]) == [("a", "b")]
    assert url_cors.preflight_headers({"AllowMethods": ["*"]}, ASKED) == []


def test_everybody_is_a_star():
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["*"], "AllowHeaders": ["*"]}
    assert url_cors.preflight_headers(cors, ASKED) == [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "*"),
        ("access-control-allow-headers", "*"),
    ]


def test_beside_credentials_browsers_take_no_star():
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["*"], "AllowHeaders": ["*"], "AllowCredentials": True}
    assert url_cors.preflight_headers(cors, ASKED) == [
        ("access-control-allow-origin", ORIGIN),
        ("vary", "Origin"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "x-one,x-two"),
    ]


def test_the_configuration_replaces_what_the_function_says():
    of_function = [
        ("content-type", "text/plain"),
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "X-Mine"),
    ]
    assert url_cors.answered(CORS, ORIGIN, of_function) == [
        ("content-type", "text/plain"),
        ("access-control-allow-origin", ORIGIN),
        ("vary", "Origin"),
        ("access-control-expose-headers", "x-three,date"),
    ]
    assert url_cors.answered(CORS, None, of_function) == [("content-type", "text/plain")]


@pytest.mark.parametrize("allows_credentials", [True, False])
@given(
    origins=st.lists(st.sampled_from(["*", "https://a", "https://b"])), origin=st.sampled_from(["https://a", "null"])
)
def test_an_origin_is_let_in_exactly_when_it_is_listed(allows_credentials, origins, origin):
    cors = {"AllowOrigins": origins, "AllowCredentials": allows_credentials}
    found = dict(url_cors.answered(cors, origin, []))
    is_in = origin in origins or "*" in origins
    assert (found.get("access-control-allow-origin") in (origin, "*")) is is_in
    assert ("access-control-allow-credentials" in found) is (is_in and allows_credentials)
