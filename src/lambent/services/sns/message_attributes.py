"""Attributes of messages: which there may be. Pure.

Source: Amazon SNS Developer Guide, "Amazon SNS message attributes"; facts sheet B2 and B3.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape

ARRAY: Final = "String.Array"
_MAX_TYPE: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)
_TYPE: Final = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_SCALARS: Final = (str, int, float, bool, type(None))


def checked(given: Mapping[str, Shape]) -> dict[str, dict[str, Any]]:
    """The attributes as they are kept: each DataType and its value.

    Raises:
        ApiError: ParameterValueInvalid.
    """
    return {name: _attribute(name, value) for name, value in given.items()}


def _attribute(name: str, value: Shape) -> dict[str, Any]:
    _check_name(name)
    kind = value.get("DataType")
    if not kind:
        raise _wrong(f"The message attribute '{name}' must contain non-empty message attribute type.")
    match = _TYPE.fullmatch(kind)
    if match is None or len(kind) > _MAX_TYPE:
        raise _wrong(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    member = "BinaryValue" if match[1] == "Binary" else "StringValue"
    found = value.get(member)
    if not found:
        raise _wrong(
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute "
            f"type '{kind}'."
        )
    if match[1] == "Number":
        _check_number(name, found)
    if kind == ARRAY:
        _check_array(name, found)
    return {"DataType": kind, member: found}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.startswith(".") or name.endswith(".") or ".." in name:
        raise _wrong(
            f"Invalid message attribute name '{name}': it can contain A-Z, a-z, 0-9, underscore, hyphen and period, "
            "1 to 256 of them, and must not start or end with a period, or have periods in succession."
        )
    if name.lower().startswith("amazon."):
        raise _wrong(f"Invalid message attribute name '{name}': it must not start with Amazon.")


def _check_number(name: str, text: str) -> None:
    try:
        is_number = Decimal(text).is_finite() and text.isascii() and "_" not in text
    except InvalidOperation:
        is_number = False
    if not is_number:
        raise _wrong(f"Could not cast message attribute '{name}' value to number.")


def _check_array(name: str, text: str) -> None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, _SCALARS) for each in found):
        raise _wrong(
            f"The message attribute '{name}' must be a JSON array of strings, numbers, true, false and null for "
            f"message attribute type '{ARRAY}'."
        )


def _wrong(message: str) -> ApiError:
    return ApiError("ParameterValueInvalid", message)


def size(name: str, value: Mapping[str, Any]) -> int:
    """How many bytes an attribute takes of its message's."""
    raw = value["BinaryValue"] if "BinaryValue" in value else value["StringValue"].encode()
    return len(name.encode()) + len(value["DataType"].encode()) + len(raw)
