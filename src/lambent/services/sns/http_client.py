"""One POST to whoever subscribed, over HTTP or HTTPS.

Endpoints are named by users, so the address is looked at before it is connected to, and it is that very address that is
connected to. No endpoint is at a link-local address, where clouds keep their machines' credentials. One that a function
subscribed is on the internet, as what a function reaches itself; others may be in this machine's own networks, where
the operator lets them (`private_endpoints`).
"""

import asyncio
import base64
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import httptools

from lambent.engine.egress.addresses import is_allowed, is_public

TIMEOUT_S: Final = 15.0
"""For an attempt as a whole. Source: Amazon SNS Developer Guide, "Amazon SNS message delivery retries"."""
_PORTS: Final = {"http": 80, "https": 443}
_CONTROL: Final = ipaddress.ip_address("168.63.129.16")  # a cloud's, which every machine there reaches
_METADATA: Final = (
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("100.100.100.200/32"),
    ipaddress.ip_network("192.0.0.192/32"),
    ipaddress.ip_network("fd00:ec2::/32"),
    ipaddress.ip_network("fe80::/10"),
)
_CHUNK: Final = 65_536
_SHOWN: Final = 1_024  # bytes of an answer


class HttpFailedError(Exception):
    """The endpoint did not answer, and why; `is_final` when it will not do so later either."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Answer(NamedTuple):
    """What an endpoint answered: the status, and the beginning of the body."""

    status: int
    body: str


async def post(url: str, headers: Mapping[str, str], body: bytes, *, is_private: bool) -> Answer:
    """What the endpoint at this URL answers; redirects are answers. `is_private` is whether it may be near.

    Raises:
        HttpFailedError: there is no such host, it may not be asked, or it did not answer in time.
    """
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await _connect(parts, is_private=is_private)
            try:
                writer.write(_request(parts, headers, body))
                await writer.drain()
                return await _answer(reader)
            finally:
                writer.close()
    except TimeoutError:
        raise HttpFailedError(f"{parts.hostname} did not answer within {TIMEOUT_S:.0f} seconds") from None
    except (OSError, ssl.SSLError, ValueError, httptools.HttpParserError, asyncio.IncompleteReadError) as error:
        raise HttpFailedError(f"{parts.hostname}: {error}") from error


def may_reach(address: str, *, is_private: bool) -> bool:
    """Whether an endpoint may be at this address."""
    if not is_private:
        return is_allowed(address)
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip == _CONTROL or ip.is_multicast or ip.is_unspecified or any(ip in network for network in _METADATA):
        return False
    return is_public(str(ip)) or ip.is_private or ip.is_loopback


async def _connect(parts: SplitResult, *, is_private: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HttpFailedError(f"{host}: {error}") from error
    addresses = [str(address[4][0]) for address in found]
    allowed = [address for address in addresses if may_reach(address, is_private=is_private)]
    if not allowed:
        raise HttpFailedError(f"{host} is at an address that no endpoint may have", is_final=True)
    secure = {"ssl": _tls(), "server_hostname": host} if parts.scheme == "https" else {}
    last: OSError | None = None
    for address in allowed:
        try:
            return await asyncio.open_connection(address, port, **secure)  # type: ignore[arg-type]
        except OSError as error:
            last = error
    raise HttpFailedError(f"{host}: {last}")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    own = {"Host": parts.netloc.rpartition("@")[2], "Content-Length": str(len(body)), "Connection": "close"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        own["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**own, **headers}.items()), "", ""]
    if any(mark in line for line in lines for mark in "\r\n"):
        raise HttpFailedError("the address cannot be asked for", is_final=True)
    return "\r\n".join(lines).encode() + body


class _Reading:
    """What httptools tells of an answer."""

    def __init__(self) -> None:
        self.body = b""
        self.is_over = False

    def on_body(self, data: bytes) -> None:
        self.body = (self.body + data)[:_SHOWN]

    def on_message_complete(self) -> None:
        self.is_over = True


async def _answer(reader: asyncio.StreamReader) -> Answer:
    reading = _Reading()
    parser = httptools.HttpResponseParser(reading)
    while not reading.is_over and len(reading.body) < _SHOWN:
        data = await reader.read(_CHUNK)
        if not data:
            break
        parser.feed_data(data)
    status = parser.get_status_code()
    if not status:
        raise HttpFailedError("the connection ended without an answer")
    return Answer(status, reading.body.decode(errors="replace"))
