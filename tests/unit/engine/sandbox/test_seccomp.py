"""The filter, run by a small BPF machine of our own, for every call number of both architectures."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.sandbox import seccomp, syscalls

ALLOW = 0x7FFF0000
ARCH = {False: 0xC000003E, True: 0xC00000B7}
PROGRAMS = {aarch64: seccomp.program(aarch64=aarch64) for aarch64 in (False, True)}
CLONE = {False: 56, True: 220}
CLONE3 = {False: 435, True: 435}
IOCTL = {False: 16, True: 29}
SOCKET = {False: 41, True: 198}
PERSONALITY = {False: 135, True: 92}


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would do: an errno, or 0 for going on."""
    data = struct.pack(
        "<iIQ6Q", number - (1 << 32) if number >= 1 << 31 else number, arch, 0, *(*arguments, *[0] * 6)[:6]
    )
    position = accumulator = 0
    while True:
        operation, when_true, when_false, operand = struct.unpack_from("HBBI", program, 8 * position)
        position += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif operation == 0x06:
            return 0 if operand == ALLOW else operand & 0xFFFF
        else:
            jumps = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}
            position += when_true if jumps[operation] else when_false


@pytest.mark.parametrize("aarch64", [False, True])
def test_a_call_that_is_not_in_the_table_is_not_there(aarch64: bool) -> None:
    allowed = set(seccomp.allowed_calls(aarch64=aarch64).values())
    refused = set(seccomp.refused_calls(aarch64=aarch64).values())
    by_argument = {calls[aarch64] for calls in (CLONE, CLONE3, IOCTL, SOCKET, PERSONALITY)}
    for number in {*range(1100), 0x3FFFFFFF} - by_argument:
        expected = 0 if number in allowed else errno.EPERM if number in refused else errno.ENOSYS
        assert run(PROGRAMS[aarch64], ARCH[aarch64], number) == expected, number


@pytest.mark.parametrize("machine", [0, 1])
def test_no_call_and_no_number_is_in_two_groups(machine: int) -> None:
    groups = [syscalls.BY_ARGUMENT, *(calls for _, calls in (*syscalls.ALLOWED.values(), *syscalls.REFUSED.values()))]
    names = [name for calls in groups for name in calls]
    numbers = [pair[machine] for calls in groups for pair in calls.values() if pair[machine] is not None]
    assert len(names) == len(set(names))
    assert len(numbers) == len(set(numbers))


def test_the_machines_differ_in_old_calls_alone() -> None:
    """From 424 on, every machine has the same numbers; what aarch64 lacks has an older number on x86_64."""
    for _, calls in (*syscalls.ALLOWED.values(), *syscalls.REFUSED.values()):
        for name, (on_x86_64, on_aarch64) in calls.items():
            numbers = {number for number in (on_x86_64, on_aarch64) if number is not None and number >= 424}
            assert not numbers or (on_x86_64 == on_aarch64), name


@given(aarch64=st.booleans(), flags=st.integers(0, 2**64 - 1))
def test_clone_is_refused_with_any_new_namespace(aarch64: bool, flags: int) -> None:
    refused = bool(flags & 0x7E020000)
    assert run(PROGRAMS[aarch64], ARCH[aarch64], CLONE[aarch64], (flags,)) == (errno.EPERM if refused else 0)


@given(aarch64=st.booleans(), request=st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0x5412, 0x541C])))
def test_only_pushing_terminal_input_is_refused_of_ioctl(aarch64: bool, request: int) -> None:
    refused = request in (0x5412, 0x541C)
    assert run(PROGRAMS[aarch64], ARCH[aarch64], IOCTL[aarch64], (0, request)) == (errno.EPERM if refused else 0)


@given(aarch64=st.booleans(), family=st.integers(0, 60), protocol=st.integers(0, 30))
def test_sockets_are_those_of_a_function(aarch64: bool, family: int, protocol: int) -> None:
    allowed = family in (1, 2, 10) or (family == 16 and protocol == 0)
    answer = run(PROGRAMS[aarch64], ARCH[aarch64], SOCKET[aarch64], (family, 1, protocol))
    assert answer == (0 if allowed else errno.EAFNOSUPPORT)


@pytest.mark.parametrize("aarch64", [False, True])
def test_calls_outside_of_a_filters_sight_are_not_there(aarch64: bool) -> None:
    program, arch = PROGRAMS[aarch64], ARCH[aarch64]
    assert run(program, arch, CLONE3[aarch64]) == errno.ENOSYS
    assert run(program, 0x40000003, 1) == errno.ENOSYS  # a 32-bit call
    if not aarch64:
        assert run(program, arch, 0x40000000 | 59) == errno.ENOSYS  # x32


@pytest.mark.parametrize("aarch64", [False, True])
def test_the_personality_may_be_asked_for_and_not_changed(aarch64: bool) -> None:
    answers = [
        run(PROGRAMS[aarch64], ARCH[aarch64], PERSONALITY[aarch64], (value,)) for value in (0, 0xFFFFFFFF, 0x0400000)
    ]
    assert answers == [0, 0, errno.EPERM]
