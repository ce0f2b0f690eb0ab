"""Network namespaces made ahead: only `lo`, with the Runtime API's address, and ports to listen on.

Making one costs about two milliseconds, entering one a fraction, so they are kept and used again. A socket belongs to
the namespace it was made in wherever it is held: the launcher makes the listeners, the node serves the platform's port
and the egress proxy its own. Where there is a router, a link leads there; no other way leads out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct

from lambent.engine.sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.engine.sandbox import routers

RUNTIME_API_ADDRESS = "169.254.100.1"  # as on AWS
RUNTIME_API_PORT = 9001
PROXY_PORT = 80  # at the same address; functions cannot listen on it, so none misses it
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING = 0x1, 0x8, 0x40
_BACKLOG = 128


class Network:
    """One network namespace, held open by its descriptor."""

    def __init__(self, *, with_proxy: bool = False, router: routers.Router | None = None, of: int = -1) -> None:
        """Make it, or take the new one of a process by its pidfd, and leave the calling process inside.

        `proxy` is the egress proxy's listener, if there is one; `link` what leads to the router instead.
        """
        if of < 0:
            kernel.unshare(kernel.CLONE_NEWNET)
        else:
            kernel.setns(of, kernel.CLONE_NEWNET)
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _raise_loopback()
        self.proxy = listen(RUNTIME_API_ADDRESS, PROXY_PORT) if with_proxy else None
        self.link = router.link() if router else None

    def enter(self) -> None:
        kernel.setns(self.fd, kernel.CLONE_NEWNET)

    def shut(self) -> None:
        """Leave the environment no way to the router. The calling process is inside afterwards."""
        if self.link:
            self.enter()
            self.link.close()

    def forget(self) -> None:
        """The environment that was here is gone: turn away who still waits at the proxy's port, change the address.

        The calling process may be inside afterwards.
        """
        if self.proxy:
            self.proxy.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.proxy.accept()[0].close()
        if self.link:
            self.shut()
            self.link.open()

    def close(self) -> None:
        os.close(self.fd)
        if self.proxy:
            self.proxy.close()


def listen(address: str, port: int) -> socket.socket:
    """A listening socket in the namespace that the process is in now."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last environment's connections may linger
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def end(listeners: list[socket.socket]) -> None:
    """Let them take nobody any more, wherever they are still held: the network's next environment has its own."""
    while listeners:
        with listeners.pop() as listener, contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def connect(address: str, port: int) -> socket.socket:
    """A connection of the namespace that the process is in now. It may still be on its way: nobody waits for it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    error = sock.connect_ex((address, port))
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        flags = _IFF_UP | _IFF_LOOPBACK | _IFF_RUNNING
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))
        address = struct.pack("16sHH4s8x", b"lo:0", socket.AF_INET, 0, socket.inet_aton(RUNTIME_API_ADDRESS))
        fcntl.ioctl(sock, _SIOCSIFADDR, address)
        mask = struct.pack("16sHH4s8x", b"lo:0", socket.AF_INET, 0, socket.inet_aton("255.255.255.255"))
        fcntl.ioctl(sock, _SIOCSIFNETMASK, mask)
