"""The regular expressions of filter patterns, in time proportional to the text whatever the expression.

They have no groups, so each is a few alternatives, each a row of character classes with a repetition. All of them
run at once as bits of one integer: bit i is set when element i may come next. Steps are remembered (a lazily built
automaton), which makes a step one dictionary look-up.

Source: CloudWatch Logs User Guide, "Supported regular expressions (regex) syntax".
"""

import re
import string
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

_WORD: Final = frozenset(string.ascii_letters + string.digits + "_")
_DIGITS: Final = frozenset(string.digits)
_SPACE: Final = frozenset(" \t\n\r\f\v")
_ASCII: Final = frozenset(map(chr, range(128)))
# The guide's list has no space and no colon, but AWS's own CDK emits them.
_LITERALS: Final = frozenset(string.ascii_letters + string.digits + "_#=@/;,- :")
_SHORTHANDS: Final = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_REPEAT: Final = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}", re.ASCII)
_HEX: Final = re.compile(r"x([0-9a-fA-F]{2})")
# Expanded repetitions count: keeps a step's integers short.
_MAX_ELEMENTS: Final = 1000
_MAX_REMEMBERED: Final = 10_000


class BadRegex(Exception):
    """The text is not one of the supported expressions."""


@dataclass(frozen=True, slots=True)
class _Class:
    """A set of characters: those listed, or all but those."""

    listed: frozenset[str]
    negated: bool = False

    def __contains__(self, character: object) -> bool:
        return (character in self.listed) != self.negated


@dataclass(frozen=True, slots=True)
class _Element:
    characters: _Class
    is_optional: bool = False
    repeats: bool = False


@dataclass(slots=True)
class _Row:
    """One alternative."""

    elements: list[_Element] = field(default_factory=list)
    from_start: bool = False
    to_end: bool = False


class Regex:
    """A compiled expression."""

    def __init__(self, rows: list[_Row]) -> None:
        self._elements: list[_Element | None] = []  # None: the end of a row
        self._optional = self._repeating = 0
        self._starts = self._anywhere = self._accept = self._accept_at_end = 0
        for row in rows:
            self._add(row)
        self._starts, self._anywhere = self._closure(self._starts), self._closure(self._anywhere)
        self._masks: dict[str, int] = {}
        self._steps: dict[tuple[int, str], int] = {}

    def search(self, text: str) -> bool:
        """True if the expression matches anywhere in the text."""
        state, accept, steps = self._starts, self._accept, self._steps
        if state & accept:
            return True
        for at, character in enumerate(text):
            if state & self._accept_at_end and at == len(text) - 1 and character == "\n":
                return True  # `$` matches before a final newline
            following = steps.get((state, character))
            if following is None:
                following = self._step(state, character)
            state = following
            if state & accept:
                return True
            if not state:
                return False
        return bool(state & self._accept_at_end)

    def _add(self, row: _Row) -> None:
        first = 1 << len(self._elements)
        for element in row.elements:
            bit = 1 << len(self._elements)
            self._optional |= bit * element.is_optional
            self._repeating |= bit * element.repeats
            self._elements.append(element)
        end = 1 << len(self._elements)
        self._elements.append(None)
        self._starts |= first
        self._anywhere |= 0 if row.from_start else first
        if row.to_end:
            self._accept_at_end |= end
        else:
            self._accept |= end

    def _step(self, state: int, character: str) -> int:
        mask = self._masks.get(character)
        if mask is None:
            bits = (1 << at for at, each in enumerate(self._elements) if each and character in each.characters)
            mask = self._masks[character] = reduce(int.__or__, bits, 0)
        taken = state & mask
        following = self._closure(taken << 1 | taken & self._repeating) | self._anywhere
        if len(self._steps) >= _MAX_REMEMBERED:
            self._steps.clear()
            self._masks.clear()
        self._steps[state, character] = following
        return following

    def _closure(self, state: int) -> int:
        """The state, and what is reached by passing over optional elements.

        Adding a bit to a run of ones carries through to the run's end, which is just how far one may pass.
        """
        optional = self._optional
        return state | (((state & optional) + optional) ^ optional)


def compile(source: str) -> Regex:
    """The expression that a text stands for.

    Raises:
        BadRegex: it uses what is not supported, such as groups.
    """
    return Regex(_Reader(source).rows())


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0

    def rows(self) -> list[_Row]:
        rows = [self._row()]
        while self._take("|"):
            rows.append(self._row())
        if sum(len(row.elements) + 1 for row in rows) > _MAX_ELEMENTS:
            raise BadRegex
        return rows

    def _row(self) -> _Row:
        row = _Row(from_start=self._take("^"))
        while self._at < len(self._source) and self._source[self._at] != "|":
            if row.to_end:
                raise BadRegex
            if self._take("$"):
                row.to_end = True
            else:
                row.elements += self._repeated(self._class())
            if len(row.elements) > _MAX_ELEMENTS:
                raise BadRegex
        return row

    def _take(self, character: str) -> bool:
        found = self._source.startswith(character, self._at)
        self._at += found
        return found

    def _next(self) -> str:
        if self._at >= len(self._source):
            raise BadRegex
        self._at += 1
        return self._source[self._at - 1]

    def _repeated(self, characters: _Class) -> list[_Element]:
        """The class as often as the quantifier behind it says."""
        once = _Element(characters)
        maybe = _Element(characters, is_optional=True)
        if self._take("*"):
            return [_Element(characters, is_optional=True, repeats=True)]
        if self._take("+"):
            return [_Element(characters, repeats=True)]
        if self._take("?"):
            return [maybe]
        match = _REPEAT.match(self._source, self._at)
        if match is None:
            return [once]
        self._at = match.end()
        least = int(match[1])
        if match[2] and not match[3]:
            return [*[once] * least, _Element(characters, is_optional=True, repeats=True)]
        most = int(match[3]) if match[3] else least
        if most < least:
            raise BadRegex
        return [*[once] * least, *[maybe] * (most - least)]

    def _class(self) -> _Class:
        character = self._next()
        if character == ".":
            return _Class(frozenset("\n"), negated=True)
        if character == "[":
            return self._bracketed()
        if character == "\\":
            return self._escaped()
        if character not in _LITERALS:
            raise BadRegex
        return _Class(frozenset(character))

    def _escaped(self) -> _Class:
        hexadecimal = _HEX.match(self._source, self._at)
        if hexadecimal:
            self._at = hexadecimal.end()
            return _Class(frozenset(chr(int(hexadecimal[1], 16))))
        character = self._next()
        if character.lower() in _SHORTHANDS:
            return _Class(_SHORTHANDS[character.lower()], negated=character.isupper())
        if character not in _ASCII or character.isalnum():
            raise BadRegex
        return _Class(frozenset(character))

    def _bracketed(self) -> _Class:
        negated = self._take("^")
        listed: frozenset[str] = frozenset()
        all_but: frozenset[str] | None = None  # from \D, \W, \S: everything except these is listed
        while not self._take("]"):
            member = self._member()
            if member.negated:
                all_but = member.listed if all_but is None else all_but & member.listed
            elif len(member.listed) == 1 and self._is_range():
                listed |= self._range(next(iter(member.listed)))
            else:
                listed |= member.listed
        if not listed and all_but is None:
            raise BadRegex
        if all_but is None:
            return _Class(listed, negated)
        return _Class(all_but - listed, not negated)

    def _is_range(self) -> bool:
        return self._source.startswith("-", self._at) and not self._source.startswith("-]", self._at)

    def _range(self, first: str) -> frozenset[str]:
        self._at += 1
        last = self._member()
        if last.negated or len(last.listed) != 1:
            raise BadRegex
        end = ord(next(iter(last.listed)))
        if end < ord(first):
            raise BadRegex
        return frozenset(map(chr, range(ord(first), end + 1)))

    def _member(self) -> _Class:
        character = self._next()
        if character == "\\":
            return self._escaped()
        if character == "[" or (character not in _LITERALS and character not in "^$?{}|*+."):
            raise BadRegex
        return _Class(frozenset(character))
