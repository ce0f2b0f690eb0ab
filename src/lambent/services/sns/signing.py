"""The key that notifications are signed with, and the certificate that shows it.

One key for each installation, made when it is first needed, in a file that only its owner may read. The certificate is
signed by the key itself: it says that two messages are of one platform, not who that is.
"""

import base64
import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

PATH: Final = "/_lambent/sns/"
"""Where certificates are published."""
_FILE: Final = "signing.pem"
_BITS: Final = 2048
_YEARS: Final = 30
_REMEMBERED: Final = 256  # signatures: one message is signed once for all its endpoints
_BEGAN: Final = datetime(2010, 3, 31, tzinfo=UTC)  # of the certificate: tests move time in both directions


@dataclass(slots=True, eq=False)
class Signer:
    """Signs, with the key in this folder."""

    folder: Path
    _key: "RSAPrivateKey | None" = field(default=None, init=False)
    _certificate: bytes = field(default=b"", init=False)
    _known: "OrderedDict[bytes, str]" = field(default_factory=OrderedDict, init=False)

    def open(self) -> None:
        """Reads the key, or makes one. Blocks, for a fraction of a second."""
        if self._key is None:
            self._key = _read(self.folder / _FILE) or _make(self.folder / _FILE)
            self._certificate = _certificate_of(self._key)

    @property
    def is_open(self) -> bool:
        return self._key is not None

    @property
    def certificate(self) -> bytes:
        """The certificate, as PEM. The signer must be open."""
        return self._certificate

    @property
    def path(self) -> str:
        """Where the certificate is published. The signer must be open."""
        return f"{PATH}SimpleNotificationService-{hashlib.sha256(self._certificate).hexdigest()[:32]}.pem"

    def sign(self, version: str, text: str) -> str:
        """The signature in base64: version 1 is of SHA-1, version 2 of SHA-256. The signer must be open."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        assert self._key is not None
        raw = text.encode()
        name = version.encode() + hashlib.sha256(raw).digest()
        known = self._known.get(name)
        if known is None:
            algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
            known = base64.b64encode(self._key.sign(raw, padding.PKCS1v15(), algorithm)).decode()
            self._known[name] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known


def _read(path: Path) -> "RSAPrivateKey | None":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not path.exists():
        return None
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def _make(path: Path) -> "RSAPrivateKey":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65_537, _BITS)
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    return key


def _certificate_of(key: "RSAPrivateKey") -> bytes:
    """The same for the same key, so that its path stays."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    public = key.public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    serial = int.from_bytes(hashlib.sha256(spki).digest()[:16], "big") >> 1 or 1
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(_BEGAN)
        .not_valid_after(_BEGAN + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("sns.amazonaws.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)
