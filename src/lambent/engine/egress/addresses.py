"""Which addresses a function may reach: the internet's, and none of this machine's or of the networks around it.

Source: IANA's registries of special-purpose IPv4 and IPv6 addresses (RFC 6890 and what followed it).
"""

import ipaddress
import socket
import struct
import sys
from typing import Final

CLOSED_V4: Final = (
    "0.0.0.0/8",  # this host
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # behind a carrier's NAT; one cloud's metadata too
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # Azure's control address, which every machine there reaches
    "169.254.0.0/16",  # link-local: the metadata of most clouds
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocols; one cloud's metadata too
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # relays to IPv6
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)
"""The IPv4 networks that no function reaches, as text."""
_CLOSED_V4: Final = tuple(map(ipaddress.IPv4Network, CLOSED_V4))
_OPEN_V6: Final = ipaddress.IPv6Network("2000::/3")  # all that has been given out; mapped and private ones lie outside
_CLOSED_V6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocols; among them Teredo, which carries an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which carries an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # what a network without IPv4 makes of an IPv4 address

_RTM_GETROUTE: Final = 26
_RTM_NEWROUTE: Final = 24
_NLM_F_REQUEST: Final = 1
_RTA_DST: Final = 1
_RTN_UNICAST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=8BI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_TYPE_AT: Final = _HEADER.size + 7  # rtm_type
_ANSWER_S: Final = 1.0


def is_allowed(address: str) -> bool:
    """Whether a function may reach this address: it is the internet's, and the kernel would send it out."""
    return is_public(address) and leaves_the_host(address)


def is_public(address: str) -> bool:
    """Whether the address, in its usual notation, belongs to the internet. Anything else than an address does not."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _CLOSED_V4)
    if ip in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.scope_id is None and ip in _OPEN_V6 and not any(ip in network for network in _CLOSED_V6)


def leaves_the_host(address: str) -> bool:
    """Whether the kernel would route packets to this address out of this machine.

    A public address may be this machine's own: what listens there for its administrator is not for functions.
    """
    if not sys.platform.startswith("linux"):
        return False
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    body = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.settimeout(_ANSWER_S)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body)
        answer = kernel.recv(8192)
    kind = _HEADER.unpack_from(answer)[1]
    return kind == _RTM_NEWROUTE and answer[_TYPE_AT] == _RTN_UNICAST
