"""Responses that are sent while they are made, through a real socket and with clients that go away."""

import asyncio

from test_listen import connected, exchange, request, serving

from lambent.gateway.body import Limit, read_body
from lambent.gateway.chunks import send_chunks


class Source:
    """Chunks that a test puts; notes when it is closed."""

    def __init__(self, *chunks, is_open=True):
        self.queue = asyncio.Queue()
        for chunk in chunks:
            self.queue.put_nowait(chunk)
        if not is_open:
            self.queue.put_nowait(None)
        self.closed = asyncio.Event()
        self.answered = asyncio.Event()
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


def answering(source, results):
    async def app(scope, receive, send):
        await read_body(receive, Limit(100, "", ""), length=None)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            results.append(await send_chunks(source, receive, send))
        except Exception as error:
            results.append(error)
        source.answered.set()

    return app


def test_each_chunk_goes_out_when_it_comes():
    results = []

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
    serving(answering(source, results), client)
    assert results == [True]


def test_a_source_without_chunks_is_an_empty_body():
    results = []
    answer = serving(answering(Source(is_open=False), results), lambda gateway: exchange(gateway.port, request()))
    assert answer.endswith(b"\r\n\r\n0\r\n\r\n")
    assert results == [True]


def test_a_client_that_goes_away_closes_the_source():
    results = []

    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(request())
            await reader.readuntil(b"\r\n\r\n")
        await source.answered.wait()
        assert source.closed.is_set()

    source = Source()
    serving(answering(source, results), client)
    assert results == [False]


def test_a_client_that_has_gone_before_the_first_chunk_closes_a_generator():
    closed = asyncio.Event()

    async def chunks():
        try:
            await asyncio.Event().wait()
            yield b"never"
        finally:
            closed.set()

    async def gone():
        return {"type": "http.disconnect"}

    async def send(_message):
        raise AssertionError("nobody is there")

    async def main():
        assert not await send_chunks(chunks(), gone, send)
        assert closed.is_set()

    asyncio.run(main())


def test_a_slow_client_holds_the_source_back():
    results = []

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
    serving(answering(source, results), client)
    assert results == [True]
    assert source.taken == 100_000_000


def test_a_source_that_fails_breaks_the_connection_off():
    results = []
    source = Source(b"one", ValueError("broken"))
    answer = serving(answering(source, results), lambda gateway: exchange(gateway.port, request()))
    assert answer.endswith(b"3\r\none\r\n")  # and no end
    assert isinstance(results[0], ExceptionGroup)
    assert source.closed.is_set()
