"""What is left of launchers that were killed. The killing itself is tested in tests/security/test_lifetimes.py."""

import os
from pathlib import Path

from lambent.engine.sandbox import processes
from lambent.engine.sandbox import sweep as sweep_module
from lambent.engine.sandbox.sweep import sweep


def test_only_mountpoints_of_the_dead_are_removed(tmp_path: Path) -> None:
    living, dead, other = tmp_path / f"launcher-{os.getpid()}", tmp_path / "launcher-4194305", tmp_path / "code"
    for folder in (living, dead, other):
        folder.mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, other.name])


def test_a_process_is_told_by_its_start_time() -> None:
    assert processes.start_time(os.getpid()) == processes.start_time(os.getpid())
    assert processes.start_time(4194305) is None  # above the largest process id


def test_a_process_and_its_children_are_found_and_measured() -> None:
    assert os.getpid() in list(processes.tree(os.getpid()))
    assert processes.status_bytes(os.getpid(), "VmHWM") > processes.share_bytes(os.getpid()) > 1 << 20


def test_what_another_node_swept_first_is_no_error(tmp_path: Path) -> None:
    """Two nodes that start at once see the same leftovers; a kill test among other tests met it."""
    assert sweep_module._remove_tree(tmp_path / "gone") == 0
