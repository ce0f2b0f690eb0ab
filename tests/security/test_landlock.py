"""Landlock by itself, in a process that has no other wall; and that every environment stands behind it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attacks import Inside, Outside, Refused

import lambent
from lambent.engine.sandbox import landlock

SOURCES = str(Path(lambent.__file__).parents[1])
VERSIONS = tuple(range(2, landlock.version() + 1))  # each one up to the kernel's own; none where it offers none
READ, ALL = 0b1101, (1 << 16) - 1


def behind(sources, version, rules, attack):
    """Runs one of the attacks behind Landlock alone; without it when `version` is 0."""
    import os
    import signal
    import socket
    import sys

    sys.path.insert(0, sources)
    from lambent.engine.sandbox import kernel, landlock

    def read(path):
        with open(path) as file:
            return file.read()

    def write(path):
        with open(path, "a") as file:
            file.write("mine")
        return "written"

    def move(path, to):
        os.rename(path, to)
        return "moved"

    def stop(pid):
        os.kill(pid, signal.SIGSTOP)
        return "stopped"

    def connect(name):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(name)
        return "connected"

    def own_signal():
        child = os.fork()
        if child == 0:
            signal.pause()
        os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]

    if version:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        landlock.restrict(version, tuple((path, rights) for path, rights in rules))
    name, *arguments = attack
    return {"read": read, "write": write, "move": move, "stop": stop, "connect": connect, "own_signal": own_signal}[
        name
    ](*arguments)


class Landlocked:
    """Attacks in a folder that may be read and another that is one's own."""

    def __init__(self, outside: Outside, folder: Path) -> None:
        self._outside = outside
        self.theirs, self.mine = folder / "theirs", folder / "mine"
        self.theirs.mkdir()
        (self.mine / "sub").mkdir(parents=True)
        (self.theirs / "file").write_text("theirs")
        (self.mine / "file").write_text("mine")

    def run(self, version: int, name: str, *arguments: Any) -> Any:
        rules = [("/", READ), (str(self.mine), ALL)]
        return self._outside.run(behind, SOURCES, version, rules, [name, *arguments])


@pytest.fixture
def landlocked(outside: Outside, tmp_path: Path) -> Landlocked:
    return Landlocked(outside, tmp_path)


def test_landlock_alone_keeps_a_writable_file_from_being_written(landlocked: Landlocked) -> None:
    place = str(landlocked.theirs / "file")
    assert landlocked.run(0, "write", place) == "written"
    for version in VERSIONS:
        assert landlocked.run(version, "write", place) == Refused("EACCES")
        assert landlocked.run(version, "write", str(landlocked.theirs / "new")) == Refused("EACCES")
        assert landlocked.run(version, "read", place) == "theirsmine"


def test_landlock_lets_ones_own_folder_be_used_as_ever(landlocked: Landlocked) -> None:
    file, moved = landlocked.mine / "file", landlocked.mine / "sub" / "file"
    for version in VERSIONS:
        assert landlocked.run(version, "write", str(file)) == "written"
        assert landlocked.run(version, "move", str(file), str(moved)) == "moved"  # into another folder
        moved.rename(file)
        assert landlocked.run(version, "own_signal") == signal.SIGKILL


def test_landlock_alone_keeps_a_file_from_being_moved_out_of_reach(landlocked: Landlocked) -> None:
    file = landlocked.theirs / "file"
    for version in VERSIONS:
        assert landlocked.run(version, "move", str(file), str(landlocked.mine / "taken")) in (
            Refused("EACCES"),
            Refused("EXDEV"),
        )
    assert landlocked.run(0, "move", str(file), str(landlocked.mine / "taken")) == "moved"


def test_landlock_alone_keeps_signals_within(landlocked: Landlocked) -> None:
    """From version 6 on, as for abstract sockets; before, the process namespace is the only wall."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        for version in VERSIONS:
            expected = Refused("EPERM") if version >= 6 else "stopped"
            assert landlocked.run(version, "stop", victim.pid) == expected
        assert landlocked.run(0, "stop", victim.pid) == "stopped"
        victim.kill()


def test_landlock_alone_keeps_abstract_sockets_within(landlocked: Landlocked) -> None:
    name = f"\0lambent-landlock-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert landlocked.run(0, "connect", name) == "connected"
        for version in VERSIONS:
            assert landlocked.run(version, "connect", name) == (Refused("EPERM") if version >= 6 else "connected")


def test_every_environment_stands_behind_landlock(fresh: Callable[..., Inside], outside: Outside) -> None:
    """The kernel stacks 16 sets of rules and no more: inside, one is there already."""

    def count():
        import ctypes
        import struct

        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)
        ruleset = libc.syscall(ctypes.c_long(444), struct.pack("Q", 1), ctypes.c_long(8), ctypes.c_long(0))
        put_on = 0
        while ruleset >= 0 and libc.syscall(ctypes.c_long(446), ctypes.c_long(ruleset), ctypes.c_long(0)) == 0:
            put_on += 1
        return put_on

    if landlock.version():
        assert outside.run(count) == 16
        assert fresh().run(count) == 15
