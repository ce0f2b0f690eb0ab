"""Pages of lists, and moments in answers."""

import base64
import binascii
from typing import Final

from lambent.services.sns.envelope import timestamp
from lambent.services.sns.model import invalid

MAX_LISTED: Final = 100


def page(names: list[str], token: str | None) -> tuple[list[str], str | None]:
    """The names, which are in order, behind a token; and the token of the next page, if there is one.

    Raises:
        ApiError: InvalidParameter, for a token that nobody gave out.
    """
    after = _after(token) if token else ""
    left = [name for name in names if name > after]
    shown = left[:MAX_LISTED]
    return shown, base64.b64encode(shown[-1].encode()).decode() if len(left) > len(shown) else None


def _after(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("NextToken") from None


def moment(moment_ms: int) -> str:
    """A moment as attributes have it."""
    return timestamp(moment_ms)
