"""What the three pattern forms share: a cursor over the text, literals, comparisons, and compound conditions."""

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from lambent.services.logs.filter_patterns import regex

Matches = Callable[[str], bool]
Extract = Callable[[str], dict[str, str]]
Subject = TypeVar("Subject")
Test = Callable[[Subject], bool]
Comparison = Callable[[str | float], bool]

# Longest first, so that `<=` is not read as `<`.
_OPERATORS: Final = ("!=", "<=", ">=", "=", "<", ">")
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WORD: Final = re.compile(r"[^\s()&|=<>!\"%{}\[\],]+")
_SPACE: Final = re.compile(r"\s*")
# Python's own recursion limit is far above; AWS names none.
_MAX_DEPTH: Final = 50
# Source: the guide, "Supported regular expressions": two in one delimited or JSON pattern.
_MAX_REGEXES: Final = 2


class BadPattern(Exception):
    """The text is not a filter pattern; the message is AWS's."""

    def __init__(self, message: str = "Invalid filter pattern") -> None:
        super().__init__(message)


class Scanner:
    """A position in a pattern's text that only moves forward."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.regexes = 0

    def skip_space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def peek(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def take(self, token: str) -> bool:
        """True, and the position behind the token and any space, if the text goes on with it."""
        if not self.peek(token):
            return False
        self.at += len(token)
        self.skip_space()
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise BadPattern

    def take_match(self, form: re.Pattern[str]) -> str:
        """What the form matches here, not empty; the position is right behind it."""
        match = form.match(self.text, self.at)
        if match is None or match.end() == self.at:
            raise BadPattern
        self.at = match.end()
        return match.group()

    def expect_end(self) -> None:
        if self.at != len(self.text):
            raise BadPattern

    def quoted(self, quote: str = '"') -> str:
        """The text between quotes, `\\"` and `\\\\` unescaped."""
        self.at += 1
        characters = []
        while not self.peek(quote):
            if self.peek("\\") and self.text[self.at + 1 : self.at + 2] in (quote, "\\"):
                self.at += 1
            if self.at >= len(self.text):
                raise BadPattern
            characters.append(self.text[self.at])
            self.at += 1
        self.at += 1
        return "".join(characters)

    def between_percents(self) -> Matches:
        """The regular expression that stands here between two percent signs."""
        self.regexes += 1
        end = self.at + 1
        while end < len(self.text) and self.text[end] != "%":
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text) or self.regexes > _MAX_REGEXES:
            raise BadPattern
        source = self.text[self.at + 1 : end]
        self.at = end + 1
        try:
            return regex.compile(source).search
        except regex.BadRegex as error:
            raise BadPattern from error


class Compound(Generic[Subject]):
    """Conditions joined by `&&`, `||` and parentheses; `&&` binds tighter."""

    def __init__(self, scanner: Scanner, condition: Callable[[], Test[Subject]]) -> None:
        self._scanner = scanner
        self._condition = condition

    def parse(self) -> Test[Subject]:
        either = [self._all()]
        while self._scanner.take("||"):
            either.append(self._all())
        if len(either) == 1:
            return either[0]
        return lambda subject: any(test(subject) for test in either)

    def _all(self) -> Test[Subject]:
        every = [self._unit()]
        while self._scanner.take("&&"):
            every.append(self._unit())
        if len(every) == 1:
            return every[0]
        return lambda subject: all(test(subject) for test in every)

    def _unit(self) -> Test[Subject]:
        if not self._scanner.take("("):
            return self._condition()
        self._scanner.depth += 1
        if self._scanner.depth > _MAX_DEPTH:
            raise BadPattern
        inner = self.parse()
        self._scanner.expect(")")
        self._scanner.depth -= 1
        return inner


def comparison(scanner: Scanner) -> Comparison:
    """The operator and literal that stand here, as a test of one value.

    `=` and `!=` compare numbers as numbers and everything else as text, in which `*` stands for any characters.
    The ordering operators want a number on both sides.
    """
    operator = next((each for each in _OPERATORS if scanner.take(each)), None)
    if operator is None:
        raise BadPattern
    equal: Comparison
    if scanner.peek("%"):
        search = scanner.between_percents()
        equal = lambda value: search(text_of(value))  # noqa: E731
        literal = None
    elif scanner.peek('"'):
        literal = None
        equal = _glob_test(scanner.quoted())
    else:
        literal = scanner.take_match(_WORD)
        equal = _plain_test(literal)
    scanner.skip_space()
    if operator == "=":
        return equal
    if operator == "!=":
        return lambda value: not equal(value)
    return _ordering(operator, literal)


def _ordering(operator: str, literal: str | None) -> Comparison:
    limit = number_of(literal) if literal is not None else None
    if limit is None:
        raise BadPattern
    least: float = limit
    tests: dict[str, Callable[[float], bool]] = {
        "<": lambda number: number < least,
        "<=": lambda number: number <= least,
        ">": lambda number: number > least,
        ">=": lambda number: number >= least,
    }
    test = tests[operator]

    def compare(value: str | float) -> bool:
        number = number_of(value)
        return number is not None and test(number)

    return compare


def _plain_test(literal: str) -> Comparison:
    wanted = number_of(literal)
    if wanted is None:
        return _glob_test(literal)
    return lambda value: value == literal or number_of(value) == wanted


def _glob_test(literal: str) -> Comparison:
    match = glob(literal)
    return lambda value: match(text_of(value))


def glob(pattern: str) -> Matches:
    """A test for the whole of a text, in which `*` stands for any characters. Takes time in proportion to the text."""
    first, *rest = pattern.split("*")
    if not rest:
        return lambda text: text == pattern
    *middle, last = rest

    def match(text: str) -> bool:
        end = len(text) - len(last)
        if not text.startswith(first) or not text.endswith(last) or end < len(first):
            return False
        at = len(first)
        for piece in middle:  # the leftmost place is always as good as any other
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return match


def number_of(value: str | float) -> float | None:
    """The number that a value is, or is written as; None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return float(value) if len(value) < 400 and _NUMBER.fullmatch(value) else None
    return value


def text_of(value: str | float) -> str:
    """A value as JSON writes it, strings without quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
