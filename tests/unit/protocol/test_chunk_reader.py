"""Bodies in aws-chunked encoding, however they are cut on their way, and whatever else comes instead."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.errors import ApiError
from lambent.protocol.chunked import ChunkReader
from lambent.protocol.payload import Payload

SIGNATURES = st.sampled_from(["", ";chunk-signature=" + "0" * 64])


def framed(chunks, signature, trailers):
    lines = [b"%x%b\r\n%b\r\n" % (len(chunk), signature.encode(), chunk) for chunk in chunks]
    last = b"0%b\r\n" % signature.encode()
    return b"".join(
        [*lines, last, *(b"%b:%b\r\n" % (name.encode(), text.encode()) for name, text in trailers), b"\r\n"]
    )


def cut(data, places):
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), SIGNATURES, st.lists(st.integers(0, 400), max_size=20))
def test_the_data_comes_out_however_it_was_cut(chunks, signature, places):
    trailers = [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-trailer-signature", "0" * 64)]
    reader = ChunkReader()
    found = [part for piece in cut(framed(chunks, signature, trailers), places) for part in reader.feed(piece)]
    assert b"".join(found) == b"".join(chunks)
    assert reader.close() == dict(trailers)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_anything_else_is_read_or_refused(pieces):
    reader = ChunkReader()
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.close()
    except ApiError as error:
        refused = error.code
    else:
        refused = "IncompleteBody"
    assert refused == "IncompleteBody"


def test_lines_without_an_end_are_not_waited_for():
    for start in (b"0" * 3_000, b"0\r\n" + b"x" * 3_000):
        with pytest.raises(ApiError):
            ChunkReader().feed(start)


@given(st.binary(max_size=30), st.integers(0, 40))
def test_a_payload_has_as_many_bytes_as_it_says(data, told):
    async def read():
        return data, False

    async def whole():
        return b"".join([part async for part in Payload(read, {"content-length": str(told)})])

    if told == len(data):
        assert asyncio.run(whole()) == data
    else:
        with pytest.raises(ApiError, match="IncompleteBody"):
            asyncio.run(whole())
