"""Paging tokens: opaque, bound to what they page through, and refused when they were changed. Pure."""

import base64
import hashlib
import re
from typing import Final, Literal

import msgspec

from lambent.aws.errors import ApiError

Direction = Literal["f", "b"]
_EVENT_TOKEN: Final = re.compile(r"([fb])/(\d{56})/([0-9a-f]{16})", re.ASCII)


def event_token(direction: Direction, position: int, subject: str) -> str:
    """Where reading events goes on: behind a position (`f`), or before it (`b`).

    `subject` names what is read; the token means nothing for anything else.
    """
    text = f"{direction}/{max(position, 0):056d}"
    return f"{text}/{_check(text, subject)}"


def read_event_token(token: str, subject: str) -> tuple[Direction, int]:
    """The direction and position in a token.

    Raises:
        ApiError: InvalidParameterException, when it is not one that `event_token` made for the subject.
    """
    match = _EVENT_TOKEN.fullmatch(token)
    if match is None or match[3] != _check(f"{match[1]}/{match[2]}", subject):
        raise invalid()
    return ("f" if match[1] == "f" else "b"), int(match[2])


def list_token(key: str, subject: str) -> str:
    """Where a list goes on: behind the key of the last entry shown."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((key, _check(key, subject)))).decode()


def read_list_token(token: str, subject: str) -> str:
    """The key in a token.

    Raises:
        ApiError: InvalidParameterException, when it is not one that `list_token` made for the subject.
    """
    try:
        key, check = msgspec.msgpack.decode(
            base64.b64decode(token, altchars=b"-_", validate=True), type=tuple[str, str]
        )
    except (ValueError, msgspec.DecodeError) as error:
        raise invalid() from error
    if check != _check(key, subject):
        raise invalid()
    return key


def invalid() -> ApiError:
    """AWS's words for a token that is not one."""
    return ApiError("InvalidParameterException", "The specified nextToken is invalid.")


def _check(text: str, subject: str) -> str:
    # Not a secret: a forged token only shows its maker another page of what they may read anyway.
    return hashlib.blake2s(f"{subject}\n{text}".encode("utf-8", "replace"), digest_size=8).hexdigest()
