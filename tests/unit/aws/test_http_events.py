import base64
import contextlib
import itertools
import json
import string
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws import http_events
from lambent.aws.errors import ApiError
from lambent.aws.http_events import Arrived, Context, MalformedAnswerError

CONTEXT = Context(
    account_id="anonymous",
    api_id="abc",
    domain_name="abc.lambda-url.us-east-1.localhost",
    request_id="the-request",
    time_ms=1_583_348_638_390,
)
TOKENS = st.text("!#$%&'*+-.^_`|~" + string.ascii_letters + string.digits, min_size=1, max_size=20)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=40)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # The first of these means a response; the others are what handlers write by mistake.
    | st.sampled_from(["statusCode", "headers", "body", "cookies", ""])
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["statusCode", "headers", "body", "cookies", "isBase64Encoded", "x"]), inner)
    ),
    max_leaves=8,
)


def event(method="GET", path="/", query="", body=b"", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    arrived = Arrived(method=method, path=path, query=query, headers=named, body=body, source_ip="10.0.0.1")
    return json.loads(http_events.event(arrived, CONTEXT))


def answer(value):
    return http_events.answer(json.dumps(value).encode())


def test_a_request_becomes_the_event_of_the_guide():
    found = event("POST", "/my/path", "p=1&p=2&q=x", b"Hi", host="h", cookie="a=1; b=2", user_agent="agent",
                  content_type="text/plain")  # fmt: skip
    assert list(found) == [
        "version", "routeKey", "rawPath", "rawQueryString", "cookies", "headers", "queryStringParameters",
        "requestContext", "body", "isBase64Encoded",
    ]  # fmt: skip
    assert found == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/path",
        "rawQueryString": "p=1&p=2&q=x",
        "cookies": ["a=1", "b=2"],
        "headers": {"host": "h", "user-agent": "agent", "content-type": "text/plain"},
        "queryStringParameters": {"p": "1,2", "q": "x"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": "abc.lambda-url.us-east-1.localhost",
            "domainPrefix": "abc",
            "http": {
                "method": "POST",
                "path": "/my/path",
                "protocol": "HTTP/1.1",
                "sourceIp": "10.0.0.1",
                "userAgent": "agent",
            },
            "requestId": "the-request",
            "routeKey": "$default",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390,
        },
        "body": "Hi",
        "isBase64Encoded": False,
    }


def test_what_there_is_none_of_is_left_out():
    found = event(host="h")
    assert {"cookies", "queryStringParameters", "body"}.isdisjoint(found)
    assert "authorizer" not in found["requestContext"]
    assert found["isBase64Encoded"] is False


def test_path_and_query_stay_encoded_and_parameters_do_not():
    found = event(path="/a%20b/%2F", query="na%20me=v%26w+x&flag&=empty")
    assert (found["rawPath"], found["rawQueryString"]) == ("/a%20b/%2F", "na%20me=v%26w+x&flag&=empty")
    assert found["requestContext"]["http"]["path"] == "/a%20b/%2F"
    assert found["queryStringParameters"] == {"na me": "v&w x", "flag": "", "": "empty"}


@pytest.mark.parametrize(
    ("content_type", "is_text"),
    [
        ("text/plain", True),
        ("text/html; charset=utf-8", True),
        ("Application/JSON", True),
        ("application/json;charset=utf-8", True),
        ("application/xml", True),
        ("application/javascript", True),
        ("application/x-www-form-urlencoded", False),
        ("application/vnd.api+json", False),
        ("multipart/form-data; boundary=x", False),
        ("application/octet-stream", False),
        ("image/png", False),
        ("", False),
    ],
)
def test_only_bodies_of_text_types_come_as_text(content_type, is_text):
    found = event("POST", body=b"body", content_type=content_type)
    expected = ("body", False) if is_text else (base64.b64encode(b"body").decode(), True)
    assert (found["body"], found["isBase64Encoded"]) == expected


@pytest.mark.parametrize(("encoding", "is_text"), [("gzip", False), ("br", False), ("identity", True)])
def test_a_compressed_body_comes_in_base64(encoding, is_text):
    assert event(body=b"x", content_type="text/plain", content_encoding=encoding)["isBase64Encoded"] is not is_text


@given(st.binary(min_size=1), st.sampled_from(["text/plain", "application/json", "image/png", ""]))
def test_every_body_reaches_the_function_whole(body, content_type):
    found = event("POST", body=body, content_type=content_type)
    read = base64.b64decode(found["body"]) if found["isBase64Encoded"] else found["body"].encode()
    assert read == body


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), max_size=6))
def test_query_parameters_are_what_was_encoded(pairs):
    expected = {}
    for name, value in pairs:
        expected[name] = f"{expected[name]},{value}" if name in expected else value
    assert http_events.query_parameters(urlencode(pairs)) == expected
    assert http_events.query_parameters("&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in pairs)) == (
        expected
    )


@given(
    st.text(st.characters(max_codepoint=255)),
    st.dictionaries(TOKENS.map(str.lower), st.text(st.characters(max_codepoint=255)), max_size=5),
    st.text(st.characters(max_codepoint=255)),
    st.binary(),
)
def test_whatever_arrives_is_an_event(path, headers, query, body):
    arrived = Arrived(method="GET", path=path, query=query, headers=headers, body=body)
    found = json.loads(http_events.event(arrived, CONTEXT))
    assert set(found["headers"]) == set(headers) - {"cookie"}


def test_utf8_in_a_header_is_text():
    assert event(x="caf\xc3\xa9", y="caf\xe9")["headers"] == {"x": "café", "y": "café"}


@given(st.lists(st.text("abc=%1 ", min_size=1).filter(lambda each: each.strip() == each), min_size=1))
def test_cookies_are_separated(cookies):
    assert event(cookie="; ".join(cookies))["cookies"] == cookies


# --- answers


def test_an_answer_with_a_status_is_a_response():
    found = answer(
        {
            "statusCode": 201,
            "headers": {"Content-Type": "text/html", "X-Number": 5, "X-Flag": True, "X-Nothing": None},
            "cookies": ["a=1; Path=/", "b=2"],
            "body": "<p>é</p>",
        }
    )
    assert (found.status, found.body) == (201, "<p>é</p>".encode())
    assert found.headers == [
        ("content-type", "text/html"),
        ("x-number", "5"),
        ("x-flag", "true"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2"),
    ]


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("plain", b"plain"),
        ("", b""),
        ("é", "é".encode()),
        ({"message": "hi"}, b'{"message": "hi"}'),
        ({"statusCode": None, "body": "x"}, b'{"statusCode": null, "body": "x"}'),
        ({"body": "x"}, b'{"body": "x"}'),
        ([1, 2], b"[1, 2]"),
        (5, b"5"),
        (None, b"null"),
        (False, b"false"),
    ],
)
def test_an_answer_without_a_status_is_the_body(value, body):
    found = answer(value)
    assert (found.status, found.headers, found.body) == (200, [("content-type", "application/json")], body)


def test_an_answer_without_body_and_headers_is_empty():
    found = answer({"statusCode": 204})
    assert (found.status, found.headers, found.body) == (204, [("content-type", "application/json")], b"")


def test_a_body_in_base64_is_sent_as_its_bytes():
    body = bytes(range(256))
    encoded = base64.b64encode(body).decode()
    assert answer({"statusCode": 200, "body": encoded, "isBase64Encoded": True}).body == body
    assert answer({"statusCode": 200, "body": encoded, "isBase64Encoded": False}).body == encoded.encode()
    assert answer({"statusCode": 200, "body": encoded}).body == encoded.encode()


def test_headers_of_the_connection_go_under_another_name():
    headers = {"Content-Length": "9999", "Connection": "close", "Server": "mine", "Transfer-Encoding": "chunked"}
    found = answer({"statusCode": 200, "headers": headers, "body": "x"})
    assert found.headers == [
        ("x-amzn-remapped-content-length", "9999"),
        ("x-amzn-remapped-connection", "close"),
        ("x-amzn-remapped-server", "mine"),
        ("x-amzn-remapped-transfer-encoding", "chunked"),
        ("content-type", "application/json"),
    ]


def test_a_status_may_be_a_string():
    assert answer({"statusCode": "404"}).status == 404


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": 199},
        {"statusCode": 600},
        {"statusCode": "abc"},
        {"statusCode": 200.5},
        {"statusCode": True},
        {"statusCode": {}},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "headers": {"": "c"}},
        {"statusCode": 200, "headers": {"a": "b\r\nset-cookie: stolen=1"}},
        {"statusCode": 200, "headers": {"a": ["b"]}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": ["a=1\n"]},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
        {"statusCode": 200, "body": "é", "isBase64Encoded": True},
    ],
)
def test_what_is_no_response_is_malformed(value):
    with pytest.raises(MalformedAnswerError):
        answer(value)


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_malformed(payload):
    with pytest.raises(MalformedAnswerError):
        http_events.answer(payload)


@given(JSON)
def test_every_answer_is_a_response_or_malformed(value):
    try:
        found = answer(value)
    except MalformedAnswerError:
        return
    assert 200 <= found.status <= 599
    for name, text in found.headers:
        assert name == name.lower()
        assert set(name + text).isdisjoint("\0\r\n")
        text.encode("latin-1")


@given(st.integers(200, 599), st.dictionaries(TOKENS, VALUES, max_size=5), st.lists(VALUES, max_size=3), st.binary())
def test_a_response_goes_out_as_it_was_written(status, headers, cookies, body):
    given_body = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    found = answer({"statusCode": status, "headers": headers, "cookies": cookies, **given_body})
    assert (found.status, found.body) == (status, body)
    sent = [text.encode("latin-1").decode() for name, text in found.headers if name == "set-cookie"]
    assert sent[len(sent) - len(cookies) :] == [cookie.strip() for cookie in cookies]
    names = {name.removeprefix("x-amzn-remapped-") for name, _text in found.headers}
    assert {name.lower() for name in headers} <= names


# --- preludes and refusals


def test_a_prelude_is_the_head_of_a_response():
    found = http_events.prelude(b'{"statusCode": 404, "headers": {"A": "b"}, "cookies": ["c=1"]}')
    assert (found.status, found.body) == (404, b"")
    assert found.headers == [("a", "b"), ("content-type", "application/octet-stream"), ("set-cookie", "c=1")]
    assert http_events.prelude(b"{}").status == 200


@given(st.binary().filter(lambda head: not head.endswith(b"\0") and bytes(8) not in head), st.binary(), st.data())
def test_a_prelude_ends_at_eight_zeros_however_they_come(head, body, data):
    stream = head + bytes(8) + body
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)) | {0, len(stream)})
    reader = http_events.PreludeReader()
    for start, end in itertools.pairwise(cuts):
        found = reader.feed(stream[start:end])
        assert (found is not None) is (end >= len(head) + 8)
        if found is not None:
            assert (found[0], found[1] + stream[end:]) == (head, body)
            return
    raise AssertionError


@pytest.mark.parametrize("size", [1, 65_536, 2_000_000])
def test_the_longest_prelude_and_one_byte_more(size):
    def read(length):
        stream = b"x" * length + bytes(8)
        reader = http_events.PreludeReader()
        for start in range(0, len(stream), size):
            if found := reader.feed(stream[start : start + size]):
                return len(found[0])
        return None

    assert read(1_048_576) == 1_048_576
    with pytest.raises(MalformedAnswerError):
        read(1_048_577)


@pytest.mark.parametrize("document", [b"", b"[]", b"5", b'{"statusCode": "x"}', b'{"headers": 1}'])
def test_a_prelude_that_is_none_is_malformed(document):
    with pytest.raises(MalformedAnswerError):
        http_events.prelude(document)


@given(st.binary())
def test_no_prelude_breaks_the_parser(document):
    with contextlib.suppress(MalformedAnswerError):
        assert 200 <= http_events.prelude(document).status <= 599


def test_refusals_have_lambdas_forms():
    forbidden = http_events.refusal(403, ApiError("AccessDeniedException", "Forbidden."))
    assert (forbidden.status, json.loads(forbidden.body)) == (403, {"Message": "Forbidden."})
    assert ("x-amzn-ErrorType", "AccessDeniedException") in forbidden.headers
    unsigned = http_events.refusal(403, ApiError("InvalidSignatureException", "No match."))
    assert unsigned.body == b'{"message":"No match."}'
    throttled = http_events.refusal(
        429, ApiError("TooManyRequestsException", "Rate Exceeded.", Reason="Why", retryAfterSeconds="1")
    )
    assert throttled.body == b'{"Reason":"Why","Type":"User","message":"Rate Exceeded."}'
    assert ("retry-after", "1") in throttled.headers
