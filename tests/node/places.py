"""Where a node may run besides this very machine as root: in another network, and as another user.

A place is a thread with file systems of its own, whose processes are in it too; nothing changes for anybody else. It
takes root to make one.
"""

import contextlib
import ctypes
import os
import platform
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.security.world import PRIVATE

import lambent
from lambent.engine.sandbox import kernel, processes
from lambent.pytest_plugin import running_node

NOBODY = 65534
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 1 << 14, 1 << 18
_BECOME = (159, 149, 147) if platform.machine() == "aarch64" else (116, 119, 117)  # setgroups, setresgid, setresuid
_TUN = (10, 200)


class Place:
    """In the network of `world`'s host, and as the user `uid`. `folder` is that user's own."""

    def __init__(self, world=None, uid=0):
        self.folder = Path(tempfile.mkdtemp(prefix="lambent-place-"))
        os.chown(self.folder, uid, uid)
        self._thread = ThreadPoolExecutor(1)
        self.run(self._settle, world, uid)

    def run(self, act, *arguments):
        """Call it there."""
        return self._thread.submit(act, *arguments).result()

    @contextlib.contextmanager
    def node(self, *arguments, **more):
        """As `running_node`."""
        opening = running_node(*arguments, **more)
        node = self.run(opening.__enter__)
        try:
            yield node
        finally:
            self.run(opening.__exit__, None, None, None)

    def close(self):
        self._thread.shutdown()
        shutil.rmtree(self.folder)

    def _settle(self, world, uid):
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        os.chdir("/")
        if world:
            world.enter_host()
            resolvers = self.folder / "resolv.conf"
            resolvers.write_text(f"nameserver {PRIVATE}\n")
            resolvers.chmod(0o644)
            kernel.mount(str(resolvers), os.path.realpath("/etc/resolv.conf"), None, _MS_BIND)
        if uid:
            _show({Path(sys.base_prefix), Path(sys.prefix), Path(lambent.__file__).parents[1]})
            _open_tun()
            _become(uid)


def _show(folders):
    """Folders of which some above is closed to others are seen by all; what lies beside them, by nobody."""
    closed = {folder: _closed_above(folder) for folder in folders}
    held = {folder: os.open(folder, os.O_PATH) for folder, above in closed.items() if above}
    for above in {closed[folder] for folder in held}:
        kernel.mount("none", str(above), "tmpfs", 0, "mode=755")
    for folder, fd in held.items():
        folder.mkdir(parents=True, exist_ok=True)
        kernel.mount(f"/proc/thread-self/fd/{fd}", str(folder), None, _MS_BIND | _MS_REC)
        os.close(fd)


def _closed_above(folder):
    return next((above for above in reversed(folder.parents) if not above.stat().st_mode & 0o001), None)


def _open_tun():
    """As most systems have it."""
    kernel.mount("none", "/dev/net", "tmpfs", 0, "mode=755")
    os.mknod("/dev/net/tun", 0o020666, os.makedev(*_TUN))
    os.chmod("/dev/net/tun", 0o666)  # in this place only


def _become(uid):
    """This thread alone: the C library's own calls would change all of them."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    for number, arguments in zip(_BECOME, [(0, None), (uid, uid, uid), (uid, uid, uid)], strict=True):
        if syscall(number, *arguments) != 0:
            raise OSError(ctypes.get_errno(), f"system call {number}")


def below(pid):
    """All processes that it and its children started and that live now, as {pid: when it started}."""
    return {each: processes.start_time(each) for each in processes.tree(pid) if each != pid}


def wait_until_gone(started):
    """Processes as `below` gave them: the test's own limit of time is the limit."""
    while any(moment is not None and processes.start_time(each) == moment for each, moment in started.items()):
        pass
