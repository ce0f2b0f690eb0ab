"""What a server owes its clients, over real sockets: keep-alive, pipelining, 100-continue, errors of either side."""

import asyncio

import pytest
from test_listen import connected, echo, exchange, request, serving

from lambent.protocol.http import HttpResponse

PLAIN = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"


async def named(asked, _read):
    return HttpResponse(200, [], asked.path.encode())


async def answer_of(reader):
    """The head and the body of the next response."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


def test_one_connection_serves_one_request_after_the_other():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            for number in range(3):
                writer.write(PLAIN % number)
                assert (await answer_of(reader))[1] == b"/%d" % number

    serving(named, client)


def test_pipelined_requests_are_answered_in_their_order():
    async def slow_first(asked, _read):
        for _turn in range(5 if asked.path == "/0" else 0):
            await asyncio.sleep(0)
        return HttpResponse(200, [], asked.path.encode())

    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(b"".join(PLAIN % number for number in range(20)))
            return [(await answer_of(reader))[1] for _number in range(20)]

    assert serving(slow_first, client) == [b"/%d" % number for number in range(20)]


def test_a_response_goes_out_in_one_piece():
    class Told(asyncio.Protocol):
        pieces: list[bytes]

        def connection_made(self, transport):
            self.pieces, self.ended = [], asyncio.get_running_loop().create_future()
            transport.write(request(b"body"))

        def data_received(self, data):
            self.pieces.append(data)

        def connection_lost(self, _error):
            self.ended.set_result(None)

    async def client(gateway):
        _transport, told = await asyncio.get_running_loop().create_connection(Told, "127.0.0.1", gateway.port)
        await told.ended
        return told.pieces

    [piece] = serving(echo, client)
    assert piece.endswith(b"\r\n\r\nbody")


def test_a_body_is_asked_for_when_it_is_wanted():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            head, _, body = request(b"hello", b"expect: 100-continue").partition(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            return (await answer_of(reader))[1]

    assert serving(echo, client) == b"hello"


def test_a_body_that_nobody_reads_does_not_reach_the_next_request():
    async def deaf(asked, _read):
        return HttpResponse(200, [], asked.path.encode())

    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(b"POST /0 HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000)
            assert (await answer_of(reader))[1] == b"/0"
            writer.write(PLAIN % 1)
            return (await answer_of(reader))[1]

    assert serving(deaf, client) == b"/1"


def test_a_body_is_read_no_faster_than_it_is_wanted():
    wanted = asyncio.Event()

    async def late(asked, read):
        await wanted.wait()
        return await echo(asked, read)

    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n" + b"x" * 20_000_000)
            before = -1
            while writer.transport.get_write_buffer_size() != before:  # until nothing moves
                before = writer.transport.get_write_buffer_size()
                for _turn in range(200):
                    await asyncio.sleep(0)
            assert before > 0
            wanted.set()
            return len((await answer_of(reader))[1])

    assert serving(late, client) == 20_000_000


def test_head_gets_the_length_and_no_body():
    answer = serving(
        named, lambda gateway: exchange(gateway.port, b"HEAD /1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    )
    assert b"\r\ncontent-length: 2\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_client_that_would_upgrade_is_answered_as_it_asked():
    asked = b"GET /%d HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\r\n"

    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            for number in range(2):
                writer.write(asked % number)
                assert (await answer_of(reader))[1] == b"/%d" % number

    serving(named, client)


@pytest.mark.parametrize("target", [b"http://host/a%20b?c=d", b"/a%20b?c=d", b"/a%20b?c=d#e"])
def test_path_and_query_stay_raw(target):
    async def told(asked, _read):
        return HttpResponse(200, [], f"{asked.path} {asked.query}".encode())

    sent = b"GET " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert serving(told, lambda gateway: exchange(gateway.port, sent)).endswith(b"\r\n\r\n/a%20b c=d")


def test_repeated_headers_are_joined():
    async def told(asked, _read):
        return HttpResponse(200, [], f"{asked.headers['x-a']}|{asked.headers['cookie']}".encode())

    headers = [b"X-A: 1", b"x-a: 2", b"Cookie: a=1", b"cookie: b=2"]
    assert serving(told, lambda gateway: exchange(gateway.port, request(b"", *headers))).endswith(b"1,2|a=1; b=2")


@pytest.mark.parametrize("header", [("x-a", "1\r\nx-b: 2"), ("x a", "1"), ("x-a", "\x00"), ("x-a", "€")])
def test_a_header_that_would_break_the_response_is_not_sent(header):
    async def wrong(_asked, _read):
        return HttpResponse(200, [header], b"body")

    answer = serving(wrong, lambda gateway: exchange(gateway.port, request()))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"x-b" not in answer


def test_an_application_that_fails_is_a_500_and_the_next_client_is_served():
    async def broken(asked, _read):
        if asked.path == "/":
            raise RuntimeError("a secret of ours")
        return await named(asked, _read)

    async def client(gateway):
        return await exchange(gateway.port, request()), await exchange(gateway.port, PLAIN % 1 + b"no http\r\n\r\n")

    failed, served = serving(broken, client)
    assert failed.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in failed
    assert b"\r\n\r\n/1" in served  # and what came behind it is refused, not served


def test_a_body_that_makes_no_sense_is_refused():
    sent = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nno length\r\n"
    answer = serving(echo, lambda gateway: exchange(gateway.port, sent))
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_client_that_asks_for_nothing_is_let_go():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(PLAIN % 1)
            await answer_of(reader)
            [(connection, since)] = gateway._shared.idle.items()
            gateway._tick()
            assert gateway._shared.idle
            gateway._shared.idle[connection] = since - 76
            gateway._tick()
            return await reader.read()

    assert serving(named, client) == b""
