"""An event's leaves, and whether they answer the questions of a pattern.

A name is a path with dots, so `{"a": {"b": 1}}` and `{"a.b": 1}` have the same leaf. Each leaf knows of which element
of which arrays it is: a choice of leaves has to be of the same element wherever it is of the same array.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from lambent.aws.patterns.values import Test

Membership = dict[int, int]
"""The element of each array that a leaf is below, by the array's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A question of a pattern: one of the tests holds for the leaf, or it is not there where that is asked."""

    name: str
    tests: tuple[Test, ...]
    may_be_absent: bool = False


class Found(NamedTuple):
    """A leaf of an event."""

    value: Any
    membership: Membership


class Names(NamedTuple):
    """Which leaves are looked for, and the names that lead to them."""

    wanted: frozenset[str]
    above: frozenset[str]

    @classmethod
    def of(cls, wanted: Iterable[str]) -> Self:
        names = frozenset(wanted)
        return cls(names, frozenset(name[:at] for name in names for at, letter in enumerate(name) if letter == "."))


def leaves_of(event: Mapping[str, Any], names: Names) -> dict[str, list[Found]]:
    """The leaves that a pattern asks about, by name. Others are not looked at; empty objects and arrays have none."""
    found: dict[str, list[Found]] = {}
    todo: list[tuple[str, Any, Membership]] = [("", event, {})]  # not recursive: an event may be as deep as it likes
    arrays = 0
    while todo:
        name, value, membership = todo.pop()
        if isinstance(value, Mapping):
            full = ((f"{name}.{key}" if name else key, below) for key, below in value.items())
            todo += ((key, below, membership) for key, below in full if key in names.wanted or key in names.above)
        elif isinstance(value, list):
            arrays += 1
            todo += ((name, each, {**membership, arrays: place}) for place, each in enumerate(value))
        elif name in names.wanted:
            found.setdefault(name, []).append(Found(value, membership))
    return found


def match(questions: tuple[Leaf, ...], leaves: Mapping[str, list[Found]]) -> bool:
    """Whether there is a choice of leaves that answers all questions and is of the same elements.

    Questions are in order of names. What a choice so far is made of matters only for arrays that are still to come,
    and a state that led nowhere is not tried again: so this is not exponential.
    """
    later: list[set[int]] = [set()]
    for question in reversed(questions):
        arrays = {array for leaf in leaves.get(question.name, ()) for array in leaf.membership}
        later.append(later[-1] | arrays)
    later.reverse()
    seen: set[tuple[int, frozenset[tuple[int, int]]]] = set()
    todo: list[tuple[int, Membership]] = [(0, {})]
    while todo:
        number, so_far = todo.pop()
        if number == len(questions):
            return True
        state = (number, frozenset(so_far.items()))
        if state in seen:
            continue
        seen.add(state)
        matters = later[number + 1]
        todo += ((number + 1, _only(after, matters)) for after in _answers(questions[number], leaves, so_far))
    return False


def _answers(question: Leaf, leaves: Mapping[str, list[Found]], so_far: Membership) -> list[Membership]:
    """What the choice is made of after each leaf that answers the question."""
    fitting = [leaf for leaf in leaves.get(question.name, ()) if _agree(leaf.membership, so_far)]
    after = [{**so_far, **leaf.membership} for leaf in fitting if any(test(leaf.value) for test in question.tests)]
    return [*after, so_far] if question.may_be_absent and not fitting else after


def _agree(one: Membership, other: Membership) -> bool:
    return all(other.get(array, place) == place for array, place in one.items())


def _only(membership: Membership, arrays: set[int]) -> Membership:
    return {array: place for array, place in membership.items() if array in arrays}
