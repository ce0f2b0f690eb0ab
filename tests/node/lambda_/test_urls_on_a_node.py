"""Function URLs as clients meet them: real HTTP, by host name and by path."""

import base64
import contextlib
import gzip
import http.client
import json
import subprocess
import urllib.parse

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests.node.lambda_.functions_on_a_node import call, create

ACCOUNT = "000000000000"
ECHO = "def handler(event, context): return event"
# Answers what its request's body says, as JSON.
ANSWERS = """
import base64, json
def handler(event, context):
    body = event.get("body", "null")
    return json.loads(base64.b64decode(body) if event["isBase64Encoded"] else body)
"""
FAILS = "def handler(event, context): raise ValueError('no')"
STREAMS = """
import os, urllib.request

def handler(event, context):
    path = event["rawPath"]
    if path == "/gate":
        return gated(context.invoked_function_arn)
    if path == "/late":
        return late()
    if path == "/prelude":
        return iter([{"statusCode": 418, "headers": {"X-Pot": "tea"}, "cookies": ["a=1", "b=2"]}, "body"])
    if path == "/no-prelude":
        return iter([{"statusCode": "none"}, "body"])
    if path == "/at-once":
        raise ValueError("at once")
    return {"plain": path}

def gated(arn):
    yield b"first"
    tags = os.environ["AWS_ENDPOINT_URL"] + "/2017-03-31/tags/" + arn
    while b"gate" not in urllib.request.urlopen(tags).read():
        pass
    yield b"second"

def late():
    yield b"begun"
    raise ValueError("too late")
"""


class Url:
    """A function URL and a client that reaches it by its Host header."""

    def __init__(self, lambent, made):
        self.made = made
        self.address = urllib.parse.urlsplit(lambent.endpoint)
        self.host = urllib.parse.urlsplit(made["FunctionUrl"]).netloc
        self.id = self.host.partition(".")[0]

    @contextlib.contextmanager
    def open(self, method="GET", path="/", body=None, headers=(), *, host=None):
        """The response, unread; header names in any case, repeatable."""
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host or self.host)
        for name, value in dict(headers).items() if isinstance(headers, dict) else headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        with contextlib.closing(connection), connection.getresponse() as response:
            yield response

    def ask(self, *args, **more):
        with self.open(*args, **more) as response:
            return response.status, response.headers, response.read()

    def event(self, *args, **more):
        status, _headers, body = self.ask(*args, **more)
        assert status == 200, body
        return json.loads(body)

    def answer(self, value, method="POST"):
        return self.ask(method, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def client(lambent):
    return lambent.client("lambda")


@pytest.fixture(scope="module")
def make_url(lambent, client):
    def make(source, *, auth_type="NONE", principal="*", members=(), **configuration):
        name = create(client, source, **dict(members))
        made = client.create_function_url_config(FunctionName=name, AuthType=auth_type, **configuration)
        if principal is not None:
            allow(client, name, auth_type, principal)
        return Url(lambent, made)

    return make


def allow(client, name, auth_type="NONE", principal="*"):
    both = {"FunctionName": name, "Principal": principal}
    client.add_permission(StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType=auth_type, **both)
    client.add_permission(StatementId="invoke", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True, **both)


@pytest.fixture(scope="module")
def echo(make_url):
    return make_url(ECHO)


@pytest.fixture(scope="module")
def answers(make_url):
    return make_url(ANSWERS)


@pytest.fixture(scope="module")
def streams(make_url):
    return make_url(STREAMS, InvokeMode="RESPONSE_STREAM", members={"Timeout": 30})


# --- in


def test_a_request_by_host_name_is_the_event(echo):
    headers = [
        ("X-Two", "1"),
        ("x-two", "2"),
        ("Cookie", "a=1; b=2"),
        ("User-Agent", "test"),
        ("Content-Type", "text/a"),
    ]
    event = echo.event("POST", "/a%20b/c?p=1&p=%20x", b"body", headers)
    assert (event["version"], event["routeKey"]) == ("2.0", "$default")
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%20b/c", "p=1&p=%20x")
    assert event["queryStringParameters"] == {"p": "1, x"}
    assert event["cookies"] == ["a=1", "b=2"]
    assert (event["body"], event["isBase64Encoded"]) == ("body", False)
    assert event["headers"]["x-two"] == "1,2"
    assert event["headers"]["host"] == echo.host
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert "cookie" not in event["headers"]
    context = event["requestContext"]
    assert (context["accountId"], context["apiId"], context["domainPrefix"]) == ("anonymous", echo.id, echo.id)
    assert context["domainName"] == f"{echo.id}.lambda-url.us-east-1.localhost"
    assert context["http"] == {
        "method": "POST",
        "path": "/a%20b/c",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "test",
    }


def test_the_request_id_is_the_answers_and_the_invocations(echo):
    status, headers, body = echo.ask()
    assert status == 200
    assert json.loads(body)["requestContext"]["requestId"] == headers["x-amzn-requestid"]
    assert headers["x-amzn-trace-id"].startswith("Root=1-")


def test_a_request_by_path_is_the_same_event(echo, lambent):
    by_path = echo.event(
        "GET", f"/_lambent/url/{echo.id}/rest/x?y=1", host=urllib.parse.urlsplit(lambent.endpoint).netloc
    )
    by_host = echo.event("GET", "/rest/x?y=1")
    for event in (by_path, by_host):
        assert (event["rawPath"], event["rawQueryString"]) == ("/rest/x", "y=1")
        assert event["requestContext"]["domainName"] == f"{echo.id}.lambda-url.us-east-1.localhost"
    assert by_path["headers"].keys() == by_host["headers"].keys()


def test_the_host_may_be_any_that_names_the_url(echo):
    assert echo.event(host=f"{echo.id}.lambda-url.us-east-1.on.aws")["rawPath"] == "/"
    status, _headers, body = echo.ask(host=f"{echo.id}.lambda-url.eu-west-1.localhost")
    assert status == 404
    assert b"There is no function URL with the id" in body


def test_the_address_that_create_gives_works_with_curl(echo):
    done = subprocess.run(
        ["curl", "-sS", f"{echo.made['FunctionUrl']}from/curl"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["rawPath"] == "/from/curl"


@pytest.mark.parametrize("path", ["/2015-03-31/functions/", "/_lambent/health", "/_lambent/reset"])
def test_no_path_of_a_url_is_the_platforms(echo, path):
    assert echo.event("POST", path, b"")["rawPath"] == path


def test_a_function_may_ask_a_url(echo, client):
    source = """
import json, os, urllib.request
def handler(event, context):
    return json.load(urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + event))
"""
    event = call(client, create(client, source), f"/_lambent/url/{echo.id}/from/inside")
    assert event["rawPath"] == "/from/inside"


def test_binary_and_compressed_bodies_come_whole(echo):
    for body, headers in (
        (bytes(range(256)), {"Content-Type": "image/png"}),
        (gzip.compress(b"text" * 1000), {"Content-Type": "text/plain", "Content-Encoding": "gzip"}),
        (b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}),
    ):
        event = echo.event("POST", "/", body, headers)
        assert event["isBase64Encoded"] is True
        assert base64.b64decode(event["body"]) == body


def test_a_body_in_chunks_comes_whole(echo):
    connection = http.client.HTTPConnection(echo.address.hostname, echo.address.port, timeout=30)
    headers = {"Host": echo.host, "Content-Type": "text/plain"}
    connection.request("POST", "/", iter([b"one ", b"two"]), headers, encode_chunked=True)
    assert json.loads(connection.getresponse().read())["body"] == "one two"
    connection.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_every_method_is_the_functions(echo, method):
    status, headers, body = echo.ask(method)
    assert status == 200
    if method == "HEAD":
        assert (body, int(headers["content-length"]) > 100) == (b"", True)
    else:
        assert json.loads(body)["requestContext"]["http"]["method"] == method


# --- out


def test_an_answer_becomes_the_response(answers):
    status, headers, body = answers.answer(
        {
            "statusCode": 201,
            "headers": {"Content-Type": "text/html", "X-A": "é"},
            "cookies": ["a=1", "b=2"],
            "body": "<p>",
        }
    )
    assert (status, body, headers["content-type"]) == (201, b"<p>", "text/html")
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert headers["x-a"].encode("latin-1").decode() == "é"


def test_an_answer_without_a_status_is_json_and_a_string_goes_without_quotes(answers):
    for value, expected in (({"a": [1]}, b'{"a": [1]}'), ("plain", b"plain"), (None, b"null"), (7, b"7")):
        status, headers, body = answers.answer(value)
        assert (status, headers["content-type"], body) == (200, "application/json", expected)


def test_bytes_go_out_of_base64(answers):
    body = bytes(range(256))
    answer = {"statusCode": 200, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    assert answers.answer(answer)[2] == body


def test_a_compressed_answer_stays_compressed(answers):
    body = gzip.compress(b"text" * 1000)
    answer = {"statusCode": 200, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    _status, headers, received = answers.answer({**answer, "headers": {"Content-Encoding": "gzip"}})
    assert (headers["content-encoding"], received) == ("gzip", body)


def test_the_largest_answer_passes_and_one_byte_more_is_a_502(make_url):
    url = make_url(
        "def handler(event, context): return 'x' * int(event['rawQueryString'])", members={"MemorySize": 512}
    )
    status, headers, body = url.ask("GET", "/?6291554")  # and two quotes
    assert (status, len(body), headers["content-length"]) == (200, 6_291_554, "6291554")
    status, _headers, body = url.ask("GET", "/?6291555")
    assert (status, body) == (502, b"Internal Server Error")


def test_an_answer_without_content_has_no_length(answers):
    status, headers, body = answers.answer({"statusCode": 204})
    assert (status, headers["content-length"], body) == (204, None, b"")


def test_the_connections_headers_are_not_the_functions(answers):
    status, headers, body = answers.answer(
        {"statusCode": 200, "headers": {"Content-Length": "999", "Connection": "close"}, "body": "four"}
    )
    assert (status, body, headers["content-length"]) == (200, b"four", "4")
    assert headers["x-amzn-remapped-content-length"] == "999"


def test_failures_are_502(make_url, answers):
    for url, value in ((make_url(FAILS), None), (answers, {"statusCode": 200, "body": {"no": "string"}})):
        status, _headers, body = url.answer(value)
        assert (status, body) == (502, b"Internal Server Error")


def test_a_timeout_is_a_502(make_url):
    url = make_url("import time\ndef handler(event, context): time.sleep(30)", members={"Timeout": 1})
    status, _headers, body = url.ask()
    assert (status, body) == (502, b"Internal Server Error")


# --- limits


def test_an_event_of_6_mb_passes_and_one_byte_more_does_not(make_url):
    url = make_url(
        "import json\ndef handler(event, context): return [len(event['body']), len(json.dumps(event))]",
        members={"MemorySize": 512},
    )
    headers = {"Content-Type": "text/plain", "X-Amzn-Trace-Id": "Root=1-00000000-000000000000000000000000"}
    # What the event has beside its body, in compact JSON: found by asking where it ends.
    low, high = 6_291_456 - 4096, 6_291_456
    assert url.ask("POST", "/", b"x" * low, headers)[0] == 200
    while high - low > 1:
        middle = (low + high) // 2
        status = url.ask("POST", "/", b"x" * middle, headers)[0]
        assert status in (200, 413)
        low, high = (middle, high) if status == 200 else (low, middle)
    status, _headers, body = url.ask("POST", "/", b"x" * low, headers)
    assert (status, json.loads(body)[0]) == (200, low)
    status, answered, body = url.ask("POST", "/", b"x" * high, headers)
    assert (status, answered["x-amzn-errortype"]) == (413, "RequestTooLargeException")
    assert json.loads(body)["message"] == (
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    )


def test_a_body_beyond_6_mb_is_refused_before_it_is_read(echo):
    status, headers, body = echo.ask("POST", "/", b"x" * 6_291_457, {"Content-Type": "text/plain"})
    assert (status, headers["connection"]) == (413, "close")
    assert json.loads(body)["Type"] == "User"


def test_a_throttled_url_is_a_429(make_url, client):
    url = make_url(ECHO)
    client.put_function_concurrency(FunctionName=url.made["FunctionArn"], ReservedConcurrentExecutions=0)
    status, headers, body = url.ask()
    assert (status, headers["x-amzn-errortype"]) == (429, "TooManyRequestsException")
    document = json.loads(body)
    assert (document["message"], document["Reason"]) == (
        "Rate Exceeded.",
        "ReservedFunctionConcurrentInvocationLimitExceeded",
    )


# --- who may


def test_a_url_with_none_needs_both_permissions(make_url, client):
    url = make_url(ECHO, principal=None)
    status, headers, body = url.ask()
    assert (status, headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert json.loads(body) == {
        "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
        "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
    }
    allow(client, url.made["FunctionArn"])
    assert url.ask()[0] == 200


def test_a_url_with_aws_iam_answers_the_signed_and_allowed(make_url, lambent):
    url = make_url(ECHO, auth_type="AWS_IAM", principal=ACCOUNT)
    assert url.ask()[0] == 403
    path = "/a%20b?x=1&y=%2F"
    credentials = Credentials(ACCOUNT, "lambent")
    request = AWSRequest("POST", f"http://{url.host}{path}", data=b"signed")
    SigV4Auth(credentials, "lambda", "us-east-1").add_auth(request)
    event = url.event("POST", path, b"signed", dict(request.headers.items()))
    assert event["requestContext"]["authorizer"]["iam"]["userArn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert event["requestContext"]["accountId"] == ACCOUNT
    presigned = AWSRequest("GET", f"http://{url.host}/x")
    SigV4QueryAuth(credentials, "lambda", "us-east-1").add_auth(presigned)
    assert url.ask("GET", presigned.url.removeprefix(f"http://{url.host}"))[0] == 200
    SigV4Auth(Credentials("999999999999", "lambent"), "lambda", "us-east-1").add_auth(request)
    assert url.ask("POST", path, b"signed", dict(request.headers.items()))[0] == 403


def test_a_signature_of_a_key_of_ours_must_be_right(make_url, lambent):
    role = "arn:aws:iam::000000000000:role/caller"
    lambent.client("iam").create_role(
        RoleName="caller",
        AssumeRolePolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}
        ),
    )
    url = make_url(ECHO, auth_type="AWS_IAM", principal=role)
    issued = lambent.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]

    def ask(secret):
        request = AWSRequest("GET", f"http://{url.host}/")
        signer = Credentials(issued["AccessKeyId"], secret, issued["SessionToken"])
        SigV4Auth(signer, "lambda", "us-east-1").add_auth(request)
        return url.ask("GET", "/", headers=dict(request.headers.items()))

    status, _headers, body = ask(issued["SecretAccessKey"])
    assert status == 200
    iam = json.loads(body)["requestContext"]["authorizer"]["iam"]
    assert iam["userArn"] == "arn:aws:sts::000000000000:assumed-role/caller/me"
    status, headers, _body = ask("another secret")
    assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")


# --- CORS


def test_with_cors_the_platform_answers_browsers(make_url):
    cors = {"AllowOrigins": ["https://shop.example"], "AllowMethods": ["PUT"], "AllowHeaders": ["X-Cart"], "MaxAge": 9}
    url = make_url(ANSWERS, Cors={**cors, "ExposeHeaders": ["X-Total"]})
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    status, headers, body = url.ask("OPTIONS", headers=asked)
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert headers["access-control-allow-methods"] == "PUT"
    assert headers["access-control-allow-headers"] == "x-cart"
    assert headers["access-control-max-age"] == "9"
    own = {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}}
    sent = {"Content-Type": "application/json", "Origin": "https://shop.example"}
    _status, headers, _body = url.ask("PUT", "/", json.dumps(own).encode(), sent)
    assert headers.get_all("access-control-allow-origin") == ["https://shop.example"]
    assert headers["access-control-expose-headers"] == "x-total"
    _status, headers, _body = url.ask("PUT", "/", json.dumps(own).encode(), {**sent, "Origin": "https://evil.example"})
    assert headers["access-control-allow-origin"] is None


def test_without_cors_the_function_answers_browsers_of_any_origin(echo):
    headers = {"Origin": "https://anywhere.example", "Access-Control-Request-Method": "PUT"}
    event = echo.event("OPTIONS", headers=headers)
    assert event["headers"]["origin"] == "https://anywhere.example"


# --- streaming


def test_the_first_byte_comes_before_the_last_is_written(streams, client):
    with streams.open("GET", "/gate") as response:
        assert (response.status, response.headers["content-type"]) == (200, "application/octet-stream")
        assert response.read1() == b"first"
        client.tag_resource(Resource=streams.made["FunctionArn"], Tags={"gate": "open"})
        assert response.read() == b"second"


def test_a_prelude_is_status_headers_and_cookies(streams):
    status, headers, body = streams.ask("GET", "/prelude")
    assert (status, body, headers["x-pot"]) == (418, b"body", "tea")
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert headers["content-type"] == "application/octet-stream"
    status, _headers, body = streams.ask("GET", "/no-prelude")
    assert (status, body) == (502, b"Internal Server Error")


def test_a_streamed_answer_without_a_stream_is_its_json(streams):
    status, headers, body = streams.ask("GET", "/x")
    assert (status, json.loads(body)) == (200, {"plain": "/x"})
    assert headers["content-length"] is None


def test_a_failure_before_the_first_byte_is_a_502_and_one_after_it_breaks_off(streams):
    status, _headers, body = streams.ask("GET", "/at-once")
    assert (status, body) == (502, b"Internal Server Error")
    with streams.open("GET", "/late") as response:
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead) as raised:
            response.read()
    assert raised.value.partial in (b"", b"begun")


# --- the operations, through the wire


def test_versions_have_no_urls(client):
    name = create(client, ECHO)
    for qualifier in ("1", "$LATEST"):
        with pytest.raises(ClientError) as raised:
            client.create_function_url_config(FunctionName=name, Qualifier=qualifier, AuthType="NONE")
        error = raised.value.response["Error"]
        assert error["Code"] == "ValidationException"
        assert error["Message"] == (
            f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
        )


def test_the_quotas_of_cors(client):
    name = create(client, ECHO)
    most = {
        "AllowOrigins": [f"https://{number}.example" for number in range(99)] + ["https://" + "a" * 245],
        "AllowHeaders": [f"x-{number}" for number in range(99)] + ["x" * 1024],
        "ExposeHeaders": [f"x-{number}" for number in range(100)],
        "AllowMethods": ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE"],
        "MaxAge": 86_400,
    }
    made = client.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=most)
    assert made["Cors"] == most
    for beyond in (
        {"AllowOrigins": ["https://a"] * 101},
        {"AllowOrigins": ["https://" + "a" * 246]},
        {"AllowHeaders": ["x"] * 101},
        {"AllowHeaders": ["x" * 1025]},
        {"ExposeHeaders": ["x"] * 101},
        {"AllowMethods": ["GET"] * 7},
        {"AllowMethods": ["OPTIONS"]},
        {"MaxAge": 86_401},
    ):
        with pytest.raises(ClientError) as raised:
            client.update_function_url_config(FunctionName=name, Cors=beyond)
        assert raised.value.response["Error"]["Code"] == "ValidationException"
    assert client.get_function_url_config(FunctionName=name)["Cors"] == most
