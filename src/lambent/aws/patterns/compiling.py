"""From the text of a pattern to what events are asked: alternatives, each a list of questions about leaves.

`$or` is multiplied out, so that an alternative is a plain "and".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from lambent.aws.patterns.matching import Leaf, Names, leaves_of, match
from lambent.aws.patterns.values import Absent, PatternError, element

_OR: Final = "$or"
# Source: EventBridge User Guide, "$or" matching: more combinations are refused.
_COMBINATIONS: Final = 1_000
_TOO_MANY: Final = "Rule is too complex - there are more than 1000 combinations of the alternatives of its $or"
_RESERVED: Final = frozenset(
    [
        *("exactly", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr", "equals-ignore-case"),
        *("=", "<", "<=", ">", ">=", "regex", "not-wildcard", "in-date-range"),
        *("date-after", "date-on-or-after", "date-before", "date-on-or-before"),
        *("ip-address-in-range-of", "ip-address-not-in-range-of"),
    ]
)

_Alternative = dict[str, Leaf]


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A pattern that was understood. One of its alternatives has to hold; each has its leaves in order of names."""

    alternatives: tuple[tuple[Leaf, ...], ...] = field(repr=False)

    @cached_property
    def names(self) -> Names:
        """The fields that it asks about, by their full names, and the objects on the way to them."""
        return Names.of(leaf.name for alternative in self.alternatives for leaf in alternative)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether it lets through an event, as decoded from JSON.

        Two fields below the same array have to be of the same element of it.
        """
        leaves = leaves_of(event, self.names)
        return any(match(alternative, leaves) for alternative in self.alternatives)


def compile(text: str) -> Pattern:
    """Reads a pattern.

    Raises:
        PatternError: it is none, and why: the words of AWS's matcher, without the place in the text.
    """
    try:
        pattern = json.loads(text, parse_constant=_not_json)
    except RecursionError:
        raise PatternError("Document nesting depth exceeds the maximum allowed") from None
    except ValueError as error:
        raise PatternError(f"Filter is not valid JSON: {error}") from None
    if not isinstance(pattern, dict):
        raise PatternError("Filter is not an object")
    try:
        alternatives = _read_object(pattern, "")
    except RecursionError:
        raise PatternError("Document nesting depth exceeds the maximum allowed") from None
    return Pattern(alternatives=tuple(tuple(leaf for _, leaf in sorted(each.items())) for each in alternatives))


def _not_json(name: str) -> None:
    raise ValueError(name)


def _read_object(pattern: dict[str, Any], above: str) -> list[_Alternative]:
    """The alternatives of an object whose fields are named below `above`."""
    if not pattern:
        raise PatternError("Empty objects are not allowed")
    found: list[_Alternative] = [{}]
    for name, value in pattern.items():
        if name == _OR and _is_or(value):
            below = [alternative for each in value for alternative in _read_object(each, above)]
        elif isinstance(value, dict):
            below = _read_object(value, f"{above}{name}.")
        elif isinstance(value, list):
            leaf = _read_leaf(f"{above}{name}", value)
            below = [{leaf.name: leaf}]
        else:
            raise PatternError(f'"{name}" must be an object or an array')
        if len(found) * len(below) > _COMBINATIONS:
            raise PatternError(_TOO_MANY)
        found = [{**one, **other} for one in found for other in below]
    return found


def _is_or(value: Any) -> bool:
    """Anything else of this name is a field, as it always was."""
    return (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(each, dict) and each and not _RESERVED & each.keys() for each in value)
    )


def _read_leaf(name: str, elements: list[Any]) -> Leaf:
    if not elements:
        raise PatternError("Empty arrays are not allowed")
    tests = [element(each) for each in elements]
    return Leaf(
        name=name,
        tests=tuple(test for test in tests if not isinstance(test, Absent)),
        may_be_absent=any(isinstance(test, Absent) for test in tests),
    )
