"""The few system calls that Python lacks, by ctypes.

Standard library only and light: the launcher imports it under whatever interpreter functions use, and every
environment is a copy of the launcher. Each call raises OSError with the call's name, so that a wall that could
not be put up says which one it was.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

# PyDLL keeps the interpreter's lock: the launcher has one thread, and a clone in the middle of a released lock
# would leave the copy without anyone to take it again.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

AARCH64 = os.uname().machine in ("aarch64", "arm64")

CLONE = 220 if AARCH64 else 56
_CLONE3 = 435
_PIVOT_ROOT = 41 if AARCH64 else 155
_CAPSET = 91 if AARCH64 else 126
_SECCOMP = 277 if AARCH64 else 317
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _MOUNT_SETATTR = 436, 442
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_INTO_CGROUP = 0x200000000
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_SIGCHLD = 17

# Looked up here: a copy that does it itself writes to more pages of memory, each of which has to be copied first.
_before_fork, _after_fork_in_parent, _after_fork_in_child = (
    ctypes.pythonapi.PyOS_BeforeFork,
    ctypes.pythonapi.PyOS_AfterFork_Parent,
    ctypes.pythonapi.PyOS_AfterFork_Child,
)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE, MS_SLAVE = 16384, 1 << 18, 1 << 19
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
_MOUNT_ATTR_IDMAP = 0x00100000
_AT_EMPTY_PATH, _AT_RECURSIVE, _AT_FDCWD = 0x1000, 0x8000, -100
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAP_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63  # the kernel answers EINVAL above its own last one
SECCOMP_SET_MODE_FILTER = 1
_LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1


def _fail(name: str, detail: str = "") -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{name}{' ' + detail if detail else ''}: {os.strerror(number)}")


def _call(name: str, number: int, *args: int | bytes | None) -> int:
    """A raw system call; every integer goes as a full word, for a C int would lose its upper half."""
    words = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in args]
    result: int = _syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise _fail(name)
    return result


def _thread_id_address() -> int:
    """Where glibc keeps this thread's id, or 0 when that is not certain.

    fork() refreshes it in the child; a raw clone must have the kernel do so, or the child's recursive mutexes and
    raise() go by the launcher's id. The main thread's id is its pid; it is looked for in the thread's own record. In
    a process with several threads this may be another thread's: nobody may clone there, and nobody does.
    """
    pthread_self = _libc.pthread_self
    pthread_self.restype = ctypes.c_void_p
    start = pthread_self()
    words = struct.unpack("256i", ctypes.string_at(start, 1024))
    places = [i for i, word in enumerate(words) if word == os.getpid()]
    return start + 4 * places[0] if len(places) == 1 else 0


_THREAD_ID_ADDRESS = _thread_id_address() if sys.platform == "linux" else 0


def as_cloned(flags: int) -> int:
    """Those flags as the kernel sees them in `clone`."""
    return flags | _SIGCHLD | ((_CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID) if _THREAD_ID_ADDRESS else 0)


def clone(flags: int, cgroup: int = -1) -> int:
    """Fork with the given CLONE_NEW* flags in one call: 0 in the child, else the child's pid.

    One call instead of unshare and a second fork halves the cost of an environment. Python's own bookkeeping at a
    fork (locks, signals, reseeding of `random`) is done here, as os.fork does it. With `cgroup`, an open folder of
    version 2, the child is born in there.
    """
    address = _THREAD_ID_ADDRESS
    if cgroup < 0:
        tail = (0, address) if AARCH64 else (address, 0)  # thread-local storage comes before the id on aarch64
        words: list[object] = [ctypes.c_long(word) for word in (CLONE, as_cloned(flags), 0, 0, *tail)]
    else:
        flags = as_cloned(flags | _CLONE_INTO_CGROUP) & ~_SIGCHLD
        signal = 0 if flags & CLONE_PARENT else _SIGCHLD
        record = struct.pack("11Q", flags, 0, address, 0, signal, 0, 0, 0, 0, 0, cgroup)
        words = [ctypes.c_long(_CLONE3), ctypes.create_string_buffer(record, len(record)), ctypes.c_long(len(record))]
    _before_fork()
    pid: int = _syscall(*words)
    if pid == 0:
        _after_fork_in_child()
        return 0
    number = ctypes.get_errno()
    _after_fork_in_parent()
    if pid < 0:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid


def unshare(flags: int) -> None:
    """Move this process into new namespaces, by their CLONE_NEW* flags."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        raise _fail("unshare", hex(flags))


def setns(fd: int, kind: int) -> None:
    """Enter a namespace by its descriptor, or a process's by its pidfd."""
    if _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)) != 0:
        raise _fail("setns", hex(kind))


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    """Mount as the manual says (man 2 mount); no `kind` for binds and changes of flags."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    if result != 0:
        raise _fail("mount", f"{kind or 'bind'} on {target}")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """See umount2(2); lazy unless told otherwise."""
    if _libc.umount2(target.encode(), ctypes.c_int(flags)) != 0:
        raise _fail("umount", target)


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root, and put the old one at `old`."""
    _call("pivot_root", _PIVOT_ROOT, new.encode(), old.encode())


def open_tree(path: str) -> int:
    """A detached copy of the mounts at `path`, as a descriptor."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    try:
        return _call("open_tree", _OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    except OSError as error:
        raise OSError(error.errno, f"open_tree {path}: {os.strerror(error.errno or 0)}") from error


def overlay(lower: list[str]) -> int:
    """A detached read-only union of folders, the first on top, as a descriptor.

    The folders are named through descriptors: the kernel takes an option of at most 256 bytes.
    """
    fds: list[int] = []
    context = _call("fsopen overlay", _FSOPEN, b"overlay", 1)
    try:
        fds += [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in lower]
        folders = ":".join(f"/proc/self/fd/{fd}" for fd in fds)
        _call("overlay lowerdir", _FSCONFIG, context, _FSCONFIG_SET_STRING, b"lowerdir", folders.encode(), 0)
        _call("overlay create", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", _FSMOUNT, context, 1, 0)
    finally:
        for fd in (*fds, context):
            os.close(fd)


def set_mount_attributes(fd: int, path: str, attributes: int, *, recursive: bool = True) -> None:
    """Set MOUNT_ATTR_* on a mount given by descriptor (empty path) or by path (any descriptor)."""
    record = ctypes.create_string_buffer(struct.pack("QQQQ", attributes, 0, 0, 0), 32)
    flags = (_AT_RECURSIVE if recursive else 0) | (0 if path else _AT_EMPTY_PATH)
    where = _AT_FDCWD if path else fd
    result = _syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_long(where),
        path.encode(),
        ctypes.c_long(flags),
        record,
        ctypes.c_long(32),
    )
    if result != 0:
        raise _fail("mount_setattr", path)


def map_mount(fd: int, user_namespace: int) -> None:
    """Show the files of a detached mount with the owners that a user namespace maps theirs to."""
    record = ctypes.create_string_buffer(struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, user_namespace), 32)
    words = [ctypes.c_long(word) for word in (_MOUNT_SETATTR, fd)]
    flags = ctypes.c_long(_AT_EMPTY_PATH | _AT_RECURSIVE)
    if _syscall(*words, b"", flags, record, ctypes.c_long(32)) != 0:
        raise _fail("mount_setattr", "idmap")


def move_mount(fd: int, target: str) -> None:
    """Attach a detached mount at `target`."""
    _call("move_mount", _MOVE_MOUNT, fd, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)


def prctl(option: int, first: int = 0, second: int = 0) -> None:
    """Set a property of this process; a refusal raises."""
    words = [ctypes.c_ulong(word) for word in (first, second, 0, 0)]
    if _libc.prctl(ctypes.c_int(option), *words) != 0:
        raise _fail("prctl", str(option))


def drop_capabilities() -> None:
    """Empty all capability sets: ambient, bounding, effective, permitted, inheritable."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(LAST_CAPABILITY + 1):
        if _libc.prctl(ctypes.c_int(PR_CAPBSET_DROP), ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break  # one past the kernel's last
    _call("capset", _CAPSET, struct.pack("Ii", _CAP_VERSION_3, 0), bytes(24))


def set_seccomp_filter(program: bytes) -> None:
    """Load a BPF program (8 bytes an instruction) for this process and all it starts."""
    code = ctypes.create_string_buffer(program, len(program))
    record = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    _call("seccomp", _SECCOMP, SECCOMP_SET_MODE_FILTER, 0, record)


def close_from(first: int) -> None:
    """Close every descriptor from `first` up."""
    try:
        _call("close_range", _CLOSE_RANGE, first, 0x7FFFFFFF, 0)
    except OSError:
        os.closerange(first, 65536)


def close_from_but(kept: int, first: int = 0) -> None:
    """Close every descriptor from `first` up but one."""
    if kept > first:
        _call("close_range", _CLOSE_RANGE, first, kept - 1, 0)
    close_from(kept + 1)


def set_hostname(name: str) -> None:
    """Name the host of this UTS namespace."""
    if _libc.sethostname(name.encode(), ctypes.c_size_t(len(name))) != 0:
        raise _fail("sethostname")


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; raises OSError when none."""
    return _call("landlock_create_ruleset", _LANDLOCK_CREATE_RULESET, 0, 0, _LANDLOCK_CREATE_RULESET_VERSION)


def landlock_ruleset(files: int, network: int, scopes: int, *, version: int) -> bytes:
    """The record that asks for a ruleset which handles these rights, as far as this version knows their kinds."""
    return struct.pack("QQQ", files, network, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]


def landlock_create_ruleset(record: bytes) -> int:
    """A descriptor of that ruleset."""
    return _call("landlock_create_ruleset", _LANDLOCK_CREATE_RULESET, record, len(record), 0)


def landlock_allow_beneath(ruleset: int, place: int, rights: int) -> None:
    """Grant rights below an open folder."""
    record = struct.pack("=Qi", rights, place)
    _call("landlock_add_rule", _LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, record, 0)


def landlock_restrict_self(ruleset: int) -> None:
    """Put this process behind the ruleset."""
    _call("landlock_restrict_self", _LANDLOCK_RESTRICT_SELF, ruleset, 0)


def rename_process(command_line: str) -> None:
    """Overwrite this process's command line and the environment it was started with, as /proc shows them.

    Environments are copies of the launcher, and /proc/1/cmdline is theirs to read.
    """
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    arguments, arguments_end, environment, environment_end = (int(word) for word in fields[45:49])
    text = command_line.replace(" ", "\0").encode()[: arguments_end - arguments - 1]
    ctypes.memmove(arguments, text.ljust(arguments_end - arguments, b"\0"), arguments_end - arguments)
    ctypes.memset(environment, 0, environment_end - environment)
