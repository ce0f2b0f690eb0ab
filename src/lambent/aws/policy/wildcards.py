"""Patterns of the policy language: `*`, `?` and `${variables}`, matched in linear time.

A pattern is cut at its stars; the pieces between have a fixed length each and are looked for from left to right, so
that no pattern, however many stars it has, makes matching slow.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

STAR: Final = object()
ANY: Final = object()

Token = str | object
"""A character, STAR (any text) or ANY (one character)."""
Pattern = tuple[Token, ...]

Lookup = Callable[[str], str | None]
"""The value of a variable; None when the request has none, or more than one."""

_VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")
_DEFAULT: Final = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*")
_ESCAPED: Final = frozenset("*?$")  # ${*} is the character itself


def compiled(text: str, lookup: Lookup | None, *, wildcards: bool = True) -> Pattern | None:
    """The pattern in a text of a policy; None when a variable in it has no value: it matches nothing then.

    Without `lookup` there are no variables; without `wildcards`, stars and question marks are themselves. What a
    variable stands for is never a wildcard.
    """
    found: list[Token] = []
    at = 0
    for match in _VARIABLE.finditer(text) if lookup is not None else ():
        found += _tokens(text[at : match.start()], wildcards=wildcards)
        value = _value(match[1], lookup)
        if value is None:
            return None
        found += value
        at = match.end()
    found += _tokens(text[at:], wildcards=wildcards)
    return tuple(found)


def matches(pattern: Pattern, text: str) -> bool:
    """Whether all of the text is as the pattern says."""
    expression = _expressions(pattern)
    if len(expression) == 1:
        return expression[0].fullmatch(text) is not None
    first, *middle, last = expression
    start = first.match(text)
    if start is None:
        return False
    at = start.end()
    for piece in middle:
        found = piece.search(text, at)
        if found is None:
            return False
        at = found.end()
    return len(text) - at >= (length := _length(pattern)) and last.match(text, len(text) - length) is not None


def split(pattern: Pattern, parts: int) -> list[Pattern]:
    """The pattern cut at its first colons, into at most so many parts."""
    cut: list[list[Token]] = [[]]
    for token in pattern:
        if token == ":" and len(cut) < parts:
            cut.append([])
        else:
            cut[-1].append(token)
    return [tuple(piece) for piece in cut]


def arn_matches(pattern: Pattern, arn: str) -> bool:
    """Whether an ARN is as the pattern says, part by part: a star does not reach over one of the first five colons.

    Parts that a pattern leaves out at its end may be anything.

    Source: IAM User Guide, "IAM JSON policy elements: Resource" (incomplete ARNs) and "Condition operators" (ArnLike).
    """
    wanted = split(pattern, 6)
    if wanted[0] != tuple("arn") or len(wanted) == 1:
        return matches(pattern, arn)
    there = arn.split(":", 5)
    wanted += [(STAR,)] * (6 - len(wanted))
    return len(there) == 6 and all(map(matches, wanted, there))


def _tokens(text: str, *, wildcards: bool) -> list[Token]:
    if not wildcards:
        return list(text)
    return [STAR if letter == "*" else ANY if letter == "?" else letter for letter in text]


def _value(variable: str, lookup: Lookup | None) -> str | None:
    if variable in _ESCAPED:
        return variable
    assert lookup is not None
    with_default = _DEFAULT.fullmatch(variable)
    if with_default is None:
        return lookup(variable.strip())
    value = lookup(with_default[1])
    return with_default[2] if value is None else value


@lru_cache(maxsize=512)
def _expressions(pattern: Pattern) -> tuple[re.Pattern[str], ...]:
    """The pieces between stars. Each has one length alone, so the expression never goes back."""
    pieces: list[list[str]] = [[]]
    for token in pattern:
        if token is STAR:
            pieces.append([])
        else:
            pieces[-1].append("." if token is ANY else re.escape(str(token)))
    return tuple(re.compile("".join(piece), re.DOTALL) for piece in pieces)


def _length(pattern: Pattern) -> int:
    """The length of what comes after the last star."""
    return next(number for number, token in enumerate(reversed(pattern)) if token is STAR)
