"""SnapStart in the Python runtime: hooks, what a snapshot may hold, and what a restored process makes new.

A snapshot is this process, stopped after Init; a restored environment is a copy of it. What a copy would share with
its siblings it does not keep: files are opened again at the same place, network connections are dead, as they are on
AWS after a restore. Threads, and other kinds of descriptors, cannot be copied: then nothing is.
"""

import os
import socket
import stat
import sys
from typing import Any

_STANDARD = 5  # 0, 1 and 2, the control socket, and the one on which a zygote gets its orders


def before_snapshot() -> None:
    """Runs what the function registered, the last one first."""
    hooks = _hooks("get_before_snapshot")
    while hooks:
        function, arguments, named = hooks.pop()
        function(*arguments, **named)


def after_restore() -> None:
    """Runs what the function registered, the first one first."""
    for function, arguments, named in _hooks("get_after_restore"):
        function(*arguments, **named)


def _hooks(name: str) -> "list[Any]":
    module = sys.modules.get("snapshot_restore_py")
    hooks: list[Any] = getattr(module, name)() if module else []
    return hooks


def obstacle() -> "str | None":
    """Why this process cannot be copied; None when it can."""
    for fd in _descriptors():
        mode = os.fstat(fd).st_mode
        is_connection = stat.S_ISSOCK(mode) and _family(fd) in (socket.AF_INET, socket.AF_INET6)
        is_file = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISCHR(mode)
        if not (is_connection or is_file):
            return f"descriptor {fd} is {os.readlink(f'/proc/self/fd/{fd}')}"
    return None


def renew_descriptors(noted: "dict[int, tuple[str, int, int]]") -> None:
    """In a copy, which has none but its own: files are open at the same place again, connections are dead."""
    for fd, (path, flags, position) in noted.items():
        if path:
            new = os.open(path, flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC) | os.O_CLOEXEC)
            if position >= 0:
                os.lseek(new, position, os.SEEK_SET)
        else:
            ours, theirs = socket.socketpair()
            ours.close()
            new = theirs.detach()
        if new != fd:
            os.dup2(new, fd, inheritable=False)
            os.close(new)


def descriptors() -> "dict[int, tuple[str, int, int]]":
    """What is open: {descriptor: (path, flags, position)}; position -1 for what has none, no path for a connection."""
    import fcntl

    found: dict[int, tuple[str, int, int]] = {}
    for fd in _descriptors():
        mode = os.fstat(fd).st_mode
        path = "" if stat.S_ISSOCK(mode) else os.readlink(f"/proc/self/fd/{fd}")
        position = os.lseek(fd, 0, os.SEEK_CUR) if stat.S_ISREG(mode) else -1
        found[fd] = (path, fcntl.fcntl(fd, fcntl.F_GETFL), position)
    return found


def _descriptors() -> "list[int]":
    with os.scandir("/proc/self/fd") as entries:
        names = [int(entry.name) for entry in entries]
    return sorted(fd for fd in names if fd >= _STANDARD and os.path.lexists(f"/proc/self/fd/{fd}"))


def _family(fd: int) -> int:
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.family
