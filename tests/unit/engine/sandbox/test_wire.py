"""Messages with descriptors between node and launcher."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.sandbox import wire


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_a_message_brings_its_descriptors_by_name(pair: tuple[socket.socket, socket.socket]) -> None:
    reader, writer = os.pipe()
    wire.send(pair[0], {"op": "claimed", "id": "a"}, {"output": reader})
    (message,) = wire.Reader(pair[1]).receive() or []
    os.write(writer, b"hello")
    assert os.read(message["fds"]["output"], 5) == b"hello"
    assert message["id"] == "a"
    for fd in (reader, writer, message["fds"]["output"]):
        os.close(fd)


def test_messages_keep_their_own_descriptors(pair: tuple[socket.socket, socket.socket]) -> None:
    pipes = [os.pipe() for _ in range(5)]
    for i, (reader, _) in enumerate(pipes):
        wire.send(pair[0], {"n": i}, {"output": reader})
    wire.send(pair[0], {"n": 5})
    receiver, messages = wire.Reader(pair[1]), []
    while len(messages) < 6:
        messages += receiver.receive() or []
    for (reader, _), message in zip(pipes, messages, strict=False):
        assert os.fstat(message["fds"]["output"]).st_ino == os.fstat(reader).st_ino
        os.close(message["fds"]["output"])
    assert messages[5]["fds"] == {}
    for fds in pipes:
        for fd in fds:
            os.close(fd)


def test_the_end_is_none(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    assert wire.Reader(pair[1]).receive() is None


@given(texts=st.lists(st.text(max_size=50), max_size=8), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_however_the_bytes_arrive_the_messages_are_the_same(texts: list[str], cuts: list[int]) -> None:
    left, right = socket.socketpair()
    with left, right:
        data = b"".join(wire.encode({"text": text}) for text in texts)
        reader, received, position = wire.Reader(right), [], 0
        while position < len(data):
            for cut in cuts:
                part = data[position : position + cut]
                if part:
                    left.sendall(part)
                    received += reader.receive() or []
                position += cut
        assert [message["text"] for message in received] == texts
