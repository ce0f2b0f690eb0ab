"""Timestamps in all formats."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.protocol import timestamps

MOMENT = datetime(2026, 11, 21, 6, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T06:00:00Z",
        "2026-11-21T06:00:00.000Z",
        "2026-11-21T06:00:00.000000000Z",
        "2026-11-21T07:00:00+01:00",
        "2026-11-21T04:30:00-0130",
        "2026-11-21T06:00:00",
        "2026-11-21 06:00:00Z",
        "Sat, 21 Nov 2026 06:00:00 GMT",
        "Sat, 21 Nov 2026 06:00:00.000 GMT",
        "21 Nov 2026 05:00:00 -0100",
        "1795240800",
        "1795240800.0",
        "1.7952408e9",
    ],
)
def test_a_moment_is_read_in_any_format(text: str) -> None:
    assert timestamps.from_text(text) == MOMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9" * 17,
        "1e99",
        "²",
        "Sat, 31 Feb 2026 06:00:00 GMT",
        "Sat, 21 Xyz 2026 06:00:00 GMT",
        "nan",
        "a" * 100,
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        timestamps.from_text(text)


@settings(derandomize=True, database=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_what_is_written_is_read(moment: datetime) -> None:
    assert timestamps.from_text(timestamps.to_iso8601(moment)) == moment
    assert timestamps.from_number(timestamps.to_number(moment)) == moment
    whole = moment.replace(microsecond=0)
    assert timestamps.from_text(timestamps.to_rfc822(moment)) == whole
    assert timestamps.to_iso8601_with_milliseconds(whole).endswith(".000Z")


def test_seconds_may_stand_for_a_moment() -> None:
    assert timestamps.to_iso8601(MOMENT.timestamp()) == "2026-11-21T06:00:00Z"
    assert timestamps.to_rfc822(1795240800) == "Sat, 21 Nov 2026 06:00:00 GMT"
    assert timestamps.to_number_text(1.5) == "1.5"
