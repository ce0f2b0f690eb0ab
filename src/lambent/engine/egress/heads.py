"""The head of a request to the proxy: where it wants to go, and what is sent there. Pure, and strict.

What two programs could read differently is refused: two lengths, lines that end otherwise, folded lines, numbers as
names. A request for `http://` is written anew, with the one Host that its target names, and asks for the connection
to be closed afterwards: a connection has one request, and one place it leads to.

Source: RFC 9112, sections 3 (request targets), 6 (message body) and 11.2 (request smuggling); RFC 9110, 7.6.1
(connection-specific fields) and 9.3.6 (CONNECT).
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

MAX_HEAD_BYTES: Final = 65_536
END: Final = b"\r\n\r\n"

_REQUEST: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) (HTTP/1\.[01])")
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,254}))(?::([0-9]{1,5}))?")
_URL: Final = re.compile(r"http://([^/?#]+)([/?][^#]*)?", re.IGNORECASE)
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_HTTP_PORT: Final = 80
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "host"})
_NOT_PASSED_ON: Final = frozenset(
    {
        "connection",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "upgrade",
    }
)


class HeadError(Exception):
    """A request that the proxy does not understand; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Where to, and what to send there: None is CONNECT, which sends what follows as it is.

    `length` is that of the body; None means that it comes in chunks.
    """

    host: str
    port: int
    head: bytes | None
    length: int | None = 0


def read(data: bytes) -> Request:
    """The request whose head this is, up to and with its empty line.

    Raises:
        HeadError: it is no HTTP/1 request to a proxy.
    """
    lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = _REQUEST.fullmatch(lines[0])
    if not match:
        raise HeadError("this is an HTTP proxy, and that is no request line of HTTP/1.0 or 1.1")
    method, target, version = match.groups()
    fields = [_field(line) for line in lines[1:]]
    if method == "CONNECT":
        host, port = _authority(target, None)
        return Request(host=host, port=port, head=None)
    url = _URL.fullmatch(target)
    if not url:
        raise HeadError("the target must be http://HOST/PATH; other schemes go through CONNECT")
    host, port = _authority(url[1], _HTTP_PORT)
    path = url[2] or "/"
    path = path if path.startswith("/") else f"/{path}"
    length = _body(fields, version)
    kept = [f"{name}: {value}" for name, value in fields if name.lower() not in _not_passed_on(fields)]
    shown = f"[{host}]" if ":" in host else host
    shown = shown if port == _HTTP_PORT else f"{shown}:{port}"
    head = [f"{method} {path} {version}", f"Host: {shown}", *kept, "Connection: close", "", ""]
    return Request(host=host, port=port, head="\r\n".join(head).encode("latin-1"), length=length)


def _field(line: str) -> tuple[str, str]:
    match = _FIELD.fullmatch(line)
    if not match:
        raise HeadError("a header line is malformed")
    return match[1], match[2].strip(" \t")


def _authority(text: str, default_port: int | None) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(text)
    if not match:
        raise HeadError("the target must name a host, and a port for CONNECT, and nothing else")
    port = int(match[3]) if match[3] else default_port
    if port is None or not 0 < port < 65_536:
        raise HeadError("the target's port must be 1 to 65535")
    return _host(*match.group(1, 2)), port


def _host(in_brackets: str | None, name: str | None) -> str:
    """The host as it will be looked up. A number is an address in four parts, or nothing: no octal, no hexadecimal."""
    try:
        if in_brackets is not None:
            return str(ipaddress.IPv6Address(in_brackets))
        assert name is not None
        labels = name.removesuffix(".").split(".")
        if _NUMBER.fullmatch(labels[-1]):
            return str(ipaddress.IPv4Address(name))
    except ValueError as error:
        raise HeadError("the target's address is in no notation that is understood") from error
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise HeadError("the target's host is no name")
    return name


def _body(fields: list[tuple[str, str]], version: str) -> int | None:
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    codings = [value for name, value in fields if name.lower() == "transfer-encoding"]
    if codings:
        if lengths or codings != ["chunked"] or version == "HTTP/1.0":
            raise HeadError("the body's length is told in two ways, or in one that is not understood")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise HeadError("the body has more than one length, or one that is no number")
    return int(lengths[0])


def _not_passed_on(fields: list[tuple[str, str]]) -> frozenset[str]:
    """What is between the client and the proxy: also what its Connection names, though never the body's length."""
    connection = ",".join(value for name, value in fields if name.lower() == "connection")
    named = {word.strip().lower() for word in connection.split(",")}
    if named & _FRAMING:
        raise HeadError("Connection may not name what tells the body's length or the host")
    return _NOT_PASSED_ON | named
