"""Timestamps on the wire: ISO 8601, RFC 822 (HTTP dates) and seconds since the epoch.

In Python they are aware datetimes in UTC. Reading tells the format by its look, as AWS's own services do; writing
keeps microseconds where the format can.

Source: Smithy, "timestampFormat trait".
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

Moment = datetime | float
"""What a service may hand out: an aware datetime, or seconds since the epoch."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS: Final = 1_000_000
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,17}(?:\.[0-9]{1,17})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_LONGEST: Final = 64  # no timestamp in any format is longer
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
# An HTTP date, or what RFC 822 allows beside it: no day of the week, an offset, a fraction.
_HTTP: Final = re.compile(
    r"(?:[A-Za-z]{3,9},? )?(\d{1,2})[ -]([A-Za-z]{3})[ -](\d{4}) (\d\d:\d\d:\d\d)(?:\.(\d{1,9}))? ?"
    r"(GMT|UTC|UT|Z|[+-]\d{4})?",
    re.ASCII,
)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def from_number(seconds: float) -> datetime:
    """Raises ValueError when it is no moment of the years 1 to 9999."""
    if not math.isfinite(seconds):
        raise ValueError(seconds)
    try:
        if isinstance(seconds, int):
            return _EPOCH + timedelta(seconds=seconds)
        return _EPOCH + timedelta(microseconds=round(seconds * _MICROS))
    except OverflowError as error:
        raise ValueError(seconds) from error


def from_text(text: str) -> datetime:
    """Raises ValueError when it is a timestamp in none of the formats."""
    if len(text) > _LONGEST:
        raise ValueError(text[:_LONGEST])
    if match := _ISO.fullmatch(text):
        return _from_iso(match)
    if _NUMBER.fullmatch(text):
        return from_number(float(text) if any(sign in text for sign in ".eE") else int(text))
    if match := _HTTP.fullmatch(text):
        return _from_http(match)
    raise ValueError(text)


def _from_http(match: re.Match[str]) -> datetime:
    day, month, year, time, fraction, zone = match.groups()
    micros = f".{fraction[:6]:0<6}" if fraction else ""
    zone = zone if zone and zone[0] in "+-" else "+00:00"
    number = _MONTHS.index(month.title()) + 1
    return _utc(datetime.fromisoformat(f"{year}-{number:02}-{day:0>2}T{time}{micros}{zone}"))


def _from_iso(match: re.Match[str]) -> datetime:
    day, time, fraction, zone = match.groups()
    micros = f".{fraction[:6]:0<6}" if fraction else ""
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    return _utc(datetime.fromisoformat(f"{day}T{time}{micros}{zone}"))


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(moment) from error


def to_number(moment: Moment) -> float:
    """Seconds since the epoch: an int where they are whole."""
    if not isinstance(moment, datetime):
        return moment
    since = moment - _EPOCH
    whole = since.days * 86_400 + since.seconds
    # Divided once, so that it is rounded once and read back as the same microsecond.
    return (whole * _MICROS + since.microseconds) / _MICROS if since.microseconds else whole


def to_iso8601(moment: Moment) -> str:
    """`2026-11-21T06:00:00Z`, with as many decimals as it needs (none, three or six)."""
    moment = _datetime(moment)
    micros = moment.microsecond
    if not micros:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds" if micros % 1000 else "milliseconds") + "Z"


def to_iso8601_with_milliseconds(moment: Moment) -> str:
    """`2026-11-21T06:00:00.000Z`, as S3 writes all of its."""
    return _datetime(moment).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def to_rfc822(moment: Moment) -> str:
    """`Sat, 21 Nov 2026 06:00:00 GMT`."""
    moment = _datetime(moment)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"


def to_number_text(moment: Moment) -> str:
    """Seconds since the epoch, as text."""
    return str(to_number(moment))


def _datetime(moment: Moment) -> datetime:
    return moment.astimezone(UTC) if isinstance(moment, datetime) else from_number(moment)


WRITERS: Final[dict[str, Callable[[Moment], str]]] = {
    "iso8601": to_iso8601,
    "rfc822": to_rfc822,
    "unixtimestamp": to_number_text,
}
"""By the model's `timestampFormat`, in lower case: models spell it in several ways."""
