"""JSON as the managed Python runtimes read and write it.

The runtime client of AWS uses simplejson. Where it differs from the standard library (Decimal, bytes, named tuples,
`_asdict`, non-ASCII text, error texts) this module follows it; `tests/unit/guest` runs both on the same values.

Source: awslambdaric 4.x, `lambda_runtime_marshaller`, and simplejson 4 as it is configured there.
"""

import decimal
import json
import marshal
from collections.abc import Callable
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

# From 3.12 on the runtime writes text as UTF-8; before, as \u escapes.
_WRITES_UNICODE = frozenset(f"AWS_Lambda_python3.{minor}" for minor in range(12, 16))


class Raw(str):
    """JSON text that goes out as it is: a Decimal's digits."""

    __slots__ = ()


class Encoder:
    """Encodes what handlers return."""

    def __init__(self, execution_env: str | None) -> None:
        self._ascii = execution_env not in _WRITES_UNICODE
        # simplejson looks for cycles too; allow_nan writes NaN and Infinity as they are.
        fast = json.JSONEncoder(ensure_ascii=self._ascii, allow_nan=True, default=_refuse)
        make, write = json.encoder.c_make_encoder, encode_basestring_ascii if self._ascii else encode_basestring  # type: ignore[attr-defined]
        # What `encode` makes anew each time. An error may leave something in its table of what it is inside of.
        self._inside: dict[int, Any] = {}
        walk = make and make(self._inside, _refuse, write, None, ": ", ", ", False, False, True)
        self._fast: Callable[[Any], str] = (lambda value: "".join(walk(value, 0))) if walk else fast.encode

    def encode(self, value: Any) -> str:
        """The JSON text.

        Raises:
            Exception: with the text that the runtime puts behind "Unable to marshal response: ".
        """
        # marshal takes exact built-in types only and is several times faster than any walk in Python. What it
        # takes holds no named tuple, which the standard library would write as an array without asking.
        try:
            marshal.dumps(value)
            return self._fast(value)
        except RecursionError:
            self._inside.clear()
            raise
        except (TypeError, ValueError):
            self._inside.clear()
        try:
            return self._slow(value)
        except RecursionError:
            raise RecursionError("maximum recursion depth exceeded while encoding a JSON object") from None

    def _slow(self, value: Any) -> str:
        text: Callable[[str], str] = encode_basestring_ascii if self._ascii else encode_basestring

        def write(string: str) -> str:
            return str.__str__(string) if type(string) is Raw else text(string)

        encoder = json.JSONEncoder(ensure_ascii=self._ascii, allow_nan=True)
        make = json.encoder.c_make_encoder  # type: ignore[attr-defined]
        if make is None:  # an interpreter without the C accelerator: Decimals keep their digits only as floats do
            return encoder.encode(_plain(value, set(), digits=float))
        walk = make({}, _refuse, write, None, ": ", ", ", False, False, True)
        return "".join(walk(_plain(value, set(), digits=Raw), 0))


def _refuse(value: Any) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _plain(value: Any, above: "set[int]", digits: Callable[[str], Any]) -> Any:
    """The value as built-in types that the standard library writes the way simplejson writes the original."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, decimal.Decimal):
        return float("nan") if value.is_nan() else digits(str(value))
    as_dict = getattr(value, "_asdict", None)
    if not isinstance(value, (list, dict)) and callable(as_dict):
        value = as_dict()
    if not isinstance(value, (list, tuple, dict)):
        return _refuse(value)
    if id(value) in above:
        raise ValueError("Circular reference detected")
    above.add(id(value))
    plain: Any
    if isinstance(value, dict):
        plain = {_key(key): _plain(inner, above, digits) for key, inner in value.items()}
    else:
        plain = [_plain(inner, above, digits) for inner in value]
    above.discard(id(value))
    return plain


def _key(key: Any) -> Any:
    if isinstance(key, bytes):
        return key.decode("utf-8")
    if key is None or isinstance(key, (str, int, float)):
        return key
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"Expecting value: {name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def decode(payload: bytes) -> Any:
    """The event. Errors carry the text that the runtime puts behind "Unable to unmarshal input: "."""
    text = payload.decode("utf-8")
    try:
        return _decoder.decode(text[1:] if text.startswith("\ufeff") else text)
    except RecursionError as error:
        raise RecursionError(str(error).replace("a unicode string", "a string")) from None


def header_object(text: str | None) -> dict[str, Any] | None:
    """A header's JSON (client context, Cognito identity), or None where the header is missing or empty."""
    return json.loads(text) if text else None
