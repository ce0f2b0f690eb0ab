"""URLs that were signed ahead and are good for a while.

Source: Amazon S3 API Reference, "Authenticating requests: using query parameters"; facts sheet C6.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from lambent.aws.errors import ApiError
from lambent.aws.sigv4 import LONGEST_S
from lambent.protocol.http import HttpRequest

_SIGNING: Final = frozenset(
    f"x-amz-{name}"
    for name in ("algorithm", "credential", "date", "expires", "signedheaders", "signature", "security-token")
)
_STAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,12}", re.ASCII)


def unsealed(request: HttpRequest, now: float) -> HttpRequest:
    """The request, with what a signed URL says in its query instead of in headers; itself when it is none.

    Raises:
        ApiError: AccessDenied when its time is over, AuthorizationQueryParametersError for no proper time.
    """
    if "Signature=" not in request.query:
        return request
    pairs = parse_qsl(request.query, keep_blank_values=True)
    named = {name.lower(): value for name, value in pairs}
    if "x-amz-signature" in named:
        _check_v4(named, now)
    elif "signature" in named and "awsaccesskeyid" in named:
        _check_v2(named.get("expires", ""), now)
    said = {name: value for name, value in named.items() if name.startswith("x-amz-") and name not in _SIGNING}
    return msgspec.structs.replace(request, headers={**said, **request.headers}) if said else request


def _check_v4(named: dict[str, str], now: float) -> None:
    stamp, expires = named.get("x-amz-date", ""), named.get("x-amz-expires", "")
    if not (_STAMP.fullmatch(stamp) and _NUMBER.fullmatch(expires) and "x-amz-credential" in named):
        raise _wrong(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    seconds = int(expires)
    if seconds < 0:
        raise _wrong("X-Amz-Expires must be non-negative")
    if seconds > LONGEST_S:
        longest = f"X-Amz-Expires must be less than {LONGEST_S} seconds"
        raise _wrong(f"X-Amz-Expires must be less than a week (in seconds); that is, the given {longest}")
    try:
        until = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=seconds)
    except ValueError:
        raise _wrong("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"") from None
    if until.timestamp() < now:
        raise _expired(until, now, {"X-Amz-Expires": expires})


def _check_v2(expires: str, now: float) -> None:
    if not _NUMBER.fullmatch(expires):
        raise ApiError("AccessDenied", f"Invalid date (should be seconds since epoch): {expires[:64]}")
    if int(expires) < now:
        raise _expired(datetime.fromtimestamp(max(int(expires), 0), UTC), now, {})


def _expired(until: datetime, now: float, more: dict[str, str]) -> ApiError:
    server = datetime.fromtimestamp(now, UTC)
    times = {"Expires": f"{until:%Y-%m-%dT%H:%M:%SZ}", "ServerTime": f"{server:%Y-%m-%dT%H:%M:%SZ}"}
    return ApiError("AccessDenied", "Request has expired", **more, **times)


def _wrong(message: str) -> ApiError:
    return ApiError("AuthorizationQueryParametersError", message)
