"""Environment variables encrypted at rest, with a key of this installation.

AES-256-GCM, a new nonce each time, and the function's ARN as associated data: what was sealed for one function opens
for no other. The keys are derived (HKDF) from the installation's secret, a file beside the databases that only its
owner may read; so a copy of a database alone, as a backup or on a disk that was thrown away, shows no value.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CANNOT_DECRYPT: Final = "Lambda was unable to decrypt the environment variables."
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class CannotOpenError(Exception):
    """It was sealed with another key or for another function, or the bytes are damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedVariables:
    """Environment variables as they are stored.

    `text` differs each time, `digest` only with what is inside (and with the key): it tells whether they changed.
    """

    text: str  # base64 of the nonce and what AES-GCM made
    digest: str


class Seal:
    """Closes and opens with the keys of one installation.

    The library is loaded for the first variables that are closed or opened (25 ms), not at a node's start.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def close(self, variables: Mapping[str, str], arn: str) -> SealedVariables:
        """The variables of the function with this ARN, sealed."""
        plain = msgspec.json.encode(dict(variables))
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain, arn.encode())
        ordered = msgspec.json.encode([arn, dict(variables)], order="sorted")
        digest = hmac.new(self._digest_key, ordered, hashlib.sha256).hexdigest()
        return SealedVariables(text=base64.b64encode(sealed).decode(), digest=digest)

    def open(self, sealed: SealedVariables, arn: str) -> dict[str, str]:
        """The variables that were sealed for this ARN.

        Raises:
            CannotOpenError: they were not, or not with these keys.
        """
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.b64decode(sealed.text, validate=True)
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], arn.encode())
            return msgspec.json.decode(plain, type=dict[str, str])
        except (InvalidTag, ValueError, binascii.Error, msgspec.DecodeError) as error:
            raise CannotOpenError(f"the variables of {arn} were not sealed with this installation's secret") from error

    @cached_property
    def _cipher(self) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._derive(b"lambent lambda environment variables"))

    @cached_property
    def _digest_key(self) -> bytes:
        return self._derive(b"lambent lambda environment variables digest")

    def _derive(self, purpose: bytes) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(self._secret)


class OpenedWhenRead(Mapping[str, str]):
    """The variables as a mapping: opened by whoever first looks inside, and kept open then.

    A node's start has thousands of functions to read and few to run. Looking inside may raise CannotOpenError.
    """

    def __init__(self, seal: Seal, sealed: SealedVariables, arn: str) -> None:
        self._seal, self._sealed, self._arn = seal, sealed, arn
        self._opened: dict[str, str] | None = None

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def __getitem__(self, name: str) -> str:
        return self.open()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.open())

    def __len__(self) -> int:
        return len(self.open())

    def open(self) -> dict[str, str]:
        """What is inside."""
        if self._opened is None:
            self._opened = self._seal.open(self._sealed, self._arn)
        return self._opened
