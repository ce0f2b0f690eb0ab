"""Fills the holes in this process's memory, so that what its copies allocate lies together, on pages of their own.

Free places are scattered over pages that copies share. A copy that takes them would have each such page copied: 130 of
the thousand that a start writes to.
"""

from __future__ import annotations

import ctypes

_MOST_BYTES = 4 << 20  # of each allocator; its holes are a tenth of that
_STRAIGHT = 3  # so many blocks one behind the other come from what is free at the end
_SLACK = 32  # between two such blocks: the allocator's own words
_SIZES = (*range(65536, 4096, -4096), *range(4096, 1024, -256), *range(1032, 8, -16))
_POOL_BYTES, _POOL_HEAD = 1 << 14, 48  # of Python's own allocator, for objects up to 512 bytes
_OBJECT_BYTES = range(512, 32, -16)
_BYTES_HEAD = 33


def fill() -> list[bytes]:
    """What is in the way from now on: to be kept as long as the process."""
    _fill_heap()
    return _fill_pools()


def _fill_heap() -> None:
    """The C library's, of every size, the largest first; nobody gives it back."""
    malloc = ctypes.PyDLL(None).malloc
    malloc.restype = ctypes.c_void_p
    left = _MOST_BYTES
    for size in _SIZES:
        last = straight = 0
        while straight < _STRAIGHT and left > 0:
            place = malloc(ctypes.c_size_t(size)) or 0
            straight = straight + 1 if 0 < place - last <= size + _SLACK else 0
            last, left = place, left - size


def _fill_pools() -> list[bytes]:
    """Python's, of every size, up to the first block of a fresh pool."""
    kept: list[bytes] = []
    left = _MOST_BYTES
    for size in _OBJECT_BYTES:
        one = bytes(size - _BYTES_HEAD)
        while id(one) % _POOL_BYTES != _POOL_HEAD and left > 0:
            kept.append(one)
            left -= size
            one = bytes(size - _BYTES_HEAD)
    return kept
