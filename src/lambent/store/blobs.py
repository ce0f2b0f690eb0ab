"""Files named by the SHA-256 of what is in them: code packages.

A blob and its folder are synced before `put` returns, and a row names it only afterwards; so a row never names what a
power cut can take away.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambent.observe import points

_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_UNFINISHED: Final = ".new-"


class DamagedBlobError(Exception):
    """What is on the disk is not what was put there."""


class Blobs:
    """A folder of blobs, for one process at a time. Calls block on the disk: use `asyncio.to_thread`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)
        for leftover in folder.glob(f"{_UNFINISHED}*"):  # a killed node's
            leftover.unlink()

    def put(self, data: bytes) -> str:
        """The digest (hex) under which the data is now kept. Keeping the same data twice changes nothing."""
        digest = hashlib.sha256(data).hexdigest()
        target = self.path(digest)
        if self._is_kept(digest, data):
            sync_folder(self._folder)  # whoever named it may not have come so far yet
            return digest
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            points.reached("blobs.written")
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        sync_folder(self._folder)
        return digest

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Raises ValueError for what is no digest."""
        if not _DIGEST.match(digest):
            raise ValueError(f"{digest!r} is not a SHA-256 in hex")
        return self._folder / digest

    def read(self, digest: str) -> bytes:
        """The data, which was compared with its digest.

        Raises:
            FileNotFoundError: it is not kept.
            DamagedBlobError: the file is not what was put.
        """
        data = self.path(digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise DamagedBlobError(f"{self.path(digest)} is damaged: it is not what its name says")
        return data

    def _is_kept(self, digest: str, data: bytes) -> bool:
        """A damaged one is not, so that putting it again repairs it."""
        try:
            return self.path(digest).read_bytes() == data
        except FileNotFoundError:
            return False

    def delete(self, digest: str) -> None:
        """Forget the blob; nothing happens if it is not there."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """All that are kept. What a killed node left half written is not among them."""
        for entry in os.scandir(self._folder):
            if _DIGEST.match(entry.name):
                yield entry.name


def make_folder(folder: Path) -> None:
    """The folder and those it is in, for their owner alone; those that are new survive a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
