"""The proxy on sockets of this machine's loopback: 127.0.0.2 stands for the internet, all else is what it is."""

import asyncio
import functools
import socket
from contextlib import asynccontextmanager

import pytest

from lambent.engine.egress.addresses import is_allowed
from lambent.engine.egress.proxy import Limits, Proxy

OUTSIDE = "127.0.0.2"


def in_a_loop(test):
    """A loop of real time, since the sockets are real."""

    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(test(*arguments, **named))

    return run


def allows(address):
    return address == OUTSIDE or is_allowed(address)


@asynccontextmanager
async def serving(proxy, environment_id="e1"):
    """The proxy, and the address of one environment's listener."""
    listener = socket.create_server(("127.0.0.1", 0))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(proxy.run())
        await proxy.ready.wait()
        proxy.adopt(listener, environment_id)
        try:
            yield listener.getsockname()
        finally:
            running.cancel()


@asynccontextmanager
async def server(answer, host=OUTSIDE):
    """A server of that host; `answer(reader, writer)` serves a connection. Its port, and how many came."""
    came = []

    async def serve(reader, writer):
        came.append(writer)
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, host, 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], came


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()
    writer.write(b"END")
    await writer.drain()


async def hello(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)
    await writer.drain()


async def ask(address, data, end=True):
    """Everything that comes back for these bytes."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    if end:
        writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


async def connect(address, host, port, more=b""):
    return await ask(address, f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode() + more)


def status(answer):
    return int(answer.split(b" ", 2)[1])


@in_a_loop
async def test_a_tunnel_carries_bytes_and_the_end_of_each_side():
    async with server(echo) as (port, _), serving(Proxy(allows=allows)) as address:
        answer = await connect(address, OUTSIDE, port, b"early ")
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nEARLY END"


@in_a_loop
async def test_a_plain_request_arrives_in_origin_form_and_once():
    async with server(hello) as (port, came), serving(Proxy(allows=allows)) as address:
        request = f"GET http://{OUTSIDE}:{port}/a HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\n\r\n".encode()
        answer = await ask(address, request)
        assert answer.endswith(f"GET /a HTTP/1.1\r\nHost: {OUTSIDE}:{port}\r\nConnection: close\r\n\r\n".encode())
        assert len(came) == 1


@in_a_loop
async def test_a_second_request_on_the_connection_never_reaches_the_first_ones_host():
    """Smuggling: what stands behind a body is a request to somebody else, or one that hides from a check."""
    seen = bytearray()

    async def record(reader, writer):
        while data := await reader.read(65536):
            seen.extend(data)

    second = b"GET http://169.254.169.254/secret HTTP/1.1\r\n\r\n"
    bodies = {
        b"Content-Length: 3": b"abc",
        b"Transfer-Encoding: chunked": b"3\r\nabc\r\n0\r\n\r\n",
        b"X: y": b"",
    }
    async with server(record) as (port, _), serving(Proxy(allows=allows)) as address:
        for field, body in bodies.items():
            seen.clear()
            start = b"POST http://%s:%d/ HTTP/1.1\r\n%s\r\n\r\n%s" % (OUTSIDE.encode(), port, field, body)
            assert await ask(address, start + second, end=False) == b""
            assert b"secret" not in seen


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[64:ff9b::127.0.0.1]",
        "localhost",
        "LOCALHOST.",
    ],
)
@in_a_loop
async def test_no_private_address_is_reached(host):
    async with server(echo, "127.0.0.1") as (port, came):
        async with serving(Proxy(allows=allows)) as address:
            assert status(await connect(address, host, port)) == 403
            assert status(await ask(address, f"GET http://{host}:{port}/ HTTP/1.1\r\n\r\n".encode())) == 403
        assert came == []


@in_a_loop
async def test_without_the_wall_the_same_request_arrives():
    """The control of the test above."""
    async with server(echo, "127.0.0.1") as (port, came):
        async with serving(Proxy(allows=lambda _address: True)) as address:
            assert status(await connect(address, "127.0.0.1", port)) == 200
            assert status(await connect(address, "localhost", port)) == 200
            assert status(await connect(address, "[::ffff:127.0.0.1]", port)) == 200
        assert len(came) == 3


@in_a_loop
async def test_numbers_that_the_system_takes_for_addresses_are_refused():
    async with server(echo, "127.0.0.1") as (port, came):
        async with serving(Proxy(allows=allows)) as address:
            for host in ("2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "0"):
                assert status(await connect(address, host, port)) == 400
        assert came == []


@in_a_loop
async def test_even_if_such_a_number_were_looked_up_its_address_would_be_judged():
    """A second wall behind the reader's: `a` stands for a spelling that it does not know."""

    def look_up(_host, port):
        return [str(found[4][0]) for found in socket.getaddrinfo("2130706433", port, type=socket.SOCK_STREAM)]

    async with server(echo, "127.0.0.1") as (port, came):
        async with serving(Proxy(allows=allows, look_up=look_up)) as address:
            assert status(await connect(address, "a", port)) == 403
        assert came == []


@in_a_loop
async def test_a_name_that_changes_its_address_is_reached_where_it_was_judged():
    """DNS rebinding: the second answer would lead to loopback."""
    answers = [[OUTSIDE], ["127.0.0.1"], ["127.0.0.1"]]
    async with (
        server(echo) as (port, came),
        serving(Proxy(allows=allows, look_up=lambda *_: answers.pop(0))) as address,
    ):
        assert status(await connect(address, "rebinding.example", port)) == 200
        assert len(came) == 1
        assert len(answers) == 2
        assert status(await connect(address, "rebinding.example", port)) == 403


@in_a_loop
async def test_of_a_names_addresses_only_the_public_are_tried():
    async with server(echo) as (port, _), server(echo, "127.0.0.1") as (_, private):
        mixed = Proxy(allows=allows, look_up=lambda *_: ["127.0.0.1", "169.254.169.254", OUTSIDE])
        async with serving(mixed) as address:
            assert status(await connect(address, "mixed.example", port)) == 200
        assert private == []


@in_a_loop
async def test_a_private_name_and_one_that_is_not_there_look_alike():
    def look_up(host, _port):
        if host == "no.example":
            raise socket.gaierror(-2, "Name or service not known")
        return ["10.0.0.1"]

    async with serving(Proxy(allows=allows, look_up=look_up)) as address:
        missing, private = [await connect(address, host, 443) for host in ("no.example", "db.example")]
        assert status(missing) == 403
        assert missing == private.replace(b"db.example", b"no.example")


@in_a_loop
async def test_mail_is_not_sent_as_on_aws():
    async with serving(Proxy(allows=lambda _address: True)) as address:
        assert status(await connect(address, OUTSIDE, 25)) == 403


@in_a_loop
async def test_a_head_without_end_is_refused():
    async with serving(Proxy(allows=allows)) as address:
        answer = await ask(address, b"GET http://a/ HTTP/1.1\r\nX: " + b"a" * 200_000, end=False)
        assert status(answer) == 431


@in_a_loop
async def test_who_says_nothing_is_hung_up_on():
    async with serving(Proxy(allows=allows, limits=Limits(head_s=0.05))) as address:
        assert await ask(address, b"GET", end=False) == b""


@in_a_loop
async def test_a_tunnel_in_which_nothing_moves_is_closed():
    async def stand_still(reader, _writer):
        await reader.read()

    limits = Limits(idle_s=0.1)
    async with server(stand_still) as (port, _), serving(Proxy(allows=allows, limits=limits)) as address:
        request = f"CONNECT {OUTSIDE}:{port} HTTP/1.1\r\n\r\n".encode()
        assert status(await ask(address, request, end=False)) == 200


@in_a_loop
async def test_a_peer_that_does_not_read_holds_the_other_one_back():
    """What is on its way fits into the buffers of the kernel and two chunks of the proxy."""
    written, is_full = 0, asyncio.Event()

    async def pour(_reader, writer):
        nonlocal written
        sock = writer.get_extra_info("socket")
        while True:
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
                    writer.write(b"x" * 65536)
                    written += 65536
            except TimeoutError:
                is_full.set()
                return
            assert sock.fileno() >= 0

    async with server(pour) as (port, _), serving(Proxy(allows=allows)) as address:
        _reader, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(f"CONNECT {OUTSIDE}:{port} HTTP/1.1\r\n\r\n".encode())
        await is_full.wait()
        assert written < 32 << 20
        writer.transport.abort()


@in_a_loop
async def test_one_environment_cannot_take_all_connections():
    limits = Limits(connections=2)
    async with server(echo) as (port, _), serving(Proxy(allows=allows, limits=limits)) as address:
        kept = [await asyncio.open_connection(*address) for _ in range(2)]
        for reader, writer in kept:
            writer.write(f"CONNECT {OUTSIDE}:{port} HTTP/1.1\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
        assert status(await ask(address, b"", end=False)) == 503
        for _, writer in kept:
            writer.close()


@in_a_loop
async def test_what_an_ended_environment_left_is_closed_on_both_sides():
    proxy, seen = Proxy(allows=allows), asyncio.Event()

    async def watch(reader, _writer):
        await reader.read()
        seen.set()

    async with server(watch) as (port, _), serving(proxy) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"CONNECT {OUTSIDE}:{port} HTTP/1.1\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        proxy.drop("e1")
        await seen.wait()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


@in_a_loop
async def test_a_host_that_refuses_is_a_bad_gateway():
    async with serving(Proxy(allows=allows)) as address:
        with socket.socket() as free:
            free.bind((OUTSIDE, 0))
            assert status(await connect(address, OUTSIDE, free.getsockname()[1])) == 502
