"""A body's limit holds before the body is read."""

import asyncio
import gzip

import pytest

from lambent.aws.errors import ApiError
from lambent.gateway.body import INVOKE, OTHER, Disconnected, Limit, limit_of, read_body

LIMIT = Limit(10, "TooLarge", "Too large.")


def read(*chunks, length=None, encoding=None, breaks_off=False):
    arriving = list(chunks)

    async def part():
        if not arriving:
            raise Disconnected
        return arriving.pop(0), bool(arriving) or breaks_off

    return asyncio.run(read_body(part, LIMIT, length=length, encoding=encoding))


def test_a_body_comes_whole():
    assert read(b"12345", b"", b"67890", length="10") == b"1234567890"


@pytest.mark.parametrize("chunks", [[b"12345678901"], [b"123456", b"78901"]])
@pytest.mark.parametrize("length", ["11", None])
def test_one_byte_more_is_refused(chunks, length):
    with pytest.raises(ApiError) as refused:
        read(*chunks, length=length)
    assert refused.value.code == "TooLarge"


def test_a_client_that_goes_away_is_not_answered():
    with pytest.raises(Disconnected):
        read(b"123", length="10", breaks_off=True)


def test_gzip_is_unpacked():
    async def whole():
        return gzip.compress(b"1" * 100), False

    body = asyncio.run(read_body(whole, Limit(100, "TooLarge", ""), length=None, encoding="gzip"))
    assert body == b"1" * 100


def test_a_gzip_bomb_is_refused():
    async def whole():
        return gzip.compress(b"0" * 1_000_000), False

    with pytest.raises(ApiError) as refused:
        asyncio.run(read_body(whole, Limit(10_000, "TooLarge", ""), length=None, encoding="gzip"))
    assert refused.value.code == "TooLarge"


def test_what_is_not_gzip_is_refused():
    with pytest.raises(ApiError) as refused:
        read(b"plain", encoding="gzip")
    assert refused.value.code == "SerializationException"


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/2015-03-31/functions", "70167211 bytes for the CreateFunction operation"),
        ("POST", "/2015-03-31/functions/", "70167211 bytes for the CreateFunction operation"),
        ("PUT", "/2015-03-31/functions/hello/code", "70167211 bytes for the UpdateFunctionCode operation"),
        ("POST", "/2018-10-31/layers/numpy/versions", "70167211 bytes for the PublishLayerVersion operation"),
        ("POST", "/2015-03-31/functions/hello/invocations", "6291456 bytes for the InvokeFunction operation"),
        ("POST", "/", "16777216 bytes"),
        ("PUT", "/2015-03-31/functions/hello/configuration", "16777216 bytes"),
    ],
)
def test_each_operation_has_its_limit(method, path, said):
    assert said in limit_of(method, path).message


def test_an_invocation_one_byte_too_large_reaches_the_operation_which_says_so():
    assert INVOKE.size > 6_291_456 + 1
    assert OTHER.size == 16 * 1024 * 1024
