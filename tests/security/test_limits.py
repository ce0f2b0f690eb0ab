"""How much of the machine a function can take."""

import os
import select
import signal
from collections.abc import Callable

import pytest
from attacks import Ended, Inside, Refused
from machine import BEST

from lambent.engine.sandbox.launch import Exit


def allocate(megabytes):
    data = bytearray(megabytes << 20)
    for i in range(0, len(data), 4096):
        data[i] = 1
    return len(data) >> 20


def allocate_and_keep(megabytes):
    """The platform looks when the kernel rings, which under load may be after an allocation has come and gone."""
    import threading

    globals()["kept"] = bytearray(megabytes << 20)
    for i in range(0, megabytes << 20, 4096):
        kept[i] = 1  # noqa: F821
    threading.Event().wait(10)


def test_memory_beyond_the_functions_ends_it(fresh: Callable[..., Inside]) -> None:
    greedy = fresh(memory_mb=128)
    assert greedy.run(allocate, 64) == 64
    with pytest.raises(Ended):
        greedy.run(allocate_and_keep, 300)
    ended = greedy.exit()
    assert (ended.status, ended.out_of_memory) == (-signal.SIGKILL, True)
    assert fresh(memory_mb=512).run(allocate, 300) == 300


def test_memory_is_counted_over_all_processes(fresh: Callable[..., Inside]) -> None:
    def share_out(count, megabytes):
        import os
        import signal

        for _ in range(count):
            if os.fork() == 0:
                data = bytearray(megabytes << 20)
                data[::4096] = b"x" * len(data[::4096])
                signal.pause()
        signal.pause()

    greedy = fresh(memory_mb=128)
    with pytest.raises(Ended):
        greedy.run(share_out, 4, 50)
    assert greedy.exit() == Exit(-signal.SIGKILL, out_of_memory=True)


def test_the_kernel_itself_stops_what_goes_beyond_memory_and_tmp(limited: Callable[..., Inside]) -> None:
    """Nobody watches here: the watch is stopped, as if the node had no time for it."""
    environment = limited(memory_mb=128, ephemeral_mb=64)
    environment.call(environment.sandbox._memory.stop)
    if BEST.cgroups is None:  # a plain user without a delegated group has no such wall; doctor says so
        return
    with pytest.raises(Ended):
        environment.run(allocate_and_keep, 300)
    assert environment.exit() == Exit(-signal.SIGKILL, out_of_memory=True)


def test_the_most_memory_used_is_known_after_the_end(limited: Callable[..., Inside]) -> None:
    environment = limited(memory_mb=256)
    environment.run(allocate, 100)
    environment.kill()
    environment.exit()
    assert environment.sandbox.max_memory_bytes() >= (100 << 20 if BEST.cgroups else 0)


def test_a_fork_bomb_stops_at_the_limit(fresh: Callable[..., Inside]) -> None:
    def fork_bomb():
        import os
        import signal

        count = 1
        while count < 1200:
            try:
                if os.fork() == 0:
                    signal.pause()
            except BlockingIOError:
                return count
            count += 1
        return count

    assert fresh(memory_mb=3008).run(fork_bomb) == 1024


def test_threads_count_as_processes(fresh: Callable[..., Inside]) -> None:
    def start_threads():
        import threading

        done = threading.Event()
        started = []
        try:
            while len(started) < 2000:
                started.append(threading.Thread(target=done.wait))
                started[-1].start()
        except RuntimeError:
            started.pop()
        done.set()
        for thread in started:
            thread.join()
        return len(started) + 1

    assert fresh(memory_mb=3008).run(start_threads) == 1024


def test_descriptors_end_at_1024(inside: Inside) -> None:
    def open_all():
        import errno
        import os

        opened = []
        try:
            while len(opened) < 5000:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            return max(opened) + 1, errno.errorcode[error.errno]
        finally:
            for fd in opened:
                os.close(fd)

    def raise_limit():
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))

    assert inside.run(open_all) == [1024, "EMFILE"]
    assert inside.run(raise_limit) == Refused("ValueError")  # Python's word for EPERM here


def test_tmp_ends_at_its_size(fresh: Callable[..., Inside]) -> None:
    def fill(megabytes):
        import os

        with open("/tmp/large", "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, megabytes << 20)
            finally:
                os.unlink("/tmp/large")
        return "filled"

    usual = fresh(memory_mb=3008)
    assert usual.run(fill, 512) == "filled"
    assert usual.run(fill, 513) == Refused("ENOSPC")
    larger = fresh(memory_mb=3008, ephemeral_mb=600)
    assert larger.run(fill, 600) == "filled"
    assert larger.run(fill, 601) == Refused("ENOSPC")


def test_the_largest_tmp_has_10240_mb(fresh: Callable[..., Inside]) -> None:
    """What it holds is said; a machine that runs tests need not have so much memory."""

    def room():
        import os

        room = os.statvfs("/tmp")
        return room.f_blocks * room.f_frsize >> 20

    assert fresh(ephemeral_mb=10_240).run(room) == 10_240


def test_shared_memory_ends_at_its_size(fresh: Callable[..., Inside]) -> None:
    def fill(megabytes):
        import os

        place = f"/dev/shm/lambent-large-{os.getpid()}"
        with open(place, "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, megabytes << 20)
            finally:
                os.unlink(place)
        return "filled"

    environment = fresh(memory_mb=512)
    assert environment.run(fill, 64) == "filled"
    assert environment.run(fill, 65) == Refused("ENOSPC")


def test_files_in_tmp_do_not_count_as_memory(fresh: Callable[..., Inside]) -> None:
    """A function of 128 MB has its 512 MB of /tmp, and no byte of memory more for it."""

    def write(megabytes):
        with open("/tmp/large", "wb") as file:
            for _ in range(megabytes):
                file.write(b"x" * (1 << 20))
        return "written"

    environment = fresh(memory_mb=128)
    assert environment.run(write, 400) == "written"
    assert environment.run(write, 600) == Refused("ENOSPC")
    assert environment.run(write, 400) == "written"
    assert environment.run(allocate, 64) == 64
    with pytest.raises(Ended):
        environment.run(allocate_and_keep, 140)
    assert environment.exit() == Exit(-signal.SIGKILL, out_of_memory=True)


def test_no_core_is_dumped(inside: Inside) -> None:
    def limit():
        import resource

        return resource.getrlimit(resource.RLIMIT_CORE)

    assert inside.run(limit) == [0, 0]


def test_the_cpu_is_shared_out_by_memory(limited: Callable[..., Inside]) -> None:
    """128 MB is 7.2 % of a CPU: in a second of running, the processor time is about that, never twice as much."""

    def burn():
        import time

        began, spent = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < 1:
            pass
        return (time.process_time() - spent) / (time.perf_counter() - began)

    environment = limited(memory_mb=128)
    environment.call(environment.sandbox.throttle_cpu)
    share = environment.run(burn)
    if BEST.cgroups:
        assert share < 0.145


def test_it_cannot_get_ahead_of_others(inside: Inside, without_walls: Inside) -> None:
    def priority():
        import os

        return os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)

    def hurry():
        import os

        os.nice(-1)

    def hurry_in_real_time():
        import os

        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    own = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)]
    assert inside.run(priority) == without_walls.run(priority) == own
    assert inside.run(hurry) in (Refused("EPERM"), Refused("EACCES"))
    assert inside.run(hurry_in_real_time) in (Refused("EPERM"), Refused("ENOSYS"))


def test_a_frozen_environment_does_not_run(fresh: Callable[..., Inside], inside: Inside) -> None:
    def start_writing():
        import os
        import threading

        def forever():
            while True:
                os.write(1, b".")
                threading.Event().wait(0.0005)

        threading.Thread(target=forever, daemon=True).start()

    def nap():
        import threading

        threading.Event().wait(0.05)

    def written_during_a_nap() -> int:
        inside.run(nap)
        try:
            return len(os.read(environment.sandbox.output, 65536))
        except BlockingIOError:
            return 0

    def writes() -> bool:
        return bool(select.select([environment.sandbox.output], [], [], 20)[0])

    environment = fresh()
    environment.run(start_writing)
    assert writes()
    environment.call(environment.sandbox.freeze)
    written_during_a_nap()  # what was on its way
    assert written_during_a_nap() == 0
    environment.call(environment.sandbox.thaw)
    assert writes()
