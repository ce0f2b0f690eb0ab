"""Zygotes: what has run a function's packages has no way to more than its function's environments have."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attacks import Ended, House, Inside, Refused

from lambent.engine.sandbox.launch import EnvironmentRefused, Launcher

_LIMIT_S = 30.0


def become_zygote():
    return "zygote"


def pid():
    import os

    return os.getpid()


def status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def namespaces():
    import os

    return {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}


@pytest.fixture
def zygote(house: House, launcher: Launcher) -> Iterator[Callable[..., Inside]]:
    """`zygote(prepare)`: one that ran that code before it was sealed."""
    made: list[Inside] = []

    def make(prepare: Callable[..., Any] = pid, parked: int = 0, *, keeps_tmp: bool = False) -> Inside:
        made.append(house.claim(launcher, is_zygote=True))
        made[-1].run(prepare)
        assert made[-1].run(become_zygote) == "zygote"
        made[-1].call(lambda: made[-1].sandbox.seal(parked, keeps_tmp=keeps_tmp))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def child(house: House, launcher: Launcher) -> Iterator[Callable[[Inside], Inside]]:
    """`child(zygote)`: an environment born of it."""
    made: list[Inside] = []

    def bear(mother: Inside) -> Inside:
        made.append(house.claim(launcher, child_of=mother.sandbox.id))
        return made[-1]

    yield bear
    for one in made:
        one.close()


def test_a_child_has_what_its_zygote_imported(zygote: Callable[..., Inside], child: Callable[..., Inside]) -> None:
    def prepare():
        import sys

        sys.modules["prepared"] = sys

    def is_prepared():
        import sys

        return "prepared" in sys.modules

    assert child(zygote(prepare)).run(is_prepared) is True


def test_a_child_stands_behind_the_walls_of_any_environment(
    zygote: Callable[..., Inside], child: Callable[..., Inside], fresh: Callable[..., Inside]
) -> None:
    """What the kernel says of the two processes differs only where they must."""
    plain, born = fresh(), child(zygote())
    theirs, ours = plain.run(status), born.run(status)
    same = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Threads", "Uid", "Gid", "NSpid")
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert ours["CapEff"] == "0" * 16


def test_a_child_shares_no_namespace_with_its_zygote_or_its_siblings(
    zygote: Callable[..., Inside], child: Callable[..., Inside]
) -> None:
    mother = zygote()
    first, second = child(mother).run(namespaces), child(mother).run(namespaces)
    own = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    with_process = os.readlink
    outside = {name: with_process(f"/proc/{mother.sandbox.pid}/ns/{name}") for name in own}
    for name in own:
        assert len({first[name], second[name], outside[name]}) == 3, name


def test_a_child_has_its_own_files_and_processes(zygote: Callable[..., Inside], child: Callable[..., Inside]) -> None:
    def leave():
        with open("/tmp/left", "w") as file:
            file.write("here")

    def look():
        import os

        return [os.listdir("/tmp"), os.listdir("/dev/shm"), [name for name in os.listdir("/proc") if name.isdigit()]]

    mother = zygote(leave)
    first = child(mother)
    first.run(leave)
    assert child(mother).run(look) == [[], [], ["1"]]
    assert first.run(look) == [["left"], [], ["1"]]


def test_what_a_snapshot_left_in_tmp_each_child_has_for_itself(
    zygote: Callable[..., Inside], child: Callable[..., Inside]
) -> None:
    def leave():
        import os

        os.makedirs("/tmp/folder")
        with open("/tmp/folder/file", "w") as file:
            file.write("here")
        os.symlink("/etc/passwd", "/tmp/folder/link")
        os.chmod("/tmp/folder/file", 0o600)

    def change():
        import os

        with open("/tmp/folder/file", "a") as file:
            file.write(" and there")
        return [open("/tmp/folder/file").read(), os.readlink("/tmp/folder/link"), os.stat("/tmp/folder/file").st_uid]

    mother = zygote(leave, keeps_tmp=True)
    for _ in range(2):
        assert child(mother).run(change) == ["here and there", "/etc/passwd", 993]


def test_every_child_has_a_host_uid_of_its_own(
    mode: str, zygote: Callable[..., Inside], child: Callable[..., Inside]
) -> None:
    mother = zygote()
    family = [mother, child(mother), child(mother)]
    uids = {os.stat(f"/proc/{one.sandbox.pid}").st_uid for one in family}
    assert len(uids) == (3 if mode == "root" else 1)


def test_an_own_setresuid_is_not_what_drops_privileges(
    zygote: Callable[..., Inside], child: Callable[..., Inside]
) -> None:
    def replace():
        import ctypes
        import os

        os.setresuid = os.setresgid = os.setuid = os.setgid = lambda *ids: None
        ctypes.CDLL = ctypes.PyDLL = None

    born = child(zygote(replace))
    assert born.run(status)["CapEff"] == "0" * 16
    assert born.run(status)["Uid"].split("\t") == ["993"] * 4


def test_code_that_runs_right_after_the_fork_has_no_privileges(
    zygote: Callable[..., Inside], child: Callable[..., Inside]
) -> None:
    """The first instruction of the child is the package's own, as the C library and Python offer: what can it do?"""

    def hook():
        import builtins
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        results = {}

        def attempt(name, *arguments):
            failed = getattr(libc, name)(*arguments) != 0
            results[name] = ctypes.get_errno() if failed else "done"

        def at_fork():
            with open("/proc/self/status") as file:
                results["caps"] = [line.split()[1] for line in file if line.startswith("Cap")]
            attempt("mount", b"none", b"/tmp", b"tmpfs", 0, None)
            attempt("sethostname", b"mine", 4)
            attempt("unshare", 0x10000000)
            attempt("setuid", 0)
            attempt("chroot", b"/tmp")
            results["uid"] = os.getuid()

        builtins.results = results
        os.register_at_fork(after_in_child=at_fork)

    def what_it_could():
        import builtins

        return builtins.results

    could = child(zygote(hook)).run(what_it_could)
    assert set(could.pop("caps")) == {"0" * 16}
    assert could.pop("uid") == 993
    refused, not_there = errno.EPERM, errno.EINVAL  # there is no user 0
    assert could == {
        "mount": refused,
        "sethostname": refused,
        "unshare": refused,
        "setuid": not_there,
        "chroot": refused,
    }


def test_nobody_makes_namespaces_who_was_not_asked_to(
    zygote: Callable[..., Inside], child: Callable[..., Inside], house: House, launcher: Launcher
) -> None:
    """Before it is sealed a zygote's filter hands such a call to nobody; a child's refuses it as everyone's."""

    def clone(flags):
        import ctypes
        import errno

        libc = ctypes.CDLL(None, use_errno=True)
        number = 220 if __import__("os").uname().machine == "aarch64" else 56
        got = libc.syscall(ctypes.c_long(number), ctypes.c_long(flags | 17), 0, 0, 0, 0)
        return "child" if got >= 0 else errno.errorcode[ctypes.get_errno()]

    new_user, parent = 0x10000000, 0x8000
    early = house.claim(launcher, is_zygote=True)
    try:
        assert early.run(clone, new_user) == "ENOSYS"
        assert early.run(clone, parent) == "ENOSYS"
    finally:
        early.close()
    assert child(zygote()).run(clone, new_user) == "EPERM"


def test_a_zygote_that_asks_for_something_else_is_ended(
    zygote: Callable[..., Inside], child: Callable[..., Inside]
) -> None:
    """It asks for fewer namespaces than it was told to; it, and what it made, are gone."""

    def cheat():
        import ctypes
        import sys

        def make_another():
            libc = ctypes.CDLL(None, use_errno=True)
            libc.syscall(ctypes.c_long(56), ctypes.c_long(0x10000000 | 17), 0, 0, 0, 0)

        frame = sys._getframe()
        while "namespaces" not in frame.f_globals:
            frame = frame.f_back
        frame.f_globals["namespaces"].kernel._before_fork = make_another

    mother = zygote(cheat)
    with pytest.raises(EnvironmentRefused):
        child(mother)
    assert mother.exit().status != 0


def test_a_zygote_that_does_nothing_is_given_up(zygote: Callable[..., Inside], child: Callable[..., Inside]) -> None:
    def stop_soon():
        import os
        import sys

        frame = sys._getframe()
        while "namespaces" not in frame.f_globals:
            frame = frame.f_back
        frame.f_globals["namespaces"].kernel._before_fork = lambda: os._exit(3)

    with pytest.raises(EnvironmentRefused):
        child(zygote(stop_soon))


def test_a_zygote_cannot_get_at_the_process_that_keeps_its_namespaces(house: House, launcher: Launcher) -> None:
    def kill():
        import contextlib
        import os
        import signal

        with contextlib.suppress(PermissionError):  # Landlock; without it, the kernel keeps it from a first process
            os.kill(1, signal.SIGKILL)
        return os.path.exists("/proc/1")

    def write_to():
        with open("/proc/1/mem", "rb+") as memory:
            return memory.read(1)

    def look_at():
        import os

        return os.readlink("/proc/1/cwd")

    mother = house.claim(launcher, is_zygote=True)
    try:
        assert mother.run(kill) is True
        assert mother.run(write_to) == Refused("EACCES")
        assert mother.run(look_at) == Refused("EACCES")
        assert mother.run(pid) == 2
    finally:
        mother.close()


def test_children_outlive_their_zygote(zygote: Callable[..., Inside], child: Callable[..., Inside]) -> None:
    mother = zygote()
    born = child(mother)
    mother.kill()
    assert born.run(pid) == 1
    with pytest.raises(EnvironmentRefused):
        child(mother)


def test_the_end_of_a_child_is_told(zygote: Callable[..., Inside], child: Callable[..., Inside]) -> None:
    def end():
        import os

        os._exit(7)

    born = child(zygote())
    with pytest.raises(Ended):
        born.run(end)
    assert born.exit().status == 7


def test_parked_children_are_there_before_they_are_asked_for(
    zygote: Callable[..., Inside], child: Callable[..., Inside]
) -> None:
    """Their processes have begun before the claim."""
    mother = zygote(parked=2)
    first = child(mother)  # perhaps made for this claim; the others are made behind it
    deadline = time.monotonic() + _LIMIT_S
    while len(_children_of(mother.sandbox.pid)) < 3 and time.monotonic() < deadline:
        first.run(pid)
    known = _children_of(mother.sandbox.pid)
    assert len(known) >= 3
    assert child(mother).sandbox.pid in known


def _children_of(zygote: int) -> set[int]:
    """Its children are the launcher's: those whose parent namespace of processes is the zygote's, by their depth."""
    with open(f"/proc/{zygote}/status") as file:
        launcher = next(line.split()[1] for line in file if line.startswith("PPid"))
    found = set()
    with open(f"/proc/{launcher}/task/{launcher}/children") as file:
        for name in file.read().split():
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{name}/status") as process:
                depth = next(len(line.split()) for line in process if line.startswith("NSpid"))
                if depth == 4:  # here, in the zygote's namespace, in its own
                    found.add(int(name))
    return found


def test_randomness_differs_between_children(zygote: Callable[..., Inside], child: Callable[..., Inside]) -> None:
    def use():
        import random
        import secrets
        import ssl
        import uuid

        return [random.random(), secrets.token_hex(), ssl.RAND_bytes(16).hex(), uuid.uuid4().hex, uuid.uuid1().hex]

    def numbers():
        import random
        import secrets
        import ssl
        import uuid

        return [random.random(), secrets.token_hex(), ssl.RAND_bytes(16).hex(), uuid.uuid4().hex, uuid.uuid1().hex]

    mother = zygote(use)
    drawn = [child(mother).run(numbers) for _ in range(3)]
    for kind in zip(*drawn, strict=True):
        assert len(set(kind)) == 3


def test_a_zygote_that_ends_before_its_work_is_done_leaves_no_process(house: House, launcher: Launcher) -> None:
    def members(namespace: str) -> list[str]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/pid") == namespace:
                    found.append(pid)
        return found

    unfinished = house.claim(launcher, is_zygote=True)
    namespace = os.readlink(f"/proc/{unfinished.sandbox.pid}/ns/pid")
    assert len(members(namespace)) == 2
    unfinished.close()
    deadline = time.monotonic() + _LIMIT_S
    while left := members(namespace):
        assert time.monotonic() < deadline, left
