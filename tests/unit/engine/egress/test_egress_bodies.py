"""Where a request's body ends, however its bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.egress.bodies import BodyError, ChunkedBody, SizedBody


def chunked(parts, trailers=()):
    text = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return text + b"0\r\n" + b"".join(b"%s: 1\r\n" % name for name in trailers) + b"\r\n"


def feed(body, pieces):
    """What the body took of the pieces."""
    taken = b""
    for piece in pieces:
        count = body.take(piece)
        taken += piece[:count]
        if count < len(piece):
            break
    return taken


@st.composite
def cut(draw, data):
    at = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


@given(st.data(), st.lists(st.binary(max_size=40), max_size=4), st.lists(st.just(b"X"), max_size=2), st.binary())
def test_chunks_end_where_they_end(data, parts, trailers, behind):
    body, whole = ChunkedBody(), chunked(parts, trailers)
    assert feed(body, data.draw(cut(whole + behind))) == whole
    assert body.is_complete


@given(st.data(), st.binary(max_size=50), st.binary())
def test_a_sized_body_has_its_size(data, content, behind):
    body = SizedBody(len(content))
    assert feed(body, data.draw(cut(content + behind))) == content
    assert body.is_complete


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_no_bytes_break_it(pieces):
    body = ChunkedBody()
    try:
        feed(body, pieces)
    except BodyError:
        return


@pytest.mark.parametrize(
    "data", [b"\r\n", b"x\r\n", b"-1\r\n", b"0x1\r\n", b"5\n", b"1\r\nabc", b"1\r\na\n\n", b"1\rf\r\n", b"f" * 20_000]
)
def test_what_is_no_chunk_is_refused(data):
    body = ChunkedBody()
    with pytest.raises(BodyError):
        body.take(data)
