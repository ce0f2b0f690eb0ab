"""Results as XML, for rest-xml and query. A writer is compiled once for each shape and place."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.protocol import timestamps
from lambent.protocol.models import ServiceModel, Shape
from lambent.protocol.once import once
from lambent.protocol.write_values import not_finite

Out = list[str]
WriteElement = Callable[[Any, Out], None]
WriteText = Callable[[Any], str]

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

# XML 1.0 has no way to write these characters at all. A carriage return would be read as a line feed.
_SPECIAL: Final = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def escaped(text: str) -> str:
    """Text as the content of an element or attribute; what XML cannot hold becomes U+FFFD."""
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


def _blob(value: Any) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def _number(value: Any) -> str:
    value = float(value)
    return repr(value) if value - value == 0 else not_finite(value)


def _string(value: Any) -> str:
    return escaped(value if isinstance(value, str) else str(value))


_TEXT: Final[dict[str, WriteText]] = {"blob": _blob, "boolean": _boolean, "float": _number, "double": _number}


class XmlWriters:
    """The writers of one service's shapes."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._known: dict[tuple[str, str, bool, str | None], WriteElement] = {}
        # S3 writes all of its timestamps with milliseconds.
        self._iso8601 = timestamps.to_iso8601_with_milliseconds if model.name == "s3" else timestamps.to_iso8601

    def writer(self, shape: Shape, name: str) -> WriteElement:
        """Writes a value as an element of this name (as several, where the shape is flattened)."""
        if shape.type not in ("structure", "list", "map"):
            return self._scalar(shape, name)
        key = (shape.name, name, shape.flattened, shape.location_name)
        return once(self._known, key, lambda: self._compile(shape, name))

    def text(self, shape: Shape) -> WriteText:
        """A scalar as text."""
        if shape.type == "timestamp":
            named = (shape.timestamp_format or "iso8601").lower()
            return self._iso8601 if named == "iso8601" else timestamps.WRITERS[named]
        return _TEXT.get(shape.type, _string)

    def _scalar(self, shape: Shape, name: str) -> WriteElement:
        opening, closing, text = f"<{name}{namespace(shape)}>", f"</{name}>", self.text(shape)
        return lambda value, out: out.append(f"{opening}{text(value)}{closing}")

    def _compile(self, shape: Shape, name: str) -> WriteElement:
        if shape.type == "structure":
            return self._structure(shape, name)
        if shape.type == "list":
            return self._list(shape, name)
        return self._map(shape, name)

    def _structure(self, shape: Shape, name: str) -> WriteElement:
        members = self._model.members(shape)
        attributes = [
            (member, shape.wire_name or member, self.text(shape))
            for member, shape in members.items()
            if shape.xml_attribute
        ]
        write_content = self.content({key: one for key, one in members.items() if not one.xml_attribute})
        opening, closing = f"<{name}{namespace(shape)}", f"</{name}>"

        def write(value: Mapping[str, Any], out: Out) -> None:
            out.append(opening)
            for member, wire_name, text in attributes:
                if value.get(member) is not None:
                    out.append(f' {wire_name}="{text(value[member])}"')
            out.append(">")
            write_content(value, out)
            out.append(closing)

        return write

    def content(self, members: Mapping[str, Shape]) -> WriteElement:
        """Writes these members of a structure, without an element around them."""
        fields = [(name, self.writer(shape, self._name(name, shape))) for name, shape in members.items()]

        def write(value: Mapping[str, Any], out: Out) -> None:
            for name, write_field in fields:
                one = value.get(name)
                if one is not None:
                    write_field(one, out)

        return write

    def _name(self, name: str, shape: Shape) -> str:
        # A flattened list without a name of its own takes that of its items, where they have one.
        if shape.type == "list" and shape.flattened and shape.wire_name is None:
            return self._model.item(shape).wire_name or name
        return shape.wire_name or name

    def _list(self, shape: Shape, name: str) -> WriteElement:
        item = self._model.item(shape)
        if shape.flattened:
            return _items(self.writer(item, name))
        return _wrapped(name, namespace(shape), _items(self.writer(item, item.wire_name or "member")))

    def _map(self, shape: Shape, name: str) -> WriteElement:
        key, value = self._model.key_and_value(shape)
        write_key = self.writer(key, key.wire_name or "key")
        write_value = self.writer(value, value.wire_name or "value")
        entry = name if shape.flattened else "entry"

        def write(entries: Mapping[str, Any], out: Out) -> None:
            for one, held in entries.items():
                if held is not None:
                    out.append(f"<{entry}>")
                    write_key(one, out)
                    write_value(held, out)
                    out.append(f"</{entry}>")

        return write if shape.flattened else _wrapped(name, namespace(shape), write)


def _items(write_item: WriteElement) -> WriteElement:
    def write(values: Any, out: Out) -> None:
        for one in values:
            if one is not None:
                write_item(one, out)

    return write


def _wrapped(name: str, attributes: str, write_content: WriteElement) -> WriteElement:
    def write(value: Any, out: Out) -> None:
        out.append(f"<{name}{attributes}>")
        write_content(value, out)
        out.append(f"</{name}>")

    return write


def namespace(shape: Shape) -> str:
    """The shape's xmlns attribute, if the model gives one."""
    return namespace_attribute(shape.xml_namespace)


def namespace_attribute(given: str | dict[str, str] | None) -> str:
    """An xmlns attribute as a model writes it: a URI, or a URI with a prefix."""
    if not given:
        return ""
    if isinstance(given, str):
        return f' xmlns="{given}"'
    prefix = given.get("prefix")
    return f' xmlns:{prefix}="{given["uri"]}"' if prefix else f' xmlns="{given["uri"]}"'
