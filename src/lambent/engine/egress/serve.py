"""The process of the way out: the proxy, and looking up names. Takes its orders and sockets from the node, and ends
when the node does.

It has no privileges and none of the node's descriptors: as root it becomes a user of its own, before it has read a
byte that an environment sent.
"""

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Callable

from lambent.engine.egress.addresses import is_allowed
from lambent.engine.egress.names import Names, Resolvers
from lambent.engine.egress.proxy import Limits, Proxy
from lambent.engine.sandbox import kernel

# What an order begins with. An id follows; to ADOPT belongs an environment's listener, to NAMES a router's two sockets.
ADOPT, DROP, NAMES = b"+", b"-", b"n"
_MAX_ORDER_BYTES = 256
_DESCRIPTORS_BESIDES = 1024 + 4 * 64 + 2 * 1024  # environments' listeners, what lookups open, and questions


def main(
    control_fd: int,
    uid: int,
    allows: Callable[[str], bool] = is_allowed,
    resolvers: Callable[[], list[str]] | None = None,
) -> None:
    """Serve until the node hangs up. `uid` is who to become; 0 stays who it is."""
    "x".encode("idna")  # what is imported when first needed, is needed while it can still be read
    limit = _raise_descriptor_limit()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    with socket.socket(fileno=control_fd) as control:
        control.setblocking(False)
        asyncio.run(_serve(control, allows, resolvers or Resolvers().now, Limits(all_connections=limit)))


async def _serve(
    control: socket.socket, allows: Callable[[str], bool], resolvers: Callable[[], list[str]], limits: Limits
) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def read_orders() -> None:
        with contextlib.suppress(BlockingIOError):
            while not ended.is_set():
                order, fds, _, _ = socket.recv_fds(control, _MAX_ORDER_BYTES, 2)
                _obey(proxy, names, order, fds)
                if not order:
                    loop.remove_reader(control)
                    ended.set()

    proxy = Proxy(allows=allows, limits=limits, before_accept=read_orders)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(proxy.run(), name="egress.proxy")
        names = Names(tasks, resolvers)
        await proxy.ready.wait()
        loop.add_reader(control, read_orders)
        await ended.wait()
        os._exit(0)  # a lookup that hangs holds nobody up


def _obey(proxy: Proxy, names: Names, order: bytes, fds: list[int]) -> None:
    whose = order[1:].decode()
    if order.startswith(ADOPT):
        proxy.adopt(socket.socket(fileno=fds[0]), whose)
    elif order.startswith(NAMES):
        names.adopt(socket.socket(fileno=fds[0]), socket.socket(fileno=fds[1]), whose)
    elif order.startswith(DROP):
        proxy.drop(whose)
        names.drop(whose)


def _raise_descriptor_limit() -> int:
    """As many as allowed; how many connections that is enough for."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = Limits().all_connections
    return most if hard == resource.RLIM_INFINITY else min(most, max((hard - _DESCRIPTORS_BESIDES) // 2, 64))
