"""What a function can see of other processes, and do to them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from attacks import House, Inside, Outside, Refused


@pytest.fixture
def victim() -> Iterator[int]:
    """A process of the host, of the user that runs the tests."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def pids():
    import os

    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def is_there(pid):
    import os

    os.kill(pid, 0)
    return True


def call(name, *arguments):
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(ctypes.c_long(a) for a in arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"


def test_only_its_own_processes_are_in_proc(inside: Inside, outside: Outside) -> None:
    assert os.getpid() in outside.run(pids)
    assert inside.run(pids) == [1]


def test_another_functions_environment_variables_are_nowhere_in_proc(
    fresh: Callable[..., Inside], inside: Inside, outside: Outside
) -> None:
    def start_with_a_password():
        import subprocess

        globals()["child"] = subprocess.Popen(["/bin/sleep", "60"], env={"PASSWORD": "tiger"})

    def look():
        import os

        found = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    found += b"PASSWORD=tiger" in file.read()
            except OSError:
                continue
        return found

    theirs = fresh()
    theirs.run(start_with_a_password)
    assert theirs.run(look) == 1
    assert outside.run(look) == 1
    assert inside.run(look) == 0


def test_what_a_function_changes_in_itself_the_next_copy_of_the_launcher_does_not_see(
    fresh: Callable[..., Inside],
) -> None:
    """The control is a copy that it makes of itself: that one does see it."""

    def change():
        import builtins
        import json
        import os
        import sys

        os.setresuid = os.setresgid = lambda *ids: None
        os.register_at_fork(after_in_child=lambda: builtins.__dict__.update(caught="caught"))
        sys.modules["ssl"] = json
        builtins.open = None
        json.dumps.__kwdefaults__["indent"] = 3

    def seen():
        import builtins
        import json
        import os
        import sys

        return [
            type(os.setresuid).__name__,
            hasattr(builtins, "caught"),
            sys.modules.get("ssl") is json,
            builtins.open is None,
            json.dumps.__kwdefaults__["indent"],
            list(os.getresuid()),
        ]

    def seen_by_a_copy():
        import builtins
        import os

        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, b"caught" if hasattr(builtins, "caught") else b"not")
            os._exit(0)
        os.close(writer)
        return os.read(reader, 10).decode()

    first = fresh()
    first.run(change)
    assert first.run(seen_by_a_copy) == "caught"
    assert first.run(seen)[:5] == ["function", False, True, True, 3]
    for _ in range(4):  # more than are parked: these are made after the change
        assert fresh().run(seen) == ["builtin_function_or_method", False, False, False, None, [993] * 3]


def test_a_package_that_takes_the_place_of_modules_takes_none_of_the_launchers(
    house: House, mode: str, fresh: Callable[..., Inside]
) -> None:
    """It replaces os.setresuid and registers at-fork hooks once imported, by every name that could be."""
    code = house.folder / f"replacing-{mode}"
    code.mkdir()
    hostile = "import os\nos.setresuid = os.setresgid = lambda *ids: None\nos.register_at_fork(before=os.abort)\n"
    for name in ("sitecustomize", "usercustomize", "signal", "ctypes", "fcntl", "bootstrap", "lambent"):
        (code / f"{name}.py").write_text(hostile)

    def load():
        import os
        import sys

        sys.path.insert(0, "/var/task")
        import sitecustomize  # noqa: F401

        return type(os.setresuid).__name__

    def user():
        import os

        return [type(os.setresuid).__name__, list(os.getresuid()), list(os.getresgid())]

    for _ in range(4):
        environment = fresh(code=code)
        assert environment.run(user) == ["builtin_function_or_method", [993] * 3, [993] * 3]
        assert environment.run(load) == "function"


def test_a_process_of_the_host_cannot_be_signalled(inside: Inside, outside: Outside, victim: int) -> None:
    assert outside.run(is_there, victim) is True
    assert inside.run(is_there, victim) == Refused("ESRCH")


def test_killing_everything_kills_only_itself(fresh: Callable[..., Inside], inside: Inside) -> None:
    def kill_all():
        import os
        import signal

        child = os.fork()
        if child == 0:
            signal.pause()
        os.kill(-1, signal.SIGKILL)
        return os.waitpid(child, 0)[1]

    assert fresh().run(kill_all) == 9
    assert inside.run(pids) == [1]


def test_a_process_cannot_be_traced(inside: Inside, outside: Outside) -> None:
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
        return "attached"

    assert outside.run(trace) == "attached"
    assert inside.run(trace) == Refused("EPERM")


def test_the_memory_of_a_process_cannot_be_read_by_system_call(inside: Inside, outside: Outside) -> None:
    def read_memory():
        import ctypes
        import os
        import struct

        secret = ctypes.create_string_buffer(b"secret", 6)
        target = ctypes.create_string_buffer(6)
        local = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(target), 6), 16)
        remote = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(secret), 6), 16)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.process_vm_readv(os.getpid(), local, 1, remote, 1, 0) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return target.raw.decode()

    assert outside.run(read_memory) == "secret"
    assert inside.run(read_memory) == Refused("EPERM")


def test_the_launchers_environment_variables_and_arguments_are_not_shown(inside: Inside, outside: Outside) -> None:
    def show():
        import os

        with open("/proc/self/environ", "rb") as environ, open("/proc/1/cmdline", "rb") as line:
            words = [word.decode() for word in line.read().split(b"\0") if word]
            return len(environ.read().strip(b"\0")), words, dict(os.environ)

    assert outside.run(show)[0] > 0
    assert inside.run(show) == [0, ["/var/lang/bin/python3", "/var/runtime/bootstrap.py"], {}]


def test_no_module_of_the_platform_is_loaded(inside: Inside) -> None:
    def modules():
        import sys

        return [name for name in sys.modules if "lambent" in name]

    assert inside.run(modules) == []


def test_only_its_own_descriptors_are_open(inside: Inside) -> None:
    def descriptors():
        import os

        names = os.listdir("/proc/self/fd")  # and one more, which listed the folder
        links = {name: f"/proc/self/fd/{name}" for name in names}
        return {name: os.readlink(link).partition(":")[0] for name, link in links.items() if os.path.lexists(link)}

    assert inside.run(descriptors) == {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "socket"}


def test_its_own_proc_works(inside: Inside) -> None:
    def use():
        with open("/proc/self/maps") as maps, open("/dev/stdout", "w"), open("/proc/self/mem", "rb"):
            return bool(maps.read())

    assert inside.run(use) is True


def test_shared_memory_and_queues_are_not_shared(inside: Inside, fresh: Callable[..., Inside]) -> None:
    def make():
        import ctypes

        return ctypes.CDLL(None).shmget(0x1A3B, 4096, 0o1666)  # IPC_CREAT

    def look():
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.shmget(0x1A3B, 4096, 0o666) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return "found"

    other = fresh()
    assert other.run(make) >= 0
    assert other.run(look) == "found"
    assert inside.run(look) == Refused("ENOENT")


def test_the_host_has_another_name_and_keeps_it(inside: Inside, outside: Outside) -> None:
    def name():
        import socket

        return socket.gethostname()

    assert inside.run(name) == "169.254.100.1"
    assert outside.run(name) != "169.254.100.1"


def test_it_is_the_user_of_lambda_functions_and_can_be_no_other(inside: Inside) -> None:
    def ids():
        import os

        return [*os.getresuid(), *os.getresgid(), len(os.getgroups())]

    def become():
        import os

        os.setuid(0)

    assert inside.run(ids) == [993] * 6 + [0]
    assert inside.run(become) in (Refused("EPERM"), Refused("EINVAL"))


def test_each_environment_has_a_host_uid_of_its_own(limited: Callable[..., Inside]) -> None:
    uids = {os.stat(f"/proc/{limited().sandbox.pid}").st_uid for _ in range(2)}
    if os.getuid() == 0:
        assert len(uids) == 2
        assert 0 not in uids
    else:
        assert uids == {os.getuid()}  # as a plain user there is only one to give; doctor says so


def test_copies_of_one_launcher_draw_different_random_numbers(fresh: Callable[..., Inside]) -> None:
    def draw():
        import random
        import uuid

        return random.random(), str(uuid.uuid4())

    first, second = fresh().run(draw), fresh().run(draw)
    assert first[0] != second[0]
    assert first[1] != second[1]
