"""Patterns of terms: `ERROR "404 not found" -DEBUG`, `?WARN ?ERROR`, `%regular expression%`."""

import re
from typing import Final

from lambent.services.logs.filter_patterns.scanner import BadPattern, Matches, Scanner

_TERM: Final = re.compile(r"[^\s\"]+")
# Source: the guide, "Match terms in unstructured log events": what is not alphanumeric or underscore needs quotes.
_UNQUOTED: Final = re.compile(r"\w+")


def parse(text: str) -> Matches:
    """The test that a list of terms stands for.

    All plain terms must occur, and none with a minus. Terms with a question mark are alternatives; beside plain or
    excluded terms they count for nothing, as the guide says. Case matters, and a term may be part of a word.
    """
    scanner = Scanner(text)
    required: list[Matches] = []
    optional: list[Matches] = []
    excluded: list[Matches] = []
    while scanner.at < len(text):
        kind = required
        if scanner.peek("?"):
            kind = optional
        elif scanner.peek("-"):
            kind = excluded
        scanner.at += kind is not required
        kind.append(_term(scanner))
        scanner.skip_space()
    if required or excluded:
        return lambda message: all(test(message) for test in required) and not any(test(message) for test in excluded)
    if optional:
        return lambda message: any(test(message) for test in optional)
    return lambda message: True


def _term(scanner: Scanner) -> Matches:
    if scanner.peek("%"):
        return scanner.between_percents()
    if scanner.peek('"'):
        term = scanner.quoted()
    else:
        term = scanner.take_match(_TERM)
        if not _UNQUOTED.fullmatch(term):
            raise BadPattern(f"Invalid character(s) in term '{term}'")
    return lambda message: term in message
