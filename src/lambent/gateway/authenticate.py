"""Who signed a request: account, region, principal, and the service that the signature names.

In open mode (`auth = "open"`) no signature is verified: the credential scope of the Authorization header, or of a
presigned URL, is read and believed, and an unsigned request is the default account's. Temporary credentials that
this platform issued (STS, execution roles) carry their role's account and principal.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote

from lambent.aws.caller import DEFAULT_ACCOUNT
from lambent.aws.errors import ApiError

_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_PRESIGNED: Final = re.compile(r"(?:^|&)X-Amz-Credential=([^&]*)", re.IGNORECASE)
_TOKEN: Final = re.compile(r"(?:^|&)X-Amz-Security-Token=([^&]*)", re.IGNORECASE)
_QUERY_KEY: Final = re.compile(r"(?:^|&)AWSAccessKeyId=([^&]*)")
# As many clients as any one node sees; beyond it the cache starts afresh.
_REMEMBERED: Final = 4096
_LONGEST_CREDENTIAL: Final = 256
_SCHEMES: Final = ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")


@dataclass(frozen=True, slots=True)
class Principal:
    """To whom an access key belongs. `principal` is an ARN."""

    account: str
    principal: str
    user_id: str


class Issued(Protocol):
    """What STS says of a key that it issued."""

    @property
    def account(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def user_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What a signature says. `signing_name` is its service ("lambda"), None for an unsigned request."""

    account: str
    region: str
    principal: str
    user_id: str
    access_key: str
    signing_name: str | None


IssuedTo = Callable[[str, str | None], Issued | None]
"""Whom this platform issued an access key and a session token to; None when it did not."""


def nobody(_access_key: str, _session_token: str | None) -> None:
    """No key was issued by us."""


class Authenticator:
    """Reads identities, and remembers them by credential: a client's requests differ in their signature alone."""

    def __init__(self, region: str, issued: IssuedTo = nobody, now: Callable[[], float] = time.time) -> None:
        self.now = now
        """What the machine's clock says, as whoever signed a URL saw it."""
        self._region = region
        self._issued = issued
        self._known: dict[tuple[str, str | None], Identity] = {}
        self._unsigned = self._identity("", None, None, None)

    def identity(self, headers: Mapping[str, str], query: str) -> Identity:
        """The identity behind these headers (names in lower case) and this raw query string.

        Raises:
            ApiError: IncompleteSignature, when there is an AWS4 Authorization header that names no credential.
        """
        authorization = headers.get("authorization")
        if authorization is None:
            return self._of_query(query)
        start = authorization.find("Credential=")
        if start < 0:
            return self._of_other_scheme(authorization)
        end = authorization.find(",", start)
        credential = authorization[start + 11 : end if end > 0 else None].strip()
        token = headers.get("x-amz-security-token")
        known = self._known.get((credential, token))
        return known or self._remember(credential, token, headers.get("x-amz-region-set"))

    def _of_query(self, query: str) -> Identity:
        if "mz-" not in query and "AWSAccessKeyId" not in query:
            return self._unsigned
        if presigned := _PRESIGNED.search(query):
            credential, found = unquote(presigned[1]), _TOKEN.search(query)
            token = unquote(found[1]) if found else None
            return self._known.get((credential, token)) or self._remember(credential, token, None)
        if old := _QUERY_KEY.search(query):
            return self._identity(unquote(old[1]), None, None, "s3")
        return self._unsigned

    def _of_other_scheme(self, authorization: str) -> Identity:
        """Signature version 2 (`AWS KEY:SIGNATURE`, S3's old form), a bearer token, or a header cut short."""
        scheme, _, rest = authorization.partition(" ")
        if scheme == "AWS":
            return self._identity(rest.partition(":")[0], None, None, "s3")
        if scheme not in _SCHEMES:
            return self._unsigned  # a bearer or basic token: not a matter of signatures
        missing = [part for part in ("Credential", "Signature", "SignedHeaders") if f"{part}=" not in authorization]
        raise ApiError(
            "IncompleteSignature",
            "".join(f"Authorization header requires '{part}' parameter. " for part in missing)
            + f"Authorization={scheme}",
        )

    def _remember(self, credential: str, token: str | None, region_set: str | None) -> Identity:
        parts = credential.split("/")
        asymmetric = region_set is not None and len(parts) == 4  # version 4a: KEY/DATE/SERVICE/aws4_request
        if len(credential) > _LONGEST_CREDENTIAL or not (asymmetric or len(parts) == 5):
            raise ApiError(
                "IncompleteSignature",
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                f"got '{credential[:_LONGEST_CREDENTIAL]}'",
            )
        if asymmetric:
            first = (region_set or "").split(",")[0].strip()
            return self._identity(parts[0], token, None if "*" in first else first, parts[2])
        identity = self._identity(parts[0], token, parts[2], parts[3])
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[credential, token] = identity
        return identity

    def _identity(self, access_key: str, token: str | None, region: str | None, signing_name: str | None) -> Identity:
        account = access_key if _ACCOUNT.fullmatch(access_key) else DEFAULT_ACCOUNT
        own = Principal(account, f"arn:aws:iam::{account}:root", account)
        holder: Issued = (self._issued(access_key, token) if token else None) or own
        return Identity(
            account=holder.account,
            region=region or self._region,
            principal=holder.principal,
            user_id=holder.user_id,
            access_key=access_key,
            signing_name=signing_name or None,
        )
