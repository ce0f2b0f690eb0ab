"""The probe's process: tries each wall in a child of its own, the way an environment puts it up, and prints JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile

from lambent.engine.sandbox import cgroups, kernel, landlock, namespaces, networks, rootfs, seccomp, ways

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_USER_NAMESPACES = (
    "Allow user namespaces: sysctl user.max_user_namespaces=15000, and on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with --privileged or as root with "
    "--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined."
)
_CGROUPS = (
    "Run as root, or give the user a delegated subtree of cgroup v2: "
    "systemd-run --user --scope -p Delegate=yes lambent up."
)


class Finding:
    """What one trial showed."""

    def __init__(self, name: str, error: str | None, detail: str, remedy: str) -> None:
        self.name = name
        self.ok = error is None
        self.row = [name, self.ok, detail if error is None else error, "" if error is None else remedy]


def main() -> None:
    """Print {"namespaces", "root", "cgroups", "way", "findings"}."""
    root = os.getuid() == 0 and _try(lambda: kernel.unshare(kernel.CLONE_NEWNS)) is None
    walls = [
        Finding("user namespace", _try(_own_user), "one user inside, mapped from outside", _USER_NAMESPACES),
        Finding(
            "root file system", _try(lambda: _build_root(root=root)), "an own root, /tmp and /proc", _USER_NAMESPACES
        ),
        Finding(
            "network namespace", _try(lambda: _listen(root=root)), "lo, and the Runtime API's address", _USER_NAMESPACES
        ),
        Finding("seccomp", _try(_filter), "the filter loads and refuses", "Use a kernel with CONFIG_SECCOMP_FILTER."),
        Finding(
            "late mounts", _try(lambda: _attach(root=root)), "code is attached from outside", "Use Linux 5.12 or newer."
        ),
    ]
    version, groups = _try_cgroups()
    uids = "each environment has a host uid of its own" if root else None
    extras = [
        groups,
        Finding("own uids", None if uids else "all environments share this user's uid", uids or "", "Run as root."),
        Finding(
            "landlock",
            _try(_landlock),
            "a second wall around files, signals and abstract sockets",
            "Use Linux 5.19 or newer, started with landlock in lsm=.",
        ),
    ]
    way, tried = _try_ways(root=root)
    extras += tried
    answer = {
        "namespaces": all(wall.ok for wall in walls),
        "root": root,
        "cgroups": version,
        "way": way,
        "findings": [finding.row for finding in (*walls, *extras)],
    }
    print(json.dumps(answer))


def _try(trial: Callable[[], None]) -> str | None:
    """Run it in a child; what went wrong, or None."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            trial()
            status = 0
        except BaseException as error:
            os.write(writer, (str(error) or repr(error)).encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if status == 0 else text or f"ended with status {status}"


def _privileged(*, root: bool) -> None:
    """Become what a launcher is: 0 in an own mount namespace."""
    if root:
        kernel.unshare(kernel.CLONE_NEWNS)
    else:
        namespaces.become_root_of_own_namespace()
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def _own_user() -> None:
    ours, theirs = socket.socketpair()
    pid = kernel.clone(kernel.CLONE_NEWUSER)
    if pid == 0:
        ours.close()
        theirs.recv(1)
        os.setresuid(rootfs.USER_ID, rootfs.USER_ID, rootfs.USER_ID)
        os._exit(0)
    try:
        namespaces.map_user(pid, os.getuid())
    finally:
        ours.close()
        theirs.close()
        status = os.waitpid(pid, 0)[1]
    if status != 0:
        raise OSError("the user inside could not be taken on")


def _build_root(*, root: bool) -> None:
    _privileged(root=root)
    with tempfile.TemporaryDirectory() as mountpoint:
        tree = rootfs.RootFS(mountpoint, rootfs.Contents(["/usr"], {}))
    ours, theirs = socket.socketpair()
    tree.enter()
    pid = kernel.clone(namespaces.FLAGS)
    if pid == 0:
        ours.close()
        theirs.recv(1)
        namespaces.put_up_walls(tree, seccomp.program(aarch64=kernel.AARCH64), landlock.version())
        os._exit(0)
    tree.leave()
    namespaces.map_user(pid, 0)
    ours.send(b"g")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise OSError(f"an environment's walls did not stand (status {status})")


def _listen(*, root: bool) -> None:
    _privileged(root=root)
    networks.Network()
    networks.listen("0.0.0.0", networks.RUNTIME_API_PORT).close()
    networks.listen("127.0.0.1", 4566).close()


def _filter() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.set_seccomp_filter(seccomp.program(aarch64=kernel.AARCH64))
    with contextlib.suppress(PermissionError):
        kernel.unshare(kernel.CLONE_NEWUSER)
        raise OSError("the filter let unshare pass")


def _attach(*, root: bool) -> None:
    _privileged(root=root)
    tree = kernel.open_tree("/usr")
    kernel.set_mount_attributes(tree, "", kernel.MOUNT_ATTR_RDONLY)
    with tempfile.TemporaryDirectory() as place:
        kernel.mount("lambent", place, "tmpfs")
        kernel.move_mount(tree, place)
        os.close(os.pidfd_open(os.getpid()))
        kernel.unmount(place)
        kernel.unmount(place)


def _landlock() -> None:
    kernel.landlock_abi()
    if not (version := landlock.version()):
        raise OSError("the kernel's version of it is too old")
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(version, landlock.rules_of("/dev"))
    with contextlib.suppress(PermissionError):
        os.listdir("/")
        raise OSError("it let the root be read")


def _try_ways(*, root: bool) -> tuple[str, list[Finding]]:
    """The best way out, and what was found of each."""
    best, findings = "proxy", []
    for way in ways.WAYS:
        missing, remedy = way.missing(root=root)
        said = missing or _try(way.trial)
        remedy = way.remedy if said == ways.NOT_PASSED_ON else remedy
        findings.append(Finding(f"egress by {way.name}", said, way.detail, remedy))
        if said is None and best == "proxy":
            best = way.name
    return best, findings


def _try_cgroups() -> tuple[str | None, Finding]:
    """Make a group, limit it, put a process in and out again."""
    found: list[str] = []

    def trial() -> None:
        groups = cgroups.open_cgroups(cgroups.launcher_folder(os.getpid()))
        if groups is None:
            raise OSError("no group could be made, in version 2 or 1, with memory, cpu and pids")
        try:
            group = groups.create()
            try:
                group.limit_memory(128, 512)
                _kill_a_member(group)
            finally:
                group.remove()
        finally:
            groups.close()
        found.append(f"v{groups.version}")

    try:
        trial()
    except OSError as error:
        return None, Finding("cgroups", str(error), "", _CGROUPS)
    return found[0], Finding("cgroups", None, f"{found[0]}: memory, CPU and number of processes are limited", "")


def _kill_a_member(group: cgroups.Cgroup) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    try:
        group.join(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
