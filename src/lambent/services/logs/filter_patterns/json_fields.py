"""Patterns for JSON messages: `{ $.user.id = 1 && ($.errors[0] IS NULL || $.code = 4*) }`."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from lambent.services.logs.filter_patterns.scanner import (
    BadPattern,
    Compound,
    Extract,
    Matches,
    Scanner,
    Test,
    comparison,
    text_of,
)

Selector = tuple[str | int | None, ...]  # None is a wildcard

_NAME: Final = re.compile(r"[^\s()&|=<>!\"%{}\[\],.*$]+")
_INDEX: Final = re.compile(r"\d{1,9}", re.ASCII)
# Source: the guide, "Match terms in JSON log events": one wildcard in a selector, three in a pattern.
_MAX_WILDCARDS: Final = 3
_KEYWORDS: Final[dict[str, Callable[[Any], bool]]] = {
    "NULL": lambda value: value is None,
    "TRUE": lambda value: value is True,
    "FALSE": lambda value: value is False,
}


def parse(text: str) -> tuple[Matches, Extract]:
    """The test, and what the selectors find. A message that is not JSON never matches.

    A field that is not there fulfils `NOT EXISTS` alone, not even `!=`. A selector with a wildcard matches if any of
    the values it stands for does. Comparisons see strings, numbers and booleans; objects, arrays and null match
    none but `= *`.
    """
    scanner = Scanner(text)
    scanner.expect("{")
    selectors: list[tuple[str, Selector]] = []
    test: Test[Any] = Compound(scanner, lambda: _condition(scanner, selectors)).parse()
    scanner.expect("}")
    scanner.expect_end()

    def matches(message: str) -> bool:
        document = _document(message)
        return document is not _NOT_JSON and test(document)

    def extract(message: str) -> dict[str, str]:
        document = _document(message)
        found = ((source, next(_find(document, selector), None)) for source, selector in selectors)
        return {source: text_of(value) for source, value in found if isinstance(value, str | int | float)}

    return matches, extract


_NOT_JSON: Final = object()


def _document(message: str) -> Any:
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return _NOT_JSON


def _condition(scanner: Scanner, selectors: list[tuple[str, Selector]]) -> Test[Any]:
    start = scanner.at
    selector = _selector(scanner)
    selectors.append((scanner.text[start : scanner.at], selector))
    if sum(part is None for _, each in selectors for part in each) > _MAX_WILDCARDS:
        raise BadPattern
    scanner.skip_space()
    if scanner.take("NOT"):
        scanner.expect("EXISTS")
        return lambda document: next(_find(document, selector), _NOT_JSON) is _NOT_JSON
    if scanner.take("EXISTS"):
        return lambda document: next(_find(document, selector), _NOT_JSON) is not _NOT_JSON
    if scanner.take("IS"):
        is_it = _KEYWORDS.get(scanner.take_match(_NAME))
        if is_it is None:
            raise BadPattern
        scanner.skip_space()
    else:
        is_it = _value_test(scanner)
    wanted = is_it
    return lambda document: any(wanted(value) for value in _find(document, selector))


def _value_test(scanner: Scanner) -> Callable[[Any], bool]:
    start = scanner.at
    compare = comparison(scanner)
    if re.fullmatch(r'=\s*("\*"|\*)\s*', scanner.text[start : scanner.at]):
        return lambda value: True  # how tools write that a field exists
    return lambda value: isinstance(value, str | int | float) and compare(value)


def _selector(scanner: Scanner) -> Selector:
    if not scanner.peek("$"):
        raise BadPattern
    scanner.at += 1
    parts: list[str | int | None] = []
    while scanner.peek(".") or scanner.peek("["):
        parts.append(_part(scanner))
    if not parts or parts.count(None) > 1:
        raise BadPattern
    return tuple(parts)


def _part(scanner: Scanner) -> str | int | None:
    """One step of a selector: `.name`, `.*`, `[0]`, `[*]`, `['any name']` or `.['any name']`."""
    if scanner.peek("."):
        scanner.at += 1
        if scanner.peek("*"):
            scanner.at += 1
            return None
        if not scanner.peek("["):
            return scanner.take_match(_NAME)
    scanner.expect("[")
    part: str | int | None
    if scanner.take("*"):
        part = None
    elif scanner.peek("'") or scanner.peek('"'):
        part = scanner.quoted(scanner.text[scanner.at])
    else:
        part = int(scanner.take_match(_INDEX))
    scanner.skip_space()
    if not scanner.peek("]"):
        raise BadPattern
    scanner.at += 1
    return part


def _find(value: Any, selector: Selector) -> Iterator[Any]:
    """Every value that the selector stands for: at most one without a wildcard."""
    for at, part in enumerate(selector):
        if part is None:
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            for each in inner:
                yield from _find(each, selector[at + 1 :])
            return
        if isinstance(part, int):
            if not isinstance(value, list) or part >= len(value):
                return
            value = value[part]
        else:
            if not isinstance(value, dict) or part not in value:
                return
            value = value[part]
    yield value
