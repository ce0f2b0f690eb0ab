import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.gateway.hosts import function_url
from lambent.protocol.http import HttpRequest, UrlTarget

ID = "a1" * 16


def target(path="/", **headers):
    return function_url(HttpRequest("GET", path, "", headers, b""))


@pytest.mark.parametrize(
    "host",
    [
        f"{ID}.lambda-url.eu-west-1.localhost:4566",
        f"{ID}.lambda-url.eu-west-1.localhost",
        f"{ID}.lambda-url.eu-west-1.on.aws",
        f"{ID}.lambda-url.eu-west-1.localhost.localstack.cloud:4566",
        f"{ID.upper()}.Lambda-URL.EU-west-1.LOCALHOST:1",
    ],
)
def test_a_host_names_a_url(host):
    assert target("/a/b%20c", host=host) == UrlTarget(ID, "eu-west-1", "/a/b%20c")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost:4566",
        "lambda-url.eu-west-1.localhost",
        f"{ID}.lambda-url.localhost",
        f"{ID}.lambda-url.eu-west-1.",
        f"x.{ID}.lambda-url.eu-west-1.localhost",
        f"{ID}.lambda-url.eu-west-1.localhost:port",
        f"{'a' * 64}.lambda-url.eu-west-1.localhost",
    ],
)
def test_other_hosts_do_not(host):
    assert target("/", host=host) is None


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("", "/"),
        ("/", "/"),
        ("/rest", "/rest"),
        ("/a/../b//%2F", "/a/../b//%2F"),
        ("/_lambent/health", "/_lambent/health"),
    ],
)
def test_a_path_names_a_url_and_the_rest_is_the_functions(path, rest):
    assert target(f"/_lambent/url/{ID}{path}", host="127.0.0.1:4566") == UrlTarget(ID, None, rest)


@pytest.mark.parametrize("path", ["/_lambent/url/", "/_lambent/url", "/_lambent/url/No/x", "/x/_lambent/url/a/"])
def test_other_paths_do_not(path):
    assert target(path, host="127.0.0.1:4566") is None


def test_at_a_urls_host_every_path_is_the_functions():
    found = target("/_lambent/url/other/x", host=f"{ID}.lambda-url.eu-west-1.localhost")
    assert found == UrlTarget(ID, "eu-west-1", "/_lambent/url/other/x")


@given(st.text(), st.text())
def test_any_request_has_an_answer(host, path):
    found = target(path, host=host)
    assert found is None or found.path.startswith("/") or found.path == path
