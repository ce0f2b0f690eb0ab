"""Responses that are sent while they are made, through a real socket and with clients that go away."""

import asyncio
import contextlib
import io
import json

from test_listen import connected, exchange, request, serving

from lambent.gateway.body import Disconnected
from lambent.observe.log import Log
from lambent.protocol.http import CutOffError, HttpResponse


class Source:
    """Chunks that a test puts; notes when it is closed."""

    def __init__(self, *chunks, is_open=True):
        self.queue = asyncio.Queue()
        for chunk in chunks:
            self.queue.put_nowait(chunk)
        if not is_open:
            self.queue.put_nowait(None)
        self.closed = asyncio.Event()
        self.taken = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        chunk = await self.queue.get()
        if chunk is None:
            raise StopAsyncIteration
        if isinstance(chunk, Exception):
            raise chunk
        self.taken += len(chunk)
        return chunk

    async def aclose(self):
        self.closed.set()


def answering(source):
    async def app(_request, read):
        await read()
        return HttpResponse(200, [], b"", source)

    return app


def test_each_chunk_goes_out_when_it_comes():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(request(b"body"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"transfer-encoding: chunked" in head
            for data, wire in ((b"one", b"3\r\none\r\n"), (b"two!", b"4\r\ntwo!\r\n")):
                source.queue.put_nowait(data)
                assert await reader.readexactly(len(wire)) == wire
            source.queue.put_nowait(b"")  # which would be the end
            source.queue.put_nowait(None)
            assert await reader.read() == b"0\r\n\r\n"
        await source.closed.wait()

    source = Source()
    serving(answering(source), client)


def test_a_source_without_chunks_is_an_empty_body():
    answer = serving(answering(Source(is_open=False)), lambda gateway: exchange(gateway.port, request()))
    assert answer.endswith(b"\r\n\r\n0\r\n\r\n")


def test_a_client_of_http_1_0_gets_the_chunks_as_they_are():
    source = Source(b"one", b"two", is_open=False)
    answer = serving(answering(source), lambda gateway: exchange(gateway.port, b"GET / HTTP/1.0\r\n\r\n"))
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"\r\n\r\nonetwo")


def test_a_client_that_goes_away_closes_the_source():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(request())
            await reader.readuntil(b"\r\n\r\n")
        await source.closed.wait()

    source = Source()
    serving(answering(source), client)


def test_a_client_that_has_gone_before_the_first_chunk_closes_a_generator():
    asked, closed = asyncio.Event(), asyncio.Event()

    async def chunks():
        try:
            await asyncio.Event().wait()
            yield b"never"
        finally:
            closed.set()

    async def app(_request, read):
        asked.set()
        with contextlib.suppress(Disconnected):
            await read()
        return HttpResponse(200, [], b"", chunks())

    async def client(gateway):
        async with connected(gateway.port) as (_reader, writer):
            writer.write(request(b"body")[:-4])
            await asked.wait()
        await closed.wait()

    serving(app, client)


def test_a_slow_client_holds_the_source_back():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(request())
            await reader.readuntil(b"\r\n\r\n")
            reader._transport.pause_reading()
            before = -1
            while source.taken != before:  # until nothing moves
                before = source.taken
                for _turn in range(200):
                    await asyncio.sleep(0)
            assert source.taken < 20_000_000
            reader._transport.resume_reading()
            source.queue.put_nowait(None)
            while await reader.read(1_000_000):
                pass

    source = Source(*[b"x" * 100_000] * 1000)
    serving(answering(source), client)
    assert source.taken == 100_000_000


def broken_off(error):
    """What the client got, and what the log says, of chunks that end with this error."""
    source, said = Source(b"one", error), io.StringIO()
    answer = serving(
        answering(source),
        lambda gateway: exchange(gateway.port, request()),
        log=Log("info", said, as_json=True),
    )
    assert source.closed.is_set()
    return answer, [json.loads(line)["event"] for line in said.getvalue().splitlines()]


def test_a_source_that_fails_breaks_the_connection_off():
    answer, said = broken_off(ValueError("broken"))
    assert answer.endswith(b"3\r\none\r\n")  # and no end
    assert said == ["gateway.failed"]


def test_a_function_that_breaks_off_is_not_worth_a_word():
    answer, said = broken_off(CutOffError())
    assert answer.endswith(b"3\r\none\r\n")
    assert said == []
