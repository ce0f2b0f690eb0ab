"""Which of a function's own lines reach its log, where they are JSON objects that say their level. Pure.

Managed runtimes filter what their loggers write; this is for whatever else is printed. An object without a level that
we know is INFO; what is no object is kept.

Source: AWS Lambda Developer Guide, "Log-level filtering".
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

_LEVELS: Final = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARN": 3, "ERROR": 4, "FATAL": 5}
_RANKS: Final = _LEVELS | {"WARNING": 3, "CRITICAL": 5}  # as Python calls them


class _Line(msgspec.Struct):
    level: Any = None


_decode: Final = msgspec.json.Decoder(_Line).decode


def keeps(least: str) -> Callable[[str], bool]:
    """Whether a line is of this level or above it."""
    rank = _RANKS[least]

    def kept(message: str) -> bool:
        if not message.startswith("{"):
            return True
        try:
            level = _decode(message).level
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return True
        return (_RANKS.get(level.upper(), 2) if isinstance(level, str) else 2) >= rank

    return kept
