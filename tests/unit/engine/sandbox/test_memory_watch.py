"""When an environment is beyond its memory, on files that stand for its cgroup's."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent.engine.sandbox.memory_watch import CgroupMemory, MemoryWatch, ProcessMemory, own_bytes, pause_s
from lambent.testing.loop import JumpingLoop

MB = 1 << 20


class Group:
    """The files of a cgroup, and what was called."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self.version = version
        self.calls = 0
        self.use(1, 1)
        usage = "memory.usage_in_bytes" if version == 1 else "memory.current"
        self.fds = {"memory": os.open(folder, os.O_RDONLY), "usage": os.open(folder / usage, os.O_RDONLY)}

    def use(self, own_mb: int, all_mb: int) -> None:
        files = (
            {"memory.stat": f"cache 5\nrss {own_mb * MB}\n", "memory.usage_in_bytes": all_mb * MB}
            if self.version == 1
            else {"memory.stat": f"anon {own_mb * MB}\nfile 9\nkernel 0\n", "memory.current": all_mb * MB}
        )
        for name, content in {**files, "memory.kmem.usage_in_bytes": 0}.items():
            (self.folder / name).write_text(str(content))

    def on_beyond(self) -> None:
        self.calls += 1


@pytest.fixture(params=[1, 2])
def group(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    group = Group(tmp_path, request.param)
    yield group
    for fd in group.fds.values():
        os.close(fd)


def called_while(group: Group, steps: list[tuple[int, int]]) -> list[int]:
    """How often it was called after each step of (own, all) megabytes, a second apart."""

    async def watch() -> list[int]:
        memory = MemoryWatch(CgroupMemory(group.version, group.fds), 128 * MB, group.on_beyond)
        memory.start()
        calls = []
        for own_mb, all_mb in steps:
            group.use(own_mb, all_mb)
            await asyncio.sleep(1)
            calls.append(group.calls)
        memory.stop()
        return calls

    loop = JumpingLoop()
    try:
        return loop.run_until_complete(watch())
    finally:
        loop.close()


def test_files_in_tmp_and_page_cache_do_not_count(group: Group) -> None:
    assert called_while(group, [(20, 100), (20, 500), (127, 639)]) == [0, 0, 0]


def test_beyond_its_own_memory_it_is_called_once(group: Group) -> None:
    assert called_while(group, [(100, 100), (128, 128), (300, 300)]) == [0, 1, 1]


def test_stopped_it_does_not_look(group: Group) -> None:
    async def stop_and_exceed() -> None:
        memory = MemoryWatch(CgroupMemory(group.version, group.fds), 128 * MB, group.on_beyond)
        memory.start()
        memory.stop()
        group.use(300, 300)
        await asyncio.sleep(10)

    loop = JumpingLoop()
    loop.run_until_complete(stop_and_exceed())
    loop.close()
    assert group.calls == 0


def test_many_short_runs_are_looked_at_before_they_could_have_filled_the_gap_together(group: Group) -> None:
    async def run_often() -> list[int]:
        memory = MemoryWatch(CgroupMemory(group.version, group.fds), 128 * MB, group.on_beyond)
        group.use(300, 300)
        calls = []
        for _turn in range(8):
            memory.start()
            await asyncio.sleep(0.01)
            memory.stop()
            await asyncio.sleep(10)
            calls.append(group.calls)
        return calls

    loop = JumpingLoop()
    calls = loop.run_until_complete(run_often())
    loop.close()
    assert calls[0] == 0  # 10 ms are not enough to fill 128 MB
    assert calls[-1] > 0


@pytest.mark.parametrize(("gap_mb", "pause"), [(0, 0.005), (118, 0.0619), (10_000, 0.5)])
def test_it_looks_again_before_the_gap_can_be_filled(gap_mb: int, pause: float) -> None:
    assert pause_s(gap_mb * MB) == pytest.approx(pause, abs=0.0001)


def test_kernel_memory_counts_on_older_kernels_too() -> None:
    assert own_bytes(2, "anon 10\nkernel 5\nslab 3\n") == 15
    assert own_bytes(2, "anon 10\nslab 3\nkernel_stack 2\npagetables 1\n") == 16
    assert own_bytes(1, "rss 10\ncache 99\n", 4) == 14


def test_without_cgroups_the_processes_are_looked_at() -> None:
    memory = ProcessMemory(os.getpid())
    assert memory.in_use() > MB
    assert memory.peak() >= memory.own()
