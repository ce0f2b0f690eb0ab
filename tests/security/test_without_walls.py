"""Each wall taken away, and the same attack gets through: in a copy of the sandbox's modules with a piece cut out.

Where two walls stand behind each other, both are cut out, or the attack would still fail.
"""

import ctypes
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from attacks import Attack, House, Inside, Refused
from machine import BEST

import lambent.engine.sandbox as sandbox_package

Cut = tuple[str, str, str]  # module, what is there, what is put in its place
SECCOMP: Cut = ("namespaces", "    kernel.set_seccomp_filter(seccomp_filter)\n", "")
LANDLOCK: Cut = ("namespaces", "if landlock_version:", "if False:")


def trace():
    import ctypes
    import os
    import signal

    child = os.fork()
    if child == 0:
        signal.pause()
    libc = ctypes.CDLL(None, use_errno=True)
    result, number = libc.ptrace(16, child, 0, 0), ctypes.get_errno()  # PTRACE_ATTACH
    os.kill(child, 9)
    os.waitpid(child, 0)
    if result != 0:
        raise OSError(number, os.strerror(number))
    return "through"


def mount():
    """As any user may, in a user namespace of their own."""
    import ctypes
    import os

    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.unshare(0x10000000 | 0x20000) or libc.mount(b"x", b"/home", b"tmpfs", 0, None)
        os._exit(ctypes.get_errno() if failed else 0)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number:
        raise OSError(number, os.strerror(number))
    return "through"


def keep_a_key():
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    add_key = 217 if os.uname().machine == "aarch64" else 248
    if libc.syscall(ctypes.c_long(add_key), b"user", b"lambent-attack", b"x", 1, ctypes.c_long(-2)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "through"


def fill_tmp():
    import os

    with open("/tmp/large", "wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, 600 << 20)
        finally:
            os.unlink("/tmp/large")
    return "through"


def fork_bomb():
    """Its children end by themselves, once the pipe is closed."""
    import os

    reader, writer = os.pipe()
    try:
        for _ in range(1100):
            if os.fork() == 0:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
    finally:
        os.close(reader)
        os.close(writer)
    return "through"


def open_many():
    import os
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]
    for fd in opened:
        os.close(fd)
    return "through"


def use_what_is_left_open():
    """Whatever the launcher had open: a way into its network namespaces, for one."""
    import os

    kinds = set()
    for name in os.listdir("/proc/self/fd"):
        if os.path.lexists(f"/proc/self/fd/{name}"):
            kinds.add(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
    if "net" not in kinds:
        raise PermissionError(1, "nothing is open")
    return "through"


def read_kernel_symbols():
    with open("/proc/kallsyms") as file:
        if not file.read(10):
            raise PermissionError(1, "empty")
    return "through"


def learn_the_hosts_groups():
    with open("/proc/self/cgroup") as file:
        if "lambent" not in file.read():
            raise PermissionError(1, "only a root")
    return "through"


def have_capabilities():
    with open("/proc/self/status") as file:
        if "CapEff:\t0000000000000000" in file.read():
            raise PermissionError(1, "none")
    return "through"


def reach(port):
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return "through"


def find_shared_memory(key):
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.shmget(key, 4096, 0o666) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "through"


def change_the_code():
    with open("/var/task/handler.py", "a") as file:
        file.write("mine")
    return "through"


@dataclass(frozen=True, kw_only=True)
class Wall:
    """An attack, what it gets with every wall in place, and what to cut out for it to get through."""

    attack: Attack
    refused: str
    cuts: tuple[Cut, ...]
    order: dict[str, Any] = field(default_factory=dict)
    shown_with_cgroups: bool = False


PIDS = (("namespaces", "    _limit_processes()\n", ""), ("cgroups", 'if "pids" in self.folders:', "if False:"))
WALLS = {
    "seccomp: tracing": Wall(attack=trace, refused="EPERM", cuts=(SECCOMP,)),
    "seccomp: keys": Wall(attack=keep_a_key, refused="EPERM", cuts=(SECCOMP,)),
    "seccomp and landlock: mounts": Wall(attack=mount, refused="EPERM", cuts=(SECCOMP, LANDLOCK)),
    "size of /tmp": Wall(
        attack=fill_tmp,
        refused="ENOSPC",
        cuts=(("namespaces", ",size={DEFAULT_TMP_MB}m", ""),),
        order={"memory_mb": 3008},
    ),
    "number of processes": Wall(attack=fork_bomb, refused="EAGAIN", cuts=PIDS, order={"memory_mb": 3008}),
    "number of descriptors": Wall(
        attack=open_many, refused="ValueError", cuts=(("namespaces", "    set_limits()\n    _limit", "    _limit"),)
    ),
    "closed descriptors": Wall(
        attack=use_what_is_left_open,
        refused="EPERM",
        cuts=(("namespaces", "    kernel.close_from(SYNC_FD + 1)\n", ""),),
    ),
    "covered parts of /proc": Wall(
        attack=read_kernel_symbols,
        refused="EPERM",
        cuts=(("namespaces", "for name in root.masked_files:", "for name in ():"),),
    ),
    "cgroup namespace": Wall(
        attack=learn_the_hosts_groups,
        refused="EPERM",
        cuts=(("namespaces", "    kernel.unshare(kernel.CLONE_NEWCGROUP)\n", ""),),
        shown_with_cgroups=True,
    ),
    "capabilities": Wall(
        attack=have_capabilities, refused="EPERM", cuts=(("namespaces", "    kernel.drop_capabilities()\n", ""),)
    ),
    "read-only code": Wall(
        attack=change_the_code,
        refused="EROFS",
        cuts=(LANDLOCK, ("walls", "kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID", "kernel.MOUNT_ATTR_NOSUID")),
    ),
}


@pytest.fixture
def without(house: House) -> Iterator[Callable[..., Inside]]:
    """Environments whose walls have pieces cut out: `without(cuts, memory_mb=128)`."""
    made: list[Inside] = []

    def claim(cuts: tuple[Cut, ...], **order: Any) -> Inside:
        folder = Path(tempfile.mkdtemp(dir=house.folder))
        interpreter = interpreter_with(cuts, folder)
        launcher = house.launcher(BEST, interpreter, parked=1, gateway_port=0)
        made.append(house.claim(launcher, **order))
        return made[-1]

    yield claim
    for environment in made:
        environment.close()


def interpreter_with(cuts: tuple[Cut, ...], folder: Path) -> Path:
    """A stand-in for an interpreter that takes the sandbox's modules from a copy, with these pieces cut out."""
    copy = folder / "sandbox"
    shutil.copytree(Path(sandbox_package.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for module, there, instead in cuts:
        text = (copy / f"{module}.py").read_text()
        assert text.count(there) == 1, f"{module}.py has changed: name the wall {there!r} anew"
        (copy / f"{module}.py").write_text(text.replace(there, instead))
    script = folder / "python"
    # The arguments are -I -S -E, the entry's path, launch and the descriptor.
    script.write_text(f'#!/bin/sh\nshift 4\nexec {sys.executable} -I -S -E {copy}/entry.py "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("name", WALLS)
def test_with_this_wall_cut_out_the_attack_gets_through(
    name: str, limited: Callable[..., Inside], without: Callable[..., Inside]
) -> None:
    wall = WALLS[name]
    assert limited(**wall.order).run(wall.attack) == Refused(wall.refused)
    if BEST.cgroups or not wall.shown_with_cgroups:
        assert without(wall.cuts, **wall.order).run(wall.attack) == "through"


def test_with_the_network_namespace_cut_out_the_hosts_ports_are_open(
    limited: Callable[..., Inside], without: Callable[..., Inside]
) -> None:
    cuts = (
        ("networks", "            kernel.unshare(kernel.CLONE_NEWNET)\n", "            pass\n"),
        ("networks", "        _raise_loopback()\n", ""),
        ("networks", "listen(RUNTIME_API_ADDRESS, PROXY_PORT) if with_proxy else None", "None"),
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert limited().run(reach, port) == Refused("ECONNREFUSED")
        assert without(cuts).run(reach, port) == "through"


def test_with_the_ipc_namespace_cut_out_the_hosts_shared_memory_is_there(
    limited: Callable[..., Inside], without: Callable[..., Inside]
) -> None:
    libc = ctypes.CDLL(None)
    key = 0x1AB0000 | os.getpid() & 0xFFFF
    segment = libc.shmget(key, 4096, 0o1666)
    try:
        assert limited().run(find_shared_memory, key) == Refused("ENOENT")
        cut = ("namespaces", "kernel.CLONE_NEWIPC | ", "")
        assert without((cut,)).run(find_shared_memory, key) == "through"
    finally:
        libc.shmctl(segment, 0, None)
