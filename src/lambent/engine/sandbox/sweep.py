"""Takes away what launchers that were killed left behind: cgroups with processes, mountpoints, nftables tables.

A launcher's folders are named after its process id and start time, so whether it lives can be told for certain; its
table on the host after its link there, which the kernel takes away with the launcher's router. Namespaces need no
sweeping: the kernel frees them with their last process.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from lambent.engine.sandbox import cgroups, estates, processes, routers

MOUNTPOINT: Final = "launcher-"
"""How folders that launchers mount their roots on are called, with the launcher's process id behind it."""

_TABLE: Final = re.compile(f"{routers.HOST_LINK}[0-9]+")
_LIMIT_S: Final = 2.0
_PAUSE_S: Final = 0.005


def sweep(scratch: Path) -> int:
    """Ends the environments of dead launchers and removes their folders; how many launchers were swept up after.

    Blocks for some milliseconds, and for two seconds at most for processes that take long to die.
    """
    swept = 0
    for folder in map(Path, cgroups.launcher_folders()):
        if _is_left_over(folder.name):
            swept += _remove_tree(folder)
    for mountpoint in scratch.glob(f"{MOUNTPOINT}*"):
        pid = mountpoint.name.removeprefix(MOUNTPOINT)
        if pid.isdecimal() and processes.start_time(int(pid)) is None:
            for folder in mountpoint.glob(f"{estates.FOLDER}*"):
                shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                mountpoint.rmdir()
    if os.getuid() == 0 and (nft := routers.program("nft")):
        _sweep_tables(nft)
    return swept


def _sweep_tables(nft: str) -> None:
    """Those whose link is gone: they match nothing any more."""
    listed = subprocess.run([nft, "list", "tables", "inet"], capture_output=True, text=True, check=False)
    for line in listed.stdout.splitlines():
        name = line.rpartition(" ")[2]
        if _TABLE.fullmatch(name) and name not in {link for _, link in socket.if_nameindex()}:
            subprocess.run([nft, "delete", "table", "inet", name], capture_output=True, check=False)


def _is_left_over(name: str) -> bool:
    pid, _, started = name.removeprefix(cgroups.PREFIX).partition("-")
    if not (pid.isdecimal() and started.isdecimal()):
        return False
    return processes.start_time(int(pid)) != int(started)


def _remove_tree(folder: Path) -> int:
    """Kill every member and remove the groups. 0 when some members are of another container, or will not die."""
    try:
        groups = [path for path in folder.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return 0  # another node that starts now was faster
    deadline = time.monotonic() + _LIMIT_S
    for group in (*groups, folder):
        while not _remove(group):
            if time.monotonic() > deadline:
                return 0
            time.sleep(_PAUSE_S)
    return 1


def _remove(group: Path) -> bool:
    try:
        members = (group / "cgroup.procs").read_text().split()
        for member in members:
            _kill(int(member))
        state = group / "freezer.state"
        if members and state.exists():
            state.write_text("THAWED")
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _kill(pid: int) -> None:
    if pid > 0:  # 0 is a process outside our own process namespace
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
