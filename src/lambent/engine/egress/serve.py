"""The proxy's process: takes its orders and listeners from the node, and ends when the node does.

It has no privileges and none of the node's descriptors: as root it becomes a user of its own, before it has read a
byte that an environment sent.
"""

import asyncio
import contextlib
import os
import resource
import socket
import sys
from collections.abc import Callable

from lambent.engine.egress.addresses import is_allowed
from lambent.engine.egress.proxy import Limits, Proxy
from lambent.engine.sandbox import kernel

ADOPT, DROP = b"+", b"-"  # what an order begins with; an environment's id follows, and to ADOPT belongs a listener
_MAX_ORDER_BYTES = 256
_DESCRIPTORS_BESIDES = 1024 + 4 * 64  # environments' listeners, and what lookups open


def main(control_fd: int, uid: int, allows: Callable[[str], bool] = is_allowed) -> None:
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
        asyncio.run(_serve(control, allows, Limits(all_connections=limit)))


async def _serve(control: socket.socket, allows: Callable[[str], bool], limits: Limits) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def read_orders() -> None:
        with contextlib.suppress(BlockingIOError):
            while not ended.is_set():
                order, fds, _, _ = socket.recv_fds(control, _MAX_ORDER_BYTES, 1)
                _obey(proxy, order, fds)
                if not order:
                    loop.remove_reader(control)
                    ended.set()

    proxy = Proxy(allows=allows, limits=limits, before_accept=read_orders)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(proxy.run(), name="egress.proxy")
        await proxy.ready.wait()
        loop.add_reader(control, read_orders)
        await ended.wait()
        running.cancel()
    os._exit(0)  # a lookup that hangs holds nobody up


def _obey(proxy: Proxy, order: bytes, fds: list[int]) -> None:
    environment_id = order[1:].decode()
    if order.startswith(ADOPT):
        proxy.adopt(socket.socket(fileno=fds[0]), environment_id)
    elif order.startswith(DROP):
        proxy.drop(environment_id)


def _raise_descriptor_limit() -> int:
    """As many as allowed; how many connections that is enough for."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = Limits().all_connections
    return most if hard == resource.RLIM_INFINITY else min(most, max((hard - _DESCRIPTORS_BESIDES) // 2, 64))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
