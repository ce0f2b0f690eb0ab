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

    def on_error(self, document: bytes, error_type: str | None = None) -> None:
        self.note("error", document)

    def on_init_error(self, document: bytes, error_type: str | None = None) -> None:
        self.note("init error", document)

    def on_oversized(self) -> None:
        self.note("oversized")

    def on_stream(self, content_type: str) -> None:
        self.note("stream", content_type.encode("latin-1"))

    def on_chunk(self, data: bytes) -> None:
        self.note("chunk", data)

    def on_stream_end(self, error_type: str | None, document: bytes) -> None:
        self.note(f"stream end {error_type}", document)

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


def test_a_stream_and_how_it_may_end() -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({})
        theirs.send(frame(frames.STREAM, b"text/plain") + frame(frames.CHUNK, b"a") + frame(frames.CHUNK, b""))
        theirs.send(frame(frames.STREAM_END, b"ignored") + frame(frames.STREAM_ERROR, b'{"errorType": "E"}'))
        theirs.send(frame(frames.STREAM_ERROR, b"\xff no document"))
        channel.drain()
        assert recorder.said == [
            ("stream", b"text/plain"),
            ("chunk", b"a"),
            ("chunk", b""),
            ("stream end None", b""),
            ("stream end E", b'{"errorType": "E"}'),
            ("stream end Unhandled", b"\xff no document"),
        ]

    talk(script)


def test_a_paused_channel_reads_nothing_until_it_resumes() -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({})
        channel.pause()
        theirs.send(frame(frames.CHUNK, b"a"))
        for _turn in range(5):
            await asyncio.sleep(0)
        assert recorder.said == []
        channel.resume()
        assert await recorder.until(1) == [("chunk", b"a")]
        channel.pause()
        channel.close()
        channel.resume()  # too late, and no harm

    talk(script)


def test_a_process_that_writes_without_end_does_not_hold_the_node() -> None:
    class Writing(socket.socket):
        def recv(self, *_arguments: object) -> bytes:  # type: ignore[override]
            return frame(frames.CHUNK, b"x")

    async def main() -> None:
        ours, theirs = socket.socketpair()
        recorder = Recorder()
        channel = FrameChannel(Writing(fileno=ours.detach()), recorder)
        channel.drain()
        assert 0 < len(recorder.said) < 1000
        channel.close()
        theirs.close()

    asyncio.run(main())


kinds = st.sampled_from([frames.RESPONSE, frames.ERROR, frames.INIT_ERROR, frames.STREAM, frames.CHUNK])


@given(st.lists(st.tuples(kinds, st.binary(max_size=50)), max_size=6), st.lists(st.integers(0, 300), max_size=6))
def test_how_the_frames_arrive_does_not_matter(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in sent)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    names = {frames.RESPONSE: "response", frames.ERROR: "error", frames.INIT_ERROR: "init error"}
    names |= {frames.STREAM: "stream", frames.CHUNK: "chunk"}

    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({})
        for start, end in itertools.pairwise(places):
            theirs.send(data[start:end])
            channel.drain()
        assert recorder.said == [(names[kind], payload) for kind, payload in sent]

    talk(script)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    async def script(theirs: socket.socket, recorder: Recorder, channel: FrameChannel) -> None:
        channel.open({})
        theirs.send(data)
        channel.drain()
        theirs.send(b"\x00\x00\x00\x00\x10")
        channel.drain()

    talk(script)
