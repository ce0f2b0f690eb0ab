"""The checksums that clients of S3 send and ask for, computed while data comes.

`of("CRC32C")` begins one; `combine` makes the checksum of two parts that follow each other from theirs. On the wire a
checksum is base64 of its bytes, the highest first.

Source: Amazon S3 User Guide, "Checking object integrity".
"""

import base64
import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

HEADER: Final = "x-amz-checksum-"
FULL_OBJECT: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"
DEFAULT: Final = "CRC64NVME"
"""What S3 computes of an object whose client sent no checksum."""

_CRC_BYTES: Final = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8}
_HASHES: Final = {"SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512", "MD5": "md5"}
_XXHASHES: Final = {"XXHASH64": "new_xxhash64", "XXHASH3": "new_xxhash3_64", "XXHASH128": "new_xxhash3_128"}
ALGORITHMS: Final = (*_CRC_BYTES, *_HASHES, *_XXHASHES)


class Checksum(Protocol):
    """One that is being computed."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, algorithm: str) -> None:
        self._step = _crc(algorithm)
        self._value = 0
        self._bytes = _CRC_BYTES[algorithm]

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._bytes)


class _Xxhash:
    def __init__(self, algorithm: str) -> None:
        self._hash: Any = getattr(_library().XXHash, _XXHASHES[algorithm])()

    def update(self, data: bytes, /) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return bytes(self._hash.finalize())


def of(algorithm: str) -> Checksum:
    """A checksum of nothing yet, by its name in the API."""
    if algorithm in _CRC_BYTES:
        return _Crc(algorithm)
    if algorithm in _XXHASHES:
        return _Xxhash(algorithm)
    made: Checksum = hashlib.new(_HASHES[algorithm], usedforsecurity=False)
    return made


def text(digest: bytes) -> str:
    """As it is on the wire."""
    return base64.b64encode(digest).decode()


def value(wire: str, algorithm: str) -> bytes | None:
    """From the wire; None for what is no checksum of this algorithm."""
    try:
        found = base64.b64decode(wire, validate=True)
    except ValueError:
        return None
    return found if len(found) == size(algorithm) else None


@cache
def size(algorithm: str) -> int:
    """How many bytes it has."""
    return _CRC_BYTES.get(algorithm) or len(of(algorithm).digest())


def can_combine(algorithm: str) -> bool:
    """Whether the checksum of a whole can be told from those of its parts."""
    return algorithm in _CRC_BYTES


def combine(algorithm: str, first: bytes, second: bytes, second_size: int) -> bytes:
    """The checksum of what `first` is of, followed by `second_size` bytes of which `second` is."""
    step = getattr(_library(), f"combine_{algorithm.lower()}")
    joined: int = step(int.from_bytes(first), int.from_bytes(second), second_size)
    return joined.to_bytes(_CRC_BYTES[algorithm])


def _crc(algorithm: str) -> Callable[[bytes, int], int]:
    if algorithm == "CRC32":
        return zlib.crc32
    found: Callable[[bytes, int], int] = getattr(_library(), algorithm.lower())
    return found


@cache
def _library() -> Any:
    """Loaded for the first object: it takes as long to import as a tenth of a node's start."""
    import awscrt.checksums

    return awscrt.checksums
