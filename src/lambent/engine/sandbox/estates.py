"""What an environment leaves to the one that is made in its place: its /tmp and its host uid.

After a timeout or a crash AWS resets an environment: its processes are gone, its /tmp is still there. The launcher
holds a mount of each environment's /tmp, taken when a function is attached, because nobody can enter a mount
namespace whose last process has ended. A heir is started anew with the same host uid: files in a tmpfs of a user
namespace belong to the one uid that is mapped there, and nobody else could write to it.

Without walls an environment has a folder of the host instead, which TMPDIR names, and which goes with the slot.
"""

from __future__ import annotations

import contextlib
import os
import shutil

FOLDER = "tmp-"
"""How folders of environments without walls are called, with the slot behind it."""

_LARGE_BYTES = 16 << 20  # to free it takes about five milliseconds


class Estate:
    """The /tmp and the slot of an environment that has ended, until it is known who gets them."""

    def __init__(self, slot: int, tmp: int) -> None:
        self.slot = slot
        self.tmp = tmp


def close_tmp(tmp: int) -> None:
    """Let go of an environment's /tmp, the last mount of it; -1 is none.

    Whoever closes it frees its pages. For a large one that is a process of its own: the launcher has claims to serve.
    """
    if tmp < 0:
        return
    if _used_bytes(tmp) < _LARGE_BYTES:
        os.close(tmp)
        return
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.close(writer)
            os.read(reader, 1)  # until the launcher has closed its own
        finally:
            os._exit(0)
    os.close(tmp)
    os.close(reader)
    os.close(writer)


def _used_bytes(tmp: int) -> int:
    room = os.fstatvfs(tmp)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def make_folder(where: str, slot: int) -> str:
    """The folder of that slot's environment; a heir finds in it what was there."""
    path = f"{where}/{FOLDER}{slot}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    return path


def remove_folder(where: str, slot: int) -> None:
    """Nobody inherits it."""
    shutil.rmtree(f"{where}/{FOLDER}{slot}", ignore_errors=True)
