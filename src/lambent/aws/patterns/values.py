"""What one value of an event may be asked: the elements of a pattern's lists. Each becomes a function of the value.

A value is a leaf of the event: a string, a number, true, false or null.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, TypeGuard

Test = Callable[[Any], bool]

_LIKE_AN_ADDRESS: Final = re.compile(r"[0-9a-fA-F:.]{2,45}")
_TOO_COMPLEX: Final = (
    "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a "
    "wildcard character"
)
_WILDCARDS: Final = 64  # ours: what AWS takes for too complex depends on the whole rule


class PatternError(ValueError):
    """What is wrong with a pattern, in the words of AWS's matcher."""


class Absent:
    """Holds for a field that is not there: it is a question about names, so no value answers it."""


def element(value: Any) -> Test | Absent:
    """The test that an element of a list stands for.

    Raises:
        PatternError: it is none.
    """
    if isinstance(value, dict):
        return _expression(value)
    if isinstance(value, list):
        raise PatternError("Match value must be String, number, true, false, or null")
    if isinstance(value, str):
        address = _address(value)
        # A string that is an address is taken for one, however it is written.
        return _equal(value) if address is None else lambda given: _address(given) == address
    return _equal(value)


def _equal(value: Any) -> Test:
    """Numbers are equal by value (5 and 5.0), and never equal to strings, true or false."""
    if _is_number(value):
        return lambda given: _is_number(given) and given == value
    return lambda given: type(given) is type(value) and given == value


def _expression(expression: dict[str, Any]) -> Test | Absent:
    if not expression:
        raise PatternError("Match expression name not found")
    name, value = next(iter(expression.items()))
    make = _EXPRESSIONS.get(name)
    if make is None:
        raise PatternError(f"Unrecognized match type {name}")
    test = make(value)
    if len(expression) > 1:
        raise PatternError(
            "Too many elements in numeric expression"
            if name in ("numeric", "anything-but")
            else "Only one key allowed in match expression"
        )
    return test


def _exactly(value: Any) -> Test:
    if not isinstance(value, str):
        raise PatternError("exact match pattern must be a string")
    return _equal(value)


def _prefix(value: Any) -> Test:
    if isinstance(value, dict):
        start = _ignoring_case(value, "prefix")
        return lambda given: isinstance(given, str) and _folded(given).startswith(start)
    if not isinstance(value, str):
        raise PatternError("prefix match pattern must be a string")
    return lambda given: isinstance(given, str) and given.startswith(value)


def _suffix(value: Any) -> Test:
    if isinstance(value, dict):
        end = _ignoring_case(value, "suffix")
        return lambda given: isinstance(given, str) and _folded(given).endswith(end)
    if not isinstance(value, str):
        raise PatternError("suffix match pattern must be a string")
    return lambda given: isinstance(given, str) and given.endswith(value)


def _ignoring_case(value: dict[str, Any], of: str) -> str:
    if not value:
        raise PatternError(f"{of.capitalize()} expression name not found")
    name, text = next(iter(value.items()))
    if name != "equals-ignore-case":
        raise PatternError(f"Unsupported {of} pattern: {name}")
    if not isinstance(text, str):
        raise PatternError("equals-ignore-case match pattern must be a string")
    if len(value) > 1:
        raise PatternError("Only one key allowed in match expression")
    return _folded(text)


def _equals_ignore_case(value: Any) -> Test:
    if not isinstance(value, str):
        raise PatternError("equals-ignore-case match pattern must be a string")
    wanted = _folded(value)
    return lambda given: isinstance(given, str) and _folded(given) == wanted


def _folded(text: str) -> str:
    """Each character by itself, as the matcher compares them: `ß` and `ss` stay different."""
    return text.lower()


def _wildcard(value: Any) -> Test:
    if not isinstance(value, str):
        raise PatternError("wildcard match pattern must be a string")
    pieces = _pieces(value)
    return lambda given: isinstance(given, str) and _fits(given, pieces)


def _pieces(text: str) -> list[str]:
    """What stands between the asterisks. `\\*` and `\\\\` are the characters; positions count the opening quote."""
    pieces, at = [""], 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
            if text[at : at + 1] not in ("*", "\\") or not text[at : at + 1]:
                raise PatternError(f"Invalid escape character at pos {at}")
            pieces[-1] += text[at]
        elif letter == "*":
            if text[at + 1 : at + 2] == "*":
                raise PatternError(f"Consecutive wildcard characters at pos {at + 1}")
            pieces.append("")
        else:
            pieces[-1] += letter
        at += 1
    if len(pieces) > _WILDCARDS:
        raise PatternError(_TOO_COMPLEX)
    return pieces


def _fits(text: str, pieces: list[str]) -> bool:
    """Each piece at the first place after the one before it; the last one at the end. Linear but for `find`."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


# Anything but


def _anything_but(value: Any) -> Test:
    """True for what is there and different, whatever its type."""
    if isinstance(value, dict):
        unwanted = _anything_but_expression(value)
    else:
        unwanted = [_equal(each) for each in _plain_values(value)]
    return lambda given: not any(test(given) for test in unwanted)


def _plain_values(value: Any) -> list[Any]:
    if not isinstance(value, list):
        if isinstance(value, str) or _is_number(value):
            return [value]
        raise PatternError("Value of anything-but must be an array or single string/number value.")
    if not all(isinstance(each, str) or _is_number(each) for each in value):
        raise PatternError("Inside anything but list, start|null|boolean is not supported.")
    if len({isinstance(each, str) for each in value}) != 1:
        raise PatternError(
            "Inside anything but list, either all values are number or string, mixed type is not supported"
        )
    return value


def _anything_but_expression(value: dict[str, Any]) -> list[Test]:
    if not value:
        raise PatternError("Anything-But expression name not found")
    name, wanted = next(iter(value.items()))
    make = {"prefix": _prefix, "suffix": _suffix, "equals-ignore-case": _equals_ignore_case, "wildcard": _wildcard}
    if name not in make:
        raise PatternError(f"Unsupported anything-but pattern: {name}")
    texts = wanted if isinstance(wanted, list) else [wanted]
    if not texts or not all(isinstance(each, str) for each in texts):
        if name == "equals-ignore-case":
            raise PatternError("Inside anything-but/ignore-case list, number|start|null|boolean is not supported.")
        raise PatternError("prefix/suffix match pattern must be a string")
    if name in ("prefix", "suffix") and not all(texts):
        raise PatternError("Null prefix/suffix not allowed")
    if len(value) > 1:
        raise PatternError("Only one key allowed in match expression")
    return [make[name](each) for each in texts]


# Numbers


_HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": lambda given, bound: given == bound,
    "<": lambda given, bound: given < bound,
    "<=": lambda given, bound: given <= bound,
    ">": lambda given, bound: given > bound,
    ">=": lambda given, bound: given >= bound,
}


def _numeric(value: Any) -> Test:
    if not isinstance(value, list):
        raise PatternError("Value of numeric must be an array.")
    if not value or not isinstance(value[0], str):
        raise PatternError(f"Invalid member in numeric match: {value[0] if value else ']'}")
    low_operator, low = value[0], value[1] if len(value) > 1 else None
    if low_operator not in _HOLDS:
        raise PatternError(f"Unrecognized numeric range operator: {low_operator}")
    if not _is_number(low):
        raise PatternError(f"Value of {'equals' if low_operator == '=' else low_operator} must be numeric")
    holds = _HOLDS[low_operator]
    if len(value) == 2:
        return lambda given: _is_number(given) and holds(given, low)
    if low_operator not in (">", ">="):
        raise PatternError("Too many elements in numeric expression")
    high_operator, high = _high(value, low)
    holds_too = _HOLDS[high_operator]
    return lambda given: _is_number(given) and holds(given, low) and holds_too(given, high)


def _high(value: list[Any], low: float) -> tuple[str, float]:
    operator, high = value[2], value[3] if len(value) > 3 else None
    if not isinstance(operator, str):
        raise PatternError(f"Bad value in numeric range: {operator}")
    if operator not in ("<", "<="):
        raise PatternError(f"Bad numeric range operator: {operator}")
    if not _is_number(high):
        raise PatternError(f"Value of {operator} must be numeric")
    if len(value) > 4:
        raise PatternError("Too many terms in numeric range expression")
    if low >= high:
        raise PatternError("Bottom must be less than top")
    return operator, high


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


# Addresses


def _cidr(value: Any) -> Test:
    """From the address as it is given, not from its network's first, to the last of the network."""
    if not isinstance(value, str):
        raise PatternError("prefix match pattern must be a string")
    text, slash, bits = value.partition("/")
    if not slash or "/" in bits:
        raise PatternError("Malformed CIDR, one '/' required")
    if not re.fullmatch(r"[+-]?[0-9]+", bits, re.ASCII):
        raise PatternError("Malformed CIDR, mask bits must be an integer")
    if int(bits) < 0:
        raise PatternError("Malformed CIDR, mask bits must not be negative")
    low = _address(text)
    if low is None:
        raise PatternError(f"Nonstandard IP address: {text}")
    if int(bits) >= low.max_prefixlen:
        raise PatternError(f"IPv{low.version} mask bits must be < {low.max_prefixlen}")
    first, last = int(low), int(low) | (1 << (low.max_prefixlen - int(bits))) - 1

    def test(given: Any) -> bool:
        address = _address(given)
        return address is not None and address.version == low.version and first <= int(address) <= last

    return test


def _address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if not isinstance(value, str) or not _LIKE_AN_ADDRESS.fullmatch(value):
        return None
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def _exists(value: Any) -> Test | Absent:
    if not isinstance(value, bool):
        raise PatternError("exists match pattern must be either true or false.")
    return (lambda _given: True) if value else Absent()


_EXPRESSIONS: Final[dict[str, Callable[[Any], Test | Absent]]] = {
    "exactly": _exactly,
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
    "exists": _exists,
}
