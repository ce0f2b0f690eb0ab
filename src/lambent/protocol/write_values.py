"""Results into the values that a JSON or CBOR encoder writes.

A writer is compiled once for each shape. Members are written in the model's order; those that are None are left out.
"""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import cbor2
import msgspec

from lambent.protocol import timestamps
from lambent.protocol.models import ServiceModel, Shape
from lambent.protocol.once import once

Write = Callable[[Any], Any]

encode_json: Final = msgspec.json.Encoder().encode
encode_cbor: Final = cbor2.dumps

_EPOCH_TAG: Final = 1


def _as_it_is(value: Any) -> Any:
    return value


def _json_blob(value: Any) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _json_number(value: Any) -> Any:
    if math.isfinite(value):
        return value
    return not_finite(value)


def not_finite(value: float) -> str:
    """How NaN and the infinities are written as text."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _cbor_blob(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _cbor_timestamp(value: Any) -> Any:
    return cbor2.CBORTag(_EPOCH_TAG, timestamps.to_number(value))


_JSON_LEAVES: Final[dict[str, Write]] = {"blob": _json_blob, "float": _json_number, "double": _json_number}
_CBOR_LEAVES: Final[dict[str, Write]] = {
    "blob": _cbor_blob,
    "timestamp": _cbor_timestamp,
    "float": float,
    "double": float,
}
_NESTED: Final = ("structure", "list", "map")


class ValueWriters:
    """The writers of one service's shapes, for one encoding."""

    def __init__(self, model: ServiceModel, *, cbor: bool = False) -> None:
        self._model = model
        self._cbor = cbor
        self._known: dict[str, Write] = {}

    def writer(self, shape: Shape) -> Write:
        """Writes a value of this shape."""
        if shape.type not in _NESTED:
            return self._leaf(shape)
        if shape.document:
            return _as_it_is
        return once(self._known, shape.name, lambda: self._compile(shape))

    def _leaf(self, shape: Shape) -> Write:
        if self._cbor:
            return _CBOR_LEAVES.get(shape.type, _as_it_is)
        if shape.type == "timestamp":
            named = (shape.timestamp_format or "unixtimestamp").lower()
            return timestamps.to_number if named == "unixtimestamp" else timestamps.WRITERS[named]
        return _JSON_LEAVES.get(shape.type, _as_it_is)

    def _compile(self, shape: Shape) -> Write:
        if shape.type == "structure":
            return self.structure(self._model.members(shape))
        if shape.type == "list":
            item = self.writer(self._model.item(shape))
            if item is _as_it_is:
                return list
            return lambda value: [None if one is None else item(one) for one in value]
        item = self.writer(self._model.key_and_value(shape)[1])
        if item is _as_it_is:
            return dict
        return lambda value: {key: None if one is None else item(one) for key, one in value.items()}

    def structure(self, members: Mapping[str, Shape]) -> Write:
        """Writes a structure of these members, which need not be all that its shape has."""
        fields = [(name, shape.wire_name or name, self.writer(shape)) for name, shape in members.items()]

        def write(value: Mapping[str, Any]) -> dict[str, Any]:
            written = {}
            for name, wire_name, write_field in fields:
                one = value.get(name)
                if one is not None:
                    written[wire_name] = write_field(one)
            return written

        return write
