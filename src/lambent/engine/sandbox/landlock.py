"""Landlock: a second wall around an environment's files, signals and abstract sockets, where the kernel has it.

What it says is what the mounts, the process namespace and the network namespace say already: all may be read and run,
only /tmp, /dev/shm, the devices and /proc may be written to, and signals and abstract sockets stay within. But it is
kept by another part of the kernel, bound to the process itself, and cannot be taken off: a mount that should not be
there, or a descriptor of a namespace, does not get past it. Every right that this kernel's Landlock knows is handled,
so that what no rule grants is refused.

Source: the kernel's documentation, userspace-api/landlock.
"""

from __future__ import annotations

import os

from lambent.engine.sandbox import kernel

PATH_BENEATH = kernel.LANDLOCK_RULE_PATH_BENEATH

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_RIGHTS = ((5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1))  # from version 5, 3, 2 on
_SCOPES = 0b11  # abstract sockets and signals, from version 6 on
_NO_NETWORK = 0  # the network namespace decides

_FIRST_USABLE = 2  # before, a file could not be renamed into another folder, not even in /tmp
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OWN = ~(_MAKE_CHAR | _MAKE_BLOCK)
_RULES = (
    ("/", _READ),
    ("/dev", _READ | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV),
    ("/proc", _READ | _WRITE_FILE | _TRUNCATE),  # names of threads, oom_score_adj; /proc/sys is a read-only mount
    ("/tmp", _OWN),
    ("/dev/shm", _OWN),
)


def rules(writable: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """The rules of an environment that may write to these places too."""
    return (*_RULES, *((place, _OWN) for place in writable))


def rules_of(*places: str) -> tuple[tuple[str, int], ...]:
    """Rules by which all may be done below these places, and nothing elsewhere."""
    return tuple((place, _OWN) for place in places)


def version() -> int:
    """Which version to use: 0 where the kernel offers none, or one that is too old."""
    try:
        offered = kernel.landlock_abi()
    except OSError:
        return 0
    return offered if offered >= _FIRST_USABLE else 0


def ruleset(version: int) -> bytes:
    """What is asked of the kernel for a ruleset."""
    return kernel.landlock_ruleset(handled(version), _NO_NETWORK, scopes(version), version=version)


def handled(version: int) -> int:
    """Every right to files that this version knows."""
    return next(known for since, known in _RIGHTS if version >= since)


def scopes(version: int) -> int:
    """What this version can keep within, besides files."""
    return _SCOPES if version >= 6 else 0


def restrict(version: int, rules: tuple[tuple[str, int], ...] = _RULES) -> None:
    """Put this process, and all that it starts, behind the rules, for good. Needs no_new_privs.

    Nothing can be mounted by it afterwards; what others mount in its namespace is under the rule for `/`.
    """
    rights = handled(version)
    created = kernel.landlock_create_ruleset(ruleset(version))
    try:
        for path, allowed in rules:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                kernel.landlock_allow_beneath(created, place, allowed & rights)
            finally:
                os.close(place)
        kernel.landlock_restrict_self(created)
    finally:
        os.close(created)
