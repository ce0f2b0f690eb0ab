"""Names are looked up by the machine's resolvers, over loopback."""

import asyncio
import contextlib
import socket

from lambent.engine.egress.names import Names, Resolvers


def bound(kind: socket.SocketKind, port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind((host, port))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    sock.setblocking(False)
    return sock


def test_the_resolvers_are_those_that_the_file_names_now(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# ours\nsearch example\nnameserver 10.0.0.2\nnameserver nonsense\nnameserver fd00::53\n")
    resolvers = Resolvers(path)
    assert resolvers.now() == ["10.0.0.2", "fd00::53"]
    other = tmp_path / "other"
    other.write_text("nameserver 10.0.0.3\n" * 5)
    other.rename(path)
    assert resolvers.now() == ["10.0.0.3"] * 3


def test_without_a_resolver_it_is_loopback(tmp_path):
    assert Resolvers(tmp_path / "none").now() == ["127.0.0.1"]


async def _with_names(act):
    """`act(question, asked)` with the addresses to ask at by UDP and TCP, and a resolver's two sockets."""
    udp, tcp = bound(socket.SOCK_DGRAM), bound(socket.SOCK_STREAM)
    answering = bound(socket.SOCK_DGRAM, host="127.0.0.53")
    port = answering.getsockname()[1]
    with answering, bound(socket.SOCK_STREAM, port, "127.0.0.53") as listening:
        async with asyncio.TaskGroup() as tasks:
            # Nobody answers at the first: the kernel refuses at once.
            names = Names(tasks, lambda: ["127.0.0.54", "127.0.0.53"], port)
            addresses = udp.getsockname(), tcp.getsockname()
            names.adopt(udp, tcp, "router 1")
            try:
                return await act(addresses, answering, listening)
            finally:
                names.drop("router 1")


def test_a_question_goes_to_the_next_resolver_and_only_its_own_answer_comes_back():
    async def act(addresses, answering, _listening):
        loop = asyncio.get_running_loop()
        question = b"\x12\x34" + bytes(20)
        with bound(socket.SOCK_DGRAM) as client:
            await loop.sock_sendto(client, b"short", addresses[0])  # no question: passed over
            await loop.sock_sendto(client, question, addresses[0])
            got, peer = await loop.sock_recvfrom(answering, 512)
            assert got == question
            await loop.sock_sendto(answering, b"\x99\x99" + b"forged", peer)
            await loop.sock_sendto(answering, b"\x12\x34" + b"answer", peer)
            return await loop.sock_recv(client, 512)

    assert asyncio.run(_with_names(act)) == b"\x12\x34answer"


def test_what_is_too_long_for_a_datagram_comes_by_tcp():
    async def act(addresses, _answering, listening):
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, addresses[1])
            await loop.sock_sendall(client, b"question")
            resolver, _ = await loop.sock_accept(listening)
            with resolver:
                assert await loop.sock_recv(resolver, 512) == b"question"
                await loop.sock_sendall(resolver, b"x" * 100_000)
            got = b""
            while part := await loop.sock_recv(client, 65_536):
                got += part
            return len(got)

    assert asyncio.run(_with_names(act)) == 100_000


def test_one_environment_cannot_take_all_questions():
    async def act(addresses, answering, _listening):
        loop = asyncio.get_running_loop()
        with bound(socket.SOCK_DGRAM) as client, bound(socket.SOCK_DGRAM, host="127.0.0.9") as other:
            for number in range(200):
                await loop.sock_sendto(client, number.to_bytes(2, "big") + bytes(20), addresses[0])
            await loop.sock_sendto(other, b"ab" + bytes(20), addresses[0])
            came = []
            with contextlib.suppress(TimeoutError):
                while b"ab" not in came:
                    async with asyncio.timeout(5):
                        came.append((await loop.sock_recv(answering, 512))[:2])
            return came

    came = asyncio.run(_with_names(act))
    assert came[-1] == b"ab"
    assert len(came) <= 65
