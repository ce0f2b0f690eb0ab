"""The process that keeps a zygote's namespaces: the first of them, ours, and without anything but that.

A zygote's children do not end with it then, and it may have them for the launcher: who is first in a process
namespace may not.
"""

from __future__ import annotations

import os
import signal
import socket

from lambent.engine.sandbox import kernel, namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def hold(control: socket.socket, niceness: int, put_up_walls: Callable[[], None]) -> None:
    """Be it: keep namespaces open, and bury whoever is left in them. Nothing else, ever. Does not return."""
    try:
        kernel.close_from_but(control.fileno())
        namespaces.forget_the_launcher(niceness)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        if control.recv(8):
            put_up_walls()
            control.send(namespaces.READY)
        if control.recv(8):
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # it shares its user with what must not get at it
            control.send(namespaces.READY)
        control.close()
        while True:
            signal.pause()
    except BaseException as error:
        control.send(str(error).encode())
    finally:
        os._exit(1)


def beside(control: socket.socket, holder: int, become: Callable[[], None]) -> int:
    """The pid of another process in its namespaces, once its walls stand: a child of ours, in which `become` is called.

    `control` is the other end of the holder's, `holder` its pidfd.
    """
    with control:
        _let(control, b"walls")
        pid = _clone(holder, become)
        _let(control, b"alone")
    return pid


def _let(control: socket.socket, step: bytes) -> None:
    control.send(step)
    word = control.recv(4096)
    if word != namespaces.READY:
        raise OSError(word.decode(errors="replace") or "the first process of a zygote was killed")


def _clone(holder: int, become: Callable[[], None]) -> int:
    """Another process of ours has it, for us: who sets out for a process namespace may not come back."""
    reader, writer = os.pipe()
    midwife = os.fork()
    if midwife == 0:
        try:
            kernel.setns(holder, namespaces.FLAGS)
            pid = kernel.clone(kernel.CLONE_PARENT)
            if pid == 0:
                become()
            os.write(writer, b"%d" % pid)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as news:
        pid = int(news.read() or 0)
    os.waitpid(midwife, 0)
    if not pid:
        raise OSError("a zygote could not be made in its namespaces")
    return pid
