"""The few requests to the kernel's routing tables that a router needs: links, addresses, routes.

Our own, because it must run under a bare interpreter, in a process of which every environment is a copy: pyroute2
would add 60 modules to each. Source: Linux, man 7 rtnetlink; include/uapi/linux/if_link.h, rtnetlink.h, veth.h.
"""

from __future__ import annotations

import os
import socket
import struct

LOOPBACK = 1  # the index of `lo` in every namespace

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_DELADDR, _RTM_NEWROUTE, _RTM_DELROUTE = 16, 20, 21, 24, 25
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_NLMSG_ERROR = 2
_NESTED = 0x8000
_IFF_UP = 0x1
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 4, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_TABLE_MAIN, _PROTOCOL_STATIC, _UNICAST = 254, 4, 1

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=8BI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_AT = _HEADER.size
_ANSWER_BYTES = 65536

Request = tuple[str, int, int, bytes]  # what for, kind, flags, body


class Netlink:
    """A socket to the routing tables of the namespace in which it was opened, wherever it is used from then on."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def ask(self, *requests: Request) -> None:
        """Have all of them carried out, in their order. Raises OSError for the first that the kernel refused."""
        messages = b""
        for number, (_, kind, flags, body) in enumerate(requests):
            size = _HEADER.size + len(body)
            messages += _HEADER.pack(size, kind, flags | _REQUEST | _ACK, number, 0) + body
        self._sock.send(messages)
        failed: OSError | None = None
        left = len(requests)
        while left:
            for number, code in _answers(self._sock.recv(_ANSWER_BYTES)):
                left -= 1
                if code and failed is None:
                    failed = OSError(-code, f"{requests[number][0]}: {os.strerror(-code)}")
        if failed:
            raise failed

    def close(self) -> None:
        self._sock.close()


def ask_here(*requests: Request) -> None:
    """Have them carried out in the namespace that the process is in."""
    tables = Netlink()
    try:
        tables.ask(*requests)
    finally:
        tables.close()


def veth(name: str, peer: str, peer_namespace: int, *, peer_index: int = 0, mtu: int = 1500) -> Request:
    """A pair of links: one end here, up, the other in the namespace of that descriptor, to be set up there."""
    data = _link(index=peer_index, up=False) + _text(_IFLA_IFNAME, peer)
    data += _number(_IFLA_MTU, mtu) + _number(_IFLA_NET_NS_FD, peer_namespace)
    kind = _attribute(_INFO_KIND, b"veth")
    kind += _attribute(_INFO_DATA | _NESTED, _attribute(_VETH_INFO_PEER | _NESTED, data))
    body = _link(index=2 if peer_index else 0, up=True) + _text(_IFLA_IFNAME, name) + _number(_IFLA_MTU, mtu)
    body += _attribute(_IFLA_LINKINFO | _NESTED, kind)
    return f"veth {name} to {peer}", _RTM_NEWLINK, _CREATE | _EXCLUSIVE, body


def raise_link(index: int) -> Request:
    """Set a link up."""
    return "set a link up", _RTM_NEWLINK, 0, _link(index=index, up=True)


def add_address(index: int, address: str, bits: int = 32) -> Request:
    """Give a link an IPv4 address."""
    return f"address {address}", _RTM_NEWADDR, _CREATE | _EXCLUSIVE, _address(index, address, bits)


def remove_address(index: int, address: str, bits: int = 32) -> Request:
    """Take an IPv4 address from a link, and with it the routes that use it as their source."""
    return f"remove address {address}", _RTM_DELADDR, 0, _address(index, address, bits)


def add_route(index: int, to: str = "", gateway: str = "") -> Request:
    """Lead one IPv4 address, or everything, over a link, by way of a gateway or directly."""
    return f"route to {to or 'everywhere'}", _RTM_NEWROUTE, _CREATE | _EXCLUSIVE, _route(index, to, gateway)


def remove_route(index: int, to: str = "", gateway: str = "") -> Request:
    """Take back what `add_route` did."""
    return f"remove route to {to or 'everywhere'}", _RTM_DELROUTE, 0, _route(index, to, gateway)


def _answers(data: bytes) -> list[tuple[int, int]]:
    """Of each answer its request's number and its code: 0, or a negative errno."""
    found, at = [], 0
    while at < len(data):
        size, kind, _, number, _ = _HEADER.unpack_from(data, at)
        if kind == _NLMSG_ERROR:
            found.append((number, struct.unpack_from("=i", data, at + _ERROR_AT)[0]))
        at += (size + 3) & ~3
    return found


def _link(*, index: int, up: bool) -> bytes:
    flags = _IFF_UP if up else 0
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flags, flags)


def _address(index: int, address: str, bits: int) -> bytes:
    packed = socket.inet_aton(address)
    head = _ADDRESS.pack(socket.AF_INET, bits, 0, _SCOPE_UNIVERSE, index)
    return head + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)


def _route(index: int, to: str, gateway: str) -> bytes:
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    bits = 32 if to else 0
    body = _ROUTE.pack(socket.AF_INET, bits, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, scope, _UNICAST, 0)
    if to:
        body += _attribute(_RTA_DST, socket.inet_aton(to))
    if gateway:
        body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
    return body + _number(_RTA_OIF, index)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))
