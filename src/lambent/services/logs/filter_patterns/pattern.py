"""The door: a pattern's text becomes a test for messages, or AWS's error."""

from dataclasses import dataclass

from lambent.aws.errors import ApiError
from lambent.services.logs.filter_patterns import json_fields, space_delimited, terms
from lambent.services.logs.filter_patterns.scanner import BadPattern, Extract, Matches

# The model says so too; said again because patterns also come from elsewhere than FilterLogEvents.
MAX_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class FilterPattern:
    """A pattern, ready to be asked about any number of messages."""

    matches: Matches
    extract: Extract
    """The values that the pattern's selectors or field names have in a message, as TestMetricFilter shows them."""


def parse(text: str) -> FilterPattern:
    """The pattern that a text stands for. An empty one matches everything.

    Raises:
        ApiError: InvalidParameterException, when the text is not a filter pattern.
    """
    try:
        return _parse(text.strip())
    except BadPattern as error:
        raise ApiError("InvalidParameterException", str(error)) from error


def _parse(text: str) -> FilterPattern:
    if len(text) > MAX_CHARACTERS:
        raise BadPattern
    if text.startswith("{"):
        return FilterPattern(*json_fields.parse(text))
    if text.startswith("["):
        return FilterPattern(*space_delimited.parse(text))
    return FilterPattern(terms.parse(text), lambda message: {})
