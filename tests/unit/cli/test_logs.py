"""How far back to look."""

import pytest

from lambent.cli.logs import milliseconds
from lambent.cli.terminal import CommandError


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000), ("1w", 604_800_000)]
)
def test_a_length_of_time(text, expected):
    assert milliseconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "m", "-1h", "1y"])
def test_anything_else_is_wrong_usage(text):
    with pytest.raises(CommandError) as refused:
        milliseconds(text)
    assert refused.value.status == 2
