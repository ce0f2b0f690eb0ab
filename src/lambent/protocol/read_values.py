"""Decoded JSON or CBOR values into parameters.

Both arrive as Python's dicts, lists and scalars; they differ in their leaves alone (a blob is base64 text in JSON,
bytes in CBOR). A reader is compiled once for each shape.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import cbor2
import msgspec

from lambent.protocol import reading
from lambent.protocol.models import ServiceModel, Shape
from lambent.protocol.once import once
from lambent.protocol.reading import DEEPEST, Read, malformed, wrong

_JSON_LEAVES: Final[dict[str, Read]] = {
    "string": reading.string,
    "character": reading.string,
    "boolean": reading.boolean,
    "integer": reading.integer,
    "long": reading.integer,
    "float": reading.number,
    "double": reading.number,
    "timestamp": reading.timestamp,
    "blob": reading.base64_blob,
}


def _cbor_blob(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    raise wrong(value, "blob")


def _cbor_timestamp(value: Any) -> datetime:
    if isinstance(value, datetime):  # tag 1, already read
        return value.astimezone(UTC)
    return reading.timestamp(value)


_CBOR_LEAVES: Final[dict[str, Read]] = _JSON_LEAVES | {"blob": _cbor_blob, "timestamp": _cbor_timestamp}


class ValueReaders:
    """The readers of one service's shapes, for values of one encoding."""

    def __init__(self, model: ServiceModel, *, cbor: bool = False) -> None:
        self._model = model
        self._leaves: Mapping[str, Read] = _CBOR_LEAVES if cbor else _JSON_LEAVES
        self._known: dict[str, Read] = {}

    def reader(self, shape: Shape) -> Read:
        """Reads a value of this shape; None stays None where a list or map may hold it."""
        if shape.type in self._leaves:
            return self._leaves[shape.type]
        if shape.document:
            return _document
        return once(self._known, shape.name, lambda: self._compile(shape))

    def _compile(self, shape: Shape) -> Read:
        if shape.type == "structure":
            return self.structure(self._model.members(shape))
        if shape.type == "list":
            return _list_reader(self.reader(self._model.item(shape)))
        _, value = self._model.key_and_value(shape)
        return _map_reader(self.reader(value))

    def structure(self, members: Mapping[str, Shape]) -> Read:
        """Reads a structure of these members, which need not be all that its shape has."""
        fields = {shape.wire_name or name: (name, self.reader(shape)) for name, shape in members.items()}

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise malformed("Expected structure or null")
            params = {}
            for key, item in value.items():
                if item is not None and (field := fields.get(key)) is not None:
                    name, read_field = field
                    params[name] = read_field(item)
            return params

        return read


def _list_reader(item: Read) -> Read:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise malformed("Expected list or null")
        return [None if one is None else item(one) for one in value]

    return read


def _map_reader(item: Read) -> Read:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise malformed("Expected map or null")
        return {reading.string(key): None if one is None else item(one) for key, one in value.items()}

    return read


def _document(value: Any) -> Any:
    return value


def decode_json(body: bytes) -> Any:
    """Raises ApiError SerializationException for anything that is no JSON, or nests too deep."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise malformed(f"Could not parse request body into json: {error}") from None
    # Only what opens this often can be this deep; nearly no body does.
    if body.count(b"[") + body.count(b"{") > DEEPEST:
        _check_depth(value)
    return value


def decode_cbor(body: bytes) -> Any:
    """Raises ApiError SerializationException for anything that is no CBOR, or nests too deep."""
    try:
        value = cbor2.loads(body)
    except (cbor2.CBORError, ValueError, TypeError, LookupError, RecursionError, ArithmeticError, MemoryError) as error:
        raise malformed(f"Could not parse request body into cbor: {error}") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Level by level, without recursion."""
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        level = [one for one in below if isinstance(one, dict | list)]
        if not level:
            return
    raise malformed(f"The body nests deeper than {DEEPEST} levels")
