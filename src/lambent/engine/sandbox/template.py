"""The process that environments are copies of: one that has the guest loaded, and does nothing but be copied.

A copy shares its memory with whom it is a copy of until one of them writes to it, and then the page has to be copied.
The launcher writes to hundreds of pages from one start to the next; this process, to a few. It stands on the prepared
root and is told, for each copy, into which network and cgroups it is to be born. The copy is the launcher's child.
"""

from __future__ import annotations

import array
import contextlib
import functools
import gc
import os
import socket

from lambent.engine.sandbox import file_systems, guests, holes, kernel, namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent.engine.sandbox import rootfs

    PutUpWalls = Callable[[tuple[str, ...]], None]

_MOST_DESCRIPTORS = 16
_PREPARED = (file_systems.ROOT, "/tmp")
_FLAGS = namespaces.FLAGS | kernel.CLONE_PARENT


class TemplateEnded(Exception):
    """There is nothing any more that could be copied: the launcher has to end, and the node to open another."""


class Template:
    """What the launcher holds of it."""

    def __init__(self, root: rootfs.RootFS, niceness: int, guest: guests.Guest, put_up_walls: PutUpWalls) -> None:
        """`put_up_walls` is called in each copy, with the places that are mounted for it already."""
        self._orders, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._orders.detach()
            try:
                root.enter()
                _be(theirs, niceness, guest, put_up_walls)
            finally:
                os._exit(1)
        theirs.close()

    def copy(self, network: int, ends: namespaces.Ends, doors: tuple[int, list[int]], prepared: tuple[str, ...]) -> int:
        """The pid of a new environment in that network namespace, at work on its walls. `doors`: see cgroups.py.

        Raises:
            TemplateEnded
            OSError: it could not be copied.
        """
        cgroup, tasks = doors
        fds = [*ends, network, *([cgroup] if cgroup >= 0 else []), *tasks]
        about = bytes([cgroup >= 0, *(place in prepared for place in _PREPARED)])
        try:
            self._orders.sendmsg([about], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
            answer = self._orders.recv(64)
        except ConnectionError:
            answer = b""
        if not answer:
            raise TemplateEnded
        pid = int(answer)
        if pid < 0:
            raise OSError(-pid, f"clone: {os.strerror(-pid)}")
        return pid

    def close(self) -> None:
        """It ends, and its parent is to wait for it."""
        self._orders.close()


def _be(orders: socket.socket, niceness: int, guest: guests.Guest, put_up_walls: PutUpWalls) -> None:
    """Serve the launcher until it hangs up."""
    namespaces.forget_the_launcher(niceness)
    niceness = namespaces.put_launcher_first()
    gc.disable()
    kernel.close_from_but(orders.fileno(), first=3)
    space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
    _in_the_way = holes.fill()
    while True:
        about, ancillary, _, _ = orders.recvmsg(8, space, socket.MSG_CMSG_CLOEXEC)
        if not ancillary:
            os._exit(0)
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        try:
            kernel.setns(fds[3], kernel.CLONE_NEWNET)
            pid = kernel.clone(_FLAGS, fds[4] if about[0] else -1)
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            prepared = tuple(place for place, is_there in zip(_PREPARED, about[1:], strict=True) if is_there)
            walls = functools.partial(put_up_walls, prepared)
            os.nice(niceness)
            _become((fds[0], fds[1], fds[2]), fds[5 if about[0] else 4 :], guest, walls)
        for fd in fds:
            os.close(fd)
        orders.send(b"%d" % pid)


def _become(ends: namespaces.Ends, tasks: array.array[int], guest: guests.Guest, put_up: Callable[[], None]) -> None:
    """In a copy."""
    sync = ends[2]
    try:
        for task in tasks:
            os.write(task, b"0")
        namespaces.take_descriptors(ends)
        sync = namespaces.SYNC_FD
        os.setsid()
        gc.enable()
        word = os.read(sync, 2)
        if not word:
            os._exit(0)
        put_up()
        os.write(sync, namespaces.READY)
        os.close(sync)
        if word == namespaces.PARKED:
            guest.rehearse()
        guests.run_when_claimed(guest)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(sync, str(error).encode())
    finally:
        os._exit(1)
