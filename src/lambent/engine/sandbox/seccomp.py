"""The filter of system calls: the table in syscalls.py, and rules by argument, assembled into a BPF program.

An allow list: what is in no group is answered with ENOSYS, as a kernel answers that does not have it. The program is
a search tree over the call numbers, for the kernel runs it once for every number when it is loaded, and an
environment is made in less than a millisecond.
"""

from __future__ import annotations

import errno
import struct

from lambent.engine.sandbox import syscalls

_AUDIT_ARCH = (0xC000003E, 0xC00000B7)
_X32_BIT = 0x40000000
_NEW_NAMESPACES, _CLONE_PARENT = 0x7E020000, 0x8000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000

_Code = list[tuple[int, int, int, int]]  # (operation, jump when true, jump when false, operand)
_ALLOWED: _Code = [(_RETURN, 0, 0, _ALLOW)]
_REFUSED: _Code = [(_RETURN, 0, 0, 0x00050000 | errno.EPERM)]
_MISSING: _Code = [(_RETURN, 0, 0, 0x00050000 | errno.ENOSYS)]


def allowed_calls(*, aarch64: bool) -> dict[str, int]:
    """The calls that reach the kernel whatever their arguments, with their numbers on this machine."""
    return _numbers(syscalls.ALLOWED, aarch64=aarch64)


def refused_calls(*, aarch64: bool) -> dict[str, int]:
    """The calls that are not permitted whatever their arguments, with their numbers on this machine."""
    return _numbers(syscalls.REFUSED, aarch64=aarch64)


def program(*, aarch64: bool, for_zygote: bool = False) -> bytes:
    """The filter as the kernel takes it, 8 bytes an instruction.

    That of a zygote leaves the making of its environments to whoever traces it. Nobody does, but the launcher when it
    wants one: else those calls are as if they were not there.
    """
    machine = 1 if aarch64 else 0
    rules = dict.fromkeys(allowed_calls(aarch64=aarch64).values(), _ALLOWED)
    rules |= dict.fromkeys(refused_calls(aarch64=aarch64).values(), _REFUSED)
    for name, rule in _by_argument().items():
        number = syscalls.BY_ARGUMENT[name][machine]
        assert number is not None
        rules[number] = rule
    if for_zygote:
        rules[syscalls.BY_ARGUMENT["clone"][machine] or 0] = _leave_if_any_bit(_NEW_NAMESPACES | _CLONE_PARENT)
        rules[refused_calls(aarch64=aarch64)["unshare"]] = [(_RETURN, 0, 0, _TRACE)]
    code: _Code = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        _error(errno.ENOSYS),  # 32-bit calls
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if not aarch64:
        code += [(_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT), _error(errno.ENOSYS)]
    code += _search(_intervals(rules))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _numbers(groups: syscalls.Groups, *, aarch64: bool) -> dict[str, int]:
    machine = 1 if aarch64 else 0
    found = {name: pair[machine] for _, calls in groups.values() for name, pair in calls.items()}
    return {name: number for name, number in found.items() if number is not None}


def _by_argument() -> dict[str, _Code]:
    return {
        "clone": _refuse_if_any_bit(_NEW_NAMESPACES),
        "clone3": _MISSING,  # its flags are in memory, out of a filter's sight; libc falls back
        "ioctl": _refuse_if_one_of(1, (_TIOCSTI, _TIOCLINUX)),
        "socket": _sockets(),
        "personality": _allow_only(0, (0, 0xFFFFFFFF), errno.EPERM),
    }


def _intervals(rules: dict[int, _Code]) -> list[tuple[int, _Code]]:
    """(first number, code) for each run of numbers that are treated alike."""
    result: list[tuple[int, _Code]] = [(0, rules.get(0, _MISSING))]
    for number in range(1, max(rules) + 2):
        code = rules.get(number, _MISSING)
        if result[-1][1] != code:
            result.append((number, code))
    return result


def _search(intervals: list[tuple[int, _Code]]) -> _Code:
    if len(intervals) == 1:
        return intervals[0][1]
    middle = len(intervals) // 2
    left, right = _search(intervals[:middle]), _search(intervals[middle:])
    assert len(left) < 256
    return [(_JUMP_GREATER_EQUAL, len(left), 0, intervals[middle][0]), *left, *right]


def _error(number: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, 0x00050000 | number)


def _argument(index: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)  # the lower half, on both little-endian machines


def _refuse_if_any_bit(mask: int) -> _Code:
    return [_argument(0), (_JUMP_SET, 0, 1, mask), _error(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]


def _leave_if_any_bit(mask: int) -> _Code:
    return [_argument(0), (_JUMP_SET, 0, 1, mask), (_RETURN, 0, 0, _TRACE), (_RETURN, 0, 0, _ALLOW)]


def _refuse_if_one_of(argument: int, values: tuple[int, ...]) -> _Code:
    tests: _Code = [(_JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(argument), *tests, (_RETURN, 0, 0, _ALLOW), _error(errno.EPERM)]


def _allow_only(argument: int, values: tuple[int, ...], error: int) -> _Code:
    tests: _Code = [(_JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(argument), *tests, _error(error), (_RETURN, 0, 0, _ALLOW)]


def _sockets() -> _Code:
    """Unix, IPv4 and IPv6 sockets, and of netlink the one protocol that lists interfaces."""
    return [
        _argument(0),
        (_JUMP_EQUAL, 6, 0, _AF_UNIX),
        (_JUMP_EQUAL, 5, 0, _AF_INET),
        (_JUMP_EQUAL, 4, 0, _AF_INET6),
        (_JUMP_EQUAL, 0, 2, _AF_NETLINK),
        _argument(2),
        (_JUMP_EQUAL, 1, 0, _NETLINK_ROUTE),
        _error(errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
