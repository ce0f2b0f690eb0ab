"""Requests, results and errors generated from the service models, for hypothesis.

They have the right types and lengths and every required member, so that they can go over the wire; patterns are not
kept to. What a protocol has no way to say (an empty list in a query string, a control character in XML) is not made.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st

from lambent.protocol import models
from lambent.protocol.models import JSON, QUERY, REST_XML, ServiceModel, Shape

Values = st.SearchStrategy[Any]

_DEEPEST: Final = 2  # levels below which only what is required is made
_LONGEST: Final = 12
_MOST: Final = 2
_HEADER_TEXT: Final = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='",\\')
_TOKEN: Final = st.characters(categories=[], include_characters="abcdefghijklmnopqrstuvwxyz0123456789-")
_JSON_TEXT: Final = st.characters(codec="utf-8")
_XML_TEXT: Final = st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])
# Milliseconds are what all formats but HTTP dates can hold, and floats hold exactly enough.
_MOMENTS: Final = st.integers(0, 4_102_444_800_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))
_SECONDS: Final = st.integers(0, 4_102_444_800).map(lambda second: datetime.fromtimestamp(second, UTC))
_INTEGERS: Final = {"integer": 2**31, "long": 2**53}


class Generated:
    """The strategies of one service's shapes, in one protocol and direction."""

    def __init__(self, model: ServiceModel, protocol: str) -> None:
        self._model = model
        self._protocol = protocol
        self._is_xml = protocol in (QUERY, REST_XML)
        self._known: dict[tuple[str, int], Values] = {}

    def structure(self, shape: Shape, depth: int = 0) -> Values:
        """Structures of this shape."""
        key = (shape.name, depth)
        if key not in self._known:
            self._known[key] = self._structure(shape, depth)
        return self._known[key]

    def _structure(self, shape: Shape, depth: int) -> Values:
        members = {n: m for n, m in self._model.members(shape).items() if self._can_be_said(m)}
        if shape.union:
            return self._union(members, depth)
        required = {name: self.value(members[name], depth) for name in shape.required if name in members}
        # A label is in the path whether it is required or not.
        required |= {name: self.value(one, depth) for name, one in members.items() if one.location == "uri"}
        optional: dict[str, Values] = {}
        if depth <= _DEEPEST:
            optional = {name: self.value(one, depth) for name, one in members.items() if name not in required}
        if not required and depth > 0 and members:  # nothing at all would not be sent by the query protocol
            first = next(iter(members))
            required = {first: self.value(members[first], depth)}
            optional.pop(first, None)
        return _some_of(required, optional)

    def _can_be_said(self, member: Shape) -> bool:
        is_nothing = member.type == "structure" and not member.members and self._protocol == QUERY
        return not member.eventstream and not is_nothing

    def _union(self, members: dict[str, Shape], depth: int) -> Values:
        names = list(members)[:1] if depth > _DEEPEST else list(members)
        return st.sampled_from(names).flatmap(
            lambda name: st.fixed_dictionaries({name: self.value(members[name], depth)})
        )

    def value(self, shape: Shape, depth: int) -> Values:
        """Values of this shape."""
        if shape.type == "structure":
            if shape.document:
                return st.just({"a": [1, "b", None]})
            return st.deferred(lambda: self.structure(shape, depth + 1))
        if shape.type == "list":
            item = self._model.item(shape)
            least = 0 if self._has_empties(shape) else 1
            inside = self._header_item(item) if shape.location == "header" else self.value(item, depth)
            return st.lists(inside, min_size=least, max_size=_MOST)
        if shape.type == "map":
            return self._map(shape, depth)
        return self._scalar(shape)

    def _has_empties(self, shape: Shape) -> bool:
        return not self._is_xml and shape.location is None

    def _header_item(self, item: Shape) -> Values:
        return (
            self._scalar(item) if item.enum or item.type != "string" else st.text(_HEADER_TEXT, min_size=1, max_size=8)
        )

    def _map(self, shape: Shape, depth: int) -> Values:
        key, held = self._model.key_and_value(shape)
        least = 0 if self._has_empties(shape) else 1
        if shape.location == "headers":
            keys: Values = st.text(_TOKEN, min_size=1, max_size=8)
            return st.dictionaries(keys, st.text(_HEADER_TEXT, min_size=1, max_size=8), min_size=1, max_size=_MOST)
        return st.dictionaries(self._scalar(key), self.value(held, depth), min_size=least, max_size=_MOST)

    def _scalar(self, shape: Shape) -> Values:
        if shape.location == "statusCode":
            return st.sampled_from([200, 201, 202])
        if shape.type in ("string", "character"):
            return self._text(shape)
        if shape.type == "boolean":
            return st.booleans()
        if shape.type in _INTEGERS:
            bound = _INTEGERS[shape.type] - 1
            least, most = int(shape.min or -bound), int(shape.max if shape.max is not None else bound)
            return st.integers(max(least, -bound), min(most, bound))
        if shape.type in ("float", "double"):
            return st.floats(-(2.0**60), 2.0**60, width=32 if shape.type == "float" else 64)
        if shape.type == "timestamp":
            # botocore cuts what it puts into a header to seconds, in every format.
            return _SECONDS if shape.location == "header" or self._is_http_date(shape) else _MOMENTS
        return st.binary(max_size=_LONGEST) if shape.location is None else st.binary(min_size=1, max_size=_LONGEST)

    def _is_http_date(self, shape: Shape) -> bool:
        return (shape.timestamp_format or "").lower() == "rfc822"

    def _text(self, shape: Shape) -> Values:
        if shape.jsonvalue and shape.location == "header":
            return st.fixed_dictionaries({"a": st.integers(0, 9)})
        if shape.enum:
            return st.sampled_from(shape.enum)
        least = int(shape.min or 0)
        longest = max(least, min(_LONGEST, int(shape.max if shape.max is not None else _LONGEST)))
        if shape.host_label:
            return st.text(_TOKEN, min_size=1, max_size=8)
        if shape.location == "header":
            return st.text(_HEADER_TEXT, min_size=max(least, 1), max_size=max(longest, 1))
        if shape.location in ("uri", "querystring"):
            # A path that ends in a slash, or has two together, means another path to some servers.
            letters = st.characters(codec="utf-8", exclude_characters="/\x00")
            return st.text(letters, min_size=max(least, 1), max_size=max(longest, 1))
        return st.text(_XML_TEXT if self._is_xml else _JSON_TEXT, min_size=least, max_size=longest)


def _some_of(required: dict[str, Values], optional: dict[str, Values]) -> Values:
    """All that is required and a few others: far cheaper than deciding on each of a hundred members."""
    if not optional:
        return st.fixed_dictionaries(required)
    names = st.lists(st.sampled_from(list(optional)), max_size=6, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries(required | {name: optional[name] for name in chosen}))


_generated: dict[tuple[str, str], Generated] = {}


def _of(service: str, protocol: str) -> Generated:
    key = (service, protocol)
    if key not in _generated:
        _generated[key] = Generated(models.service(service), protocol)
    return _generated[key]


def requests(service: str, operation: str, protocol: str | None = None) -> Values:
    """Parameters of an operation."""
    model = models.service(service)
    shape = model.input(operation)
    return _of(service, protocol or model.metadata.protocol).structure(shape) if shape else st.just({})


def likely_requests(service: str, operation: str, likely: Mapping[str, Values]) -> Values:
    """Parameters of an operation of which many have values that mean something where they arrive.

    `likely` has such values by member name, at the top: the names of functions that are there, say. A member that
    it names and that is required has one of those nine times in ten.
    """
    model = models.service(service)
    shape = model.input(operation)
    if shape is None:
        return st.just({})
    generated = _of(service, JSON)
    chosen = {
        name: _nine_in_ten(likely[name], generated.value(member, 0))
        for name, member in model.members(shape).items()
        if name in likely
    }
    required = {name: value for name, value in chosen.items() if name in shape.required}
    optional = {name: value for name, value in chosen.items() if name not in shape.required}
    meant = st.fixed_dictionaries(required, optional=optional)
    return st.tuples(requests(service, operation, JSON), meant).map(lambda both: both[0] | both[1])


def _nine_in_ten(likely: Values, any_one: Values) -> Values:
    return st.integers(0, 9).flatmap(lambda roll: any_one if roll == 0 else likely)


def results(service: str, operation: str, protocol: str | None = None) -> Values:
    """What an operation may answer; event streams are left out."""
    model = models.service(service)
    shape = model.output(operation)
    return _of(service, protocol or model.metadata.protocol).structure(shape) if shape else st.just({})


def errors(service: str, code: str, protocol: str = JSON) -> Values:
    """The members of a modelled exception."""
    shape = models.service(service).error(code)
    assert shape is not None
    return _of(service, protocol).structure(shape)
