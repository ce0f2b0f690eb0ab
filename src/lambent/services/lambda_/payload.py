"""Whether an invocation's payload is JSON, and if not, why: in the words of AWS's parser (Jackson). Pure."""

import json
import re
from itertools import accumulate
from typing import Final

import msgspec

from lambent.aws.errors import ApiError

_EXPECTED: Final = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_SPACE: Final = b" \t\n\r"
_WORD: Final = re.compile(rb"[A-Za-z0-9_$\x80-\xff]+")
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ESCAPE: Final = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]+')
_LOOKED_AT_CLOSELY: Final = 65_536  # bytes; about 50 ms of Python
_DEEPEST: Final = 1_000  # Jackson's StreamReadConstraints
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_payload(payload: bytes) -> None:
    """Returns for one JSON value in UTF-8.

    Raises:
        ApiError: InvalidRequestContentException, with what is wrong and where.

    Source: recorded answers of Invoke; Jackson's messages.
    """
    if _is_plainly_json(payload):
        return
    problem = _problem(payload) if len(payload) <= _LOOKED_AT_CLOSELY else _rough_problem(payload)
    if problem is None:
        return
    message, at = problem
    raise ApiError(
        "InvalidRequestContentException",
        f"Could not parse request body into json: Could not parse payload into json: {message}{_location(payload, at)}",
    )


def _is_plainly_json(payload: bytes) -> bool:
    """Fast. False also for the rare escapes of half a character, which Jackson takes and msgspec does not."""
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)  # checks the structure, not what is inside strings
    except (msgspec.DecodeError, RecursionError):
        return False
    return (payload.isascii() or _bad_byte(payload) is None) and not _is_too_deep(payload)


def _is_too_deep(payload: bytes) -> bool:
    """Counted, because how deep the parsers themselves go differs from one Python to the next."""
    if payload.count(b"[") + payload.count(b"{") <= _DEEPEST:
        return False
    brackets = _STRING.sub(b"", payload).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > _DEEPEST


def _problem(payload: bytes) -> tuple[str, int] | None:
    """What is wrong and where, or None."""
    try:
        _Scanner(payload).document()
    except _Wrong as wrong:
        return wrong.message, wrong.at
    at = _bad_byte(payload)
    return None if at is None else (f"Invalid UTF-8 start byte 0x{payload[at]:x}", at)


def _rough_problem(payload: bytes) -> tuple[str, int] | None:
    """The same for payloads so long that walking through them would hold everybody up."""
    at = _bad_byte(payload)
    if at is not None:
        return f"Invalid UTF-8 start byte 0x{payload[at]:x}", at
    if _is_too_deep(payload):
        return f"Document nesting depth exceeds the maximum allowed ({_DEEPEST})", 0
    text = payload.decode()
    try:
        json.loads(text, parse_constant=_not_a_number)
    except json.JSONDecodeError as error:
        shown = _shown(ord(text[error.pos])) if error.pos < len(text) else "end-of-input"
        return f"Unexpected character ({shown}): expected a valid value {_EXPECTED}", len(text[: error.pos].encode())
    except ValueError:
        return f"Unrecognized token 'NaN': was expecting {_EXPECTED}", max(0, payload.find(b"NaN"))
    except RecursionError:
        return f"Document nesting depth exceeds the maximum allowed ({_DEEPEST})", 0
    return None


def _not_a_number(name: str) -> None:
    raise ValueError(name)


class _Wrong(Exception):
    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def _location(payload: bytes, at: int) -> str:
    before = payload[:at]
    line = before.count(b"\n") + 1
    column = at - (before.rfind(b"\n") + 1) + 1
    return (
        "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); "
        f"line: {line}, column: {column}]"
    )


def _bad_byte(payload: bytes) -> int | None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _shown(code: int) -> str:
    """A character as Jackson names it."""
    if code < 32 or 127 <= code < 160:
        return f"(CTRL-CHAR, code {code})"
    return f"'{chr(code)}' (code {code})" if code < 256 else f"'{chr(code)}' (code {code} / 0x{code:x})"


class _Scanner:
    """Walks through a text to the first thing that is not JSON. Only for payloads that are already known to be bad."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0
        self.open: list[tuple[bytes, int]] = []  # what is open, "{" or "[", and where it began
        self.is_first = False  # whether the container just opened

    def document(self) -> None:
        """Raises _Wrong at the first error; returns when the structure is sound."""
        self._value()
        while self.open:
            self._next_in_container()
        self._space()
        if self.at < len(self.text):
            self._value()  # a second value: AWS's parser reads on, and says what is wrong with it if anything is
            raise _Wrong("Trailing token found after value", self.at)

    def _next_in_container(self) -> None:
        bracket, _ = self.open[-1]
        self._space()
        close = b"}" if bracket == b"{" else b"]"
        if self._peek() == close:
            self.at += 1
            self.open.pop()
            self.is_first = False
            return
        if not self.is_first:
            kind = "Object" if bracket == b"{" else "Array"
            self._take(b",", f"was expecting comma to separate {kind} entries")
            self._space()
        self.is_first = False
        if bracket == b"{":
            self._take(b'"', "was expecting double-quote to start field name", keep=True)
            self._string()
            self._space()
            self._take(b":", "was expecting a colon to separate field name and value")
        self._value()

    def _value(self) -> None:
        self._space()
        first = self._peek()
        if first == b"":
            raise self._ended()
        if first in (b"{", b"["):
            if len(self.open) >= _DEEPEST:
                raise _Wrong(
                    f"Document nesting depth ({_DEEPEST + 1}) exceeds the maximum allowed ({_DEEPEST}, "
                    "from `StreamReadConstraints.getMaxNestingDepth()`)",
                    self.at,
                )
            self.open.append((first, self.at))
            self.is_first = True
            self.at += 1
        elif first == b'"':
            self._string()
        elif first == b"-" or first.isdigit():
            self._number()
        else:
            self._word()

    def _word(self) -> None:
        match = _WORD.match(self.text, self.at)
        if match is None or match[0][0] >= 0x80:
            raise self._unexpected(f"expected a valid value {_EXPECTED}")
        if match[0] not in (b"null", b"true", b"false"):
            word = match[0].decode(errors="replace")
            raise _Wrong(f"Unrecognized token '{word}': was expecting {_EXPECTED}", match.end())
        self.at = match.end()

    def _number(self) -> None:
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            self.at += 1
            raise self._unexpected("expected digit (0-9) to follow minus sign, for valid numeric value")
        following = self.text[match.end() : match.end() + 1]
        if match[0].lstrip(b"-") == b"0" and following.isdigit():
            raise _Wrong("Invalid numeric value: Leading zeroes not allowed", match.end())
        self.at = match.end()
        if following not in (b"", b",", b"]", b"}", *(bytes([code]) for code in _SPACE)):
            raise self._unexpected("Expected space separating root-level values")

    def _string(self) -> None:
        begin = self.at
        self.at += 1
        while True:
            plain = _PLAIN.match(self.text, self.at)
            self.at = plain.end() if plain else self.at
            character = self._peek()
            if character == b'"':
                self.at += 1
                return
            if character == b"":
                raise _Wrong("Unexpected end-of-input: was expecting closing quote for a string value", begin)
            if character != b"\\":
                code = self.text[self.at]
                raise _Wrong(
                    f"Illegal unquoted character ((CTRL-CHAR, code {code})): "
                    "has to be escaped using backslash to be included in string value",
                    self.at,
                )
            escape = _ESCAPE.match(self.text, self.at)
            if escape is None:
                self.at += 1
                code = self.text[self.at] if self.at < len(self.text) else 0
                raise _Wrong(f"Unrecognized character escape {_shown(code)}", self.at)
            self.at = escape.end()

    def _space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1

    def _peek(self) -> bytes:
        return self.text[self.at : self.at + 1]

    def _take(self, wanted: bytes, expectation: str, *, keep: bool = False) -> None:
        if self._peek() == b"":
            raise self._ended()
        if self._peek() != wanted:
            raise self._unexpected(expectation)
        if not keep:
            self.at += 1

    def _unexpected(self, expectation: str) -> _Wrong:
        if self.at >= len(self.text):
            return self._ended()
        code = self.text[self.at]
        if code >= 0x80:
            code = ord(self.text[self.at :].decode(errors="ignore")[:1] or chr(code))
        return _Wrong(f"Unexpected character ({_shown(code)}): {expectation}", self.at)

    def _ended(self) -> _Wrong:
        if not self.open:
            return _Wrong("No content to map due to end-of-input", self.at)
        bracket, begin = self.open[-1]
        kind = "Object" if bracket == b"{" else "Array"
        start = _location(self.text, begin).removeprefix("\n at ")
        return _Wrong(f"Unexpected end-of-input: expected close marker for {kind} (start marker at {start})", self.at)
