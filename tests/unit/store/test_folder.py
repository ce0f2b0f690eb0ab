"""The data folder: one node at a time, its secret, and nothing left of ephemeral ones."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lambent.store.folder import DataFolder, FolderInUseError

HOLDER = """
import signal, sys
from pathlib import Path
from lambent.store.folder import DataFolder
with (DataFolder.ephemeral() if sys.argv[1] == "-" else DataFolder.open(Path(sys.argv[1]))) as folder:
    folder.announce("http://127.0.0.1:4566")
    print(folder.path, flush=True)
    signal.pause()
"""


def holder(path: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True, env=os.environ | variables
    )


def held(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    with process:
        process.send_signal(signal.SIGKILL)


def test_it_is_made_for_its_owner_alone(tmp_path):
    with DataFolder.open(tmp_path / "data") as folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()} == {0o600}


def test_the_secret_stays_the_same(tmp_path):
    with DataFolder.open(tmp_path) as folder:
        secret = folder.secret
    assert len(secret) == 32
    with DataFolder.open(tmp_path) as folder:
        assert folder.secret == secret


def test_a_second_node_is_told_who_has_it(tmp_path):
    process = holder(str(tmp_path))
    try:
        held(process)
        with pytest.raises(FolderInUseError) as error, DataFolder.open(tmp_path):
            pass
        assert str(error.value) == (
            f"{tmp_path} is in use by the node with process id {process.pid} at http://127.0.0.1:4566. "
            "Stop it, or name another folder with --data-dir."
        )
    finally:
        end(process)


def test_a_killed_nodes_folder_is_free(tmp_path):
    process = holder(str(tmp_path))
    held(process)
    end(process)
    with DataFolder.open(tmp_path) as folder:
        assert folder.path == tmp_path


def test_a_folder_of_others_permissions_is_taken_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    with DataFolder.open(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_an_ephemeral_folder_goes_with_its_node():
    with DataFolder.ephemeral() as folder:
        (folder.path / "main.db").write_bytes(b"x")
        assert folder.path.parent == Path(tempfile.gettempdir())
    assert not folder.path.exists()


def test_the_next_start_removes_ephemeral_folders_of_killed_nodes_and_of_no_others(tmp_path):
    killed, running = (holder("-", TMPDIR=str(tmp_path)) for _ in range(2))
    left, kept = held(killed), held(running)
    end(killed)
    try:
        assert left.parent == tmp_path
        assert left.exists()
        third = holder("-", TMPDIR=str(tmp_path))
        own = held(third)
        assert {path.name for path in tmp_path.iterdir()} == {kept.name, own.name}
        end(third)
    finally:
        end(running)
