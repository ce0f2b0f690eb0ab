"""Messages between the node and a launcher: JSON with descriptors, over a Unix stream socket.

A message is a 4-byte length and JSON. Its descriptors travel with its first byte; its "fds" says how each is called.
Standard library only: both sides import it.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_DESCRIPTORS = 32
_LENGTH = struct.Struct("!I")
_CHUNK = 65536


def encode(message: dict[str, Any], names: list[str] | None = None) -> bytes:
    """A message as it travels; `names` are those of the descriptors that go with it."""
    body = json.dumps(message | {"fds": names or []}).encode()
    return _LENGTH.pack(len(body)) + body


def send(sock: socket.socket, message: dict[str, Any], fds: dict[str, int] | None = None) -> None:
    """Send on a blocking socket, with descriptors by name; they stay open here."""
    fds = fds or {}
    data = encode(message, list(fds))
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds.values()))] if fds else []
    sent = sock.sendmsg([data], ancillary)
    if sent < len(data):
        sock.sendall(data[sent:])


class Reader:
    """Collects what arrives on a socket and cuts it into messages."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = b""
        self._fds: list[int] = []

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages complete after one read, each with "fds" as {name: descriptor}; None at the end.

        Raises BlockingIOError on a non-blocking socket with nothing to read.
        """
        space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
        data, ancillary, _, _ = self._sock.recvmsg(_CHUNK, space, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        for _level, _kind, payload in ancillary:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % 4])
            self._fds += numbers
        if not data:
            return None
        self._data += data
        return self._messages()

    def close(self) -> None:
        """Close descriptors that came for a message that never did."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def _messages(self) -> list[dict[str, Any]]:
        messages = []
        while len(self._data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                break
            message = json.loads(self._data[_LENGTH.size : end])
            self._data = self._data[end:]
            names = message["fds"]
            message["fds"] = dict(zip(names, self._fds[: len(names)], strict=True))
            self._fds = self._fds[len(names) :]
            messages.append(message)
        return messages
