"""What is written where, on a tree of plain files. Version 2's limits cannot run on a machine whose controllers
belong to version 1, so these values are all that is known of them there."""

import os
from pathlib import Path

import pytest

from lambent.engine.sandbox import cgroups


class Tree:
    """A fake /sys/fs/cgroup with its mountinfo and the process's own groups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounts: list[str] = []
        self.own: list[str] = []

    def mount(self, name: str, kind: str, options: str, *, own: str) -> Path:
        mountpoint = self.folder / name
        (mountpoint / own.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.mounts.append(f"30 25 0:26 / {mountpoint} rw,relatime shared:4 - {kind} {kind} {options}")
        self.own.append(f"0::{own}" if kind == "cgroup2" else f"5:{options.removeprefix('rw,')}:{own}")
        return mountpoint / own.lstrip("/")

    def open(self) -> cgroups.Cgroups | None:
        (self.folder / "mountinfo").write_text("\n".join(self.mounts))
        (self.folder / "own").write_text("\n".join(self.own))
        return cgroups.open_cgroups("lambent-7-99", mounts=str(self.folder / "mountinfo"), own=str(self.folder / "own"))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def unified(tree: Tree, own: str = "/user.slice/app") -> Path:
    base = tree.mount("unified", "cgroup2", "rw", own=own)
    (base / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (base / "cgroup.procs").write_text("")
    return base


def test_version_2_enables_its_controllers_down_to_the_launchers_group(tree: Tree) -> None:
    base = unified(tree)
    groups = tree.open()
    assert groups is not None
    assert groups.version == 2
    for folder in (base, base / "lambent-7-99"):
        assert (folder / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_version_2_moves_processes_out_of_the_group_that_gets_children(tree: Tree) -> None:
    base = unified(tree)
    (base / "cgroup.type").write_text("domain\n")
    (base / "cgroup.procs").write_text("41\n42\n")
    moved = base / "lambent-node" / "cgroup.procs"
    tree.open()
    assert moved.read_text() == "42"  # the last one written; the kernel would have emptied the list


def test_version_2_leaves_the_root_as_it_is(tree: Tree) -> None:
    base = unified(tree, own="/")
    (base / "cgroup.procs").write_text("1\n")
    tree.open()
    assert not (base / "lambent-node").exists()


def test_a_second_launcher_makes_its_group_beside_the_nodes(tree: Tree) -> None:
    base = unified(tree, own="/app/lambent-node").parent
    (base / "cgroup.controllers").write_text("cpu memory pids")
    (base / "cgroup.procs").write_text("")
    assert tree.open() is not None
    assert (base / "lambent-7-99").is_dir()


def test_version_2_limits(tree: Tree) -> None:
    base = unified(tree)
    groups = tree.open()
    assert groups is not None
    group = groups.create()
    folder = base / "lambent-7-99" / "1"
    (folder / "memory.swap.max").touch()
    group.limit_memory(512, 1024)
    group.join(1234)
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == {
        "pids.max": "1024",
        "memory.max": str(1536 << 20),
        "memory.swap.max": "0",
        "cgroup.procs": "1234",
    }


def test_version_2_kills_for_memory_are_counted(tree: Tree) -> None:
    base = unified(tree)
    groups = tree.open()
    assert groups is not None
    group = groups.create()
    (base / "lambent-7-99" / "1" / "memory.events").write_text(
        "low 0\nhigh 3\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"
    )
    assert group.memory_kills() == 1


def version_1(tree: Tree, *, freezer: bool = True) -> dict[str, Path]:
    names = ["memory", "cpu", "pids", *(["freezer"] if freezer else [])]
    return {name: tree.mount(name, "cgroup", f"rw,{name}", own="/job") for name in names}


def test_version_1_limits(tree: Tree) -> None:
    folders = version_1(tree)
    groups = tree.open()
    assert groups is not None
    assert groups.version == 1
    group = groups.create()
    (folders["memory"] / "lambent-7-99/1/memory.memsw.limit_in_bytes").write_text("")
    group.limit_memory(128, 512)
    group.join(77)
    found = {
        name: {p.name: p.read_text() for p in (folder / "lambent-7-99/1").iterdir()} for name, folder in folders.items()
    }
    assert found == {
        "memory": {
            "memory.limit_in_bytes": str(640 << 20),
            "memory.memsw.limit_in_bytes": str(640 << 20),
            "cgroup.procs": "77",
        },
        "cpu": {"cpu.cfs_period_us": "20000", "cgroup.procs": "77"},
        "pids": {"pids.max": "1024", "cgroup.procs": "77"},
        "freezer": {"cgroup.procs": "77"},
    }


def test_controllers_may_share_a_hierarchy(tree: Tree) -> None:
    tree.mount("memory", "cgroup", "rw,memory", own="/")
    tree.mount("pids", "cgroup", "rw,pids", own="/")
    both = tree.mount("cpu,cpuacct", "cgroup", "rw,cpu,cpuacct", own="/")
    groups = tree.open()
    assert groups is not None
    assert groups.parents["cpu"] == str(both / "lambent-7-99").replace("//", "/")


def test_without_the_three_controllers_there_are_no_groups(tree: Tree) -> None:
    tree.mount("memory", "cgroup", "rw,memory", own="/")
    base = tree.mount("unified", "cgroup2", "rw", own="/")
    (base / "cgroup.controllers").write_text("hugetlb\n")
    assert tree.open() is None


def test_a_group_that_may_not_be_written_is_no_group(tree: Tree) -> None:
    base = unified(tree)
    (base / "cgroup.subtree_control").mkdir()  # stands for any refusal, and works as root too
    assert tree.open() is None


@pytest.mark.parametrize(
    ("memory_mb", "version", "written"),
    [
        (128, 1, b"1447"),
        (1769, 1, b"20000"),
        (10240, 1, b"115772"),
        (128, 2, b"1447 20000"),
        (3538, 2, b"40000 20000"),
    ],
)
def test_the_cpu_share_follows_memory(memory_mb: int, version: int, written: bytes) -> None:
    assert cgroups.cpu_quota(memory_mb, version) == written


def test_a_launchers_folder_tells_which_process_it_was() -> None:
    name = cgroups.launcher_folder(os.getpid())
    pid, started = name.removeprefix("lambent-").split("-")
    assert int(pid) == os.getpid()
    assert int(started) > 0
