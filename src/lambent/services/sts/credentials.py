"""Temporary credentials that need no table: the session token says who they are for, and is signed. Pure.

An access key names its account as AWS's do, the secret key follows from the access key, and the session token
carries the identity and the moment it ends, under a MAC with the installation's key. So a request is attributed
without a look-up, on any node of the installation, and after a restart.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from lambent.observe.log import Secret

_VERSION: Final = b"\x01"
_MAC_BYTES: Final = 32
# Longer than any token of ours: role paths and session names have limits. Keeps the MAC's work bounded.
_MAX_TOKEN_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a pair of access key and session token stands for."""

    account: str
    principal: str
    """An ARN, such as `arn:aws:sts::123456789012:assumed-role/NAME/SESSION`."""
    user_id: str
    expires_at: int
    """Seconds since the epoch. Open mode attributes requests after it too; `auth = "iam"` must refuse them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client signs with."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    expires_at: int

    def to_shape(self) -> dict[str, Any]:
        return {
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": str(self.secret_access_key),
            "SessionToken": str(self.session_token),
            "Expiration": datetime.fromtimestamp(self.expires_at, UTC),
        }


def issue(identity: Identity, key: bytes) -> Credentials:
    """New credentials for an identity. `key` is the installation's secret."""
    access_key = _new_access_key(identity.account)
    payload = _VERSION + msgspec.msgpack.encode(
        (access_key, identity.account, identity.principal, identity.user_id, identity.expires_at)
    )
    token = base64.b64encode(_mac(key, b"token", payload) + payload).decode()
    return Credentials(access_key, secret_key(access_key, key), Secret(token), identity.expires_at)


def identity(access_key: str, session_token: str | None, key: bytes) -> Identity | None:
    """Whom the installation with this secret issued the pair to, expired or not; None when it did not."""
    if session_token is None or len(session_token) > _MAX_TOKEN_CHARACTERS:
        return None
    try:
        signed = base64.b64decode(session_token, validate=True)
    except ValueError:
        return None
    mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
    if not payload.startswith(_VERSION) or not hmac.compare_digest(mac, _mac(key, b"token", payload)):
        return None
    issued_to, account, principal, user_id, expires_at = msgspec.msgpack.decode(
        payload[len(_VERSION) :], type=tuple[str, str, str, str, int]
    )
    return Identity(account, principal, user_id, expires_at) if issued_to == access_key else None


def secret_key(access_key: str, key: bytes) -> Secret:
    """The secret access key that belongs to an access key of this installation: what verifies its signatures."""
    return Secret(base64.b64encode(_mac(key, b"secret", access_key.encode())).decode()[:40])


def account_of(access_key: str) -> str | None:
    """The account in an access key's characters; None when it holds none.

    The first 48 bits after the prefix are one set bit, the account in 40, and 7 that do not matter, as in
    AWS's own keys.
    """
    try:
        number = int.from_bytes(base64.b32decode(access_key[4:20]), "big")
    except ValueError:
        return None
    account = number >> 39 & (1 << 40) - 1
    return f"{account:012d}" if len(access_key) == 20 and account < 10**12 else None


def unique_id(prefix: str, name: str) -> str:
    """An id of AWS's form (`AROA` and 17 more) for something that is not stored: always the same for a name."""
    return prefix + base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:17]


def _new_access_key(account: str) -> str:
    number = 1 << 79 | int(account) << 39 | secrets.randbits(39)
    return "ASIA" + base64.b32encode(number.to_bytes(10, "big")).decode()


def _mac(key: bytes, purpose: bytes, message: bytes) -> bytes:
    return hmac.digest(key, b"lambent.sts." + purpose + b"\x00" + message, hashlib.sha256)
