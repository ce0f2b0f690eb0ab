"""Sockets, connections and their limits, with an application that only echoes."""

import asyncio
import contextlib
import socket

import uvloop

from lambent.gateway.listen import Gateway
from lambent.observe.log import Log
from lambent.protocol.http import HttpResponse


async def echo(_request, read):
    body, more = b"", True
    while more:
        part, more = await read()
        body += part
    return HttpResponse(200, [], body)


def serving(app, client, *, inside=None, log=None):
    """What `client(gateway)` returns."""

    async def main():
        async with Gateway.open(app, inside or app, log or Log("off")) as gateway:
            await gateway.listen(socket.create_server(("127.0.0.1", 0)))
            async with asyncio.timeout(20):
                return await client(gateway)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop of a node
        return runner.run(main())


@contextlib.asynccontextmanager
async def connected(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(port, sent):
    async with connected(port) as (reader, writer):
        writer.write(sent)
        return await reader.read()


def request(body=b"", *headers):
    head = [b"POST / HTTP/1.1", b"host: x", b"connection: close", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def test_a_request_is_answered_with_a_date():
    answer = serving(echo, lambda gateway: exchange(gateway.port, request(b"hello")))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ndate: " in answer
    assert b"server:" not in answer
    assert answer.endswith(b"\r\n\r\nhello")


def test_a_head_that_is_too_large_is_refused():
    big = b"x-filler: " + b"f" * 70_000
    answer = serving(echo, lambda gateway: exchange(gateway.port, request(b"", big)))
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_head_that_never_ends_is_cut_off():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nx-filler: ")
            with contextlib.suppress(ConnectionError):
                for _ in range(200):
                    writer.write(b"f" * 1000)
                    await writer.drain()
            with contextlib.suppress(ConnectionError):
                return await reader.read()

    assert (serving(echo, client) or b"HTTP/1.1 400").startswith(b"HTTP/1.1 400")


def test_what_is_not_http_is_refused():
    answer = serving(echo, lambda gateway: exchange(gateway.port, b"\x16\x03\x01 this is TLS\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_truncated_request_ends_and_the_next_client_is_served():
    async def client(gateway):
        async with connected(gateway.port) as (_reader, writer):
            writer.write(request(b"hello")[:-3])
            await writer.drain()
        return await exchange(gateway.port, request(b"next"))

    answer = serving(echo, client)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nnext")


def test_draining_lets_a_request_end_and_takes_no_new_ones():
    async def client(gateway):
        entered, leave = asyncio.Event(), asyncio.Event()
        gates.extend([entered, leave])
        async with connected(gateway.port) as (reader, writer):
            writer.write(request(b"slow"))
            await entered.wait()
            async with asyncio.TaskGroup() as tasks:
                draining = tasks.create_task(gateway.drain(10))
                await asyncio.sleep(0.01)
                assert not draining.done()
                leave.set()
                answer = await reader.read()
        with contextlib.suppress(ConnectionError):
            await exchange(gateway.port, request(b"late"))
            raise AssertionError("a new connection was taken")
        return answer

    async def slow(request, read):
        gates[0].set()
        await gates[1].wait()
        return await echo(request, read)

    gates = []
    assert serving(slow, client).endswith(b"slow")


def test_draining_ends_after_its_grace():
    async def client(gateway):
        async with connected(gateway.port) as (reader, writer):
            writer.write(request(b"stuck"))
            await gate.wait()
            await gateway.drain(0.01)
            return await reader.read()

    async def stuck(_request, _read):
        gate.set()
        await asyncio.get_running_loop().create_future()

    gate = asyncio.Event()
    assert b"200" not in serving(stuck, client)


def test_an_adopted_socket_is_served_by_the_inner_application_until_it_is_closed():
    async def inner(_request, _read):
        return HttpResponse(201, [], b"")

    async def client(gateway):
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        close = gateway.adopt(sock)
        first = await exchange(port, request())
        second = await exchange(port, request())
        close()
        await asyncio.sleep(0.01)
        try:
            await exchange(port, request())
        except ConnectionError:
            return first, second
        raise AssertionError("it is still served")

    answers = serving(echo, client, inside=inner)
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 201"] * 2


def test_an_adopted_socket_that_nobody_used_is_closed():
    async def client(gateway):
        sock = socket.create_server(("127.0.0.1", 0))
        close = gateway.adopt(sock)
        close()
        close()
        return sock.fileno()

    assert serving(echo, client) == -1
