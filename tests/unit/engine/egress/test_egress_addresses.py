"""Every kind of address that no function may reach, and that the internet's stay open."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.egress.addresses import is_allowed, is_public, leaves_the_host

CLOSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OPEN = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", CLOSED)
def test_it_is_not_the_internets(address):
    assert not is_public(address)
    assert not is_allowed(address)


@pytest.mark.parametrize("address", OPEN)
def test_it_is_the_internets(address):
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "8.8.8.8 ", "[::1]"])
def test_what_is_no_address_is_not_public(text):
    assert not is_public(text)


@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_private_is_public(ip):
    if ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        nat64 = ip.version == 6 and ip in ipaddress.ip_network("64:ff9b::/96")
        assert nat64 or not is_public(str(ip))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_within_an_ipv6_address_opens_nothing(ip):
    assert not is_public(f"::ffff:{ip}")
    assert not is_public(f"::{ip}")
    assert is_public(f"64:ff9b::{ip}") == is_public(str(ip))


def test_the_hosts_own_addresses_do_not_leave_it():
    """Were one of them public, `is_public` would let it pass: the kernel's routes do not."""
    assert not leaves_the_host("127.0.0.1")
    assert not leaves_the_host("::1")
    assert not leaves_the_host("255.255.255.255")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.250", 9))
            own = sock.getsockname()[0]
        except OSError:  # a machine with loopback only
            own = "127.0.0.1"
    assert not leaves_the_host(own)
