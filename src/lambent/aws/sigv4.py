"""Signature version 4: reading, checking and making the signature of an HTTP request. Pure.

Both forms are read: the Authorization header and the presigned query. What is signed is the request as it came, so
the path and the query are taken raw, still percent-encoded.

Source: IAM User Guide, "AWS Signature Version 4 for API requests" and "Create a signed AWS API request".
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import quote, unquote_to_bytes

from lambent.aws.errors import ApiError

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"

# Source: AWS knowledge centre, "native lambda error: InvalidSignatureException: Signature expired".
SKEW: Final = timedelta(minutes=5)
"""How far a signature's time and ours may be apart."""
# Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters": seven days.
LONGEST_S: Final = 604_800

MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)

_TERMINATOR: Final = "aws4_request"
_TIME: Final = "%Y%m%dT%H%M%SZ"
_STAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_FIELD: Final = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST_HEADER: Final = 8192


class Signed(Protocol):
    """A request that has arrived whole, such as `protocol.http.HttpRequest`: header names in lower case."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """For what a signature is good: a day, a region, a service."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{_TERMINATOR}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a request says of its own signature. Nothing in it is verified yet."""

    access_key: str
    scope: Scope
    at: datetime
    signed_headers: tuple[str, ...]
    value: str
    session_token: str | None = None
    expires_s: int | None = None
    """How long a presigned request is good; None for one that is signed in its header."""


# --- reading


def read(request: Signed) -> Signature:
    """The signature of a request.

    Raises:
        ApiError: MissingAuthenticationTokenException when there is none, IncompleteSignatureException when a part is
            missing or is not of the form it should be.
    """
    header = request.headers.get("authorization")
    if header is not None:
        return _read_header(header, request.headers)
    query = {name: value for name, value in _parameters(request.query) if name.lower().startswith("x-amz-")}
    if "X-Amz-Signature" in query or "X-Amz-Algorithm" in query:
        return _read_query(query)
    raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")


def _read_header(header: str, headers: Mapping[str, str]) -> Signature:
    if not header.startswith(ALGORITHM):
        raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
    found = dict(_FIELD.findall(header[:_LONGEST_HEADER]))
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if name not in found]
    has_date = "x-amz-date" in headers or "date" in headers
    if missing or not has_date:
        texts = [f"Authorization header requires '{name}' parameter. " for name in missing]
        if not has_date:
            texts.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
        raise ApiError("IncompleteSignatureException", f"{''.join(texts)}Authorization={ALGORITHM}")
    access_key, scope = _read_credential(found["Credential"])
    return Signature(
        access_key=access_key,
        scope=scope,
        at=_read_time(headers.get("x-amz-date"), headers.get("date", "")),
        signed_headers=tuple(found["SignedHeaders"].lower().split(";")),
        value=found["Signature"],
        session_token=headers.get("x-amz-security-token"),
    )


def _read_query(query: Mapping[str, str]) -> Signature:
    needed = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    missing = [name for name in needed if name not in query]
    if missing or query["X-Amz-Algorithm"] != ALGORITHM:
        wrong = missing or ["X-Amz-Algorithm"]
        texts = (f"AWS query-string parameters must include '{name}'. " for name in wrong)
        raise ApiError("IncompleteSignatureException", f"{''.join(texts)}Re-examine the query-string parameters.")
    access_key, scope = _read_credential(query["X-Amz-Credential"])
    expires = query.get("X-Amz-Expires", str(int(SKEW.total_seconds())))
    if not re.fullmatch("[0-9]{1,9}", expires) or not 1 <= int(expires) <= LONGEST_S:
        raise ApiError("IncompleteSignatureException", f"X-Amz-Expires must be between 1 and {LONGEST_S} seconds.")
    return Signature(
        access_key=access_key,
        scope=scope,
        at=_read_time(query["X-Amz-Date"], ""),
        signed_headers=tuple(query["X-Amz-SignedHeaders"].lower().split(";")),
        value=query["X-Amz-Signature"],
        session_token=query.get("X-Amz-Security-Token"),
        expires_s=int(expires),
    )


def _read_credential(credential: str) -> tuple[str, Scope]:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not all(parts):
        raise ApiError(
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential[:256]}'",
        )
    if parts[4] != _TERMINATOR:
        raise _invalid(f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', not '{parts[4]}'.")
    return parts[0], Scope(date=parts[1], region=parts[2], service=parts[3])


def _read_time(stamp: str | None, date: str) -> datetime:
    try:
        if stamp is None:
            moment = parsedate_to_datetime(date)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if _STAMP.fullmatch(stamp):
            return datetime.strptime(stamp, _TIME).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise ApiError(
        "IncompleteSignatureException",
        f"Date must be in ISO-8601 'basic format'. Got '{(stamp or date)[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601",
    )


# --- checking


def check(signature: Signature, *, region: str, service: str, now: datetime) -> None:
    """Refuses a signature for something else, or of another time. Says nothing about who made it.

    Raises:
        ApiError: InvalidSignatureException.
    """
    scope, at = signature.scope, signature.at
    if scope.region != region:
        raise _invalid(f"Credential should be scoped to a valid region, not '{scope.region}'. ")
    if scope.service != service:
        raise _invalid(f"Credential should be scoped to correct service: '{service}'. ")
    if scope.date != f"{at:%Y%m%d}":
        raise _invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date}' != '{at:%Y%m%d}', from '{at:{_TIME}}'."
        )
    if "host" not in signature.signed_headers:
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if at > now + SKEW:
        raise _invalid(
            f"Signature not yet current: {at:{_TIME}} is still later than {now + SKEW:{_TIME}} ({now:{_TIME}} + 5 min.)"
        )
    if signature.expires_s is not None:
        if now > at + timedelta(seconds=signature.expires_s):
            raise _invalid(
                f"Signature expired: {at + timedelta(seconds=signature.expires_s):{_TIME}} is now earlier "
                f"than {now:{_TIME}}"
            )
    elif at < now - SKEW:
        raise _invalid(
            f"Signature expired: {at:{_TIME}} is now earlier than {now - SKEW:{_TIME}} ({now:{_TIME}} - 5 min.)"
        )


def verify(request: Signed, signature: Signature, secret_key: str) -> None:
    """Refuses a request that was not signed with this key, or was changed since.

    Raises:
        ApiError: InvalidSignatureException.
    """
    missing = [name for name in signature.signed_headers if name not in request.headers]
    payload = request.headers.get("x-amz-content-sha256")
    body = hashlib.sha256(request.body).hexdigest()
    if missing or payload not in (None, UNSIGNED, body) or not _SIGNATURE.fullmatch(signature.value):
        raise _invalid(MISMATCH)
    headers = {name: request.headers[name] for name in signature.signed_headers}
    is_correct = False
    for query in _canonical_queries(request.query):
        canonical = _canonical(request, query, headers, payload or body, signature.scope.service)
        expected = _signature(canonical, signature.at, signature.scope, secret_key)
        is_correct |= hmac.compare_digest(expected, signature.value)
    if not is_correct:
        raise _invalid(MISMATCH)


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidSignatureException", message)


# --- making


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What one signs with."""

    access_key: str
    secret_key: str
    session_token: str | None = None


def sign(request: Signed, key: Key, *, region: str, service: str, at: datetime) -> dict[str, str]:
    """The headers that a request needs besides its own to be a signed one. It must have its Host.

    All its headers are signed, so what a proxy changes must not be among them.
    """
    scope = Scope(date=f"{at:%Y%m%d}", region=region, service=service)
    added = {"x-amz-date": f"{at:{_TIME}}"}
    if key.session_token is not None:
        added["x-amz-security-token"] = key.session_token
    headers = {name: value for name, value in request.headers.items() if name != "authorization"} | added
    payload = headers.get("x-amz-content-sha256") or hashlib.sha256(request.body).hexdigest()
    canonical = _canonical(request, next(_canonical_queries(request.query)), headers, payload, service)
    signature = _signature(canonical, at, scope, key.secret_key)
    authorization = (
        f"{ALGORITHM} Credential={key.access_key}/{scope}, SignedHeaders={';'.join(sorted(headers))}, "
        f"Signature={signature}"
    )
    return added | {"authorization": authorization}


def _signature(canonical: str, at: datetime, scope: Scope, secret_key: str) -> str:
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{at:{_TIME}}\n{scope}\n{digest}"
    return _hmac(_signing_key(secret_key, scope), text).hex()


@lru_cache(maxsize=256)  # the key is the same for a day
def _signing_key(secret_key: str, scope: Scope) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (scope.date, scope.region, scope.service, _TERMINATOR):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


# --- the canonical form


def _canonical(request: Signed, query: str, headers: Mapping[str, str], payload: str, service: str) -> str:
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)]
    path = request.path if service == "s3" else quote(_normal(request.path), safe="/~")
    return "\n".join([request.method.upper(), path or "/", query, *lines, "", ";".join(sorted(headers)), payload])


def _normal(path: str) -> str:
    """The path without empty parts and dots, as every service but S3 signs it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return f"/{'/'.join(parts)}{'/' if parts and path.endswith('/') else ''}"


def _canonical_queries(query: str) -> Iterator[str]:
    """The query as it is signed. Some clients sign their own encoding, others that of RFC 3986: both are honest."""
    encoded = [(_encoded(name), _encoded(value)) for name, value in _parameters(query) if name != "X-Amz-Signature"]
    standard = "&".join(f"{name}={value}" for name, value in sorted(encoded))
    yield standard
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    as_it_came = "&".join(f"{name}={value}" for name, _, value in sorted(pairs) if name != "X-Amz-Signature")
    if as_it_came != standard:
        yield as_it_came


def _parameters(query: str) -> list[tuple[str, str]]:
    """The parameters of a raw query, decoded; bytes that are not UTF-8 come back as they were."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="-_.~")
