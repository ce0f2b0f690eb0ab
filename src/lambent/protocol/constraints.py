"""The constraints of a model's shapes, compiled: what a value may not be, in AWS's words.

Source: recorded answers of Lambda, DynamoDB, STS and Cognito: an enum or pattern is named before a length; elements
and entries that are scalars are told of as part of their list or map, with all that holds for them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from lambent.protocol import patterns
from lambent.protocol.models import ServiceModel, Shape

Check = Callable[[Any, str, list[str]], None]
"""A value and its path; what is wrong with it is appended."""
_Rule = tuple[Callable[[Any], bool], str]
"""What holds for a value, and AWS's words for it."""

# A pattern is not tried on longer values, as some take cubic time; where there is a maximum, it is that. One set of
# characters, repeated, takes linear time, so that both the length and the characters of a name are told of.
_LONGEST_MATCHED: Final = 8_192
_ONE_SET: Final = re.compile(r"\^?\[(?:[^\]\\]|\\.)*\][*+]\$?")
_LONGEST_KNOWN: Final = 128
_MOST_KNOWN: Final = 256  # for each constraint
_NOT_NULL: Final = "Member must not be null"


class Constraints:
    """The checks of one service's shapes."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._known: dict[str, Check | None] = {}

    def check(self, shape: Shape) -> Check | None:
        """The check of a shape's value; None when any value will do."""
        if shape.name not in self._known:
            compiled: list[Check | None] = []

            def stand_in(value: Any, path: str, errors: list[str]) -> None:
                if compiled[0] is not None:
                    compiled[0](value, path, errors)

            self._known[shape.name] = stand_in
            compiled.append(self._compile(shape))
            self._known[shape.name] = compiled[0]
        return self._known[shape.name]

    def _compile(self, shape: Shape) -> Check | None:
        if shape.document or shape.eventstream:
            return None
        return _both(self._own_check(shape), self._content(shape))

    def _content(self, shape: Shape) -> Check | None:
        """The check of what is inside."""
        if shape.type == "structure":
            return self._structure(shape)
        if shape.type == "list":
            return self._list(shape)
        return self._map(shape) if shape.type == "map" else None

    def _own_check(self, shape: Shape) -> Check | None:
        rules = rules_of(shape)
        if not rules:
            return None

        good: set[str] = set()  # short strings that are known to hold: clients send the same few

        def check(value: Any, path: str, errors: list[str]) -> None:
            if type(value) is str and value in good:
                return
            before = len(errors)
            for holds, words in rules:
                if not holds(value):
                    errors.append(self.told(shape, value, path, words))
            if type(value) is str and len(value) <= _LONGEST_KNOWN and before == len(errors):
                if len(good) >= _MOST_KNOWN:
                    good.clear()
                good.add(value)

        return check

    def told(self, shape: Shape, value: Any, path: str, words: str) -> str:
        """AWS's sentence about one value. A sensitive one is not repeated."""
        shown = "" if shape.sensitive else f" '{self.shown(shape, value)}'"
        return f"Value{shown} at '{path}' failed to satisfy constraint: {words}"

    def shown(self, shape: Shape, value: Any) -> str:
        """A value as Java's toString gives it."""
        if value is None:
            return "null"
        if shape.type == "list":
            item = self._model.item(shape)
            return f"[{', '.join(self.shown(item, one) for one in value)}]"
        if shape.type == "map":
            held = self._model.key_and_value(shape)[1]
            return "{" + ", ".join(f"{key}={self.shown(held, one)}" for key, one in value.items()) + "}"
        if shape.type == "structure" and not shape.document:
            members = self._model.members(shape).items()
            return f"{shape.name}({', '.join(f'{camel(n)}={self.shown(m, value.get(n))}' for n, m in members)})"
        return _scalar_shown(value)

    def _structure(self, shape: Shape) -> Check | None:
        required = frozenset(shape.required)
        fields = [
            (name, camel(name), name in required, self.check(member))
            for name, member in self._model.members(shape).items()
        ]
        fields = [field for field in fields if field[2] or field[3] is not None]
        if not fields:
            return None

        def check(value: Mapping[str, Any], path: str, errors: list[str]) -> None:
            for name, shown, is_required, check_member in fields:
                one = value.get(name)
                if one is None:
                    if is_required:
                        where = f"{path}.{shown}" if path else shown
                        errors.append(f"Value null at '{where}' failed to satisfy constraint: {_NOT_NULL}")
                elif check_member is not None:
                    check_member(one, f"{path}.{shown}" if path else shown, errors)

        return check

    def _list(self, shape: Shape) -> Check | None:
        item = self._model.item(shape)
        if item.type != "structure":
            own = self._listed(shape, item, "Member must satisfy constraint", lambda value: value)
            if item.type not in ("list", "map"):
                return own
            return _both(own, self._each(item, lambda value: enumerate(value, 1)))
        return self._each(item, lambda value: enumerate(value, 1), sparse=shape.sparse)

    def _map(self, shape: Shape) -> Check | None:
        key, held = self._model.key_and_value(shape)
        keys = self._listed(shape, key, "Map keys must satisfy constraint", lambda value: value.keys())
        if held.type == "structure":
            return _both(keys, self._each(held, lambda value: value.items(), sparse=shape.sparse))
        values = self._listed(shape, held, "Map value must satisfy constraint", lambda value: value.values())
        inside = self._each(held, lambda value: value.items()) if held.type in ("list", "map") else None
        return _both(_both(keys, values), inside)

    def _each(self, item: Shape, of: Callable[[Any], Any], *, sparse: bool = True) -> Check:
        """What is inside each element, by its place: `tags.1.member.key`."""
        # By way of check(), which knows shapes that contain themselves; lists and maps have their own rules told above.
        check_item = self.check(item) if item.type == "structure" else self._content(item)

        def check(value: Any, path: str, errors: list[str]) -> None:
            for place, one in of(value):
                where = f"{path}.{place}.member"
                if one is not None:
                    if check_item is not None:
                        check_item(one, where, errors)
                elif not sparse:
                    errors.append(f"Value null at '{where}' failed to satisfy constraint: {_NOT_NULL}")

        return check

    def _listed(self, shape: Shape, item: Shape, words: str, of: Callable[[Any], Any]) -> Check | None:
        rules = rules_of(item)
        listed = [*(text for _, text in sorted(rules, key=lambda rule: "length" not in rule[1])), _NOT_NULL]
        told = f"{words}: [{', '.join(listed)}]"

        def holds(one: Any) -> bool:
            return shape.sparse if one is None else all(rule(one) for rule, _ in rules)

        def check(value: Any, path: str, errors: list[str]) -> None:
            if not all(map(holds, of(value))):
                errors.append(self.told(shape, value, path, told))

        return check


def _both(first: Check | None, second: Check | None) -> Check | None:
    if first is None or second is None:
        return first or second

    def check(value: Any, path: str, errors: list[str]) -> None:
        first(value, path, errors)
        second(value, path, errors)

    return check


def rules_of(shape: Shape) -> list[_Rule]:
    """What holds for a value of this shape itself, in the order in which AWS tells it."""
    rules: list[_Rule] = []
    if shape.enum:
        allowed = frozenset(shape.enum)
        rules.append(
            (allowed.__contains__, f"Member must satisfy enum value set: [{', '.join(java_order(shape.enum))}]")
        )
    if shape.pattern and shape.type == "string" and (rule := _pattern_rule(shape)):
        rules.append(rule)
    if shape.type in ("string", "list", "map", "blob"):
        return rules + _length_rules(shape)
    if shape.type in ("integer", "long", "float", "double"):
        return rules + _range_rules(shape)
    return rules


def _pattern_rule(shape: Shape) -> _Rule | None:
    assert shape.pattern is not None
    try:
        match = patterns.matcher(shape.pattern)
    except patterns.Unsupported:
        return None
    is_linear = shape.max is None or _ONE_SET.fullmatch(shape.pattern)
    longest = max(_LONGEST_MATCHED, int(shape.max or 0)) if is_linear else int(shape.max or 0)
    words = f"Member must satisfy regular expression pattern: {shape.pattern}"
    return lambda value: len(value) > longest or match(value) is not None, words


def _length_rules(shape: Shape) -> list[_Rule]:
    rules: list[_Rule] = []
    if shape.max is not None:
        most = int(shape.max)
        rules.append((lambda value: len(value) <= most, f"Member must have length less than or equal to {most}"))
    if shape.min is not None:
        least = int(shape.min)
        rules.append((lambda value: len(value) >= least, f"Member must have length greater than or equal to {least}"))
    return rules


def _range_rules(shape: Shape) -> list[_Rule]:
    rules: list[_Rule] = []
    convert = int if shape.type in ("integer", "long") else float
    if shape.max is not None:
        most = convert(shape.max)
        rules.append((lambda value: value <= most, f"Member must have value less than or equal to {most}"))
    if shape.min is not None:
        least = convert(shape.min)
        rules.append((lambda value: value >= least, f"Member must have value greater than or equal to {least}"))
    return rules


def camel(name: str) -> str:
    """`FunctionName` as AWS's messages have it: `functionName`."""
    return name[:1].lower() + name[1:]


def _scalar_shown(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, datetime):
        return value.strftime("%a %b %d %H:%M:%S UTC %Y")  # java.util.Date
    return str(value)


def java_order(values: list[str]) -> list[str]:
    """The order in which a java.util.HashSet of these strings is printed, and AWS prints its enums.

    Source: the algorithm of OpenJDK's HashMap and String.hashCode; it gives recorded answers of Lambda.
    """
    capacity = 16
    while capacity * 3 < len(values) * 4:
        capacity *= 2
    buckets: dict[int, list[str]] = {}
    for value in values:
        buckets.setdefault(_java_hash(value) & (capacity - 1), []).append(value)
    return [value for index in sorted(buckets) for value in buckets[index]]


def _java_hash(value: str) -> int:
    code = 0
    encoded = value.encode("utf-16-be")
    for high, low in zip(encoded[::2], encoded[1::2], strict=True):
        code = (31 * code + (high << 8 | low)) & 0xFFFFFFFF
    return code ^ (code >> 16)
