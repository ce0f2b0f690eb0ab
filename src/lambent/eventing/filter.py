"""Which records a mapping's filters let through. Pure.

One key of a record holds its data (`body` of a message, `data` of a stream's record): text that is often JSON. A
pattern below that key wants JSON there; a pattern of the key itself wants text that is not. A record of the other kind
does not match.

Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function"; facts sheet section 27.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lambent.aws import patterns
from lambent.aws.patterns import Pattern


@dataclass(frozen=True, slots=True)
class _One:
    pattern: Pattern
    wants_json: bool
    wants_text: bool

    def passes(self, record: dict[str, Any], *, is_json: bool) -> bool:
        if self.wants_json and not is_json:
            return False
        return not (self.wants_text and is_json) and self.pattern.matches(record)


@dataclass(frozen=True, slots=True)
class Filter:
    """One of the patterns has to match; none at all lets everything through."""

    key: str
    ones: tuple[_One, ...] = ()

    def passes(self, event: bytes) -> bool:
        """Whether a record, as the JSON that a function would be given, goes on."""
        if not self.ones:
            return True
        record = msgspec.json.decode(event)
        data = _parsed(record.get(self.key))
        if data is not None:
            record[self.key] = data
        return any(one.passes(record, is_json=data is not None) for one in self.ones)


def compile_filter(texts: Sequence[str], key: str) -> Filter:
    """A filter of these patterns.

    Raises:
        PatternError: one of them is none.
    """
    return Filter(key, tuple(_read(patterns.compile(text), key) for text in texts))


def _read(pattern: Pattern, key: str) -> _One:
    names = pattern.names.wanted
    return _One(pattern, wants_json=any(name.startswith(f"{key}.") for name in names), wants_text=key in names)


def _parsed(data: Any) -> dict[str, Any] | None:
    """The object that the text is the JSON of; None for any other text."""
    if not isinstance(data, str) or not data.lstrip().startswith("{"):
        return None
    try:
        parsed: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return parsed
