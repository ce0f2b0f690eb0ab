"""Pages of keys, in the order of their bytes, with what lies behind a delimiter rolled up into common prefixes.

A common prefix is passed with one step through the index, however many keys have it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import quote

_PAST: Final = b"\xff"  # behind any key: no UTF-8 has this byte
_JUST_BEFORE: Final = _PAST * 1_100
_FIRST_BATCH: Final = 32
_LARGEST_BATCH: Final = 1_001


class Keyed(Protocol):
    """What has a key."""

    @property
    def key(self) -> str: ...


T = TypeVar("T", bound=Keyed)
Fetch = Callable[[bytes, bytes, int], Sequence[T]]
"""The first so many entries between two keys, both left out, in order."""


@dataclass(slots=True)
class Page(Generic[T]):
    """`after` is where the next page begins; None when this is the last one."""

    entries: list[T] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    after: bytes | None = None
    last: str = ""
    """The key or the common prefix that came last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`after` is left out itself."""

    prefix: str = ""
    delimiter: str = ""
    after: bytes = b""
    most: int = 1_000

    @property
    def start(self) -> bytes:
        return max(self.after, just_before(self.prefix.encode()))

    @property
    def end(self) -> bytes:
        return just_after(self.prefix.encode())


def just_before(prefix: bytes) -> bytes:
    """A key than which all with this prefix are greater, and none without it that follows."""
    if not prefix:
        return b""
    if prefix[-1] == 0:
        return prefix[:-1]
    return prefix[:-1] + bytes([prefix[-1] - 1]) + _JUST_BEFORE


def just_after(prefix: bytes) -> bytes:
    """A key behind all with this prefix."""
    return prefix + _PAST


def page(wanted: Wanted, fetch: Fetch[T]) -> Page[T]:
    """The entries and the common prefixes behind `after`, `most` of both together."""
    found: Page[T] = Page()
    after, left = wanted.start, wanted.most
    if left <= 0:
        return found
    batch = min(left + 1, _LARGEST_BATCH) if not wanted.delimiter else min(left + 1, _FIRST_BATCH)
    while True:
        entries = fetch(after, wanted.end, batch)
        for entry in entries:
            if entry.key.encode() <= after:  # behind a common prefix that was passed meanwhile
                continue
            if left == 0:
                found.after = after
                return found
            common = common_prefix(entry.key, wanted)
            if common is None:
                found.entries.append(entry)
                after, found.last = entry.key.encode(), entry.key
            else:
                found.prefixes.append(common)
                after, found.last = just_after(common.encode()), common
            left -= 1
        if len(entries) < batch:
            return found
        is_passed = entries[-1].key.encode() < after  # all that is left of these has the prefix that was just passed
        batch = 2 if is_passed else min(batch * 2, _LARGEST_BATCH)


def common_prefix(key: str, wanted: Wanted) -> str | None:
    """What the key is rolled up into, if it is."""
    if not wanted.delimiter:
        return None
    end = key.find(wanted.delimiter, len(wanted.prefix))
    return None if end < 0 else key[: end + len(wanted.delimiter)]


def encoder(encoding_type: str | None) -> Callable[[str | None], str | None]:
    """How keys are written into an answer."""
    if encoding_type != "url":
        return lambda text: text
    return lambda text: None if text is None else quote(text, safe="/*-._")
