"""What all readers share: the errors of values that do not fit, and scalars from text.

Nothing but ApiError leaves a reader, whatever bytes it was given.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from lambent.aws.errors import ApiError
from lambent.protocol import timestamps
from lambent.protocol.models import Shape

Read = Callable[[Any], Any]
ReadText = Callable[[str], Any]

DEEPEST: Final = 200
"""How deep a body may nest. DynamoDB allows 32, Step Functions' input is text; no model comes near."""

_JAVA: Final = {
    "string": "a String",
    "character": "a Character",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "boolean": "a Boolean",
    "blob": "a ByteBuffer",
    "timestamp": "a Date",
}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def malformed(message: str) -> ApiError:
    """The body cannot be read at all."""
    return ApiError("SerializationException", message)


def wrong(value: Any, kind: str) -> ApiError:
    """A JSON value where the model has another type, in the words of AWS's JSON services.

    Source: answers of Athena, Lambda and Step Functions, as users report them.
    """
    if isinstance(value, dict):
        return malformed("Start of structure or map found where not expected.")
    if isinstance(value, list):
        return malformed("Start of list found where not expected")
    if value is True or value is False:
        token = "TRUE_VALUE" if value else "FALSE_VALUE"
    else:
        token = "STRING_VALUE" if isinstance(value, str | bytes) else "NUMBER_VALUE"
    return malformed(f"{token} can not be converted to {_JAVA[kind]}")


def string(value: Any) -> str:
    """A string."""
    if type(value) is str:
        return value
    raise wrong(value, "string")


def boolean(value: Any) -> bool:
    """A boolean."""
    if value is True or value is False:
        return value
    raise wrong(value, "boolean")


def integer(value: Any) -> int:
    """An integer; a fraction is cut off."""
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value):
        return int(value)  # as Java's TruncatingBigNumber does
    raise wrong(value, "integer")


def number(value: Any) -> float:
    """A float, NaN and the infinities as text."""
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise wrong(value, "double") from None
    if type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    raise wrong(value, "double")


def timestamp(value: Any) -> datetime:
    """A number of seconds, or text in any format."""
    try:
        if type(value) is int or type(value) is float:
            return timestamps.from_number(value)
        if type(value) is str:
            return timestamps.from_text(value)
    except ValueError:
        pass
    raise wrong(value, "timestamp")


def base64_blob(value: Any) -> bytes:
    """Bytes from base64."""
    if type(value) is str:
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError:
            raise malformed("only base64-encoded data is expected") from None
    raise wrong(value, "blob")


def text_boolean(text: str) -> bool:
    """`true` or `false`, in any case."""
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    raise wrong(text, "boolean")


def text_integer(text: str) -> int:
    """An integer in decimal."""
    if _INTEGER.fullmatch(text):
        return int(text)
    raise wrong(text, "integer")


def text_number(text: str) -> float:
    """A float in decimal."""
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    if _FLOAT.fullmatch(text):
        return float(text)
    raise wrong(text, "double")


def json_value(text: str) -> Any:
    """A JSON document inside a header, in base64."""
    try:
        return msgspec.json.decode(base64.b64decode(text, validate=True))
    except (ValueError, RecursionError):
        raise malformed("The header is not a JSON document in base64") from None


FROM_TEXT: Final[dict[str, ReadText]] = {
    "string": string,
    "character": string,
    "boolean": text_boolean,
    "integer": text_integer,
    "long": text_integer,
    "float": text_number,
    "double": text_number,
    "timestamp": timestamp,
    "blob": base64_blob,
}
"""Scalars from a header, a label, a query string, a form or an XML element, by the shape's type."""


def text_reader(shape: Shape) -> ReadText:
    """The reader of a scalar that arrives as text."""
    if shape.jsonvalue and shape.location == "header":
        return json_value
    return FROM_TEXT[shape.type]
