"""Message attributes: which there may be, and their digest. Pure.

Source: Amazon SQS Developer Guide, "Amazon SQS message metadata" and "Calculating the MD5 message digest for message
attributes"; the words of errors as callers report them.
"""

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.sqs.model import invalid

MAX_ATTRIBUTES: Final = 10
_MAX_TYPE: Final = 256
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)
_TYPE: Final = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_DIGITS: Final = 38
_LEAST_EXPONENT: Final = -128
_MOST_EXPONENT: Final = 126
_PLAIN: Final = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*?)0*)?", re.ASCII)


def unfit_character(text: str, where: str) -> str:
    """What is wrong with a text that has a character which XML cannot have; empty if nothing is."""
    unfit = _NOT_XML.search(text)
    if unfit is None:
        return ""
    return (
        f"Invalid binary character '#x{ord(unfit[0]):X}' was found in the {where}, the set of allowed characters is "
        "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
    )


def checked(given: Mapping[str, Shape]) -> dict[str, dict[str, Any]]:
    """The attributes as they are kept.

    Raises:
        ApiError: InvalidParameterValue; UnsupportedOperation for lists, which the model has and SQS has not.
    """
    if len(given) > MAX_ATTRIBUTES:
        raise invalid(f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].")
    return {name: _attribute(name, value) for name, value in given.items()}


def _attribute(name: str, value: Shape) -> dict[str, Any]:
    _check_name(name)
    kind = value.get("DataType")
    if not kind:
        raise invalid(f"The message attribute '{name}' must contain a non-empty message attribute type.")
    match = _TYPE.fullmatch(kind)
    if match is None or len(kind) > _MAX_TYPE:
        raise invalid(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes "
            "is Binary, Number, and String."
        )
    if value.get("StringListValues") or value.get("BinaryListValues"):
        raise ApiError(
            "UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported."
        )
    member = "BinaryValue" if match[1] == "Binary" else "StringValue"
    found = value.get(member)
    if not found:
        raise _without_value(name, kind, value, member)
    if member == "StringValue" and (unfit := unfit_character(found, f"message attribute '{name}' value")):
        raise invalid(unfit)
    return {"DataType": kind, member: _number(name, found) if match[1] == "Number" else found}


def _without_value(name: str, kind: str, value: Shape, member: str) -> ApiError:
    if value.get("StringValue") or value.get("BinaryValue"):
        words = "Binary" if member == "BinaryValue" else "String"
        return invalid(f"The message attribute '{name}' with type '{kind}' must use field '{words}'.")
    return invalid(
        f"The message attribute '{name}' must contain a non-empty message attribute value for message attribute type "
        f"'{kind}'."
    )


def _check_name(name: str) -> None:
    wrong = f"The message attribute name '{name}' is invalid: it"
    if not _NAME.fullmatch(name):
        raise invalid(f"{wrong} can contain A-Z, a-z, 0-9, underscore, hyphen and period, and has 1 to 256 of them.")
    if name.startswith(".") or name.endswith(".") or ".." in name:
        raise invalid(f"{wrong} must not start or end with a period, or have periods in succession.")
    if name.lower().startswith(("aws.", "amazon.")):
        raise invalid(f"{wrong} must not start with AWS. or Amazon.")


def _number(name: str, text: str) -> str:
    """The number without zeros at its ends, as SQS stores it."""
    wrong = invalid(
        f"Can't cast the value of message (user) attribute '{name}' to a number: it has up to {_DIGITS} digits, from "
        f"10^{_LEAST_EXPONENT} to 10^{_MOST_EXPONENT}."
    )
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise wrong from None
    if not number.is_finite() or not text.isascii() or "_" in text:
        raise wrong
    if number and not _LEAST_EXPONENT <= number.adjusted() <= _MOST_EXPONENT:
        raise wrong
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > _DIGITS:
        raise wrong
    return _stripped(text)


def _stripped(text: str) -> str:
    match = _PLAIN.fullmatch(text)
    if match is None:  # with an exponent: as it came
        return text
    sign, whole, fraction = match[1].replace("+", ""), match[2] or "0", match[3]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def size(name: str, value: Mapping[str, Any]) -> int:
    """How many bytes an attribute takes of its message's."""
    raw = value["BinaryValue"] if "BinaryValue" in value else value["StringValue"].encode()
    return len(name.encode()) + len(value["DataType"].encode()) + len(raw)


def digest(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """The MD5 that SDKs compare with their own."""
    md5 = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes, key=str.encode):
        value = attributes[name]
        is_binary = "BinaryValue" in value
        raw = value["BinaryValue"] if is_binary else value["StringValue"].encode()
        for part in (name.encode(), value["DataType"].encode()):
            md5.update(len(part).to_bytes(4, "big") + part)
        md5.update((b"\x02" if is_binary else b"\x01") + len(raw).to_bytes(4, "big") + raw)
    return md5.hexdigest()
