"""Whom a function can reach over the network."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
from attacks import GATEWAY_PORT, House, Inside, Outside, Refused

METADATA = "169.254.169.254"


def connect(host, port):
    import socket

    with socket.create_connection((host, port), timeout=5):
        return "connected"


def connect_unix(name):
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(name)
        return "connected"


@pytest.fixture
def host_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as server:
        yield server.getsockname()[1]


def own_address() -> str:
    """An address of this machine besides loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(sock.getsockname()[0])


def test_a_port_on_the_hosts_loopback_is_out_of_reach(inside: Inside, outside: Outside, host_port: int) -> None:
    assert outside.run(connect, "127.0.0.1", host_port) == "connected"
    assert inside.run(connect, "127.0.0.1", host_port) == Refused("ECONNREFUSED")


def test_the_hosts_other_addresses_are_out_of_reach(inside: Inside, outside: Outside, host_port: int) -> None:
    address = own_address()
    assert outside.run(connect, address, host_port) == "connected"
    assert inside.run(connect, address, host_port) in (Refused("ENETUNREACH"), Refused("ECONNREFUSED"))


@pytest.mark.parametrize("address", [METADATA, "169.254.170.2", "192.0.2.1", "fd00:ec2::254"])
def test_the_metadata_service_and_the_world_are_unreachable(inside: Inside, address: str) -> None:
    assert inside.run(connect, address, 80) in (Refused("ENETUNREACH"), Refused("EADDRNOTAVAIL"))


def test_an_abstract_socket_of_the_host_is_out_of_reach(inside: Inside, outside: Outside) -> None:
    name = f"\0lambent-attack-{id(inside)}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert outside.run(connect_unix, name) == "connected"
        assert inside.run(connect_unix, name) == Refused("ECONNREFUSED")


def test_one_environments_loopback_is_not_anothers(inside: Inside, fresh: Callable[..., Inside]) -> None:
    def listen():
        import socket

        globals()["server"] = socket.create_server(("127.0.0.1", 7777))

    other = fresh()
    other.run(listen)
    assert other.run(connect, "127.0.0.1", 7777) == "connected"
    assert inside.run(connect, "127.0.0.1", 7777) == Refused("ECONNREFUSED")


def test_the_platforms_port_leads_to_the_platform_only(inside: Inside, house: House) -> None:
    """The control for all of the above: this one door is open, and the node holds its other side."""
    assert inside.run(connect, "127.0.0.1", GATEWAY_PORT) == "connected"
    connection, _ = house.listeners[inside.sandbox.id].accept()
    connection.close()


def test_the_runtime_api_listens_where_aws_has_it(fresh: Callable[..., Inside]) -> None:
    environment = fresh()
    server = environment.sandbox.runtime_api
    for address in ("169.254.100.1", "127.0.0.1"):
        assert environment.run(connect, address, 9001) == "connected"
        server.accept()[0].close()
    server.close()


def test_another_environments_runtime_api_is_out_of_reach(fresh: Callable[..., Inside]) -> None:
    """Each has one at the same address, in a network of its own."""
    theirs, mine = fresh(), fresh()
    for address in ("169.254.100.1", "127.0.0.1"):
        for caller, other in ((theirs, mine), (mine, theirs)):
            assert caller.run(connect, address, 9001) == "connected"
            other.sandbox.runtime_api.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.sandbox.runtime_api.accept()
            caller.sandbox.runtime_api.accept()[0].close()


def test_a_network_used_again_holds_nothing_of_the_last_environment(fresh: Callable[..., Inside], house: House) -> None:
    """Networks are used again: what waited in the backlog, and what listened, is gone."""

    def leave_something():
        import socket

        globals()["left"] = [socket.create_server(("0.0.0.0", 8888)), socket.create_connection(("127.0.0.1", 4566))]

    first = fresh()
    first.run(leave_something)
    first.kill()
    for _ in range(4):  # more than are parked, so that the network comes round again
        environment = fresh()
        assert environment.run(connect, "127.0.0.1", 8888) == Refused("ECONNREFUSED")
        with pytest.raises(BlockingIOError):
            house.listeners[environment.sandbox.id].accept()
        environment.kill()


def test_a_listener_of_an_environment_that_is_gone_takes_nobody(fresh: Callable[..., Inside]) -> None:
    """The node may still hold it when its network has been used again."""
    first = fresh()
    first.kill()
    for _ in range(4):  # more than are parked, so that the network comes round again
        environment = fresh()
        assert environment.run(connect, "169.254.100.1", 9001) == "connected"
        environment.sandbox.runtime_api.accept()[0].close()
        with pytest.raises(OSError, match=r"Invalid argument|temporarily unavailable"):
            first.sandbox.runtime_api.accept()
        environment.kill()


def test_a_connection_that_the_platform_makes_inside_stays_there(fresh: Callable[..., Inside], house: House) -> None:
    """Where telemetry goes is an environment's own port of that number, not another's and not the host's."""

    def listen():
        import socket
        import sys

        sys.server = socket.create_server(("127.0.0.1", 0))
        return sys.server.getsockname()[1]

    def accept():
        import sys

        return sys.server.accept()[0].recv(4).decode()

    async def send(environment: Inside, port: int) -> bool:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[socket.socket | None] = loop.create_future()
        environment.sandbox.connect(port, made.set_result)
        connection = await made
        if connection is None:
            return False
        with connection:
            try:
                await loop.sock_sendall(connection, b"here")
            except ConnectionRefusedError:
                return False
        return True

    mine, other = fresh(), fresh()
    port = mine.run(listen)
    assert house.wait(send(mine, port))
    assert mine.run(accept) == "here"
    assert not house.wait(send(other, port))
    with socket.create_server(("127.0.0.1", 0)) as hosts:
        assert not house.wait(send(mine, hosts.getsockname()[1]))


@pytest.mark.parametrize(("family", "kind", "protocol"), [(17, 3, 0), (40, 1, 0), (38, 5, 0), (16, 3, 9), (16, 3, 12)])
def test_sockets_of_rare_families_cannot_be_made(inside: Inside, family: int, kind: int, protocol: int) -> None:
    """Packets, virtual machines, the kernel's ciphers, netlink beyond routing."""

    def make(family, kind, protocol):
        import socket

        socket.socket(family, kind, protocol).close()
        return "made"

    assert inside.run(make, family, kind, protocol) == Refused("EAFNOSUPPORT")
    assert inside.run(make, 16, 3, 0) == "made"  # the list of interfaces is theirs to read


def test_packets_cannot_be_forged(inside: Inside) -> None:
    def forge():
        import socket

        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    assert inside.run(forge) == Refused("EPERM")


def test_its_network_cannot_be_changed(inside: Inside) -> None:
    def add_address():
        import fcntl
        import socket
        import struct

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            address = struct.pack("16sHH4s8x", b"lo:7", socket.AF_INET, 0, socket.inet_aton("169.254.169.254"))
            fcntl.ioctl(sock, 0x8916, address)

    assert inside.run(add_address) == Refused("EPERM")


def test_low_ports_stay_the_platforms(inside: Inside) -> None:
    def listen():
        import socket

        socket.create_server(("127.0.0.1", 80))

    assert inside.run(listen) == Refused("EACCES")


def test_descriptors_sent_over_the_control_socket_go_nowhere(inside: Inside, fresh: Callable[..., Inside]) -> None:
    """An environment's only way to the platform takes bytes, not descriptors, and leads to its own other end alone."""

    def smuggle():
        import os
        import socket

        left, right = socket.socketpair()
        with socket.socket(fileno=os.dup(3)) as control:
            socket.send_fds(control, [b""], [left.fileno()])
            peer = control.getpeername()
        right.close()
        left.close()
        return str(peer)

    environment = fresh()
    assert environment.run(smuggle) == ""
    assert environment.run(smuggle) == ""
    assert inside.run(connect, "127.0.0.1", GATEWAY_PORT) == "connected"
