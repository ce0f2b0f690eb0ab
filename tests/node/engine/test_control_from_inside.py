"""The platform's own pages are for who runs it: a function that asks for them through its port finds none."""

import json
import urllib.error
import urllib.request

import pytest

_ASKING = """
import os, urllib.error, urllib.request

def handler(event, context):
    method, path = event
    body = b"{}" if method == "POST" else None
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + path, method=method, data=body)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
"""


@pytest.fixture
def ask(make_function, lambent):
    name = make_function(_ASKING)

    def asked(method, path):
        answer = lambent.client("lambda").invoke(FunctionName=name, Payload=json.dumps([method, path]))
        return json.loads(answer["Payload"].read())

    return asked


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/_lambent/health"), ("GET", "/_lambent/time"), ("POST", "/_lambent/time"), ("POST", "/_lambent/reset")],
)
def test_the_platforms_pages_are_not_there_for_a_function(ask, lambent, method, path):
    assert ask(method, path) == 404
    if method == "GET":  # the control: from outside they are there
        with urllib.request.urlopen(lambent.endpoint + path) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "path", ["/_lambent/../_lambent/reset", "//_lambent/reset", "/_LAMBENT/reset", "/%5Flambent/reset"]
)
def test_no_other_spelling_leads_to_them(ask, path):
    assert 400 <= ask("POST", path) < 500


def test_the_code_of_another_function_needs_its_signed_address(ask, make_function, lambent):
    theirs = make_function("def handler(event, context):\\n    return 'secret'\\n")
    location = lambent.client("lambda").get_function(FunctionName=theirs)["Code"]["Location"]
    path = location[location.index("/_lambent/") :]
    assert ask("GET", path) == 200  # the address is the key, here as on AWS
    assert 400 <= ask("GET", path.partition("?")[0]) < 500
    assert 400 <= ask("GET", path[:-1] + ("0" if path[-1] != "0" else "1")) < 500
