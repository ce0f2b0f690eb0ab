"""What a new environment does to itself between its clone and its first instruction for a function.

It is cloned into its own user, mount, process, IPC and UTS namespaces, inside a network namespace made ahead and on
the prepared root. Then it mounts its own /proc, /tmp and /dev/shm, becomes the user of Lambda functions, gives up all
privileges, goes behind Landlock, loads the seccomp filter and closes what is not its own. Any wall that cannot be put
up ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import signal

from lambent.engine.sandbox import kernel, landlock, rootfs

FLAGS = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
HOSTNAME = "169.254.100.1"  # on AWS a host is named by its link-local address, which lo has here
FILE_LIMIT = PROCESS_LIMIT = 1024
_COUNTS_PER_NAMESPACE = (5, 14)  # the first Linux whose RLIMIT_NPROC counts for each user namespace by itself
DEFAULT_TMP_MB = 512
_SHARED_MEMORY_MB = 64
_LAUNCHER_NICENESS = 10
CONTROL_FD, SYNC_FD = 3, 4
READY = b"ready"
AWAITED, PARKED = b"1", b"0"

NOBODY = (0, 0)

Ends = tuple[int, int, int]  # an environment's own side: output, control, sync


def map_user(pid: int, host_id: int, others: tuple[int, int] = NOBODY) -> None:
    """Let the environment's user be `host_id` outside, and nobody else exist inside.

    Unless namespaces within it are to have `others` of the host's users: from, and up to but without.
    """
    rows = [(rootfs.USER_ID, host_id, 1)]
    if others[1]:
        ranges = ((others[0], host_id), (host_id + 1, others[1]))
        rows += [(first, first, end - first) for first, end in ranges if end > first]
    text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows).encode()
    _write(f"/proc/{pid}/setgroups", b"deny")
    _write(f"/proc/{pid}/uid_map", text)
    _write(f"/proc/{pid}/gid_map", text)


def become_root_of_own_namespace() -> None:
    """As a plain user: enter a user namespace in which we are 0, and a mount namespace that belongs to it."""
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    _write("/proc/self/setgroups", b"deny")
    _write("/proc/self/uid_map", b"0 %d 1" % uid)
    _write("/proc/self/gid_map", b"0 %d 1" % gid)


def put_up_walls(
    root: rootfs.RootFS, seccomp_filter: bytes, landlock_version: int, prepared: tuple[str, ...] = ()
) -> None:
    """In the child, once its user is mapped and it is in its cgroup: everything up to the seccomp filter.

    `prepared` are places to write to that the launcher has mounted already.
    """
    become_user()
    kernel.unshare(kernel.CLONE_NEWCGROUP)
    mount_own(root, prepared)
    kernel.set_hostname(HOSTNAME)
    shut_in(seccomp_filter, landlock_version, landlock.rules(prepared))


def become_user() -> None:
    """The user of Lambda functions. Capabilities stay: nobody is 0 in this namespace."""
    os.setresgid(rootfs.USER_ID, rootfs.USER_ID, rootfs.USER_ID)
    os.setresuid(rootfs.USER_ID, rootfs.USER_ID, rootfs.USER_ID)


def shut_in(seccomp_filter: bytes, landlock_version: int, rules: tuple[tuple[str, int], ...]) -> None:
    """The walls of the process itself: limits, no capabilities, Landlock, the filter of system calls."""
    set_limits()
    _limit_processes()
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # else /proc/self, and so /dev/stdout, would belong to nobody
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # if the launcher is killed, so is this
    if landlock_version:
        landlock.restrict(landlock_version, rules)
    kernel.set_seccomp_filter(seccomp_filter)


def _limit_processes() -> None:
    """A second wall behind the pids cgroup, and the only one where there are no cgroups.

    Older kernels count this limit for the user over the whole host, which as a plain user is everything else they run.
    """
    release = os.uname().release.split(".")
    if (int(release[0]), int(release[1])) >= _COUNTS_PER_NAMESPACE:
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESS_LIMIT, PROCESS_LIMIT))


def mount_own(root: rootfs.RootFS, prepared: tuple[str, ...] = ()) -> None:
    """Its own /proc, with what must not be seen covered, /tmp and /dev/shm."""
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("proc", "/proc", "proc", quiet | kernel.MS_NOEXEC)
    if "/tmp" not in prepared:
        kernel.mount("tmpfs", "/tmp", "tmpfs", quiet, f"mode=1777,size={DEFAULT_TMP_MB}m")
    kernel.mount("tmpfs", "/dev/shm", "tmpfs", quiet | kernel.MS_NOEXEC, f"mode=1777,size={_SHARED_MEMORY_MB}m")
    for name in root.masked_files:
        kernel.mount("/dev/null", f"/proc/{name}", None, kernel.MS_BIND)
    for name in root.masked_folders:
        kernel.mount(rootfs.EMPTY, f"/proc/{name}", None, kernel.MS_BIND)
    kernel.mount("/proc/sys", "/proc/sys", None, kernel.MS_BIND)
    kernel.set_mount_attributes(0, "/proc/sys", kernel.MOUNT_ATTR_RDONLY, recursive=False)


def set_limits() -> None:
    """The limits that belong to a process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= FILE_LIMIT:
        soft = hard = FILE_LIMIT
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def take_descriptors(ends: Ends) -> None:
    """0 is /dev/null, 1 and 2 the output, CONTROL_FD the control socket, SYNC_FD the launcher's: the rest is closed."""
    output, control, sync = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SYNC_FD + 1) for fd in ends)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(control, CONTROL_FD, inheritable=False)
    os.dup2(sync, SYNC_FD, inheritable=False)
    kernel.close_from(SYNC_FD + 1)


def put_launcher_first() -> int:
    """Let this process run before functions that keep every processor busy, where we may.

    By how much nicer a fork of it has to become.
    """
    with contextlib.suppress(OSError):
        os.nice(-_LAUNCHER_NICENESS)
        return _LAUNCHER_NICENESS
    return 0


def forget_the_launcher(niceness: int) -> None:
    """Leave the launcher's session, priority and signal handling behind; the collector works again."""
    os.nice(niceness)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    gc.enable()


def _write(path: str, text: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)
