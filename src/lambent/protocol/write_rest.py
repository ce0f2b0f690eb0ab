"""What the REST protocols put outside the body of a response: headers and the status."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.protocol import timestamps
from lambent.protocol.models import ServiceModel, Shape
from lambent.protocol.write_values import encode_json, not_finite

Headers = list[tuple[str, str]]
WriteHeaders = Callable[[Mapping[str, Any], Headers], None]

_NOT_IN_HEADERS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_SAFE: Final = re.compile(r"[\x20-\x7e\xa0-\xff]*")


def header_text(text: str) -> str:
    """Text that may stand in a header: no line can end in it, and beyond Latin-1 it is UTF-8's bytes."""
    if (text.isascii() and text.isprintable()) or _SAFE.fullmatch(text):
        return text
    return _NOT_IN_HEADERS.sub(" ", text).encode("utf-8", "replace").decode("latin-1")


def header_writer(model: ServiceModel, members: Mapping[str, Shape]) -> WriteHeaders:
    """Writes those of these members that are headers."""
    single = [
        (name, shape.wire_name or name, _text(model, shape))
        for name, shape in members.items()
        if shape.location == "header"
    ]
    prefixed = [(name, shape.wire_name or "") for name, shape in members.items() if shape.location == "headers"]

    def write(result: Mapping[str, Any], headers: Headers) -> None:
        for name, header, text in single:
            value = result.get(name)
            if value is not None:
                headers.append((header, header_text(text(value))))
        for name, prefix in prefixed:
            for key, value in (result.get(name) or {}).items():
                headers.append((header_text(prefix + key), header_text(value)))

    return write


def _text(model: ServiceModel, shape: Shape) -> Callable[[Any], str]:
    if shape.type == "list":
        return _list_text(model.item(shape), _text(model, model.item(shape)))
    if shape.type == "timestamp":
        return timestamps.WRITERS[(shape.timestamp_format or "rfc822").lower()]
    if shape.jsonvalue:
        return lambda value: base64.b64encode(encode_json(value)).decode()
    return _SCALARS.get(shape.type, str)


def _list_text(item: Shape, text: Callable[[Any], str]) -> Callable[[Any], str]:
    quote = item.type == "string"

    def write(value: Any) -> str:
        return ", ".join(_quoted(text(one)) if quote else text(one) for one in value if one is not None)

    return write


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if "," in text or '"' in text else text


def _number(value: Any) -> str:
    return str(value) if value - value == 0 else not_finite(value)


_SCALARS: Final[dict[str, Callable[[Any], str]]] = {
    "boolean": lambda value: "true" if value else "false",
    "float": _number,
    "double": _number,
    "blob": lambda value: base64.b64encode(value).decode(),
}
