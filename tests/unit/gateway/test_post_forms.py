"""Forms that put objects: whatever a browser, or somebody else, sends."""

import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.gateway.post_forms import check_policy, read_form

NOW = 1_700_000_000.0
KIND = "multipart/form-data; boundary=XX"


def form(fields, content):
    parts = [
        f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode() for name, text in fields
    ]
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="C:\\\\a\\\\b.txt"\r\n\r\n'
    return b"".join([*parts, head, content, b"\r\n--XX--\r\n"])


def read(body, size=7, kind=KIND):
    pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]

    async def part():
        return pieces.pop(0), bool(pieces)

    async def whole():
        found = await read_form("bucket", kind, part, NOW)
        return found, b"".join([each async for each in found.body])

    return asyncio.run(whole())


@given(st.binary(max_size=80), st.integers(1, 50))
def test_the_file_comes_out_as_it_was(content, size):
    found, body = read(form([("key", "up/${filename}"), ("Content-Type", "text/x")], content), size)
    if b"\r\n--XX" not in content:
        assert body == content
    assert (found.key, found.headers()["content-type"]) == ("up/b.txt", "text/x")


@given(st.binary(max_size=200), st.sampled_from([KIND, "multipart/form-data", "multipart/form-data; boundary=", "x"]))
def test_anything_else_is_read_or_refused(body, kind):
    with pytest.raises(ApiError):
        read(body, 11, kind)


def policy(*conditions, expiration="2030-01-01T00:00:00Z"):
    document = {"expiration": expiration, "conditions": list(conditions)}
    return base64.b64encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize(
    ("text", "fields", "code"),
    [
        (policy({"key": "k"}), {"key": "k"}, None),
        (policy(["eq", "$key", "k"], {"bucket": "bucket"}), {"key": "k"}, None),
        (policy(["starts-with", "$key", "a/"]), {"key": "a/b", "x-ignore-me": "1"}, None),
        (policy({"key": "k"}), {"key": "other"}, "AccessDenied"),
        (policy({"key": "k"}, {"bucket": "mine"}), {"key": "k"}, "AccessDenied"),
        (policy({"key": "k"}), {"key": "k", "acl": "public-read"}, "AccessDenied"),
        (policy({"key": "k"}, expiration="2020-01-01T00:00:00Z"), {"key": "k"}, "AccessDenied"),
        (policy(["near", "$key", "k"]), {"key": "k"}, "InvalidPolicyDocument"),
        (policy(["content-length-range", "a", 1]), {"key": "k"}, "InvalidPolicyDocument"),
        ("nonsense", {"key": "k"}, "InvalidPolicyDocument"),
        (base64.b64encode(b"[1]").decode(), {"key": "k"}, "InvalidPolicyDocument"),
    ],
)
def test_a_policy_holds(text, fields, code):
    if code is None:
        assert check_policy({**fields, "policy": text}, "bucket", NOW) == (0, None)
        return
    with pytest.raises(ApiError) as raised:
        check_policy({**fields, "policy": text}, "bucket", NOW)
    assert raised.value.code == code
