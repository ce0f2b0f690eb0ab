"""A small internet in network namespaces of the tests' own, where a host may forward though the machine does not.

`host` is where a launcher runs: it has two public addresses and a way out. Behind its router lie, in `outer`, a server
of the internet, one of a private network, which is the host's resolver too, and a metadata service.
"""

import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from lambent.engine.sandbox import kernel, netlink

T = TypeVar("T")
HOST, HOST_TOO, GATEWAY = "11.0.0.2", "12.0.0.2", "11.0.0.1"
SERVER, PRIVATE, METADATA = "20.20.20.20", "10.9.9.9", "169.254.169.254"
PORT: Final = 80
NAME = "server.example"


class Namespace:
    """A network namespace, and a thread that lives in it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.fd: int = self.run(self._make)

    def run(self, act: Callable[..., T], *arguments: Any) -> T:
        """Call it inside; sockets and processes made there belong there."""
        return self._thread.submit(act, *arguments).result()

    def close(self) -> None:
        self._thread.shutdown()
        os.close(self.fd)

    @staticmethod
    def _make() -> int:
        kernel.unshare(kernel.CLONE_NEWNET)
        netlink.ask_here(netlink.raise_link(netlink.LOOPBACK))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class World:
    """`heard` is what came to the servers: (server's address, port, who came from where)."""

    def __init__(self, *, forwards: bool = True) -> None:
        self.host, self.outer = Namespace(), Namespace()
        self.heard: list[tuple[str, int, str]] = []
        self._servers: list[socketserver.BaseServer] = []
        self.outer.run(self._make_outer)
        self.host.run(self._make_host, forwards)

    def enter_host(self) -> None:
        """For a thread of one's own."""
        kernel.setns(self.host.fd, kernel.CLONE_NEWNET)

    def links(self) -> list[str]:
        """Those of the host."""
        return self.host.run(lambda: [name for _, name in socket.if_nameindex()])

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self.host.close()
        self.outer.close()

    def _make_outer(self) -> None:
        netlink.ask_here(netlink.veth("in0", "out0", self.host.fd))
        index = socket.if_nametoindex("in0")
        netlink.ask_here(netlink.add_address(index, GATEWAY, 24))
        for address in (SERVER, PRIVATE, METADATA):
            netlink.ask_here(netlink.add_address(netlink.LOOPBACK, address))
            self._listen(address)
        self._serve(socketserver.ThreadingUDPServer((PRIVATE, 53), self._resolver(socketserver.DatagramRequestHandler)))
        self._serve(socketserver.ThreadingTCPServer((SERVER, 25), self._greeter(socketserver.StreamRequestHandler)))

    def _make_host(self, forwards: bool) -> None:
        assert os.stat("/proc/thread-self/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino  # not the machine's
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
            file.write("1" if forwards else "0")
        index = socket.if_nametoindex("out0")
        netlink.ask_here(
            netlink.raise_link(index),
            netlink.add_address(index, HOST, 24),
            netlink.add_route(index, gateway=GATEWAY),
            netlink.add_address(netlink.LOOPBACK, HOST_TOO),
        )
        for address in (HOST, HOST_TOO):
            self._listen(address)

    def _listen(self, address: str) -> None:
        self._serve(socketserver.ThreadingTCPServer((address, PORT), self._greeter(socketserver.StreamRequestHandler)))
        self._serve(
            socketserver.ThreadingUDPServer((address, PORT), self._greeter(socketserver.DatagramRequestHandler))
        )

    def _serve(self, server: socketserver.BaseServer) -> None:
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def _greeter(self, kind: type[Any]) -> type[socketserver.BaseRequestHandler]:
        heard = self.heard

        class Greeter(kind):  # type: ignore[misc]
            def handle(self) -> None:
                heard.append((*self.server.server_address, self.client_address[0]))
                self.wfile.write(f"{self.server.server_address[0]} sees {self.client_address[0]}".encode())

        return Greeter

    def _resolver(self, kind: type[Any]) -> type[socketserver.BaseRequestHandler]:
        class Resolver(kind):  # type: ignore[misc]
            def handle(self) -> None:
                self.wfile.write(_answer(self.rfile.read()))

        return Resolver


def _answer(question: bytes) -> bytes:
    """Every name has the server's address, and no IPv6 one. Source: RFC 1035, section 4."""
    end = question.index(b"\0", 12) + 5
    is_a = question[end - 4 : end - 2] == b"\0\1"
    head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, int(is_a), 0, 0)
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(SERVER) if is_a else b""
    return head + question[12:end] + record
