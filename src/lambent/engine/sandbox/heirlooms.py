"""What a zygote has written to /tmp, for its children: packed once, unpacked in each of them."""

from __future__ import annotations

import os

_LIMIT_BYTES = 64 << 20  # packed, it is memory of the launcher's


def pack(tmp: int) -> int:
    """A file in memory with all that is below that folder; -1 when there is nothing.

    Raises:
        OSError: it is too much, or could not be packed.
    """
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tmp)
    try:
        return _pack(folder) if os.listdir(folder) else -1
    finally:
        os.close(folder)


def _pack(folder: int) -> int:
    room = os.fstatvfs(folder)
    if (room.f_blocks - room.f_bfree) * room.f_frsize > _LIMIT_BYTES:
        raise OSError(f"more than {_LIMIT_BYTES >> 20} MB are in /tmp")
    packed = os.memfd_create("tmp")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _write(folder, packed)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1] != 0:
        os.close(packed)
        raise OSError("/tmp could not be packed")
    return packed


def _write(folder: int, packed: int) -> None:
    import tarfile  # in a process of its own: the launcher stays small

    os.fchdir(folder)
    with os.fdopen(packed, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(".")


def unpack(packed: int) -> None:
    """In a child's namespaces, as its user. Nobody reads that file meanwhile."""
    import tarfile

    os.lseek(packed, 0, os.SEEK_SET)
    with os.fdopen(os.dup(packed), "rb") as file, tarfile.open(fileobj=file) as tar:
        if hasattr(tarfile, "fully_trusted_filter"):
            tar.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
        tar.extractall("/tmp")
