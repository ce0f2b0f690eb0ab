"""Patterns for messages of fields: `[ip, user, ..., status=4*, bytes>1000]`."""

import re
from typing import Final

from lambent.services.logs.filter_patterns.scanner import (
    BadPattern,
    Compound,
    Extract,
    Matches,
    Scanner,
    Test,
    comparison,
)

_NAME: Final = re.compile(r"[^\s()&|=<>!\"%{}\[\],.*]+")
# A field of a message: in square brackets, in double quotes, or up to the next space.
_FIELD: Final = re.compile(r'\[([^\]]*)\]|"((?:[^"\\]|\\.)*)"|(\S+)')
_ELLIPSIS: Final = "..."


def parse(text: str) -> tuple[Matches, Extract]:
    """The test, and what the names stand for in a message.

    The message must have as many fields as the pattern names; one `...` stands for any number of them.
    """
    scanner = Scanner(text)
    scanner.expect("[")
    names: list[str] = []
    tests: list[Test[str] | None] = []
    while not tests or scanner.take(","):
        name, test = _field(scanner)
        names.append(name)
        tests.append(test)
    scanner.expect("]")
    scanner.expect_end()
    if names.count(_ELLIPSIS) > 1:
        raise BadPattern

    def matches(message: str) -> bool:
        fields = _aligned(names, message)
        return fields is not None and all(
            test is None or test(field) for test, field in zip(tests, fields, strict=True)
        )

    def extract(message: str) -> dict[str, str]:
        fields = _aligned(names, message) or []
        return {f"${name}": field for name, field in zip(names, fields, strict=False) if name != _ELLIPSIS}

    return matches, extract


def _field(scanner: Scanner) -> tuple[str, Test[str] | None]:
    """A field's name, and its conditions if it has any."""
    if scanner.take(_ELLIPSIS):
        return _ELLIPSIS, None
    start = scanner.at
    if not scanner.peek("("):
        name = scanner.take_match(_NAME)
        scanner.skip_space()
        if scanner.peek(",") or scanner.peek("]"):
            return name, None
        scanner.at = start
    names: set[str] = set()
    test: Test[str] = Compound(scanner, lambda: _condition(scanner, names)).parse()
    if len(names) != 1:
        raise BadPattern  # a field has one name
    return names.pop(), test


def _condition(scanner: Scanner, names: set[str]) -> Test[str]:
    names.add(scanner.take_match(_NAME))
    scanner.skip_space()
    return comparison(scanner)


def _aligned(names: list[str], message: str) -> list[str] | None:
    """The message's field for each name, "" for the ellipsis; None when the numbers do not fit."""
    fields = [next((group for group in match.groups() if group is not None), "") for match in _FIELD.finditer(message)]
    if _ELLIPSIS not in names:
        return fields if len(fields) == len(names) else None
    before = names.index(_ELLIPSIS)
    after = len(names) - before - 1
    if len(fields) < before + after:
        return None
    return [*fields[:before], "", *fields[len(fields) - after :]]
