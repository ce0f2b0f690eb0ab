"""The models' regular expressions, which are Java's, as Python's.

They mean whole values and ASCII's `\\d`, `\\w`, `\\s`. A pattern that Python cannot have is not checked; a test lists
those that there are.
"""

import re
import unicodedata
import warnings
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Final

_TOKEN: Final = re.compile(
    r"\\(?P<negated>[pP])(?:\{(?P<property>[^}]*)\}|(?P<letter>[A-Z]))"
    r"|\\[uU](?P<high>[dD][89abAB][0-9a-fA-F]{2})\\[uU](?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\x\{(?P<point>[0-9a-fA-F]+)\}"
    r"|\\Q(?P<quoted>.*?)\\E"
    r"|\(\?<(?P<group>[A-Za-z][A-Za-z0-9]*)>"
    r"|(?P<end>\\[zZ])"
    r"|(?P<escape>\\.)"
    r"|(?P<bracket>\[\^?)"
    r"|(?P<closing>\])"
    r"|(?P<other>.)",
    re.DOTALL,
)
_POSIX: Final = {
    "ASCII": r"\x00-\x7f",
    "Alnum": "0-9A-Za-z",
    "Alpha": "A-Za-z",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "Digit": "0-9",
    "Graph": r"\x21-\x7e",
    "Lower": "a-z",
    "Print": r"\x20-\x7e",
    "Punct": r"!-/:-@\[-`{-~",
    "Space": r" \t\n\x0b\f\r",
    "Upper": "A-Z",
    "XDigit": "0-9A-Fa-f",
}
_PROPERTY: Final = re.compile(r"\\[pP]")
_CLASSES: Final = ("\\d", "\\D", "\\s", "\\S", "\\w", "\\W")
# Planes 4 to 13 are not assigned; 15 and 16 are private use.
_ASSIGNED: Final = (range(0x40000), range(0xE0000, 0xE0200))


# Patterns of events, pipes and ecr that take exponential time, and what means the same in linear time.
_EQUIVALENT: Final = {
    r"^[ \t]*[\x20-\x7E]+([ \t]+[\x20-\x7E]+)*[ \t]*$": r"\t*[\x20-\x7E][\t\x20-\x7E]*",
    r"^[ \t]*[^\x00-\x1F:\x7F]+([ \t]+[^\x00-\x1F:\x7F]+)*[ \t]*$": (r"\t*[^\x00-\x1F:\x7F](?:\t|[^\x00-\x1F:\x7F])*"),
    r"[ \t]*[\x20-\x7E]+([ \t]+[\x20-\x7E]+)*[ \t]*|(\$(\.[\w/_-]+(\[(\d+|\*)\])*)*)": (
        r"\t*[\x20-\x7E][\t\x20-\x7E]*"  # the second half is within the first
    ),
    r"^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$": r"[a-z0-9*]+(?:[._\-/][a-z0-9*]+)*",
}


class Unsupported(ValueError):
    """Java has it, Python has not."""


def matcher(pattern: str) -> Callable[[str], object]:
    """The expression's `fullmatch`. Raises Unsupported.

    To find the letters of all of Unicode takes 0.1 s: that is done for the first value that is not ASCII.
    """
    if not _PROPERTY.search(pattern):
        return compiled(pattern).fullmatch
    in_ascii = compiled(pattern, ascii_only=True)
    return lambda value: (in_ascii if value.isascii() else compiled(pattern)).fullmatch(value)


@cache
def compiled(pattern: str, *, ascii_only: bool = False) -> re.Pattern[str]:
    """The expression, to be used with `fullmatch`; `ascii_only` is for values that are. Raises Unsupported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # a set within a set, which Python reads differently
            return re.compile(_translated(_EQUIVALENT.get(pattern, pattern), ascii_only), re.ASCII)
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise Unsupported(f"{pattern!r}: {error}") from error


def _translated(pattern: str, ascii_only: bool) -> str:
    if "&&" in pattern:
        raise Unsupported(f"{pattern!r}: intersection of sets")
    parts: list[str] = []
    in_set = False
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token["bracket"]:
            # In a set, an opening bracket stands for itself: the models are Smithy's, whose patterns are ECMAScript's.
            parts.append("".join(f"\\{one}" for one in text) if in_set else text)
            in_set = True
        elif token["closing"]:
            # "[]" and "[^]" begin a set that holds the bracket.
            is_first = in_set and parts[-1] in ("[", "[^")
            parts.append("\\]" if is_first or not in_set else "]")
            in_set = is_first
        elif in_set and text == "-" and parts[-1] in _CLASSES:
            parts.append("\\-")  # `[\\w-.]`: no range can begin with a class
        else:
            parts.append(_one(token, in_set=in_set, ascii_only=ascii_only))
    return "".join(parts)


def _one(token: re.Match[str], *, in_set: bool, ascii_only: bool) -> str:
    name = token["property"] or token["letter"]
    if name is not None:
        if in_set and token["negated"] == "P":
            raise Unsupported(f"\\P{{{name}}} within a set")
        known = _POSIX.get(name.removeprefix("Is")) or _category(name.removeprefix("Is"), ascii_only)
        return known if in_set else f"[{'^' if token['negated'] == 'P' else ''}{known}]"
    if token["high"] is not None:
        pair = chr(int(token["high"], 16)) + chr(int(token["low"], 16))
        point = ord(pair.encode("utf-16-be", "surrogatepass").decode("utf-16-be"))
        return f"\\U{point:08x}"
    if token["point"] is not None:
        return f"\\U{int(token['point'], 16):08x}"
    if token["quoted"] is not None:
        return re.escape(token["quoted"])
    if token["group"] is not None:
        return f"(?P<{token['group']}>"
    if token["end"] is not None:
        return "\\Z"
    text = token[0]
    if in_set and text in ("&", "~", "|"):  # doubled, Python warns of sets to come
        return f"\\{text}"
    return text


@cache
def _category(name: str, ascii_only: bool) -> str:
    """The ranges of a Unicode category (`L`, `Lu`) or a few scripts, as the inside of a set."""
    if len(name) > 2:
        raise Unsupported(f"\\p{{{name}}}")
    ranges: list[list[int]] = []
    for point in range(0x80) if ascii_only else chain(*_ASSIGNED):
        if not unicodedata.category(chr(point)).startswith(name):
            continue
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    if not ranges and ascii_only:
        return "\\U0010ffff"  # no value that is ASCII has it
    if not ranges:
        raise Unsupported(f"\\p{{{name}}}")
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
