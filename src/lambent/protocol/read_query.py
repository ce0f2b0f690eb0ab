"""The query protocol: `Action=...&Tags.member.1.Key=...` into parameters.

Each level takes the pairs that begin with its members' names and hands the rest of their names down, so the work is
bounded by the body and the model's depth, whatever numbers a caller invents as list indexes.

Source: Smithy, "AWS query protocol".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from lambent.aws.errors import ApiError
from lambent.protocol.models import ServiceModel, Shape
from lambent.protocol.once import once
from lambent.protocol.reading import text_reader

_MOST_FIELDS: Final = 100_000
_MOST_DIGITS: Final = 9

Pairs = list[tuple[str, str]]
"""The rest of each name below where we are ("" for the value itself), with its value."""
ReadPairs = Callable[[Pairs], Any]


def form(body: bytes) -> Pairs:
    """A form's names and values. Raises ApiError MalformedQueryString."""
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise ApiError("MalformedQueryString", "The query string contains a syntax error.") from error


class QueryReaders:
    """The readers of one service's shapes."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._known: dict[tuple[str, bool], ReadPairs] = {}

    def reader(self, shape: Shape) -> ReadPairs:
        """Reads the pairs that belong to one value of this shape."""
        if shape.type not in ("structure", "list", "map"):
            return _scalar_reader(shape)
        key = (shape.name, shape.flattened)
        return once(self._known, key, lambda: self._compile(shape))

    def _compile(self, shape: Shape) -> ReadPairs:
        if shape.type == "structure":
            return self.structure(self._model.members(shape))
        if shape.type == "list":
            item = self._model.item(shape)
            read = _list_reader(self.reader(item))
            return read if shape.flattened else _inside(item.wire_name or "member", "member", read)
        key, value = self._model.key_and_value(shape)
        names = (key.wire_name or "key", value.wire_name or "value")
        read = _map_reader(names, self.reader(key), self.reader(value))
        return read if shape.flattened else _inside("entry", "entry", read)

    def structure(self, members: Mapping[str, Shape]) -> ReadPairs:
        """Reads a structure of these members."""
        fields = {
            wire_name: (name, self.reader(shape))
            for name, shape in members.items()
            for wire_name in self._names(name, shape)
        }

        def read(pairs: Pairs) -> dict[str, Any]:
            params = {}
            for head, rest in _by_head(pairs).items():
                if (field := fields.get(head)) is not None:
                    name, read_field = field
                    params[name] = read_field(rest)
            return params

        return read

    def _names(self, name: str, shape: Shape) -> set[str]:
        own = shape.wire_name or name
        # A flattened list goes by the name of its items too: older models mean that, and botocore prefers it.
        item = self._model.item(shape).wire_name if shape.type == "list" and shape.flattened else None
        return {own, item or own}


def _by_head(pairs: Pairs) -> dict[str, Pairs]:
    groups: dict[str, Pairs] = {}
    for name, value in pairs:
        head, _, rest = name.partition(".")
        groups.setdefault(head, []).append((rest, value))
    return groups


def _scalar_reader(shape: Shape) -> ReadPairs:
    read = text_reader(shape)
    return lambda pairs: read(pairs[-1][1])


def _is_empty(pairs: Pairs) -> bool:
    """`Tags=` says that there is a list, and that it is empty."""
    return all(not rest and not value for rest, value in pairs)


def _inside(name: str, also: str, read: ReadPairs) -> ReadPairs:
    def read_inside(pairs: Pairs) -> Any:
        if _is_empty(pairs):
            return read([])
        groups = _by_head(pairs)
        return read(groups.get(name) or groups.get(also) or [])

    return read_inside


def _in_order(pairs: Pairs) -> list[Pairs]:
    """The pairs of each item, by index; which numbers were used does not matter."""
    found = {}
    for head, rest in _by_head(pairs).items():
        if not head.isascii() or not head.isdecimal() or len(head) > _MOST_DIGITS:
            raise ApiError("MalformedInput", f"Key {head[:40]} is not a number of a list element or map entry")
        found[int(head)] = rest
    return [found[index] for index in sorted(found)]


def _list_reader(item: ReadPairs) -> ReadPairs:
    def read(pairs: Pairs) -> list[Any]:
        return [] if _is_empty(pairs) else [item(one) for one in _in_order(pairs)]

    return read


def _map_reader(names: tuple[str, str], read_key: ReadPairs, read_value: ReadPairs) -> ReadPairs:
    def read(pairs: Pairs) -> dict[str, Any]:
        entries = {}
        for entry in [] if _is_empty(pairs) else _in_order(pairs):
            groups = _by_head(entry)
            if names[0] not in groups or names[1] not in groups:
                raise ApiError("MalformedInput", f"A map entry needs {names[0]} and {names[1]}")
            entries[read_key(groups[names[0]])] = read_value(groups[names[1]])
        return entries

    return read
