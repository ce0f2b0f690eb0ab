"""Paging tokens: opaque, bound to what they page through. Pure."""

import base64
import hashlib

import msgspec


def token(position: str, subject: str) -> str:
    """Where reading goes on; it means nothing for another subject."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((position, _check(position, subject)))).decode()


def position(text: str, subject: str) -> str | None:
    """What `token` was given; None when the text is not one that it made for the subject."""
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
        found, check = msgspec.msgpack.decode(raw, type=tuple[str, str])
    except (ValueError, msgspec.DecodeError):
        return None
    return found if check == _check(found, subject) else None


def _check(position: str, subject: str) -> str:
    # Not a secret: a forged token only shows its maker another page of what they may read anyway.
    return hashlib.blake2s(f"{subject}\n{position}".encode("utf-8", "replace"), digest_size=8).hexdigest()
