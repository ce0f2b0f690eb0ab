"""Control groups of environments: memory, CPU, processes, freezing. Versions 1 and 2.

A launcher has one folder, `lambent-PID-START`, named after itself so that whoever comes later can tell whether it is
still alive; each environment has a folder in it. Under version 1 there is such a pair in every hierarchy, and
freezing uses the unified hierarchy if that is mounted beside it, since freezing there needs no controller and no
waiting.
"""

from __future__ import annotations

import os

from lambent.engine.sandbox import processes

PROCESS_LIMIT = 1024
CPU_PERIOD_US = 20_000  # shorter than the default 100 ms: a throttled function stops for 18 ms at most, not for 93
MB_PER_CPU = 1769
PREFIX = "lambent-"
_NODE_LEAF = "lambent-node"
_MB = 1 << 20
_UNLIMITED_V1 = "-1"
_FIRST_CONTROLLERS = ("memory", "cpu", "pids")


def cpu_quota(memory_mb: int, version: int) -> bytes:
    """What is written for the CPU share of that much memory: 1,769 MB is one CPU.

    Source: AWS Lambda Developer Guide, "Configure Lambda function memory".
    """
    quota = max(1000, round(CPU_PERIOD_US * memory_mb / MB_PER_CPU))  # the kernel's least is 1 ms
    return b"%d" % quota if version == 1 else b"%d %d" % (quota, CPU_PERIOD_US)


def launcher_folder(pid: int) -> str:
    """The name of a launcher's folder."""
    return f"{PREFIX}{pid}-{processes.start_time(pid) or 0}"


class Cgroup:
    """One environment's folders, by controller, with the files that are used while it runs already open."""

    def __init__(self, version: int, folders: dict[str, str]) -> None:
        self.version = version
        self.folders = folders
        for folder in dict.fromkeys(folders.values()):
            os.mkdir(folder)
        self._write_fixed_limits()
        self.fds = self._open_files()

    def join(self, pid: int) -> None:
        for folder in dict.fromkeys(self.folders.values()):
            _write(f"{folder}/cgroup.procs", str(pid))

    def open_tasks(self) -> list[int]:
        """The files that a process's id is written to for it to join, open."""
        folders = dict.fromkeys(self.folders.values())
        return [os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in folders]

    def open_doors(self) -> tuple[int, list[int]]:
        """How a process gets in without stopping every fork on the machine meanwhile, open.

        The folder of version 2, or -1, where it is to be born; and the files of version 1, to which it is to write
        that it is a member itself. Whoever else writes its id waits until no processor is at a fork: milliseconds.
        """
        unified = self.folders.get("unified")
        others = {folder for folder in self.folders.values() if folder != unified}
        files = [os.open(f"{folder}/tasks", os.O_WRONLY | os.O_CLOEXEC) for folder in others]
        return (os.open(unified, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if unified else -1), files

    def limit_memory(self, memory_mb: int, tmp_mb: int) -> None:
        """Hold the environment to its memory and a full /tmp, swap included.

        /tmp is a tmpfs, whose pages the kernel counts as memory of whoever wrote them. That the function itself stays
        within its memory is watched by the node: see memory_watch.py.
        """
        folder = self.folders["memory"]
        limit = str((memory_mb + tmp_mb) * _MB)
        if self.version == 2:
            _write(f"{folder}/memory.max", limit)
            _write_if_there(f"{folder}/memory.swap.max", "0")
            return
        _write(f"{folder}/memory.limit_in_bytes", limit)
        _write_if_there(f"{folder}/memory.memsw.limit_in_bytes", limit)

    def memory_kills(self) -> int:
        """How often the kernel has killed in here for lack of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return _counters(f"{self.folders['memory']}/{name}").get("oom_kill", 0)

    def peak_bytes(self) -> int:
        """The most memory used in here, with files in /tmp; 0 where the kernel does not say (before Linux 5.19)."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        path = f"{self.folders['memory']}/{name}"
        return int(_read(path)) if os.path.exists(path) else 0

    def thaw(self) -> None:
        """Let frozen processes run, so that they can die (version 2 kills frozen ones too)."""
        if "freezer" in self.folders and self.version == 1:
            _write(f"{self.folders['freezer']}/freezer.state", "THAWED")

    def remove(self) -> None:
        """Give the folders back; processes must be gone."""
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}
        for folder in dict.fromkeys(self.folders.values()):
            remove_folder(folder)

    def _write_fixed_limits(self) -> None:
        if "pids" in self.folders:
            _write(f"{self.folders['pids']}/pids.max", str(PROCESS_LIMIT))
        if self.version == 1 and "cpu" in self.folders:
            _write(f"{self.folders['cpu']}/cpu.cfs_period_us", str(CPU_PERIOD_US))

    def _open_files(self) -> dict[str, int]:
        names = {
            "memory": ("memory", "", os.O_RDONLY | os.O_DIRECTORY),
            "usage": ("memory", "memory.usage_in_bytes" if self.version == 1 else "memory.current", os.O_RDONLY),
            "cpu": ("cpu", "cpu.cfs_quota_us" if self.version == 1 else "cpu.max", os.O_WRONLY),
            "freeze": ("unified", "cgroup.freeze", os.O_WRONLY),
            "freeze_v1": ("freezer", "freezer.state", os.O_WRONLY),
        }
        fds = {}
        for use, (controller, name, flags) in names.items():
            path = f"{self.folders.get(controller, '/nonexistent')}/{name}"
            if os.path.exists(path):
                fds[use] = os.open(path, flags | os.O_CLOEXEC)
        return fds


class Cgroups:
    """Where this launcher may make groups: the parent folder for each controller."""

    def __init__(self, version: int, parents: dict[str, str]) -> None:
        self.version = version
        self.parents = parents
        self._made = 0

    def create(self) -> Cgroup:
        self._made += 1
        return Cgroup(self.version, {name: f"{parent}/{self._made}" for name, parent in self.parents.items()})

    def close(self) -> None:
        """Remove the launcher's folders; every environment is gone."""
        for parent in dict.fromkeys(self.parents.values()):
            for name in _subfolders(parent):
                remove_folder(f"{parent}/{name}")
            remove_folder(parent)


def open_cgroups(name: str, *, mounts: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> Cgroups | None:
    """Folders called `name` under the process's own groups, with the controllers ready; None where that is refused.

    Version 2 wins when it has the controllers. Both versions need memory, cpu and pids.
    """
    places = _own_places(mounts, own)
    try:
        found = _open_unified(places, name)
        return found or _open_v1(places, name)
    except OSError:
        return None


def _open_unified(places: dict[str, str], name: str) -> Cgroups | None:
    base = places.get("")
    if base is None:
        return None
    if os.path.basename(base) == _NODE_LEAF:  # another launcher of this node was here first
        base = os.path.dirname(base)
    offered = _read(f"{base}/cgroup.controllers").split()
    if not set(_FIRST_CONTROLLERS) <= set(offered):
        return None
    enable = " ".join(f"+{controller}" for controller in _FIRST_CONTROLLERS)
    if os.path.exists(f"{base}/cgroup.type"):  # not the very root: processes and enabled controllers exclude each other
        _move_processes(base, f"{base}/{_NODE_LEAF}")
    _write(f"{base}/cgroup.subtree_control", enable)
    parent = f"{base}/{name}"
    os.mkdir(parent)
    _write(f"{parent}/cgroup.subtree_control", enable)
    return Cgroups(2, dict.fromkeys((*_FIRST_CONTROLLERS, "unified"), parent))


def _open_v1(places: dict[str, str], name: str) -> Cgroups | None:
    if not set(_FIRST_CONTROLLERS) <= places.keys():
        return None
    parents = {controller: f"{places[controller]}/{name}" for controller in _FIRST_CONTROLLERS}
    if "" in places and _can_freeze(places[""]):
        parents["unified"] = f"{places['']}/{name}"
    elif "freezer" in places:
        parents["freezer"] = f"{places['freezer']}/{name}"
    made: list[str] = []
    try:
        for parent in dict.fromkeys(parents.values()):
            os.mkdir(parent)
            made.append(parent)
    except OSError:
        for parent in made:
            os.rmdir(parent)
        raise
    return Cgroups(1, parents)


def _can_freeze(base: str) -> bool:
    probe = f"{base}/lambent-freeze-{os.getpid()}"
    try:
        os.mkdir(probe)
    except OSError:
        return False
    can = os.path.exists(f"{probe}/cgroup.freeze")
    os.rmdir(probe)
    return can


def _move_processes(source: str, target: str) -> None:
    """Move every process of one group to a child of it, until none is left (they may fork meanwhile)."""
    os.makedirs(target, exist_ok=True)
    for _ in range(10):
        pids = _read(f"{source}/cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            _write(f"{target}/cgroup.procs", pid)


def _own_places(mounts: str, own: str) -> dict[str, str]:
    """{controller: the folder of this process's group}; "" is the unified hierarchy."""
    paths: dict[str, str] = {}
    for line in _read(own).splitlines():
        _, names, path = line.split(":", 2)
        for controller in names.split(","):
            paths[controller] = path
    places: dict[str, str] = {}
    for mount in _read(mounts).splitlines():
        before, _, after = mount.partition(" - ")
        kind, _source, options = after.split(" ", 2)
        root, mountpoint = before.split()[3:5]
        controllers = [""] if kind == "cgroup2" else options.split(",") if kind == "cgroup" else []
        for controller in controllers:
            if controller in paths and controller not in places:
                places[controller] = _inside(mountpoint, root, paths[controller])
    return places


def _inside(mountpoint: str, root: str, path: str) -> str:
    """The group's folder: its path below the mount's root, or the mountpoint where a container shows only that."""
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    folder = mountpoint + path.rstrip("/")
    return folder if os.path.isdir(folder) else mountpoint


def remove_folder(folder: str) -> None:
    """Remove a group; one that is gone already is fine. OSError while it has members."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return


def _subfolders(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _counters(path: str) -> dict[str, int]:
    """A file of names and numbers."""
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)  # the kernel's files are there already
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, f"writing {text!r} to {path}: {error.strerror}") from error


def _write_if_there(path: str, text: str) -> None:
    if os.path.exists(path):
        _write(path, text)


def launcher_folders(mounts: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> list[str]:
    """Every launcher's folder beside which this process could make one, in every hierarchy."""
    places = list(dict.fromkeys(_own_places(mounts, own).values()))
    places += [os.path.dirname(place) for place in places if os.path.basename(place) == _NODE_LEAF]
    return [f"{place}/{name}" for place in places for name in _subfolders(place) if name.startswith(PREFIX)]
