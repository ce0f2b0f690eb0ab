"""Lengths of time as people write them: `90s`, `15m`, `6h`, `2d`, `1h30m`. Pure."""

import re
from typing import Final

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_LENGTH: Final = re.compile("".join(rf"(?:([0-9]{{1,12}}(?:\.[0-9]{{1,6}})?){unit})?" for unit in _UNITS))
LONGEST_S: Final = 3_650 * 86_400.0


class DurationError(ValueError):
    """It is no length of time, or too long a one; the text says what would be one."""


def duration_s(text: str) -> float:
    """The seconds of a length of time: numbers with the units d, h, m, s and ms, the larger unit first.

    Raises:
        DurationError: it cannot be read, or is more than ten years.
    """
    found = _LENGTH.fullmatch(text.strip())
    numbers = found.groups() if found else ()
    if not any(numbers):
        raise DurationError(f"{text[:50]!r} is not a length of time; write 90s, 15m, 6h, 2d or 1h30m.")
    return checked(sum(float(number) * unit for number, unit in zip(numbers, _UNITS.values(), strict=True) if number))


def checked(seconds: float) -> float:
    """The seconds, if time may be advanced by so many at once.

    Raises:
        DurationError: fewer than none, or more than ten years.
    """
    if not 0 <= seconds <= LONGEST_S:
        raise DurationError(
            f"{seconds:g} seconds; time can be advanced by 0 to {LONGEST_S:.0f} seconds (3650d) at once."
        )
    return seconds
