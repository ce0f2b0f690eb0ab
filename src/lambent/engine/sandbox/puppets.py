"""System calls made in another process, which is stopped meanwhile: by ptrace, for a process that must not be trusted.

A `Puppet` has just been born and has not executed an instruction of its own. Whatever its memory holds, and whoever
else may write to that, the calls it makes are those asked for: each is looked at, number and arguments, when the
kernel has taken it and before it is done. What it said afterwards does not count; who needs to be sure asks the kernel.

Source: ptrace(2); the kernel's include/uapi/linux/ptrace.h.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

from lambent.engine.sandbox import kernel

_CONT, _DETACH, _SYSCALL = 7, 17, 24
_GETREGSET, _SETREGSET, _SEIZE, _GETEVENTMSG, _SYSCALL_INFO = 0x4204, 0x4205, 0x4206, 0x4201, 0x420E
_SYSGOOD, _TRACE_FORK, _TRACE_CLONE, _TRACE_SECCOMP, _EXIT_KILL = 0x1, 0x2, 0x8, 0x80, 0x100000
_EVENT_FORK, _EVENT_CLONE, _EVENT_SECCOMP, _EVENT_STOP = 1, 3, 7, 128
_ENTRY, _EXIT, _SECCOMP = 1, 2, 3
_REGISTERS = 1  # NT_PRSTATUS
_WALL = 0x40000000

# Where the registers of a call are in the set: number, six arguments, program counter; and how long its instruction is.
if kernel.AARCH64:
    _COUNT, _NUMBER, _ARGUMENTS, _COUNTER, _LENGTH = 34, 8, (0, 1, 2, 3, 4, 5), 32, 4
else:
    _COUNT, _NUMBER, _ARGUMENTS, _COUNTER, _LENGTH = 27, 10, (14, 13, 12, 7, 9, 8), 16, 2
_ORIGINAL_NUMBER = 15  # of x86_64: -1 is "in no call", so that none is begun again

_ROOM = 1 << 16
_READ_WRITE, _PRIVATE_ANONYMOUS = 3, 0x22
_libc = ctypes.PyDLL(None, use_errno=True)


class Strayed(OSError):
    """The process did something else than what it was asked for; it is to be killed."""


class Call:
    """One system call on its way into the kernel."""

    def __init__(self, number: int, arguments: tuple[int, ...]) -> None:
        self.number = number
        self.arguments = arguments


def seize(pid: int) -> None:
    """Be told of that process's births and of the calls that its filter leaves to us. If we end, it is killed."""
    options = _SYSGOOD | _TRACE_FORK | _TRACE_CLONE | _TRACE_SECCOMP | _EXIT_KILL
    _ptrace("seize", _SEIZE, pid, 0, options)


def birth(pid: int, number: int, flags: int) -> int:
    """Let the seized process make one child by that call with exactly these flags; the child's pid. Both are stopped.

    Raises:
        Strayed: it did anything else that we are told of.
    """
    status = _wait(pid)
    if status >> 8 != signal.SIGTRAP | _EVENT_SECCOMP << 8:
        raise Strayed(f"it did not ask for a child ({status:#x})")
    call = _information(pid)[1]
    if call.number != number or call.arguments[0] != flags or call.arguments[1] != 0:
        raise Strayed(f"it asked for call {call.number} with {call.arguments[0]:#x}")
    _ptrace("cont", _CONT, pid)
    status = _wait(pid)
    if status >> 8 not in (signal.SIGTRAP | event << 8 for event in (_EVENT_FORK, _EVENT_CLONE)):
        raise Strayed(f"it has no child ({status:#x})")
    message = ctypes.c_ulong()
    _ptrace("geteventmsg", _GETEVENTMSG, pid, 0, ctypes.addressof(message))
    child = message.value
    status = _wait(child)
    if status >> 16 != _EVENT_STOP:
        raise Strayed(f"its child did not stop ({status:#x})")
    return child


def detach(pid: int) -> None:
    """Let it go its way."""
    _ptrace("detach", _DETACH, pid)


class Puppet:
    """A stopped process that makes calls for us."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        self._registers = _registers(pid)
        self._room = 0
        self._room = self.call(9 if not kernel.AARCH64 else 222, 0, _ROOM, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
        self._used = 0

    def call(self, number: int, *arguments: int) -> int:
        """What the kernel answers. A refusal raises OSError with its errno."""
        words = [argument & 0xFFFFFFFFFFFFFFFF for argument in arguments]
        words += [0] * (6 - len(words))
        registers = list(self._registers)
        registers[_NUMBER] = number
        for place, word in zip(_ARGUMENTS, words, strict=True):
            registers[place] = word
        registers[_COUNTER] -= _LENGTH
        if not kernel.AARCH64:
            registers[_ORIGINAL_NUMBER] = 0xFFFFFFFFFFFFFFFF
        _set_registers(self.pid, registers)
        while True:
            _ptrace("syscall", _SYSCALL, self.pid)
            status = _wait(self.pid)
            if status >> 8 not in (signal.SIGTRAP | 0x80, signal.SIGTRAP | _EVENT_SECCOMP << 8):
                raise Strayed(f"it stopped elsewhere ({status:#x})")
            kind, call = _information(self.pid)
            if kind == _EXIT:
                break
            if call.number != number or list(call.arguments) != words:
                raise Strayed(f"it made call {call.number} instead of {number}")
        result = call.number
        if -4096 < result < 0:
            raise OSError(-result, f"call {number} of an environment: {os.strerror(-result)}")
        return result

    def put(self, data: bytes) -> int:
        """The address of a copy of that in its memory, until `restore`."""
        address = self._room + self._used
        assert self._used + len(data) <= _ROOM
        os.pwrite(self._memory, data, address)
        self._used += (len(data) + 15) & ~15
        return address

    def restore(self) -> None:
        """As it was born: the next thing it does is its own."""
        self.call(11 if not kernel.AARCH64 else 215, self._room, _ROOM)
        os.close(self._memory)
        registers = list(self._registers)
        if not kernel.AARCH64:
            registers[_ORIGINAL_NUMBER] = 0xFFFFFFFFFFFFFFFF
        _set_registers(self.pid, registers)


def _information(pid: int) -> tuple[int, Call]:
    """At which end of a call it is; the call, or, at the exit, its result as the number."""
    record = ctypes.create_string_buffer(88)
    _ptrace("get_syscall_info", _SYSCALL_INFO, pid, 88, ctypes.addressof(record))
    kind = record.raw[0]
    if kind == _EXIT:
        return kind, Call(struct.unpack_from("q", record.raw, 24)[0], ())
    if kind not in (_ENTRY, _SECCOMP):
        raise Strayed(f"it is in no call ({kind})")
    words = struct.unpack_from("7Q", record.raw, 24)
    return kind, Call(words[0], words[1:])


def _registers(pid: int) -> list[int]:
    record = ctypes.create_string_buffer(_COUNT * 8)
    place = struct.pack("PN", ctypes.addressof(record), _COUNT * 8)
    _ptrace("getregset", _GETREGSET, pid, _REGISTERS, _address(place))
    return list(struct.unpack(f"{_COUNT}Q", record.raw))


def _set_registers(pid: int, values: list[int]) -> None:
    record = ctypes.create_string_buffer(struct.pack(f"{_COUNT}Q", *values), _COUNT * 8)
    place = struct.pack("PN", ctypes.addressof(record), _COUNT * 8)
    _ptrace("setregset", _SETREGSET, pid, _REGISTERS, _address(place))


def _address(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, len(data))


def _wait(pid: int) -> int:
    """Its next stop, as waitpid tells it. Its end raises."""
    _, status = os.waitpid(pid, _WALL)
    if not os.WIFSTOPPED(status):
        raise Strayed(f"it ended ({status:#x})")
    return status


def _ptrace(name: str, request: int, pid: int, address: int = 0, data: object = 0) -> None:
    third = ctypes.c_long(address)
    fourth = ctypes.c_long(data) if isinstance(data, int) else data
    if _libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), third, fourth) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {name}: {os.strerror(number)}")
