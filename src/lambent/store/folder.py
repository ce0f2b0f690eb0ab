"""The data folder: everything a node keeps, and the lock that says it is in use.

lock            the running node's process id and endpoint, locked (flock) as long as it runs
secret          32 random bytes of this installation, for signed links, session tokens and environment variables
main.db         what must survive a power cut          bulk.db   log events and metrics
functions/      code packages, as they came and unpacked          run/      the sandboxes' working folder
objects/        bodies of S3's objects, by what is in them
"""

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lambent.store.blobs import make_folder, sync_folder

_EPHEMERAL_PREFIX: Final = "lambent-ephemeral-"
_NEW_PREFIX: Final = "lambent-new-"
_SECRET_BYTES: Final = 32


class FolderInUseError(Exception):
    """Another node runs on this folder; the text names its process and endpoint."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """An open data folder. `secret` never leaves the platform."""

    path: Path
    secret: bytes
    _lock: int

    @property
    def main_db(self) -> Path:
        return self.path / "main.db"

    @property
    def bulk_db(self) -> Path:
        return self.path / "bulk.db"

    def announce(self, endpoint: str) -> None:
        """Say where this node answers, for whoever finds the folder locked."""
        os.pwrite(self._lock, f"{os.getpid()} {endpoint}\n".encode(), 0)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> "Iterator[DataFolder]":
        """The folder at `path`, made if it is not there, locked until the block is left.

        Raises:
            FolderInUseError: another node has it.
        """
        path = path.resolve()
        make_folder(path)
        lock = _locked(path)
        try:
            yield cls(path, _secret(path), lock)
        finally:
            os.close(lock)

    @classmethod
    @contextmanager
    def ephemeral(cls) -> "Iterator[DataFolder]":
        """A folder of the node's own that goes with it; those of nodes that were killed go now."""
        _remove_abandoned()
        made = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX))
        lock = _locked(made)
        # It has its name only once it is locked, or another node that starts now could take it for an abandoned one.
        path = made.rename(made.with_name(made.name.replace(_NEW_PREFIX, _EPHEMERAL_PREFIX, 1)))
        try:
            yield cls(path, _secret(path), lock)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _locked(path: Path) -> int:
    handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(handle, 200, 0).decode(errors="replace").partition("\n")[0]
        os.close(handle)
        if error.errno != errno.EWOULDBLOCK:
            raise
        pid, _, endpoint = owner.partition(" ")
        raise FolderInUseError(
            f"{path} is in use by the node with process id {pid or 'unknown'}"
            + (f" at {endpoint}" if endpoint else "")
            + ". Stop it, or name another folder with --data-dir."
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _secret(path: Path) -> bytes:
    """The secret of the installation: read, or made and synced."""
    file = path / "secret"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        content = b""
    if len(content) == _SECRET_BYTES:
        return content
    content = secrets.token_bytes(_SECRET_BYTES)
    handle = os.open(path / "secret.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(path / "secret.new", file)
    sync_folder(path)
    return content


def _remove_abandoned() -> None:
    """Ephemeral folders whose node is gone: their lock is free."""
    for entry in Path(tempfile.gettempdir()).glob(f"{_EPHEMERAL_PREFIX}*"):
        try:
            handle = os.open(entry / "lock", os.O_RDWR)
        except OSError:
            continue  # just being made, or another user's
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry, ignore_errors=True)
        except OSError:
            pass  # its node runs
        finally:
            os.close(handle)
