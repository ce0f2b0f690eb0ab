"""Deployment packages on disk: the zip as a blob, and its files in a folder that environments mount.

Blobs are truth and are synced. Folders are a cache, unpacked on demand into `unpacked/BOOT/DIGEST`, where BOOT is
this boot of the machine: after a power failure nobody knows which unsynced files are whole, so they are made again.
"""

import asyncio
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from lambent.clock import Clock
from lambent.services.lambda_.code_package import Limits, unpack
from lambent.services.lambda_.model import Code
from lambent.store.blobs import Blobs

_GRACE_S: Final = 1_000.0
"""How long an unused package stays: an invocation that runs its code may take 900 s more."""

_AT_ONCE: Final = 2  # unpacking is bound by CPU and disk; more at once makes none of them faster
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Packages:
    """The packages of all functions, below one folder that nobody else uses."""

    def __init__(self, folder: Path, clock: Clock, limits: Limits | None = None) -> None:
        self.blobs = Blobs(folder / "zips")
        self._unpacked = folder / "unpacked"
        self._root = self._unpacked / _boot()
        self._clock = clock
        self._limits = limits or Limits()
        self._trials = f"trial-{uuid.uuid4().hex}-"  # ours, not what a crash left
        self._ready: set[str] = set()
        self._unused_since: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._root.mkdir(parents=True, exist_ok=True)
        self._ready |= {path.name for path in self._root.iterdir() if _is_digest(path.name)}

    def folder(self, digest: str) -> Path:
        """Where the package's files are, once `is_ready`."""
        return self._root / digest

    def is_ready(self, digest: str) -> bool:
        """Whether the package is unpacked; touches no disk."""
        return digest in self._ready

    def are_ready(self, digests: Iterable[str]) -> bool:
        """Whether all of these are. Asked for every invocation."""
        return self._ready.issuperset(digests)

    async def add(self, data: bytes) -> Code:
        """Checks, unpacks and stores a package. It stays for a while without being used by a function.

        Raises:
            ApiError: what `code_package.unpack` refuses.
        """
        async with self._at_once:
            digest = await asyncio.to_thread(_digest, data)
        self._unused_since[digest] = self._clock.now()
        async with self._locked(digest), self._at_once:
            size = await asyncio.to_thread(self._unpack, digest, lambda: data)
            await asyncio.to_thread(self.blobs.put, data)
        self._ready.add(digest)
        return Code(digest=digest, zipped_bytes=len(data), unzipped_bytes=size)

    async def check(self, data: bytes) -> Code:
        """What `add` says of a package, without keeping it: UpdateFunctionCode with DryRun."""
        trial = self._root / f"{self._trials}{uuid.uuid4().hex}"
        async with self._at_once:
            digest = await asyncio.to_thread(_digest, data)
            try:
                size = await asyncio.to_thread(unpack, data, trial, self._limits)
            finally:
                await asyncio.shield(asyncio.to_thread(_remove, trial))
        return Code(digest=digest, zipped_bytes=len(data), unzipped_bytes=size)

    async def ensure(self, digest: str) -> None:
        """Unpacks a stored package unless that is done already."""
        if digest in self._ready:
            return
        async with self._locked(digest), self._at_once:
            if digest not in self._ready:
                await asyncio.to_thread(self._unpack, digest, lambda: self.blobs.read(digest))
                self._ready.add(digest)

    async def collect(self, used: Callable[[], Collection[str]], *, at_start: bool = False) -> None:
        """Deletes what no function uses for a while; at start, at once, with what earlier boots left."""
        here = await asyncio.to_thread(self._everything, at_start)
        now = self._clock.now()
        for digest in here:
            if digest in used():
                self._unused_since.pop(digest, None)
                continue
            since = self._unused_since.setdefault(digest, now - (_GRACE_S if at_start else 0))
            if now - since >= _GRACE_S:
                await self._delete(digest, used)

    async def _delete(self, digest: str, used: Callable[[], Collection[str]]) -> None:
        async with self._locked(digest):
            if digest in used() or self._clock.now() - self._unused_since.get(digest, 0.0) < _GRACE_S:
                return  # it came back while we waited
            self._ready.discard(digest)
            del self._unused_since[digest]
            await asyncio.to_thread(_remove, self.folder(digest))
            await asyncio.to_thread(self.blobs.delete, digest)
        self._locks.pop(digest, None)

    def _locked(self, digest: str) -> asyncio.Lock:
        return self._locks.setdefault(digest, asyncio.Lock())

    def _unpack(self, digest: str, read: Callable[[], bytes]) -> int:
        """Blocking. Whole or not at all: made beside its place and renamed into it."""
        place = self.folder(digest)
        trial = self._root / f"{self._trials}{uuid.uuid4().hex}"
        try:
            size = unpack(read(), trial, self._limits)
            try:
                trial.rename(place)
            except OSError:
                if not place.is_dir():
                    raise  # not "it is there already"
        finally:
            _remove(trial)
        return size

    def _everything(self, at_start: bool) -> set[str]:
        """Blocking. The digests that are on disk."""
        if at_start:
            for boot in self._unpacked.iterdir():
                if boot != self._root:
                    _remove(boot)
        found = set(self.blobs.digests())
        for path in self._root.iterdir():
            if _is_digest(path.name):
                found.add(path.name)
            elif at_start and not path.name.startswith(self._trials):
                _remove(path)
        return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_digest(name: str) -> bool:
    return len(name) == 64


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _boot() -> str:
    """A name for this boot of the machine; where the kernel gives none, for this process."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"process-{os.getpid()}"
