"""The system calls that a function may not make: a deny list, assembled into a BPF program.

Refused is what reaches the kernel's rarely used depths or acts on more than the environment: mounts, namespaces,
tracing, keyrings, io_uring, modules, clocks. Everything a Lambda function does on AWS stays possible. The program is
a search tree over the call numbers, for the kernel runs it once for every number when it is loaded, and an
environment is made in less than a millisecond.

Numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import struct

_CALLS = {  # name: (x86_64, aarch64); None where the machine has no such call
    # mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    # namespaces and other processes
    "setns": (308, 268),
    "unshare": (272, 97),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # large and often broken parts of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    # the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
}
_CLONE, _CLONE3, _IOCTL, _SOCKET, _PERSONALITY = (56, 220), (435, 435), (16, 29), (41, 198), (135, 92)

_AUDIT_ARCH = (0xC000003E, 0xC00000B7)
_X32_BIT = 0x40000000
_NEW_NAMESPACES = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW = 0x7FFF0000

_Code = list[tuple[int, int, int, int]]  # (operation, jump when true, jump when false, operand)


def denied_calls(*, aarch64: bool) -> dict[str, int]:
    """The calls that are refused whatever their arguments, with their numbers on this machine."""
    numbers = {name: pair[1 if aarch64 else 0] for name, pair in _CALLS.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def program(*, aarch64: bool) -> bytes:
    """The filter as the kernel takes it, 8 bytes an instruction."""
    machine = 1 if aarch64 else 0
    rules: dict[int, _Code] = {number: [_error(errno.EPERM)] for number in denied_calls(aarch64=aarch64).values()}
    rules[_CLONE[machine]] = _refuse_if_any_bit(_NEW_NAMESPACES)
    rules[_CLONE3[machine]] = [
        _error(errno.ENOSYS)
    ]  # its flags are in memory, out of a filter's sight; libc falls back
    rules[_IOCTL[machine]] = _refuse_if_one_of(1, (_TIOCSTI, _TIOCLINUX))
    rules[_SOCKET[machine]] = _sockets()
    rules[_PERSONALITY[machine]] = _allow_only(0, (0, 0xFFFFFFFF), errno.EPERM)
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


def _intervals(rules: dict[int, _Code]) -> list[tuple[int, _Code]]:
    """(first number, code) for each run of numbers that are treated alike."""
    allow: _Code = [(_RETURN, 0, 0, _ALLOW)]
    result: list[tuple[int, _Code]] = [(0, allow)]
    for number in sorted(rules):
        for start, code in ((number, rules[number]), (number + 1, rules.get(number + 1, allow))):
            if result[-1][0] == start:
                result[-1] = (start, code)
            elif result[-1][1] != code:
                result.append((start, code))
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
