"""A process and all its descendants, by /proc: for freezing and measuring where there are no cgroups."""

import contextlib
import os
import resource
import signal
from collections.abc import Iterator

_DEAD = ("Z", "X")  # a process that nobody has waited for yet is still listed


def tree(pid: int) -> Iterator[int]:
    """The process and its descendants that live now. Orphans of a process namespace belong to its first process."""
    yield pid
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            for child in file.read().split():
                yield from tree(int(child))


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal the whole tree. Not atomic: a process that forks meanwhile may have a child that was missed."""
    for member in list(tree(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, number)


def status_bytes(pid: int, measure: str) -> int:
    """One line of a process's status, such as `RssAnon` or `VmHWM`; 0 when it is gone. Shared pages count in full."""
    return _kibibytes(f"/proc/{pid}/status", measure)


def share_bytes(pid: int) -> int:
    """A process's own anonymous memory: pages that it shares with its parent and siblings are divided by their number.

    Takes ten times as long to read as its status does.
    """
    return _kibibytes(f"/proc/{pid}/smaps_rollup", "Pss_Anon")


def _kibibytes(path: str, measure: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            found = [line for line in file if line.startswith(measure + ":")]
    except OSError:
        return 0
    return int(found[0].split()[1]) * 1024 if found else 0


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; with its id it names a process for good. None: not alive."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in _DEAD else int(words[19])


def raise_file_limit() -> None:
    """As many descriptors as this process may have: node and launcher hold about ten for each environment."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
