"""The root file system that every environment sees, prepared once in a mount namespace of its own.

The system's folders are bound read-only, /etc holds a few files chosen one by one, and /var/task, /opt, /tmp, /dev/shm
and /proc are empty places. The launcher enters this namespace only to clone: an environment starts with a copy of it as
its root, in which the host's tree was never mounted and whose mounts it cannot take apart, since a more privileged
user namespace made them.
"""

from __future__ import annotations

import os
import shutil
import stat

from lambent.engine.sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

USER_ID = 993
ROUTER_ADDRESS = "169.254.100.2"  # as every environment with a way out sees its router, which looks up names
USER = "sbx_user1051"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix")
_NEEDLESS = ("/usr/src", "/usr/local/src")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_PROGRAMS = ("node",)
_READ_ONLY = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_ETC_COPIES = (
    "alternatives", "ca-certificates", "fonts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic",
    "mime.types", "os-release", "pki", "protocols", "services", "ssl",
)  # fmt: skip
_ETC_COPY_LIMIT = 8 << 20  # bytes in all; /etc/ssl holds about 250 kB of links and one bundle
_ETC_FILES = {
    "passwd": f"root:x:0:0:root:/root:/sbin/nologin\n{USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/sbin/nologin\n",
    "group": f"root:x:0:\n{USER}:x:{USER_ID}:\n",
    "hosts": "127.0.0.1 localhost sandbox.localdomain sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_MASKED = (
    "acpi", "asound", "bus", "config.gz", "driver", "fs", "irq", "kallsyms", "kcore", "key-users", "keys", "kmsg",
    "kpagecgroup", "kpagecount", "kpageflags", "latency_stats", "modules", "sched_debug", "scsi", "sysrq-trigger",
    "sysvipc", "timer_list", "timer_stats", "tty",
)  # fmt: skip
EMPTY = "/var/empty"


class Contents:
    """What the tree shows besides the system's folders.

    `prefixes` are the interpreter's folders, the first of which is /var/lang too; `runtime` says what is at
    /var/runtime: {name: path}, a folder bound, a file copied. Where environments execute a program, /var/lang holds
    places for one instead.
    """

    def __init__(
        self, prefixes: list[str], runtime: dict[str, str], executes: bool = False, has_router: bool = False
    ) -> None:
        self.prefixes = prefixes
        self.runtime = runtime
        self.executes = executes
        # Without a router nobody can be asked for names: an empty file means 127.0.0.1, which refuses at once.
        self.resolver = f"nameserver {ROUTER_ADDRESS}\n" if has_router else ""


class RootFS:
    """The prepared tree: `fd` is its mount namespace, `home_fd` the launcher's own."""

    def __init__(self, mountpoint: str, contents: Contents, hidden: Iterable[str] = ()) -> None:
        """Build it and come back.

        `hidden` folders are shown empty, should they lie in a folder that is shown: a node may well be run in
        /usr/src/app.
        """
        self.home_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        kernel.unshare(kernel.CLONE_NEWNS)
        try:
            kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
            self.fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            kernel.mount("lambent", mountpoint, "tmpfs", 0, "mode=755,size=64m")
            _fill(mountpoint, contents)
            _hide(mountpoint, [*_NEEDLESS, *hidden], "" if contents.executes else contents.prefixes[0])
            self.masked_files, self.masked_folders = _mount_empty_proc(f"{mountpoint}/proc")
            _become_root(mountpoint)
            kernel.set_mount_attributes(0, "/", _READ_ONLY & ~kernel.MOUNT_ATTR_NODEV, recursive=False)
        finally:
            self.leave()

    def enter(self) -> None:
        """Go in, to clone from there."""
        kernel.setns(self.fd, kernel.CLONE_NEWNS)

    def leave(self) -> None:
        kernel.setns(self.home_fd, kernel.CLONE_NEWNS)


def _fill(root: str, contents: Contents) -> None:
    for folder in (
        "dev/shm",
        "etc",
        "home",
        "mnt",
        "opt",
        "proc",
        "root",
        "tmp",
        "var/lang",
        "var/runtime",
        "var/task",
        "var/empty",
    ):
        os.makedirs(f"{root}/{folder}")
    for path in _SYSTEM:
        _show(root, path)
    if contents.executes:
        _make_places(root, contents.prefixes)
    else:
        _show_interpreter(root, contents.prefixes)
    for name in _DEVICES:
        open(f"{root}/dev/{name}", "w").close()
        kernel.mount(f"/dev/{name}", f"{root}/dev/{name}", None, kernel.MS_BIND)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{root}/dev/{name}")
    _fill_etc(f"{root}/etc", contents.resolver)
    for name, path in contents.runtime.items():
        target = f"{root}/var/runtime/{name}"
        if os.path.isdir(path):
            os.mkdir(target)
            _bind(path, target)
        else:
            shutil.copyfile(path, target)


def _show(root: str, path: str) -> None:
    """Make the host's folder visible at the same place: a link as a link, a folder as a read-only bind."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
    elif os.path.isdir(path):
        os.mkdir(root + path)
        _bind(path, root + path)


def _show_interpreter(root: str, prefixes: list[str]) -> None:
    """The first prefix at /var/lang, and each at its own path, through a link where possible."""
    first = prefixes[0]
    if _is_shown(first):
        os.rmdir(f"{root}/var/lang")
        os.symlink(first, f"{root}/var/lang")
    else:
        _bind(first, f"{root}/var/lang")
        os.makedirs(os.path.dirname(root + first), exist_ok=True)
        os.symlink("/var/lang", root + first)
    for prefix in prefixes[1:]:
        if not _is_shown(prefix) and not prefix.startswith(first + "/") and prefix != first:
            os.makedirs(root + prefix)
            _bind(prefix, root + prefix)


def _make_places(root: str, prefixes: list[str]) -> None:
    """Where programs are mounted when an environment is claimed; the interpreter, which waits till then, as it is."""
    os.mkdir(f"{root}/var/lang/bin")
    for name in _PROGRAMS:
        open(f"{root}/var/lang/bin/{name}", "w").close()
    for prefix in prefixes:
        if not _is_shown(prefix) and not os.path.isdir(root + prefix):
            os.makedirs(root + prefix)
            _bind(prefix, root + prefix)


def _hide(root: str, folders: list[str], prefix: str) -> None:
    for folder in map(os.path.realpath, folders):
        place = "/var/lang" + folder[len(prefix) :] if prefix and folder.startswith(prefix + "/") else folder
        if os.path.isdir(root + place):
            kernel.mount(root + EMPTY, root + place, None, kernel.MS_BIND)


def _is_shown(path: str) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in _SYSTEM)


def _bind(source: str, target: str) -> None:
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.set_mount_attributes(0, target, _READ_ONLY)


def _fill_etc(etc: str, resolver: str) -> None:
    for name, text in {**_ETC_FILES, "resolv.conf": resolver}.items():
        with open(f"{etc}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    left = _ETC_COPY_LIMIT
    for name in _ETC_COPIES:
        left = _copy_public(f"/etc/{name}", f"{etc}/{name}", left)


def _copy_public(source: str, target: str, left: int) -> int:
    """Copy what everyone may read, up to `left` bytes; how many are left."""
    try:
        status = os.lstat(source)
    except OSError:
        return left
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(status.st_mode) and status.st_mode & 0o005 == 0o005:
        os.mkdir(target)
        for name in sorted(os.listdir(source)):
            left = _copy_public(f"{source}/{name}", f"{target}/{name}", left)
    elif stat.S_ISREG(status.st_mode) and status.st_mode & 0o004 and status.st_size <= left:
        shutil.copyfile(source, target)
        left -= status.st_size
    return left


def _become_root(path: str) -> None:
    """Make `path` the root of this mount namespace and let go of everything else."""
    os.chdir(path)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")


def _mount_empty_proc(target: str) -> tuple[list[str], list[str]]:
    """Mount the proc of a process-id namespace in which nothing lives; which entries environments must not see.

    The kernel lets a user namespace mount a proc of its own only where a whole one is already mounted. The host's
    would do, but then it would lie under each environment's. For the same reason this comes before the pivot.
    """
    reader, writer = os.pipe()
    pid = kernel.clone(kernel.CLONE_NEWPID)
    if pid == 0:
        status = 1
        try:
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            kernel.mount("proc", target, "proc", flags)
            status = 0
        except OSError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as errors:
        text = errors.read()
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(f"an empty proc: {text}")
    files = [name for name in _MASKED if os.path.isfile(f"{target}/{name}")]
    folders = [name for name in _MASKED if os.path.isdir(f"{target}/{name}")]
    return files, folders
