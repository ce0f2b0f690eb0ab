"""Folders of the host in an environment, below /mnt: the access points of its function.

A folder comes as a detached mount without setuid programs and devices. As root, where the kernel and its file system
can, whom the folder belongs to is mapped to the environment's user: what a function writes belongs to that user on
the host, whichever environment wrote it. A folder of root is never mapped, since a function could leave a setuid
program in it; functions may do there what its mode lets others do.
"""

from __future__ import annotations

import os

from lambent.engine.sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = "/mnt"
_ATTRIBUTES = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV


def trees(folders: Iterable[tuple[str, str]], host_id: int) -> dict[str, int]:
    """Detached mounts by where they are to be; `host_id` is the environment's user, 0 for the launcher's own."""
    made: dict[str, int] = {}
    try:
        for target, folder in folders:
            made[target] = kernel.open_tree(folder)
            kernel.set_mount_attributes(made[target], "", _ATTRIBUTES)
            status = os.stat(folder)
            if host_id and status.st_uid:
                _map_owner(made[target], (status.st_uid, status.st_gid), host_id)
    except OSError:
        for tree in made.values():
            os.close(tree)
        raise
    return made


def make_places(targets: Iterable[str]) -> None:
    """In the environment's mount namespace: an empty folder for each, on a file system that then is read-only."""
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("lambent", ROOT, "tmpfs", quiet, "mode=755,size=64k")
    for target in targets:
        os.mkdir(target)
    kernel.mount("lambent", ROOT, "tmpfs", quiet | kernel.MS_REMOUNT | kernel.MS_RDONLY)


def _map_owner(tree: int, owner: tuple[int, int], host_id: int) -> None:
    """Let the environment's user be the folder's owner; without that its mode decides."""
    reader, writer = os.pipe()
    pid = kernel.clone(kernel.CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(writer)
            os.read(reader, 1)  # there until its namespace is taken
        finally:
            os._exit(0)
    try:
        for name, inside in (("uid_map", owner[0]), ("gid_map", owner[1])):
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write(f"{inside} {host_id} 1")
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(reader)
        os.close(writer)
    try:
        kernel.map_mount(tree, namespace)
    except OSError:  # before Linux 5.12, or a file system that cannot
        return
    finally:
        os.close(namespace)
