"""What a function can ask of the kernel."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import NOBODY, House, Inside, Outside, Refused

from lambent.engine.sandbox import seccomp, syscalls

AARCH64 = os.uname().machine == "aarch64"
CALLS = seccomp.refused_calls(aarch64=AARCH64)
NEW_NAMESPACES = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
                  "pid": 0x20000000, "net": 0x40000000}  # fmt: skip


def syscall(number, *arguments):
    """With zeros for arguments every call fails; which error it gives tells how far it came."""
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(a) for a in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    libc.syscall.restype = ctypes.c_long
    if libc.syscall(ctypes.c_long(number), *words) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"


def test_every_refused_call_is_refused(inside: Inside) -> None:
    allowed = {
        name: answer for name, number in CALLS.items() if (answer := inside.run(syscall, number)) != Refused("EPERM")
    }
    assert allowed == {}


# uretprobe and uprobe: from Linux 6.14 on the kernel lets them past every filter, and itself refuses them to whoever
# is not at a probe of its own.
PAST_EVERY_FILTER = () if AARCH64 else (335, 336)


def answers(numbers):
    """What each call says to zeros, in a process of its own, which some end and some never come back from."""
    import ctypes
    import errno
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    found = {}
    for number in numbers:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
            os.write(writer, errno.errorcode[ctypes.get_errno()].encode() if result < 0 else b"done")
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            found[number] = answer.read()
        os.waitpid(child, 0)
    return found


def test_every_number_that_is_not_in_the_table_is_not_there(inside: Inside) -> None:
    """Numbers that no kernel has given out yet as well: a new call is shut until somebody has looked at it."""
    allowed = set(seccomp.allowed_calls(aarch64=AARCH64).values())
    by_argument = {pair[AARCH64] for pair in syscalls.BY_ARGUMENT.values()}
    known = {*allowed, *by_argument, *CALLS.values(), *PAST_EVERY_FILTER}
    found = inside.run(answers, [number for number in range(1001) if number not in known])
    assert len(found) > 600
    assert {number: answer for number, answer in found.items() if answer != "ENOSYS"} == {}


def test_without_the_filter_a_call_outside_the_table_would_be_there(inside: Inside, outside: Outside) -> None:
    """The control: the kernel has the call, and says that these arguments are wrong, or does it."""
    get_mempolicy = 236 if AARCH64 else 239
    assert outside.run(answers, [get_mempolicy]) == {str(get_mempolicy): "done"}
    assert inside.run(answers, [get_mempolicy]) == {str(get_mempolicy): "ENOSYS"}


def test_no_call_of_the_table_is_kept_from_the_kernel(inside: Inside, outside: Outside) -> None:
    """Those that come back at once with zeros, say the same inside as outside, or what only the kernel says."""
    at_once = ("getpid", "getcwd", "close_range", "rseq", "mseal", "futex_wake", "openat2", "landlock_add_rule")
    numbers = [seccomp.allowed_calls(aarch64=AARCH64)[name] for name in at_once]
    assert inside.run(answers, numbers) == outside.run(answers, numbers)


HARMLESS = {  # calls that a plain process may make, with arguments that do nothing
    "unshare": (0x10000000,),
    "ptrace": (0,),
    "keyctl": (0, -3 & 0xFFFFFFFF, 1),
    "io_uring_setup": (0, 0),
    "process_vm_readv": (1, 0, 0, 0, 0, 0),
    "name_to_handle_at": (0, 0, 0, 0, 0),
    "syslog": (9,),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_without_the_filter_the_call_would_reach_the_kernel(name: str, inside: Inside, outside: Outside) -> None:
    """The control: the kernel does it, or finds something wrong with it, but does not refuse it."""
    assert outside.run(syscall, CALLS[name], *HARMLESS[name]) != Refused("EPERM")
    assert inside.run(syscall, CALLS[name], *HARMLESS[name]) == Refused("EPERM")


@pytest.mark.parametrize("name", NEW_NAMESPACES)
def test_no_namespace_can_be_made_by_clone(name: str, inside: Inside) -> None:
    def clone(number, flags):
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        pid = libc.syscall(ctypes.c_long(number), ctypes.c_long(flags | 17), *[ctypes.c_long(0)] * 4)
        if pid == 0:
            os._exit(0)
        if pid < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.waitpid(pid, 0)
        return "made"

    number = 220 if AARCH64 else 56
    assert inside.run(clone, number, 0) == "made"
    assert inside.run(clone, number, NEW_NAMESPACES[name]) == Refused("EPERM")


def test_clone3_is_not_there_so_that_libc_takes_clone(inside: Inside) -> None:
    assert inside.run(syscall, 435) == Refused("ENOSYS")


def test_calls_by_their_x32_numbers_are_not_there(inside: Inside) -> None:
    if not AARCH64:
        assert inside.run(syscall, 0x40000000 | CALLS["ptrace"]) == Refused("ENOSYS")


def test_input_cannot_be_pushed_into_a_terminal(inside: Inside) -> None:
    def push(request):
        import fcntl

        fcntl.ioctl(0, request, b"x")

    assert inside.run(push, 0x5412) == Refused("EPERM")
    assert inside.run(push, 0x541C) == Refused("EPERM")
    assert inside.run(push, 0x5413) == Refused("ENOTTY")  # the window's size may be asked for


def test_it_has_no_capabilities(inside: Inside) -> None:
    def status():
        with open("/proc/self/status") as file:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        return {name: lines[name] for name in lines if name.startswith(("Cap", "NoNewPrivs", "Seccomp"))}

    found = inside.run(status)
    assert {found[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_a_setuid_program_gains_nothing(house: House, mode: str, fresh: Callable[..., Inside]) -> None:
    """The control: run by a plain user outside, the same file makes them root."""
    code = house.folder / f"setuid-{mode}"
    code.mkdir()
    program = code / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)

    def run():
        import subprocess

        return subprocess.run(["/var/task/id", "-u"], capture_output=True, text=True).stdout.strip()

    if os.getuid() == 0:
        done = subprocess.run([program, "-u"], capture_output=True, text=True, user=NOBODY, check=True)
        assert done.stdout.strip() == "0"
    assert fresh(code=code).run(run) == "993"


def test_the_clock_cannot_be_set(inside: Inside) -> None:
    def set_clock():
        import time

        time.clock_settime(time.CLOCK_REALTIME, time.time())

    assert inside.run(set_clock) == Refused("EPERM")


def test_no_control_group_can_be_reached(inside: Inside) -> None:
    def look():
        import os

        with open("/proc/self/cgroup") as file:
            groups = {line.rstrip("\n").split(":", 2)[2] for line in file}
        with open("/proc/self/mounts") as file:
            mounted = [line for line in file if line.split()[2].startswith("cgroup")]
        return sorted(groups), mounted, os.path.exists("/sys/fs/cgroup")

    groups, mounted, has_folder = inside.run(look)
    assert (mounted, has_folder) == ([], False)
    assert not [path for path in groups if "lambent" in path]


def test_the_namespaces_are_not_the_hosts(inside: Inside, mode: str) -> None:
    def namespaces():
        import os

        return {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}

    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    theirs = inside.run(namespaces)
    own = {name for name, identity in theirs.items() if identity != ours[name]}
    assert {"user", "mnt", "pid", "net", "ipc", "uts"} <= own
    if mode == "root":
        assert "cgroup" in own


def test_a_namespace_cannot_be_entered_through_proc(inside: Inside) -> None:
    def enter():
        import ctypes
        import os

        fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        result = ctypes.CDLL(None, use_errno=True).setns(fd, 0)
        os.close(fd)
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    assert inside.run(enter) == Refused("EPERM")


def test_the_platforms_keys_are_not_in_its_keyrings(inside: Inside) -> None:
    def keys():
        with open("/proc/keys") as file:
            return file.read()

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(
        ctypes.c_long(248 if not AARCH64 else 217), b"user", b"lambent-attack", b"secret", 6, ctypes.c_long(-3)
    )
    assert Path("/proc/keys").exists()
    assert inside.run(keys) == ""
