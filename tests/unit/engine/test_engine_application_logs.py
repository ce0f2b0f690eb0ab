"""Which printed lines a log level lets through."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.application_logs import keeps

LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


@given(st.sampled_from(LEVELS), st.sampled_from(LEVELS), st.booleans())
def test_a_level_lets_itself_and_all_above_through(level: str, least: str, is_lower: bool) -> None:
    line = json.dumps({"level": level.lower() if is_lower else level, "msg": "x"}) + "\n"
    assert keeps(least)(line) == (LEVELS.index(level) >= LEVELS.index(least))


@pytest.mark.parametrize("line", ['{"msg": 1}', '{"level": "loud"}', '{"level": 7}', '{"level": null}', "{}"])
def test_an_object_without_a_level_is_info(line: str) -> None:
    assert keeps("INFO")(line)
    assert not keeps("WARN")(line)


@pytest.mark.parametrize("line", ["plain", "", '["level"]', '{"level": "debug"', "{" * 100_000, '{"a": "\udfff"}'])
def test_what_is_no_object_is_kept(line: str) -> None:
    assert keeps("FATAL")(line)


@given(st.text() | st.text().map(lambda text: "{" + text))
def test_no_line_breaks_it(line: str) -> None:
    assert keeps("WARN")(line) in (True, False)


def test_pythons_names() -> None:
    assert keeps("WARN")('{"level": "WARNING"}')
    assert keeps("FATAL")('{"level": "CRITICAL"}')
    assert not keeps("ERROR")('{"level": "WARNING"}')
