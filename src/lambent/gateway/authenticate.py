"""Who signed a request: account, region, principal, and the service that the signature names.

In open mode (`auth = "open"`) no signature is verified: the credential scope of the Authorization header, or of a
presigned URL, is read and believed, and an unsigned request is the default account's. Temporary credentials that
this platform issued (STS, execution roles) carry their role's account and principal.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from lambent.aws.caller import DEFAULT_ACCOUNT
from lambent.aws.errors import ApiError

_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_PRESIGNED: Final = re.compile(r"(?:^|&)X-Amz-Credential=([^&]*)", re.IGNORECASE)
_QUERY_KEY: Final = re.compile(r"(?:^|&)AWSAccessKeyId=([^&]*)")
# As many clients as any one node sees; beyond it the cache starts afresh.
_REMEMBERED: Final = 4096
_LONGEST_CREDENTIAL: Final = 256
_SCHEMES: Final = ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")


@dataclass(frozen=True, slots=True)
class Principal:
    """To whom an access key belongs, if this platform issued it."""

    account: str
    arn: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What a signature says. `signing_name` is its service ("lambda"), None for an unsigned request."""

    account: str
    region: str
    principal: str
    user_id: str
    access_key: str
    signing_name: str | None


def nobody_known(_access_key: str) -> Principal | None:
    """No key was issued by us."""
    return None


class Authenticator:
    """Reads identities, and remembers them by credential: a client's requests differ in their signature alone."""

    def __init__(self, region: str, issued: Callable[[str], Principal | None] = nobody_known) -> None:
        self._region = region
        self._issued = issued
        self._known: dict[str, Identity] = {}
        self._unsigned = self._identity("", None, None)

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
        return self._known.get(credential) or self._remember(credential, headers.get("x-amz-region-set"))

    def _of_query(self, query: str) -> Identity:
        if "mz-" not in query and "AWSAccessKeyId" not in query:
            return self._unsigned
        if presigned := _PRESIGNED.search(query):
            credential = unquote(presigned[1])
            return self._known.get(credential) or self._remember(credential, None)
        if old := _QUERY_KEY.search(query):
            return self._identity(unquote(old[1]), None, "s3")
        return self._unsigned

    def _of_other_scheme(self, authorization: str) -> Identity:
        """Signature version 2 (`AWS KEY:SIGNATURE`, S3's old form), a bearer token, or a header cut short."""
        scheme, _, rest = authorization.partition(" ")
        if scheme == "AWS":
            return self._identity(rest.partition(":")[0], None, "s3")
        if scheme not in _SCHEMES:
            return self._unsigned  # a bearer or basic token: not a matter of signatures
        missing = [part for part in ("Credential", "Signature", "SignedHeaders") if f"{part}=" not in authorization]
        raise ApiError(
            "IncompleteSignature",
            "".join(f"Authorization header requires '{part}' parameter. " for part in missing)
            + f"Authorization={scheme}",
        )

    def _remember(self, credential: str, region_set: str | None) -> Identity:
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
            return self._identity(parts[0], None if "*" in first else first, parts[2])
        identity = self._identity(parts[0], parts[2], parts[3])
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[credential] = identity
        return identity

    def _identity(self, access_key: str, region: str | None, signing_name: str | None) -> Identity:
        issued = self._issued(access_key) if access_key else None
        account = access_key if _ACCOUNT.fullmatch(access_key) else DEFAULT_ACCOUNT
        principal = issued or Principal(account, f"arn:aws:iam::{account}:root", account)
        return Identity(
            account=principal.account,
            region=region or self._region,
            principal=principal.arn,
            user_id=principal.user_id,
            access_key=access_key,
            signing_name=signing_name or None,
        )
