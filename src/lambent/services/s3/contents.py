"""Bodies of objects on disk: files named by the SHA-256 of what is in them, whatever the objects are called.

A body comes into a file of its own, which is synced and then gets its name; its folder is synced before a row may name
it. Until that row is committed whoever put it there holds it, so that what cleans up does not take it for garbage.
Files that nobody holds and no row names go: at once when their last row went, and after a start those of bodies that
were never acknowledged.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from lambent.aws import checksums
from lambent.observe import points
from lambent.store.blobs import make_folder, sync_folder

T = TypeVar("T")

BLOCK: Final = 1024 * 1024  # bytes that are written, or read, at once
_THREADS: Final = 8  # a disk gains nothing by more; whoever comes later waits for one of them
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_INCOMING: Final = "incoming"


class Piece(NamedTuple):
    """Bytes of a file, from `start` on and before `end`."""

    digest: str
    start: int
    end: int


class Contents:
    """The folder of all bodies, for one process at a time. `durable` syncs what was written."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self._folder = folder
        self._durable = durable
        self._holds: Counter[str] = Counter()
        self._removing: dict[str, asyncio.Event] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3-contents")
        self.suspects: set[str] = set()
        """Files that may have become garbage."""
        self.has_suspects = asyncio.Event()

    def open(self) -> None:
        """Makes the folders where they are missing, and removes what a killed node left half written. Blocks."""
        make_folder(self._folder)
        names = [_INCOMING, *(f"{number:02x}" for number in range(256))]
        for name in names:
            (self._folder / name).mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._folder)
        for leftover in (self._folder / _INCOMING).iterdir():
            leftover.unlink()

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def path(self, digest: str) -> Path:
        """Where it is, or would be. Raises ValueError for what is no digest: no name of an object gets here."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is not a SHA-256 in hex")
        return self._folder / digest[:2] / digest

    def in_thread(self, work: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """Runs what blocks on the disk."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    # Writing

    @contextlib.asynccontextmanager
    async def incoming(self, algorithms: Sequence[str]) -> "AsyncIterator[Incoming]":
        """A file for a body that comes; it is gone afterwards if it did not get its name."""
        name = self._folder / _INCOMING / secrets.token_hex(16)
        handle = await self.in_thread(os.open, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        incoming = Incoming(self, handle, name, algorithms)
        try:
            yield incoming
        finally:
            await incoming.close()

    async def place(self, incoming: "Incoming") -> str:
        """Gives a body its name, and holds it. It survives a power cut from then on."""
        digest = incoming.digest
        await self.hold([digest])
        try:
            await self.in_thread(self._place, incoming.handle, incoming.path, self.path(digest))
        except BaseException:
            self.release([digest])
            raise
        return digest

    def _place(self, handle: int, path: Path, target: Path) -> None:
        if self._durable:
            os.fsync(handle)
        points.reached("s3.synced")
        os.replace(path, target)  # where it is already: the same bytes once more, which mends a damaged file
        if self._durable:
            sync_folder(target.parent)
        points.reached("s3.placed")

    async def hold(self, digests: Iterable[str]) -> None:
        """Keeps these from being removed until they are released."""
        for digest in digests:
            while (removal := self._removing.get(digest)) is not None:
                await removal.wait()
            self._holds[digest] += 1

    def release(self, digests: Iterable[str]) -> None:
        """Whoever held these has a row that names them, or does not want them any more."""
        for digest in digests:
            self._holds[digest] -= 1
            if self._holds[digest] <= 0:
                del self._holds[digest]

    def suspect(self, digests: Iterable[str]) -> None:
        """These may be garbage now: they will be looked at."""
        self.suspects.update(digests)
        if self.suspects:
            self.has_suspects.set()

    # Reading

    async def read(self, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
        """The bytes, block by block, the next being read while one is used. Hold the files meanwhile.

        Raises:
            FileNotFoundError: a file is not there.
        """
        for piece in pieces:
            handle = await self.in_thread(os.open, self.path(piece.digest), os.O_RDONLY | os.O_CLOEXEC)
            try:
                async for block in self._blocks(handle, piece):
                    yield block
            finally:
                os.close(handle)

    async def _blocks(self, handle: int, piece: Piece) -> AsyncIterator[bytes]:
        position, reading = piece.start, self._block(handle, piece.start, piece.end)
        try:
            while position < piece.end:
                block = await reading
                if not block:
                    raise FileNotFoundError(f"{piece.digest} is shorter than it was")
                position += len(block)
                reading = self._block(handle, position, piece.end)  # of nothing, at the end
                yield block
        finally:
            await asyncio.wait([reading])  # nobody may close the file meanwhile

    def _block(self, handle: int, position: int, end: int) -> "asyncio.Future[bytes]":
        return self.in_thread(os.pread, handle, min(BLOCK // 2, end - position), position)

    # Cleaning up

    def is_held(self, digest: str) -> bool:
        return digest in self._holds

    @contextlib.asynccontextmanager
    async def removing(self, digest: str) -> AsyncIterator[bool]:
        """Nobody can take hold of it meanwhile. Whether it may be removed at all: nobody holds it now."""
        if digest in self._holds or digest in self._removing:
            yield False
            return
        done = self._removing[digest] = asyncio.Event()
        try:
            yield True
        finally:
            del self._removing[digest]
            done.set()

    def unlink(self, digest: str) -> None:
        """Removes a file. Blocks."""
        self.path(digest).unlink(missing_ok=True)

    def files(self) -> Iterator[list[str]]:
        """All files, a folder at a time. Blocks."""
        for number in range(256):
            with os.scandir(self._folder / f"{number:02x}") as entries:
                yield [entry.name for entry in entries if _DIGEST.fullmatch(entry.name)]


class Incoming:
    """A body that is being written. Its MD5, its SHA-256 and what else is asked for are computed meanwhile."""

    def __init__(self, contents: Contents, handle: int, path: Path, algorithms: Sequence[str]) -> None:
        self.handle = handle
        self.path = path
        self._contents = contents
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self.checksums = {name: checksums.of(name) for name in algorithms}
        self._writing: list[asyncio.Future[None]] = []

    async def write(self, block: bytes) -> None:
        """Takes a block; returns when the one before it was written, so that at most two are in memory."""
        await self.settled()
        self._writing = [
            self._contents.in_thread(self._write, block),
            self._contents.in_thread(self._md5.update, block),
        ]

    async def settled(self) -> None:
        """Returns when all that was taken is written. Raises what writing raised."""
        if self._writing:
            done, _ = await asyncio.wait(self._writing)
            self._writing = []
            for one in done:
                one.result()

    async def close(self) -> None:
        """Forgets what has no name yet."""
        with contextlib.suppress(OSError):
            await self.settled()
        os.close(self.handle)
        await self._contents.in_thread(_unlink, self.path)

    def _write(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            view = view[os.write(self.handle, view) :]
        self._sha256.update(block)
        for checksum in self.checksums.values():
            checksum.update(block)

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> bytes:
        return self._md5.digest()


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
