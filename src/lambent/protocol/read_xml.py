"""XML bodies into parameters (rest-xml).

Namespaces are not looked at; unknown elements are left out. Documents with a DTD are refused: no AWS client sends one,
and entities are how small documents become large.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, XMLParser

from lambent.aws.errors import ApiError
from lambent.protocol.models import ServiceModel, Shape
from lambent.protocol.once import once
from lambent.protocol.reading import text_reader

# DeleteObjects has the most that any operation allows: 1,000 keys with four elements each.
_MOST_ELEMENTS: Final = 100_000
_DTD: Final = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_BROKEN: Final = "The XML you provided was not well-formed or did not validate against our published schema"

ReadElements = Callable[[list[Element]], Any]


def document(body: bytes) -> Element:
    """The root element. Raises ApiError MalformedXML."""
    if body.count(b"<") > _MOST_ELEMENTS or _DTD.search(body):
        raise ApiError("MalformedXML", _BROKEN)
    parser = XMLParser(encoding="utf-8")
    try:
        parser.feed(body)
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise ApiError("MalformedXML", _BROKEN) from error
    return root


class XmlReaders:
    """The readers of one service's shapes."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._known: dict[tuple[str, bool], ReadElements] = {}

    def reader(self, shape: Shape) -> ReadElements:
        """Reads the elements that belong to one value of this shape: several where it is flattened."""
        if shape.type not in ("structure", "list", "map"):
            return _scalar_reader(shape)
        key = (shape.name, shape.flattened)
        return once(self._known, key, lambda: self._compile(shape))

    def _compile(self, shape: Shape) -> ReadElements:
        if shape.type == "structure":
            return self.structure(self._model.members(shape))
        if shape.type == "list":
            item = self._model.item(shape)
            return _list_reader(self.reader(item), None if shape.flattened else item.wire_name or "member")
        key, value = self._model.key_and_value(shape)
        names = (key.wire_name or "key", value.wire_name or "value")
        return _map_reader(names, self.reader(key), self.reader(value), flattened=shape.flattened)

    def structure(self, members: Mapping[str, Shape]) -> ReadElements:
        """Reads a structure of these members."""
        fields, attributes = {}, []
        for name, shape in members.items():
            if shape.xml_attribute:
                attributes.append((_local(shape.wire_name or name), name, text_reader(shape)))
            else:
                for wire_name in self._names(name, shape):
                    fields[_local(wire_name)] = (name, self.reader(shape))

        def read(elements: list[Element]) -> dict[str, Any]:
            element = elements[-1]
            params = {}
            for tag, children in _by_tag(element).items():
                if (field := fields.get(tag)) is not None:
                    name, read_field = field
                    params[name] = read_field(children)
            if attributes:
                found = {_local(key): text for key, text in element.attrib.items()}
                params.update({name: read(found[key]) for key, name, read in attributes if key in found})
            return params

        return read

    def _names(self, name: str, shape: Shape) -> set[str]:
        own = shape.wire_name or name
        # A flattened list goes by the name of its items too, where the model gives one.
        item = self._model.item(shape).wire_name if shape.type == "list" and shape.flattened else None
        return {own, item or own}


def _local(name: str) -> str:
    return name.rpartition("}")[2].rpartition(":")[2]


def _by_tag(element: Element) -> dict[str, list[Element]]:
    groups: dict[str, list[Element]] = {}
    for child in element:
        groups.setdefault(_local(child.tag), []).append(child)
    return groups


def _scalar_reader(shape: Shape) -> ReadElements:
    read = text_reader(shape)
    plain = shape.type == "string"

    def read_text(elements: list[Element]) -> Any:
        text = elements[-1].text or ""
        return read(text if plain else text.strip())

    return read_text


def _list_reader(item: ReadElements, tag: str | None) -> ReadElements:
    def read(elements: list[Element]) -> list[Any]:
        if tag is not None:
            elements = [child for child in elements[-1] if _local(child.tag) == tag]
        return [item([element]) for element in elements]

    return read


def _map_reader(
    names: tuple[str, str], read_key: ReadElements, read_value: ReadElements, *, flattened: bool
) -> ReadElements:
    def read(elements: list[Element]) -> dict[str, Any]:
        entries = {}
        for entry in elements if flattened else elements[-1]:
            groups = _by_tag(entry)
            if names[0] not in groups or names[1] not in groups:
                raise ApiError("MalformedXML", _BROKEN)
            entries[read_key(groups[names[0]])] = read_value(groups[names[1]])
        return entries

    return read
