import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from lambent.engine import frames
from lambent.engine.frames import FrameChannel, frame
from lambent.engine.report import MAX_RESPONSE_BYTES


class Recorder(frames.Listener):
    """Notes what the runtime said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []
        self.heard = asyncio.Event()

    def note(self, what: str, payload: bytes = b"") -> None:
        self.said.append((what, payload))
        self.heard.set()

    def on_ready(self) -> None:
        self.note("ready")

    def on_response(self, payload: bytes) -> None:
        self.note("response", payload)

    def on_error(self, document: bytes) -> None:
        self.note("error", document)

    def on_init_error(self, document: bytes) -> None:
        self.note("init error", document)

    def on_oversized(self) -> None:
        self.note("oversized")

    def on_violation(self, text: str) -> None:
        self.note("violation", text.encode())

    async def until(self, count: int) -> list[tuple[str, bytes]]:
        while len(self.said) < count:
            self.heard.clear()
            await self.heard.wait()
        return self.said


def talk(script: Callable[[socket.socket, Recorder, FrameChannel], Awaitable[None]]) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        recorder = Recorder()
        channel = FrameChannel(ours, recorder)
        try:
            await script(theirs, recorder, channel)
        finally:
            channel.close()
            theirs.close()

    asyncio.run(main())


async def receive(sock: socket.socket) -> tuple[int, bytes]:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < 5 or len(data) < 5 + int.from_bytes(data[:4], "big"):
        data += await loop.sock_recv(sock, 1_000_000)
    return data[4], data[5:]


def test_a_conversation() -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({"handler": "app.handler"})
        assert await receive(theirs) == (frames.INIT, b'{"handler": "app.handler"}')
        theirs.send(frame(frames.READY, b""))
        await recorder.until(1)
        channel.invoke({"request_id": "r"}, b"payload")
        kind, body = await receive(theirs)
        assert kind == frames.INVOKE
        length = int.from_bytes(body[:4], "big")
        assert json.loads(body[4 : 4 + length]) == {"request_id": "r"}
        assert body[4 + length :] == b"payload"
        theirs.send(frame(frames.RESPONSE, b"answer"))
        assert await recorder.until(2) == [("ready", b""), ("response", b"answer")]

    talk(script)


def test_six_megabytes_go_both_ways() -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        loop = asyncio.get_running_loop()
        channel.open({})
        await receive(theirs)
        channel.invoke({}, b"x" * 6_291_456)
        _kind, body = await receive(theirs)
        assert len(body) == 6_291_456 + 4 + 2
        await loop.sock_sendall(theirs, frame(frames.RESPONSE, b"y" * MAX_RESPONSE_BYTES))
        assert await recorder.until(1) == [("response", b"y" * MAX_RESPONSE_BYTES)]

    talk(script)


def test_one_byte_too_many_is_thrown_away_as_it_comes() -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        loop = asyncio.get_running_loop()
        channel.open({})
        await receive(theirs)
        await loop.sock_sendall(theirs, frame(frames.RESPONSE, b"y" * (MAX_RESPONSE_BYTES + 1)))
        await loop.sock_sendall(theirs, frame(frames.RESPONSE, b"next"))
        assert await recorder.until(2) == [("oversized", b""), ("response", b"next")]
        assert len(channel._buffer) == 0

    talk(script)


def test_an_unknown_frame_is_a_violation() -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({})
        await receive(theirs)
        theirs.send(frame(99, b"?"))
        assert await recorder.until(1) == [("violation", b"frame type 99")]

    talk(script)


def test_a_runtime_that_is_gone_is_no_error() -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({})
        theirs.close()
        channel.invoke({}, b"x" * 1_000_000)
        channel.drain()
        assert recorder.said == []

    talk(script)


kinds = st.sampled_from([frames.RESPONSE, frames.ERROR, frames.INIT_ERROR])


@given(st.lists(st.tuples(kinds, st.binary(max_size=50)), max_size=6), st.lists(st.integers(0, 300), max_size=6))
def test_how_the_frames_arrive_does_not_matter(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in sent)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    names = {frames.RESPONSE: "response", frames.ERROR: "error", frames.INIT_ERROR: "init error"}

    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({})
        for start, end in itertools.pairwise(places):
            theirs.send(data[start:end])
            channel.drain()
        assert recorder.said == [(names[kind], payload) for kind, payload in sent]

    talk(script)
