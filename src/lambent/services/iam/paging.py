"""Pages of IAM's lists, by `Marker` and `MaxItems`. Pure."""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape

T = TypeVar("T")
_DEFAULT: Final = 100
_PREFIX: Final = "lambent:"


def size(params: Shape) -> int:
    """How many entries a page holds."""
    return int(params.get("MaxItems", _DEFAULT))


def after(params: Shape) -> str:
    """The key of the last entry of the page before; "" for the first page.

    Raises:
        ApiError: ValidationError, when the marker is none of ours.
    """
    if "Marker" not in params:
        return ""
    try:
        text = base64.urlsafe_b64decode(params["Marker"].encode()).decode()
    except ValueError as error:
        raise _invalid() from error
    if not text.startswith(_PREFIX):
        raise _invalid()
    return text.removeprefix(_PREFIX)


def answer(
    name: str, found: Sequence[T], params: Shape, *, key: Callable[[T], str], shape: Callable[[T], Any]
) -> Shape:
    """A page of entries that were read from `after(params)` on, one more than fit if there are more."""
    shown = found[: size(params)]
    page: Shape = {name: [shape(each) for each in shown], "IsTruncated": len(found) > len(shown)}
    if page["IsTruncated"]:
        page["Marker"] = base64.urlsafe_b64encode((_PREFIX + key(shown[-1])).encode()).decode()
    return page


def of_all(
    name: str, found: Sequence[T], params: Shape, *, key: Callable[[T], str], shape: Callable[[T], Any]
) -> Shape:
    """A page of entries that were all read, in the order of their keys."""
    start = after(params)
    rest = sorted((each for each in found if key(each) > start), key=key)
    return answer(name, rest, params, key=key, shape=shape)


def _invalid() -> ApiError:
    return ApiError("ValidationError", "Invalid Marker.")
